//! The socket pair between a wrapper and its watchdog: one JSON message a packet, the end of file is the peer's death.
//!
//! The watchdog's end is its standard input; the command's own standard input travels beside the first message. So
//! neither the session's key nor the auth token is ever on a command line or in an environment.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use raceproof_core::guard::{Config, Notice, Signal};
use raceproof_core::id::SessionKey;
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// More than the largest message: 64 names of 256 bytes, escaped.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// What a wrapper says.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWatchdog {
    /// First, with the command's standard input beside it.
    Hello(Hello),
    /// The session to end if the wrapper dies; a later one takes the place of an earlier one.
    Session(SessionAccess),
    /// The lock is held: start the command.
    Start {
        /// The end of the lease, as far as is known.
        deadline: Time,
        /// Added to the command's environment.
        env: Vec<(String, String)>,
        /// Whether the command gets the terminal.
        foreground: bool,
    },
    /// The lease was renewed.
    Lease {
        /// Its end, counted from when the renewal was sent.
        deadline: Time,
    },
    /// The lock is lost.
    Lost {
        /// Why.
        reason: LostReason,
    },
    /// Pass a signal on.
    Signal {
        /// Which.
        signal: Signal,
    },
    /// Everything is released.
    Released,
}

/// What a watchdog needs to know first.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Times and manners.
    pub config: Config,
    /// Whether our lines on stderr may be coloured.
    pub color: bool,
}

/// Where a session lives and what opens it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionAccess {
    /// The server, as `http://host:port`.
    pub server: String,
    /// The token that the server asks for.
    pub auth_token: Option<String>,
    /// The session's key.
    pub key: SessionKey,
}

/// What a watchdog says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWrapper {
    /// The command runs.
    Started {
        /// Its process id, which is its group's.
        pid: u32,
    },
    /// Something happened.
    Notice(Notice),
}

/// What came.
pub(crate) enum Came<M> {
    /// A message, with a descriptor if one was sent beside it.
    Message(M, Option<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The peer is gone.
    Gone,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Both ends; neither blocks, neither is inherited.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// The end that this process was given.
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends a message, and a descriptor beside it. Never blocks: a peer that does not read for thousands of messages
    /// loses them.
    pub(crate) fn send<M: Serialize>(&self, message: &M, beside: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let beside = beside.as_slice();
        if !beside.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(beside));
            debug_assert!(fits, "the space is for one descriptor");
        }
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Takes a message, if there is one.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Came<M>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Came::Nothing),
            Err(rustix::io::Errno::CONNRESET) => return Ok(Came::Gone),
            Err(error) => return Err(error.into()),
        };
        if received.bytes == 0 {
            return Ok(Came::Gone);
        }
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        bytes.truncate(received.bytes);
        Ok(Came::Message(serde_json::from_slice(&bytes)?, fd))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until there is something to read, but not longer than `limit`.
pub(crate) fn wait_readable(link: &Link, limit: Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit =
        Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut [PollFd::new(link, PollFlags::IN)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

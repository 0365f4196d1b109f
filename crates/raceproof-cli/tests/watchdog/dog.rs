//! A watchdog, and the wrapper's end of its link.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recvmsg, sendmsg, socketpair,
};
use serde_json::{Value, json};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::processes::{PATIENCE, boottime_in, descendants, wait_gone};

pub(crate) struct Dog {
    pub process: Child,
    /// None after the wrapper "died".
    link: Option<OwnedFd>,
    pub stdout: BufReader<ChildStdout>,
    /// The command, once it runs.
    pub command: u32,
}

pub(crate) struct Options {
    pub ttl: Duration,
    pub grace: Duration,
    pub on_lost: &'static str,
    pub stdin: Option<OwnedFd>,
}

impl Default for Options {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(60), grace: Duration::from_secs(20), on_lost: "term", stdin: None }
    }
}

impl Dog {
    /// A watchdog that waits for its wrapper to hold the lock.
    pub(crate) fn waiting(options: Options, command: &[&str]) -> Self {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket pair");
        let mut process = Command::new(env!("CARGO_BIN_EXE_raceproof"))
            .arg("__watchdog")
            .args(command)
            .stdin(theirs)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut dog = Self { process, link: Some(ours), stdout, command: 0 };
        let stdin = options.stdin.unwrap_or_else(|| File::open("/dev/null").expect("/dev/null").into());
        let config =
            json!({"ttl": duration(options.ttl), "grace": duration(options.grace), "on_lost": options.on_lost});
        dog.say_with(&json!({"hello": {"config": config, "color": false}}), Some(&stdin));
        dog
    }

    /// A watchdog whose command runs under a lease that ends after `lease`.
    pub(crate) fn running(options: Options, lease: Duration, command: &[&str]) -> Self {
        let mut dog = Self::waiting(options, command);
        dog.start(boottime_in(lease), &[]);
        dog
    }

    pub(crate) fn start(&mut self, deadline: u64, env: &[(&str, &str)]) {
        self.say(&json!({"start": {"deadline": deadline, "env": env, "foreground": false}}));
        let started = self.hear("started");
        self.command = started["pid"].as_u64().expect("a pid").try_into().expect("a pid");
    }

    pub(crate) fn session(&mut self, server: &str, key: &str) {
        self.say(&json!({"session": {"server": server, "auth_token": "secret", "key": key}}));
    }

    pub(crate) fn renew(&mut self, deadline: u64) {
        self.say(&json!({"lease": {"deadline": deadline}}));
    }

    pub(crate) fn signal(&mut self, signal: &str) {
        self.say(&json!({"signal": {"signal": signal}}));
    }

    pub(crate) fn lose(&mut self, reason: &str) {
        self.say(&json!({"lost": {"reason": reason}}));
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.say_with(message, None);
    }

    fn say_with(&mut self, message: &Value, beside: Option<&OwnedFd>) {
        let link = self.link.as_ref().expect("the wrapper lives");
        let fds: Vec<_> = beside.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let text = message.to_string();
        sendmsg(link, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)
            .expect("the watchdog listens");
    }

    /// The next message; none if the watchdog is gone.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let link = self.link.as_ref().expect("the wrapper lives");
        let limit = Timespec { tv_sec: PATIENCE.as_secs().try_into().expect("short"), tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(link, PollFlags::IN)], Some(&limit)).expect("a poll");
        assert_eq!(ready, 1, "the watchdog says nothing");
        let mut bytes = vec![0; 65_536];
        let mut control = RecvAncillaryBuffer::default();
        let received = recvmsg(link, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::empty()).ok()?;
        (received.bytes > 0).then(|| serde_json::from_slice(&bytes[..received.bytes]).expect("JSON"))
    }

    /// Skips to the notice or message of this kind.
    pub(crate) fn hear(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().unwrap_or_else(|| panic!("the watchdog is gone before {kind:?}"));
            let message = message.get("notice").cloned().unwrap_or(message);
            if message == json!(kind) {
                return json!({});
            }
            if let Some(found) = message.get(kind) {
                return found.clone();
            }
        }
    }

    /// Hears everything up to the end: the ending, and the kinds of notices before it.
    pub(crate) fn hear_ended(&mut self) -> (Value, Vec<String>) {
        let mut kinds = Vec::new();
        loop {
            let message = self.next().expect("the watchdog lives");
            let Some(notice) = message.get("notice") else { continue };
            if let Some(ending) = notice.get("ended") {
                return (ending.clone(), kinds);
            }
            let kind = notice.as_str().or_else(|| notice.as_object()?.keys().next().map(String::as_str));
            kinds.push(kind.expect("a kind").to_owned());
        }
    }

    /// The command's next line on stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    pub(crate) fn line_pid(&mut self) -> u32 {
        self.line().parse().expect("a pid")
    }

    /// The wrapper dies.
    pub(crate) fn orphan(&mut self) {
        self.link = None;
    }

    /// Everything is released: the watchdog ends well.
    pub(crate) fn release(&mut self) {
        self.say(&json!("released"));
        assert!(self.process.wait().expect("an end").success());
    }
}

impl Drop for Dog {
    fn drop(&mut self) {
        // Its command dies with it; what a test that failed left below is killed here.
        let below = descendants(self.process.id());
        let _ = self.process.kill();
        below.into_iter().filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::from_raw)).for_each(|pid| {
            let _ = kill_process(pid, Signal::KILL);
        });
        let _ = self.process.wait();
        if self.command != 0 && !std::thread::panicking() {
            wait_gone(self.command);
        }
    }
}

fn duration(duration: Duration) -> Value {
    json!({"secs": duration.as_secs(), "nanos": duration.subsec_nanos()})
}

//! Signals: blocked, and read from a descriptor, so that there is no handler and also process 1 gets them.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use raceproof_core::guard::Signal;

/// What a wrapper passes on.
const PASSED_ON: [(Number, Signal); 9] = [
    (Number::SIGHUP, Signal::Hup),
    (Number::SIGINT, Signal::Int),
    (Number::SIGQUIT, Signal::Quit),
    (Number::SIGUSR1, Signal::Usr1),
    (Number::SIGUSR2, Signal::Usr2),
    (Number::SIGTERM, Signal::Term),
    (Number::SIGTSTP, Signal::Tstp),
    (Number::SIGCONT, Signal::Cont),
    (Number::SIGWINCH, Signal::Winch),
];

/// What a descriptor of signals says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Came {
    /// A child changed its state.
    Child,
    /// Something to pass on.
    Signal(Signal),
}

/// A descriptor of blocked signals.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// For a wrapper: everything that is passed on, but for what its starter ignores (`nohup`, `&` of a script).
    /// Blocks them in this thread and in those it starts: call it before there are any.
    pub(crate) fn for_wrapper() -> io::Result<Self> {
        let ignored = ignored();
        let heard = PASSED_ON.iter().map(|(number, _)| *number).filter(|number| !ignored.contains(*number));
        let heard: SigSet = heard.chain([Number::SIGCHLD]).collect();
        let mut blocked = heard;
        // Or giving the terminal away and taking it back would stop this process.
        blocked.add(Number::SIGTTOU);
        blocked.add(Number::SIGTTIN);
        Self::new(&blocked, &heard)
    }

    /// For a watchdog: only its children; it is stopped by nothing but its wrapper's end, or SIGKILL.
    pub(crate) fn for_watchdog() -> io::Result<Self> {
        let mut heard = SigSet::empty();
        heard.add(Number::SIGCHLD);
        Self::new(&SigSet::all(), &heard)
    }

    fn new(blocked: &SigSet, heard: &SigSet) -> io::Result<Self> {
        blocked.thread_block()?;
        Ok(Self(SignalFd::with_flags(heard, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next signal, if there is one.
    pub(crate) fn next(&self) -> io::Result<Option<Came>> {
        while let Some(info) = self.0.read_signal()? {
            let number = i32::try_from(info.ssi_signo).ok().and_then(|n| Number::try_from(n).ok());
            if number == Some(Number::SIGCHLD) {
                return Ok(Some(Came::Child));
            }
            if let Some((_, signal)) = PASSED_ON.iter().find(|(passed, _)| Some(*passed) == number) {
                return Ok(Some(Came::Signal(*signal)));
            }
        }
        Ok(None)
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Blocks nothing, as a command expects to be started.
pub(crate) fn unblock_all() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// The system's number of a signal.
pub(crate) fn number(signal: Signal) -> rustix::process::Signal {
    use rustix::process::Signal as Number;
    match signal {
        Signal::Hup => Number::HUP,
        Signal::Int => Number::INT,
        Signal::Quit => Number::QUIT,
        Signal::Usr1 => Number::USR1,
        Signal::Usr2 => Number::USR2,
        Signal::Term => Number::TERM,
        Signal::Stop => Number::STOP,
        Signal::Tstp => Number::TSTP,
        Signal::Cont => Number::CONT,
        Signal::Winch => Number::WINCH,
    }
}

/// A signal as people write it.
pub(crate) const fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Hup => "SIGHUP",
        Signal::Int => "SIGINT",
        Signal::Quit => "SIGQUIT",
        Signal::Usr1 => "SIGUSR1",
        Signal::Usr2 => "SIGUSR2",
        Signal::Term => "SIGTERM",
        Signal::Stop => "SIGSTOP",
        Signal::Tstp => "SIGTSTP",
        Signal::Cont => "SIGCONT",
        Signal::Winch => "SIGWINCH",
    }
}

/// The signals that whoever started this process told it to ignore.
fn ignored() -> SigSet {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let bit = |number: Number| 1_u64.checked_shl((number as u32).saturating_sub(1)).unwrap_or(0);
    PASSED_ON.iter().map(|(number, _)| *number).filter(|number| mask & bit(*number) != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (theirs, ours) in PASSED_ON {
            assert_eq!(theirs.as_str(), name(ours));
            assert_eq!(theirs as i32, number(ours).as_raw());
        }
    }
}

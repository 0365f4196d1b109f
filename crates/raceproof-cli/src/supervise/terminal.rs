//! Lending the terminal to the command and taking it back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, fstat};
use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal that this process was started on, in its foreground.
#[derive(Debug)]
pub(crate) struct Terminal {
    fd: OwnedFd,
    own_group: Pid,
    modes: Option<Termios>,
}

impl Terminal {
    /// The terminal to lend, if there is one: standard input is a terminal, and standard output does not go into a
    /// pipe, whose reader may need the terminal itself (`| less`).
    pub(crate) fn of_stdin() -> Option<Self> {
        let stdin = io::stdin();
        if !isatty(&stdin) || is_pipe(io::stdout()) {
            return None;
        }
        let fd = stdin.as_fd().try_clone_to_owned().ok()?;
        let modes = tcgetattr(&fd).ok();
        Some(Self { fd, own_group: getpgrp(), modes })
    }

    /// Whether this process's group is the one that the terminal's keys go to.
    pub(crate) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.fd).is_ok_and(|group| group == self.own_group)
    }

    /// Gives it to a group.
    pub(crate) fn lend(&self, group: Pid) {
        // A group that is gone needs no terminal.
        let _ = tcsetpgrp(&self.fd, group);
    }

    /// Takes it back from `group`; nobody else's terminal is taken.
    pub(crate) fn take_back(&self, group: Pid) {
        if tcgetpgrp(&self.fd).is_ok_and(|owner| owner == group) {
            let _ = tcsetpgrp(&self.fd, self.own_group);
        }
    }

    /// Puts its modes back, after a command that had no chance to.
    pub(crate) fn restore_modes(&self) {
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(&self.fd, OptionalActions::Drain, modes);
        }
    }
}

fn is_pipe(fd: impl AsFd) -> bool {
    fstat(fd).is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket))
}

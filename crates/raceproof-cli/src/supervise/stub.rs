//! The stub: what a watchdog starts, which binds its life to the watchdog's and becomes the command.
//!
//! It stands in for code between fork and exec, which would be unsafe in a language with threads.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use raceproof_core::guard::code;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use super::signals;
use crate::say;

/// Says in the stub's arguments that the command gets the terminal.
pub(crate) const FOREGROUND: &str = "foreground";
/// Says that it does not.
pub(crate) const BACKGROUND: &str = "background";

/// Becomes the command: `PARENT foreground|background COLOR CMD ARGS…`.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = args.next().and_then(|text| text.to_str().and_then(|text| text.parse().ok()).and_then(Pid::from_raw));
    let foreground = args.next().is_some_and(|text| text == FOREGROUND);
    say::set_color(args.next().is_some_and(|text| text == "color"));
    let Some(command) = args.next() else { return ExitCode::from(code::USAGE) };

    // The watchdog's death kills the command. It holds for this process and outlives the exec.
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    if bound.is_err() || getppid() != parent {
        return ExitCode::from(code::LOST);
    }
    if foreground {
        // SIGTTOU is blocked, as it was in the watchdog. Without a terminal there is nothing to take.
        let _ = rustix::termios::tcsetpgrp(std::io::stdin(), getpid());
    }
    if let Err(error) = signals::unblock_all() {
        say::error("signals", format_args!("the signal mask cannot be cleared: {error}"));
        return ExitCode::from(code::LOST);
    }
    let error = Command::new(&command).args(args).exec();
    let shown = command.to_string_lossy();
    if error.kind() == std::io::ErrorKind::NotFound {
        say::error(
            "command-not-found",
            format_args!("{shown:?} is not found; it is run without a shell: --shell has one"),
        );
        return ExitCode::from(code::NOT_FOUND);
    }
    say::error("command-not-executable", format_args!("{shown:?} cannot be executed: {error}"));
    ExitCode::from(code::NOT_EXECUTABLE)
}

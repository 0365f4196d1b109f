//! What we say on stderr: prefixed lines, so that they are never taken for the command's.

use std::fmt::{self, Arguments};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use raceproof_core::guard::{Cause, Notice};

use crate::supervise::signals;

static COLOR: AtomicBool = AtomicBool::new(false);

/// Whether our lines are coloured from here on.
pub(crate) fn set_color(on: bool) {
    COLOR.store(on, Ordering::Relaxed);
}

/// Whether our lines are coloured.
pub(crate) fn color() -> bool {
    COLOR.load(Ordering::Relaxed)
}

/// `raceproof: text`.
pub(crate) fn line(text: impl fmt::Display) {
    write(format_args!("raceproof: {text}\n"));
}

/// `raceproof: error[code]: text`.
pub(crate) fn error(code: &str, text: impl fmt::Display) {
    labelled("error", "31", code, &text);
}

/// `raceproof: warning[code]: text`.
pub(crate) fn warning(code: &str, text: impl fmt::Display) {
    labelled("warning", "33", code, &text);
}

fn labelled(label: &str, shade: &str, code: &str, text: &dyn fmt::Display) {
    if color() {
        write(format_args!("raceproof: \x1b[1;{shade}m{label}[{code}]\x1b[0m: {text}\n"));
    } else {
        write(format_args!("raceproof: {label}[{code}]: {text}\n"));
    }
}

/// One write a line, so that lines of several processes do not mix. A stderr that is closed is not our problem.
fn write(line: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_all(line.to_string().as_bytes());
}

/// A cause as it is said in the middle of a sentence.
fn because(cause: Cause) -> String {
    match cause {
        Cause::Command => "it left processes behind".into(),
        Cause::Forced => "it was asked to end twice".into(),
        Cause::Lease => "the lease could not be renewed in time".into(),
        Cause::Lost(reason) => format!("the lock is lost ({})", reason.as_str()),
        Cause::Orphaned => "the process that renewed its lease is gone".into(),
        Cause::Unwatched => "its watchdog is gone".into(),
        _ => "the lock is lost".into(),
    }
}

/// Says what a guard noticed.
pub(crate) fn notice(notice: &Notice) {
    match *notice {
        Notice::Stopping { cause: Cause::Command, .. } | Notice::Ended(_) => {}
        Notice::Stopping { cause, kill_in } => warning(
            "stopping",
            format_args!("{}; the command is told to stop and killed in {} ms", because(cause), kill_in.as_millis()),
        ),
        Notice::Killing { cause } => {
            warning("killing", format_args!("{}; the command and everything below it is killed", because(cause)));
        }
        Notice::Frozen { cause } => warning(
            "frozen",
            format_args!(
                "{}; the command and everything below it is stopped for you to look at: SIGTERM to this process kills \
                 it, SIGCONT lets it go on without the lock",
                because(cause)
            ),
        ),
        Notice::Notified { cause } => warning(
            "unprotected",
            format_args!(
                "{}; the command was told by SIGUSR1 and goes on: only a resource that checks tokens is safe from it",
                because(cause)
            ),
        ),
        Notice::LeftBehind { count } => {
            warning(
                "left-behind",
                format_args!("the command ended and left {count} processes behind; they are stopped"),
            );
        }
        Notice::Unkillable { count } => error(
            "unkillable",
            format_args!(
                "{count} processes survive SIGKILL, or belong to another user; the lock is kept while it can be"
            ),
        ),
        Notice::PassedOn { signal } => {
            line(format_args!(
                "passed {} on to the command; again to kill it and everything below it",
                signals::name(signal)
            ));
        }
        Notice::Paused => {
            line("the command is suspended and keeps its lock, which is renewed; Ctrl-Z or SIGCONT to go on");
        }
        Notice::Continued => {}
        Notice::SessionLeft => warning("session-left", "no server answers; the lock is free when its lease ends"),
        _ => {}
    }
}

//! How a command of ours fails: a stable code, a sentence, an exit code.

use raceproof_core::guard::code;
use raceproof_core::wire::{Code, Problem};

use crate::config::ConfigError;
use crate::http::CallError;

/// A failure to report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    /// Stable, for scripts.
    pub code: String,
    /// What happened, to what, what to do.
    pub text: String,
    /// The exit code.
    pub exit: u8,
}

impl Failure {
    /// A failure.
    pub(crate) fn new(code: impl Into<String>, exit: u8, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into(), exit }
    }

    /// Nobody answers at `server`.
    pub(crate) fn unreachable(server: &str, detail: impl std::fmt::Display) -> Self {
        let text = format!(
            "no server answers at {server}: {detail}; start one with `raceproof serve`, or name another with --server"
        );
        Self::new("unreachable", code::UNREACHABLE, text)
    }

    /// A server refused.
    pub(crate) fn refused(problem: &Problem) -> Self {
        let exit = match problem.code {
            Code::Unavailable | Code::StoreFailed => code::UNREACHABLE,
            Code::LockHeld | Code::WaitTimedOut => code::NOT_ACQUIRED,
            _ => code::FAILED,
        };
        let hint = match problem.code {
            Code::Unauthorized => "; give the token in RACEPROOF_AUTH_TOKEN or with --auth-token-file",
            _ => "",
        };
        Self::new(problem.code.as_str().replace('_', "-"), exit, format!("{}{hint}", problem.detail))
    }

    /// A call to `server` failed.
    pub(crate) fn call(server: &str, error: &CallError) -> Self {
        match error {
            CallError::Unreachable(_) => Self::unreachable(server, error),
            CallError::Refused(problem) => Self::refused(problem),
            CallError::NotUnderstood(detail) => {
                Self::new("not-understood", code::UNREACHABLE, format!("{server} gave {detail}"))
            }
        }
    }

    /// Something that this program needs from the system failed.
    pub(crate) fn system(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new("system", code::LOST, format!("{what}: {error}"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new("config", code::CONFIG, error.to_string())
    }
}

//! Why a command did not get to run, for people and scripts.

use std::time::Duration;

use raceproof::{AcquireError, CampaignError};
use raceproof_core::client::Failure as ClientFailure;
use raceproof_core::guard::code;
use raceproof_core::wire::{Code, Holder, LostReason, Problem};

use crate::failure::Failure;

pub(super) fn not_acquired(shown: &str, error: &AcquireError, refused: u8) -> Failure {
    match error {
        AcquireError::Held(problem) => Failure::new(
            "lock-held",
            refused,
            format!("{}; wait with --wait, or see raceproof locks", held_by(shown, problem)),
        ),
        AcquireError::TimedOut(problem) => {
            Failure::new("wait-timed-out", refused, format!("{}; the wait is over", held_by(shown, problem)))
        }
        AcquireError::Deadlock(problem) => Failure::new("deadlock", refused, problem.detail.clone()),
        AcquireError::Refused(problem) if problem.code == Code::TooManyWaiters => {
            Failure::new("too-many-waiters", refused, problem.detail.clone())
        }
        AcquireError::Refused(problem) => Failure::refused(problem),
        AcquireError::Lost(_) | AcquireError::Unclaimed => Failure::new("not-acquired", refused, error.to_string()),
        AcquireError::Unreachable => Failure::new("unreachable", code::UNREACHABLE, error.to_string()),
        AcquireError::Failed(failure) => client_failed("the server", failure),
        _ => Failure::new("internal", code::LOST, error.to_string()),
    }
}

pub(super) fn not_elected(error: &CampaignError) -> Failure {
    match error {
        CampaignError::Led(problem) | CampaignError::TimedOut(problem) => {
            Failure::new("not-elected", code::NOT_ACQUIRED, problem.detail.clone())
        }
        CampaignError::Refused(problem) => Failure::refused(problem),
        CampaignError::Unreachable => Failure::new("unreachable", code::UNREACHABLE, error.to_string()),
        CampaignError::Failed(failure) => client_failed("the server", failure),
        _ => Failure::new("internal", code::LOST, error.to_string()),
    }
}

pub(super) fn client_failed(server: &str, failure: &ClientFailure) -> Failure {
    match failure {
        ClientFailure::Unreachable(detail) => Failure::unreachable(server, detail),
        ClientFailure::Refused(problem) => Failure::refused(problem),
        ClientFailure::Unauthorized(detail) => Failure::refused(&Problem::new(Code::Unauthorized, detail.clone())),
        other => Failure::new("protocol", code::UNREACHABLE, format!("{server}: {other}")),
    }
}

/// `"deploy" is held by host7:4121 for 3m 12s (token 118)`.
fn held_by(shown: &str, problem: &Problem) -> String {
    // Without holders the server's own sentence says why: others wait before, or it is closed for a while.
    if problem.holders.is_empty() {
        problem.detail.clone()
    } else {
        format!("{shown} is held by {}", holders(&problem.holders))
    }
}

/// `host7:4121 for 3m 12s (token 118)`, of each.
pub(super) fn holders(holders: &[Holder]) -> String {
    let each = holders.iter().map(|holder| {
        let age = humantime::format_duration(Duration::from_secs(holder.age_ms / 1_000));
        format!("{} for {age} (token {})", holder.session_name, holder.token)
    });
    each.collect::<Vec<_>>().join(", ")
}

pub(super) fn lost(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Expired => "its lease ended",
        LostReason::Stolen => "an operator took it",
        LostReason::Unknown => "the server was restarted and does not know it",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_holders() {
        let holder = serde_json::from_value(serde_json::json!({
            "session": 1, "session_name": "host7:4121", "token": 118, "mode": "exclusive", "class": "durable",
            "age_ms": 192_999, "lease_left_ms": 1,
        }));
        let problem = Problem::new(Code::LockHeld, "held").with_holders(vec![holder.expect("a holder")]);
        let failure = not_acquired("\"deploy\"", &AcquireError::Held(Box::new(problem)), 75);
        assert_eq!(
            failure.text,
            "\"deploy\" is held by host7:4121 for 3m 12s (token 118); wait with --wait, or see raceproof locks"
        );
        assert_eq!((failure.code.as_str(), failure.exit), ("lock-held", 75));
    }
}

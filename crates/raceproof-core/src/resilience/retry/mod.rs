//! Which failure is tried again, when, and out of whose budget.
//!
//! Owns: the number of attempts, the waits between them, and the reason for giving up. Refuses to retry what is
//! permanent, what no budget covers, and what the layers of retries have no attempt left for.
//!
//! - P2: every wait is drawn evenly from zero to an exponential bound (full jitter); retries of all callers of a
//!   service come out of one [`Budget`]; a wait is never shorter than the service asked for; a permanent failure is
//!   never tried again.

mod after;
mod budget;
mod config;
mod layer;

#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::time::Duration;

pub use after::parse_retry_after;
pub use budget::{Balance, Budget};
pub use config::Config;
pub use layer::Layer;

use crate::time::Time;

/// What kind of failure an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It may be gone the next time.
    Transient,
    /// The same, and the service says how long to stay away (`Retry-After`).
    After(Duration),
    /// It will be there every time.
    Permanent,
}

impl Fault {
    /// The fault of an error of the system: connections and timeouts are transient, everything else is permanent.
    #[must_use]
    pub const fn of_io(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ResourceBusy
            | ErrorKind::UnexpectedEof => Self::Transient,
            _ => Self::Permanent,
        }
    }
}

/// Why there is no further attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GaveUp {
    /// The failure is permanent.
    Permanent,
    /// This was the last attempt.
    Attempts,
    /// The next attempt would begin after the end of the time for all of them.
    Time,
    /// The budget that the callers of this service share is spent.
    Budget,
    /// Retries around this one, or inside it, used the attempts up: layers share them, they do not multiply them.
    Shared,
}

impl GaveUp {
    /// It in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Attempts => "no attempt left",
            Self::Time => "no time left",
            Self::Budget => "no budget left",
            Self::Shared => "no attempt left among its layers",
        }
    }

    /// What a retry around the one that gave up is to know, where `fault` is that of the last error: what was given up
    /// for lack of a budget or of attempts around is not tried again further out.
    #[must_use]
    pub const fn further_out(self, fault: Fault) -> Fault {
        match self {
            Self::Permanent | Self::Budget | Self::Shared => Fault::Permanent,
            Self::Attempts | Self::Time => fault,
        }
    }

    /// Why there is no further attempt where there is no retry.
    #[must_use]
    pub const fn of_the_only_attempt(fault: Fault) -> Self {
        match fault {
            Fault::Permanent => Self::Permanent,
            Fault::Transient | Fault::After(_) => Self::Attempts,
        }
    }
}

/// The attempts of one call.
#[derive(Clone, Debug)]
pub struct Attempts {
    began_at: Time,
    failed: u32,
    rng: Option<fastrand::Rng>,
}

impl Attempts {
    /// A call whose first attempt begins.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self { began_at: now, failed: 0, rng: None }
    }

    /// How many attempts failed.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    /// An attempt failed. `left` is how many retries this layer and those around it have left; `seed` is fresh
    /// randomness, used by the first failure; `pay` takes a retry out of the budget and says whether there was one.
    ///
    /// Returns when the next attempt begins.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fail(
        &mut self,
        config: &Config,
        now: Time,
        fault: Fault,
        left: u32,
        seed: impl FnOnce() -> u64,
        pay: impl FnOnce() -> bool,
    ) -> Result<Time, GaveUp> {
        self.failed = self.failed.saturating_add(1);
        let at_least = match fault {
            Fault::Permanent => return Err(GaveUp::Permanent),
            Fault::After(wait) => wait,
            Fault::Transient => Duration::ZERO,
        };
        if self.failed >= config.attempts_max.max(1) {
            return Err(GaveUp::Attempts);
        }
        if left == 0 {
            return Err(GaveUp::Shared);
        }
        let rng = self.rng.get_or_insert_with(|| fastrand::Rng::with_seed(seed()));
        let bound = config.delay_bound(self.failed);
        // Those who were told the same `Retry-After` do not come back together either.
        let wait = at_least.saturating_add(up_to(bound, rng));
        let at = now + wait;
        if config.time_max.is_some_and(|time| at.since(self.began_at) > time) {
            return Err(GaveUp::Time);
        }
        // Last, so that nothing is taken for a retry that does not happen.
        if pay() { Ok(at) } else { Err(GaveUp::Budget) }
    }
}

fn up_to(bound: Duration, rng: &mut fastrand::Rng) -> Duration {
    let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX - 1).min(u64::MAX - 1);
    Duration::from_micros(rng.u64(0..=micros))
}

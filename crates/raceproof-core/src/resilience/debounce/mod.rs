//! When the last of many events is handled.
//!
//! Owns: the times at which a value is due, and what is due. The values are the shell's, one at a time: it keeps the
//! newest, or what it merged. Refuses to forget: what was pushed and not taken is due until it is taken.
//!
//! - P4: the last event is never lost. It is due once it was quiet for [`Config::quiet`], at [`Config::wait_max`] after
//!   the first that it was merged with, or at once on [`Debounce::flush`].

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::time::Time;

/// What a [`Debounce`] is told at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long it has to be quiet before what came is due.
    pub quiet: Duration,
    /// What came first waits no longer than this, however much comes after it. `None`: as long as it takes. Default:
    /// ten times [`quiet`](Self::quiet).
    pub wait_max: Option<Duration>,
    /// The first event after a time of quiet is due at once; those that follow it wait. Default: no.
    pub leading: bool,
}

impl Config {
    /// So much quiet, ten times as much waiting at most, nothing at once.
    #[must_use]
    pub const fn new(quiet: Duration) -> Self {
        Self { quiet, wait_max: Some(quiet.saturating_mul(10)), leading: false }
    }
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is the first that waits, or is due at once.
    First,
    /// It was merged with what waits.
    Coalesced,
}

/// The machine. See the [module](self).
#[derive(Clone, Debug)]
pub struct Debounce {
    config: Config,
    /// What waits to be taken.
    pending: Option<Pending>,
    /// Until when it counts as not quiet. An event after that leads.
    busy_until: Time,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    due: Time,
    /// Not pushed back beyond this.
    due_max: Time,
}

impl Debounce {
    /// One that nothing was pushed to.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, pending: None, busy_until: Time::ZERO }
    }

    /// An event happens.
    pub fn push(&mut self, now: Time) -> Pushed {
        let quiet = now + self.config.quiet;
        let leads = self.config.leading && now >= self.busy_until;
        self.busy_until = quiet;
        match &mut self.pending {
            Some(pending) => {
                // One that leads stays due.
                if pending.due > now {
                    pending.due = quiet.min(pending.due_max);
                }
                Pushed::Coalesced
            }
            None => {
                let due_max = self.config.wait_max.map_or(Time::MAX, |wait| now + wait);
                let due = if leads { now } else { quiet.min(due_max) };
                self.pending = Some(Pending { due, due_max });
                Pushed::First
            }
        }
    }

    /// Makes what waits due. Whether anything does.
    pub fn flush(&mut self, now: Time) -> bool {
        match &mut self.pending {
            Some(pending) => {
                pending.due = pending.due.min(now);
                true
            }
            None => false,
        }
    }

    /// Takes what is due. Whether anything is: the shell hands its value on.
    #[must_use]
    pub fn take(&mut self, now: Time) -> bool {
        self.pending.take_if(|pending| pending.due <= now).is_some()
    }

    /// When something is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.pending.map(|pending| pending.due)
    }
}

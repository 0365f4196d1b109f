//! What is told of a deadlock.

use std::fmt;
use std::ops::Deref;

use raceproof_core::local::{Blocked, Blocker, Site};
use raceproof_core::wire::Problem;

/// A cycle of waiters that one more wait would have closed (L6).
///
/// Its text is for people: who waits for whom, since when, and from which line of the program, as far as this process
/// knows. Over a server, that is who and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deadlock {
    problem: Box<Problem>,
    blocked: Vec<Blocked>,
}

impl Deadlock {
    pub(crate) const fn new(problem: Box<Problem>, blocked: Vec<Blocked>) -> Self {
        Self { problem, blocked }
    }

    /// What was refused, with its code.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Who waits for whom, beginning with the wait that was refused; the last waits for the first. Empty over a server,
    /// which tells what it knows in [`Problem::cycle`].
    #[must_use]
    pub fn blocked(&self) -> &[Blocked] {
        &self.blocked
    }
}

impl Deref for Deadlock {
    type Target = Problem;

    fn deref(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blocked.is_empty() {
            return f.write_str(&self.problem.detail);
        }
        f.write_str("waiting would be a deadlock; release what you hold first:")?;
        for step in &self.blocked {
            let Blocked { who, waits_for, waited, site, blockers, .. } = step;
            match waited.is_zero() {
                true => write!(f, "\n  {who} wants {waits_for:?}{}", At(*site))?,
                false => write!(f, "\n  {who} has waited for {waits_for:?} for {waited:.1?}{}", At(*site))?,
            }
            for Blocker { who, since, site, token, .. } in blockers {
                let has = if token.is_some() { "held it" } else { "waited before" };
                write!(f, ", while {who} has {has} for {since:.1?}{}", At(*site))?;
            }
        }
        Ok(())
    }
}

struct At(Option<Site>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |site| write!(f, " (asked at {site})"))
    }
}

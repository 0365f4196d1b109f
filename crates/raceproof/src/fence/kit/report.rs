//! What the kit found.

use std::fmt;

/// One thing that a fenced resource does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Check {
    /// A write with a newer token is accepted, and can be read.
    NewerIsAccepted,
    /// A holder may write more than once.
    EqualIsAccepted,
    /// A write with an older token is refused.
    StaleIsRefused,
    /// What was refused has not been written all the same.
    StaleLeavesNoTrace,
    /// Tokens are compared as numbers, not as texts: 10 is newer than 9.
    ComparesAsNumbers,
    /// The newest token is remembered when the resource is opened anew.
    RemembersAcrossReopen,
    /// The newest holder goes on when the resource was opened anew.
    NewestGoesOnAfterReopen,
    /// Of writers that race, the one with the newest token has the last word: comparing and writing are one step.
    NewestWinsRaces,
    /// Tokens are compared in full, up to 2^53 - 1.
    ComparesInFull,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewerIsAccepted => "a newer token is accepted",
            Self::EqualIsAccepted => "an equal token is accepted",
            Self::StaleIsRefused => "a stale token is refused",
            Self::StaleLeavesNoTrace => "a refused write leaves no trace",
            Self::ComparesAsNumbers => "tokens are compared as numbers",
            Self::RemembersAcrossReopen => "a stale token is refused after reopening",
            Self::NewestGoesOnAfterReopen => "the newest token is accepted after reopening",
            Self::NewestWinsRaces => "the newest of racing writers has the last word",
            Self::ComparesInFull => "tokens are compared in full",
        })
    }
}

/// The checks in their order, each with what was wrong.
#[derive(Clone, Debug)]
#[must_use = "a report may tell of a failure"]
pub struct Report {
    checks: Vec<(Check, Result<(), String>)>,
}

impl Report {
    pub(super) const fn new() -> Self {
        Self { checks: Vec::new() }
    }

    pub(super) fn add(&mut self, check: Check, outcome: Result<(), String>) {
        self.checks.push((check, outcome));
    }

    /// Whether every check passed.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The checks that failed, each with what was seen.
    pub fn failures(&self) -> impl Iterator<Item = (Check, &str)> {
        self.checks.iter().filter_map(|(check, outcome)| Some((*check, outcome.as_ref().err()?.as_str())))
    }

    /// For `?` and `unwrap` in tests.
    ///
    /// # Errors
    /// [`Unfenced`], which says what failed, unless every check passed.
    pub fn into_result(self) -> Result<(), Unfenced> {
        if self.is_fenced() { Ok(()) } else { Err(Unfenced { report: self }) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, outcome) in &self.checks {
            match outcome {
                Ok(()) => writeln!(f, "ok      {check}")?,
                Err(seen) => writeln!(f, "FAILED  {check}: {seen}")?,
            }
        }
        Ok(())
    }
}

/// A resource that lets a stale holder through, or keeps a good one out.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the resource is not fenced:\n{report}")]
pub struct Unfenced {
    /// Every check, with its outcome.
    pub report: Report,
}

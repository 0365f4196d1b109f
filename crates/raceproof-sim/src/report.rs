//! Counts of what happened, to see that runs exercise what they should.

use std::collections::BTreeMap;
use std::fmt;

use raceproof_core::wire::Code;

macro_rules! happenings {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// Something worth counting.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Happening {
            $($(#[doc = $text])+ $name,)+
        }

        impl Happening {
            /// Everything that is counted.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

happenings! {
    /// A program was handed a grant.
    Granted,
    /// A program was handed a shared grant.
    GrantedShared,
    /// A program was handed permits of a semaphore.
    GrantedPermits,
    /// A program was handed several names at once.
    GrantedSeveral,
    /// A program was handed a grant of the class `reclaim`.
    GrantedReclaim,
    /// A program was handed a grant beside another of its own.
    GrantedNested,
    /// A program that speaks plain HTTP was handed a grant.
    GrantedOverHttp,
    /// A program was elected.
    Elected,
    /// A leader handed the lead to a candidate that it named.
    HandedOver,
    /// A program was told of a loss.
    Lost,
    /// A task gave up waiting.
    GaveUp,
    /// A request came that the hub had seen before.
    Repeated,
    /// A request came after one that its client had begun later.
    Overtaken,
    /// A connection broke.
    Broken,
    /// A client was cut off in both directions.
    PartitionedBothWays,
    /// Nothing came from a client.
    PartitionedUp,
    /// Nothing came to a client.
    PartitionedDown,
    /// A client was stopped.
    Frozen,
    /// A client was killed.
    ClientKilled,
    /// The hub was stopped.
    Stalled,
    /// The hub was killed.
    HubKilled,
    /// The hub was killed between a record and its flush.
    KilledAtAppend,
    /// The hub was killed when it began to flush.
    KilledAtFlush,
    /// The hub was killed when a flush had ended and nobody knew.
    KilledAtFlushed,
    /// The hub was killed when it began to write a snapshot.
    KilledAtSnapshot,
    /// The hub was killed when a snapshot was written and nobody knew.
    KilledAtSnapshotWritten,
    /// The hub's disk failed.
    DiskFailed,
    /// The hub started again, on what was left.
    Restarted,
    /// The hub wrote a snapshot.
    SnapshotWritten,
    /// The hub's wall clock jumped.
    WallClockJumped,
    /// The hub said that it was about to stop.
    Drained,
    /// An operator took a lock away.
    Stolen,
    /// A program wrote to what its lock protects.
    Wrote,
    /// A fence refused a stale holder.
    FencedOff,
    /// Without a fence, a stale holder wrote over an increment.
    LostUnfenced,
    /// A call was judged by the history checker.
    Judged,
    /// The history checker gave a part of a history up.
    Undecided,
    /// The history checker gave the refusals of a part up, and judged the rest of it.
    UndecidedRefusals,
}

/// Counts.
#[derive(Clone, Default)]
pub struct Report {
    counts: BTreeMap<Happening, u64>,
    refusals: BTreeMap<Code, u64>,
}

impl Report {
    /// Counts one.
    pub fn count(&mut self, what: Happening) {
        self.count_many(what, 1);
    }

    /// Counts several.
    pub fn count_many(&mut self, what: Happening, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    /// Counts a refusal that a program was told of.
    pub fn refused(&mut self, code: Code) {
        *self.refusals.entry(code).or_default() += 1;
    }

    /// How often something happened.
    #[must_use]
    pub fn of(&self, what: Happening) -> u64 {
        self.counts.get(&what).copied().unwrap_or_default()
    }

    /// How often programs were refused with this code.
    #[must_use]
    pub fn refusals(&self, code: Code) -> u64 {
        self.refusals.get(&code).copied().unwrap_or_default()
    }

    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.counts {
            self.count_many(*what, *times);
        }
        for (code, times) in &other.refusals {
            *self.refusals.entry(*code).or_default() += times;
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.counts).entries(&self.refusals).finish()
    }
}

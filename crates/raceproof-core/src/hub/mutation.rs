//! Known bugs that can be put back, one at a time, to prove that the simulator notices each.

/// A bug of the hub. Only a build with the feature `mutations` can put one back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "public only with the feature"))]
pub enum Mutation {
    /// Answers before the record is on disk.
    GrantBeforeFlush,
    /// Starts counting tokens from one at each start.
    TokenRestarts,
    /// Releases whatever the session holds of that name, without looking at the token.
    ReleaseByName,
    /// Drops the entry of a released name while somebody waits for it.
    EntryDroppedWhileWaited,
    /// Answers a cancellation, and leaves the wait in its queue.
    CancelledKeepsPlace,
    /// Lets leases run on through a restart, or a stall, without grace.
    NoGrace,
    /// Lets shared requests overtake exclusive ones.
    SharedStarvesExclusive,
    /// Forgets the ids of requests, so that a retry is a second request.
    RetryIsForgotten,
    /// Serves a request for several names once the first is free.
    PartialGrant,
    /// Grants after a crash before the holders of reclaim-class grants have come back.
    GateSkipped,
    /// Lets a reclaim-class grant be heard of before the log knows that there are such grants.
    ReclaimUnmarked,
    /// Grants to sessions that ended.
    EndedSessionServed,
    /// Does not look for cycles.
    DeadlockIgnored,
    /// Calls any wait behind another a deadlock.
    DeadlockImagined,
    /// Ends leases a second late.
    ExpiryLate,
    /// Keeps the entry of a name that nobody uses.
    EntryLeft,
    /// Sends everyone who waits away at a release, to try again.
    WakeAll,
    /// Lets a leadership that is handed over go to whoever is next.
    SuccessorIgnored,
    /// Lets leases run on through a stall, though not through a restart.
    StallUnspared,
    /// Spares a session that is not heard of for its first stall alone.
    StallChargedAgain,
    /// Gives a whole lease for every stall, also to a session that is not heard of.
    StallGracedAgain,
    /// Takes over a session for what an abandoned connection says late.
    StaleResume,
    /// Lets a lone permit be had while a lock-delay lasts.
    LockDelayIgnored,
    /// Leaves the lead with whoever hands it over, beside the successor.
    TransferKeepsLead,
    /// Keeps a grant whose HTTP request went before it was told.
    UndeliveredKept,
    /// Ends a session without a word to its candidates.
    CandidateForgotten,
    /// Takes a grant that is over for one that is held, when its session tries again.
    FreeRefused,
    /// Lets one that does not wait past those who do.
    TryBarges,
    /// Keeps a grant whose waiter is not there to be told, however long it takes to claim it.
    UnclaimedKept,
    /// Ends every session with its connection.
    ConnectionEndsAll,
    /// Ends no session with its connection.
    ConnectionEndsNone,
    /// Forgets at a start what the log knows of the class `reclaim`: whoever holds it will say so.
    ReclaimForgotten,
    /// Takes nothing back that a holder reports after a crash.
    ReclaimRefused,
    /// Tells observers that nobody leads, and not who does.
    LeaderUntold,
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Every bug of the hub.
    pub const ALL: &'static [Self] = &[
        Self::GrantBeforeFlush,
        Self::TokenRestarts,
        Self::ReleaseByName,
        Self::EntryDroppedWhileWaited,
        Self::CancelledKeepsPlace,
        Self::NoGrace,
        Self::SharedStarvesExclusive,
        Self::RetryIsForgotten,
        Self::PartialGrant,
        Self::GateSkipped,
        Self::ReclaimUnmarked,
        Self::EndedSessionServed,
        Self::DeadlockIgnored,
        Self::DeadlockImagined,
        Self::ExpiryLate,
        Self::EntryLeft,
        Self::WakeAll,
        Self::SuccessorIgnored,
        Self::StallUnspared,
        Self::StallChargedAgain,
        Self::StallGracedAgain,
        Self::StaleResume,
        Self::LockDelayIgnored,
        Self::TransferKeepsLead,
        Self::UndeliveredKept,
        Self::CandidateForgotten,
        Self::FreeRefused,
        Self::TryBarges,
        Self::UnclaimedKept,
        Self::ConnectionEndsAll,
        Self::ConnectionEndsNone,
        Self::ReclaimForgotten,
        Self::ReclaimRefused,
        Self::LeaderUntold,
    ];
}

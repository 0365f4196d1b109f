//! Known bugs that can be put back, one at a time, to prove that the simulator notices each.

/// A bug of the client machine. Only a build with the feature `mutations` can put one back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(not(feature = "mutations"), expect(unreachable_pub, reason = "public only with the feature"))]
pub enum Mutation {
    /// Counts the lease from when the answer to the renewal came.
    LeaseFromReceipt,
    /// Leaves no margin for clocks that run apart.
    NoDriftMargin,
    /// Keeps what it holds when its lease is over, until the hub says so.
    LateLoss,
    /// Forgets a wait that was given up without a word to the hub.
    CancelUnsent,
    /// Does not say what it holds when it resumes.
    HeldUnreported,
    /// Lets a candidate stand on, without a word, when its session is over.
    CandidateGoesOn,
    /// Hands over what came while a program slept, without a look at the clock.
    ClaimUnlooked,
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// Every bug of the client machine.
    pub const ALL: &'static [Self] = &[
        Self::LeaseFromReceipt,
        Self::NoDriftMargin,
        Self::LateLoss,
        Self::CancelUnsent,
        Self::HeldUnreported,
        Self::CandidateGoesOn,
        Self::ClaimUnlooked,
    ];
}

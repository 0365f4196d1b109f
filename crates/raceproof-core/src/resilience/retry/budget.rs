//! How many retries all callers of one service have together.

/// What is in a budget: thousandths of a retry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Balance(u32);

impl Balance {
    /// The balance of so many thousandths of a retry.
    #[must_use]
    pub const fn from_thousandths(thousandths: u32) -> Self {
        Self(thousandths)
    }

    /// In thousandths of a retry.
    #[must_use]
    pub const fn as_thousandths(self) -> u32 {
        self.0
    }

    /// How many retries it covers.
    #[must_use]
    pub const fn retries(self) -> u32 {
        self.0 / 1_000
    }
}

/// A token bucket that calls fill and retries empty: over any time there are at most `reserve` retries plus `percent`
/// of the calls. It needs no clock, and an outage cannot multiply the load by more than that share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    reserve: u32,
    deposit: u32,
}

impl Budget {
    /// `reserve` retries at the start, which is also the most that it keeps, and `percent` of a retry more for each
    /// call.
    #[must_use]
    pub const fn new(reserve: u32, percent: u32) -> Self {
        let reserve = if reserve > u32::MAX / 1_000 { u32::MAX } else { reserve * 1_000 };
        Self { reserve, deposit: percent.saturating_mul(10) }
    }

    /// A budget nobody has used yet.
    #[must_use]
    pub const fn full(&self) -> Balance {
        Balance(self.reserve)
    }

    /// What a call that begins makes of this balance.
    #[must_use]
    pub const fn deposit(&self, balance: Balance) -> Balance {
        let sum = balance.0.saturating_add(self.deposit);
        Balance(if sum > self.reserve { self.reserve } else { sum })
    }

    /// What a retry leaves of this balance. `None` if it does not cover one.
    #[must_use]
    pub const fn withdraw(&self, balance: Balance) -> Option<Balance> {
        match balance.0.checked_sub(1_000) {
            Some(rest) => Some(Balance(rest)),
            None => None,
        }
    }
}

impl Default for Budget {
    /// Ten retries, and one more for every ten calls.
    fn default() -> Self {
        Self::new(10, 10)
    }
}

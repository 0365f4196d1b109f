//! The budget that the callers of a service share.

use std::fmt;
use std::sync::Arc;

use raceproof_core::resilience::retry::{Balance, Budget as Rule};

use crate::sync::atomic::{AtomicU32, Ordering};

/// How many retries all callers of a service have together: a reserve, and a share of their calls. Over any time there
/// are at most `reserve` retries plus `percent` of the calls. Clones share the balance: give one to every
/// [`Retry`](super::Retry) that calls the same service.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    rule: Rule,
    /// In thousandths of a retry.
    balance: AtomicU32,
}

impl Budget {
    /// `reserve` retries at the start, which is also the most that it keeps, and `percent` of a retry more for each
    /// call. The default is 10 and 10.
    #[must_use]
    pub fn new(reserve: u32, percent: u32) -> Self {
        Self::with_rule(Rule::new(reserve, percent))
    }

    fn with_rule(rule: Rule) -> Self {
        let balance = AtomicU32::new(rule.full().as_thousandths());
        Self { shared: Arc::new(Shared { rule, balance }) }
    }

    /// How many retries it covers now.
    #[must_use]
    pub fn retries(&self) -> u32 {
        Balance::from_thousandths(self.shared.balance.load(Ordering::Relaxed)).retries()
    }

    /// A call begins.
    #[inline]
    pub(super) fn deposit(&self) {
        // Full most of the time: then nothing is written.
        self.change(|rule, balance| Some(rule.deposit(balance)).filter(|after| *after != balance));
    }

    /// Whether there was a retry left. It is taken.
    pub(super) fn withdraw(&self) -> bool {
        self.change(|rule, balance| rule.withdraw(balance))
    }

    #[inline]
    fn change(&self, decide: impl Fn(Rule, Balance) -> Option<Balance>) -> bool {
        let Shared { rule, balance } = &*self.shared;
        let update = |before| decide(*rule, Balance::from_thousandths(before)).map(Balance::as_thousandths);
        balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).is_ok()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::with_rule(Rule::default())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("rule", &self.shared.rule).field("retries", &self.retries()).finish()
    }
}

//! What clients did and saw, and when.

use std::collections::BTreeMap;

/// One call: what was asked, when, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call<Op, Answer> {
    /// Who called.
    pub process: u64,
    /// What was asked.
    pub op: Op,
    /// When it was asked: its effect comes later than this.
    pub invoked: u64,
    /// What was answered, and when: its effect came before this. `None` if the caller never learned: the call may have
    /// had its effect at any time since, may have it yet, or never.
    pub answered: Option<(u64, Answer)>,
}

/// A history of calls. Calls that certainly had no effect (a refusal) are not entered at all.
///
/// Calls whose spans touch in time are taken to overlap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History<Op, Answer> {
    calls: Vec<Call<Op, Answer>>,
}

impl<Op, Answer> Default for History<Op, Answer> {
    fn default() -> Self {
        Self { calls: Vec::new() }
    }
}

impl<Op, Answer> FromIterator<Call<Op, Answer>> for History<Op, Answer> {
    fn from_iter<I: IntoIterator<Item = Call<Op, Answer>>>(calls: I) -> Self {
        Self { calls: calls.into_iter().collect() }
    }
}

impl<Op, Answer> History<Op, Answer> {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a call that was answered.
    pub fn answered(&mut self, process: u64, op: Op, invoked: u64, at: u64, answer: Answer) -> &mut Self {
        self.calls.push(Call { process, op, invoked, answered: Some((at, answer)) });
        self
    }

    /// Enters a call whose outcome is not known.
    pub fn unknown(&mut self, process: u64, op: Op, invoked: u64) -> &mut Self {
        self.calls.push(Call { process, op, invoked, answered: None });
        self
    }

    /// The calls, in the order they were entered.
    #[must_use]
    pub fn calls(&self) -> &[Call<Op, Answer>] {
        &self.calls
    }

    /// Splits the history by the object that each call is about. A history is linearizable exactly when each part is
    /// (Herlihy and Wing's locality), and the parts are far cheaper to check.
    pub fn split_by<K: Ord>(self, key: impl Fn(&Op) -> K) -> BTreeMap<K, Self> {
        let mut parts: BTreeMap<K, Self> = BTreeMap::new();
        for call in self.calls {
            parts.entry(key(&call.op)).or_default().calls.push(call);
        }
        parts
    }
}

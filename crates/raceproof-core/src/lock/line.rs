//! One name's line, where whoever came first is served first.
//!
//! For a coordinator that asks for one name at a time and knows neither priorities nor lock-delays. What it decides is
//! what the [table](super::LockTable) does (L3), which is the oracle of its tests; it knows nothing of who it is for.

use std::collections::VecDeque;

use super::{Claim, Load};

/// A line this long keeps no more memory than those who wait need.
const ROOMY: usize = 64;

/// What is held of a name, and who waits for it, in the order of asking.
#[derive(Debug)]
pub struct Line<W> {
    held: Load,
    queue: VecDeque<Place<W>>,
    /// How many of the places are not empty.
    waiting: usize,
}

/// A place in the line; empty once it was left.
#[derive(Debug)]
struct Place<W> {
    number: u64,
    claim: Claim,
    who: Option<W>,
}

/// What whoever comes last may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Hold at once.
    Now,
    /// Wait.
    Later,
    /// Nothing: the name is of another kind, or the claim can never be met.
    Never,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { held: Load::default(), queue: VecDeque::new(), waiting: 0 }
    }
}

impl<W> Line<W> {
    /// What somebody with this claim may do who comes last.
    #[must_use]
    #[inline]
    pub fn turn(&self, claim: Claim) -> Turn {
        if !claim.is_possible() || self.held.mismatches(claim) {
            Turn::Never
        } else if self.waiting == 0 && self.held.admits(claim) {
            Turn::Now
        } else {
            Turn::Later
        }
    }

    /// Somebody holds who may, by [`turn`](Self::turn).
    #[inline]
    pub fn hold(&mut self, claim: Claim) {
        self.held.add(claim);
    }

    /// Somebody who held is gone. Follow with [`next`](Self::next).
    #[inline]
    pub fn let_go(&mut self, claim: Claim) {
        self.held.remove(claim);
    }

    /// Somebody waits. Places are numbered in the order in which they are taken.
    pub fn wait(&mut self, number: u64, claim: Claim, who: W) {
        self.queue.push_back(Place { number, claim, who: Some(who) });
        self.waiting += 1;
    }

    /// The first who waits, if it can be served: it holds from here on. To be asked until there is none, whenever
    /// somebody is gone.
    #[expect(clippy::should_implement_trait, reason = "the line goes on after none")]
    pub fn next(&mut self) -> Option<(u64, Claim, W)> {
        while let Some(first) = self.queue.front_mut() {
            let (number, claim) = (first.number, first.claim);
            if first.who.is_some() && !self.held.admits(claim) {
                return None;
            }
            if let Some(who) = self.queue.pop_front().and_then(|first| first.who) {
                self.waiting -= 1;
                self.compact();
                self.held.add(claim);
                return Some((number, claim, who));
            }
        }
        None
    }

    /// Who waits at a place.
    pub fn find(&mut self, number: u64) -> Option<&mut W> {
        self.place(number)?.who.as_mut()
    }

    /// Whoever waits at a place is gone. Follow with [`next`](Self::next): others may have waited behind it only.
    pub fn leave(&mut self, number: u64) -> Option<W> {
        let who = self.place(number)?.who.take()?;
        self.waiting -= 1;
        self.compact();
        Some(who)
    }

    /// How many wait.
    #[must_use]
    #[inline]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Everybody who waits, in order.
    pub fn waits(&self) -> impl Iterator<Item = &W> {
        self.queue.iter().filter_map(|place| place.who.as_ref())
    }

    /// Everybody who waits, in order, with the number of the place.
    pub fn into_waits(self) -> impl Iterator<Item = (u64, Claim, W)> {
        self.queue.into_iter().filter_map(|place| Some((place.number, place.claim, place.who?)))
    }

    /// For how many places there is room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    fn place(&mut self, number: u64) -> Option<&mut Place<W>> {
        let at = self.queue.binary_search_by_key(&number, |place| place.number).ok()?;
        self.queue.get_mut(at)
    }

    /// Keeps memory in proportion to those who wait (L7).
    #[inline]
    fn compact(&mut self) {
        if self.queue.len() > 2 * self.waiting {
            self.queue.retain(|place| place.who.is_some());
        }
        if self.queue.capacity() > ROOMY.max(4 * self.waiting) {
            self.queue.shrink_to(2 * self.waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Lsn, SessionId, Token};
    use crate::lock::{Grant, Key, LockTable, Terms, Ticket, Wait, WaitId};
    use crate::time::Time;
    use crate::wire::Class;

    const fn permits(take: u32) -> Claim {
        Claim::Permits { of: 4, take }
    }

    #[test]
    fn l3_readers_behind_a_writer_are_served_together_and_after_it() {
        let mut line = Line::default();
        line.hold(Claim::Shared);
        assert_eq!(line.turn(Claim::Shared), Turn::Now);
        line.wait(1, Claim::Exclusive, "writer");
        assert_eq!(line.turn(Claim::Shared), Turn::Later, "it would overtake the writer");
        line.wait(2, Claim::Shared, "one");
        line.wait(3, Claim::Shared, "two");
        assert_eq!(line.next(), None);
        line.let_go(Claim::Shared);
        assert_eq!(line.next(), Some((1, Claim::Exclusive, "writer")));
        assert_eq!(line.next(), None);
        line.let_go(Claim::Exclusive);
        assert_eq!((line.next(), line.next()), (Some((2, Claim::Shared, "one")), Some((3, Claim::Shared, "two"))));
        assert_eq!((line.next(), line.waiting()), (None, 0));
    }

    #[test]
    fn l3_a_small_claim_does_not_pass_a_large_one_until_that_gives_up() {
        let mut line = Line::default();
        line.hold(permits(2));
        line.wait(1, permits(3), "large");
        assert_eq!(line.turn(permits(1)), Turn::Later);
        line.wait(2, permits(1), "small");
        assert_eq!(line.next(), None);
        assert_eq!(line.leave(1), Some("large"));
        assert_eq!(line.leave(1), None);
        assert_eq!(line.next(), Some((2, permits(1), "small")));
    }

    #[test]
    fn what_can_never_be_held_is_not_waited_for() {
        let mut line = Line::<()>::default();
        assert_eq!([line.turn(permits(0)), line.turn(permits(5))], [Turn::Never; 2]);
        line.hold(permits(4));
        let other = Claim::Permits { of: 5, take: 1 };
        assert_eq!([line.turn(other), line.turn(Claim::Shared), line.turn(Claim::Exclusive)], [Turn::Never; 3]);
        assert_eq!(line.turn(permits(1)), Turn::Later);
    }

    #[test]
    fn l7_those_who_are_gone_leave_no_memory() {
        // In any order, asked who is next or not, and served.
        for (backwards, asked, served) in
            [(false, false, false), (true, true, false), (false, true, false), (false, false, true)]
        {
            let mut line = Line::default();
            line.hold(Claim::Exclusive);
            (0..1_000).for_each(|number| line.wait(number, Claim::Exclusive, ()));
            assert!(line.capacity() >= 1_000);
            for number in 0..999 {
                let number = if backwards { 998 - number } else { number };
                if served {
                    line.let_go(Claim::Exclusive);
                    assert_eq!(line.next(), Some((number, Claim::Exclusive, ())));
                } else {
                    assert!(line.leave(number).is_some());
                }
                if asked {
                    assert_eq!(line.next(), None);
                }
            }
            assert!(line.capacity() <= ROOMY, "{} places are kept", line.capacity());
            assert_eq!((line.waiting(), line.find(999).is_some()), (1, true));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(Claim),
        LetGo(usize),
        GiveUp(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let plain = prop_oneof![Just(Claim::Exclusive), Just(Claim::Shared)];
        let claim = prop_oneof![plain, (0_u32..6).prop_map(permits)];
        prop_oneof![
            4 => claim.prop_map(Step::Come),
            3 => any::<usize>().prop_map(Step::LetGo),
            1 => any::<usize>().prop_map(Step::GiveUp),
        ]
    }

    /// A line and a table that are told the same.
    struct Pair {
        line: Line<()>,
        table: LockTable,
        keys: Vec<Key>,
        /// By number, in the order of holding.
        held: Vec<(u64, Claim)>,
        waiting: Vec<u64>,
    }

    impl Pair {
        fn come(&mut self, number: u64, claim: Claim) {
            let turn = self.line.turn(claim);
            let impossible = matches!(claim, Claim::Permits { of, take } if take == 0 || take > of);
            let never = impossible || self.table.mismatch(&self.keys, claim).is_some();
            assert_eq!(turn == Turn::Never, never, "{claim:?}");
            if never {
                return;
            }
            assert_eq!(turn == Turn::Now, self.table.is_free(&self.keys, claim, 0), "{claim:?}");
            if turn == Turn::Now {
                self.line.hold(claim);
                self.insert(number, claim);
            } else {
                self.line.wait(number, claim, ());
                self.waiting.push(number);
                let ticket = Ticket::new(0, WaitId(number));
                let (session, keys, since) = (SessionId::new(1), self.keys.clone(), Time::ZERO);
                self.table.enqueue(Wait { ticket, session, keys, claim, terms: terms(), since, until: None });
            }
        }

        fn insert(&mut self, number: u64, claim: Claim) {
            self.held.push((number, claim));
            let (token, keys, visible_from) = (Token::new(number), self.keys.clone(), Lsn::new(0));
            let session = SessionId::new(1);
            self.table.insert(Grant { token, session, keys, claim, terms: terms(), since_unix_ms: 0, visible_from });
        }

        /// Both serve the same, in the same order.
        fn serve(&mut self) {
            loop {
                let next = self.line.next().map(|(number, claim, ())| (number, claim));
                let served = self.table.serve(&mut self.keys.as_slice()).map(|wait| (wait.ticket.id().0, wait.claim));
                assert_eq!(next, served);
                let Some((number, claim)) = next else { break };
                self.waiting.retain(|other| *other != number);
                self.insert(number, claim);
            }
            assert_eq!(self.line.waiting(), self.waiting.len());
        }
    }

    fn terms() -> Terms {
        let (class, value) = (Class::Durable, "".into());
        Terms { class, lock_delay_ms: 0, request: None, value, owner: None, flows: false }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn l1_l3_the_line_decides_as_the_table_does(steps in prop::collection::vec(step(), 0..80)) {
            let (table, keys) = (LockTable::default(), vec![Key::lock("a".into())]);
            let mut pair = Pair { line: Line::default(), table, keys, held: Vec::new(), waiting: Vec::new() };
            for (number, step) in (1..).zip(steps) {
                match step {
                    Step::Come(claim) => pair.come(number, claim),
                    Step::LetGo(which) if !pair.held.is_empty() => {
                        let (number, claim) = pair.held.remove(which % pair.held.len());
                        pair.line.let_go(claim);
                        assert!(pair.table.remove(Token::new(number)).is_some());
                    }
                    Step::GiveUp(which) if !pair.waiting.is_empty() => {
                        let number = pair.waiting.remove(which % pair.waiting.len());
                        assert!(pair.line.leave(number).is_some());
                        assert!(pair.table.dequeue(WaitId(number)).is_some());
                    }
                    Step::LetGo(_) | Step::GiveUp(_) => {}
                }
                pair.serve();
            }
        }
    }
}

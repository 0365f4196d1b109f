//! The search for an order: Wing and Gong's algorithm with Lowe's cache of configurations ("Testing for
//! linearizability", 2017), over a doubly linked list of events as in Horn and Kroening's P-compositional checker.
//!
//! The list holds each call's invocation and answer in time order. The search lifts out a call that may come next,
//! applies it, and starts again from the front; an answer that is reached means that its call should have come before,
//! so the last choice is taken back. A configuration (which calls are done, what the object remembers) is visited once.

use rustc_hash::FxHashSet;

use super::{History, Model};

/// What the search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is an order. These are the calls in it, by their index in the history.
    Linearizable(Vec<usize>),
    /// There is none.
    Violation(Violation),
    /// The search gave up after this many configurations.
    Undecided(usize),
}

impl Verdict {
    /// Whether an order was found.
    #[must_use]
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable(_))
    }
}

/// How far the search came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// A longest order that could be found, by index in the history.
    pub longest: Vec<usize>,
    /// The call whose answer fits nowhere after it.
    pub stuck_at: usize,
    /// What the object remembered there.
    pub state: String,
}

/// Looks for an order of the history's calls that `model` accepts, visiting at most `limit` configurations.
pub fn check<M: Model>(model: &M, history: &History<M::Op, M::Answer>, limit: usize) -> Verdict {
    Search::new(model, history).run(limit)
}

/// The place before the first event and after the last one.
const HEAD: usize = 0;

#[derive(Clone, Copy)]
struct Event {
    call: usize,
    is_answer: bool,
    previous: usize,
    next: usize,
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a History<M::Op, M::Answer>,
    events: Vec<Event>,
    /// Where each call's invocation and answer are in `events`.
    places: Vec<(usize, Option<usize>)>,
    /// A bit per call.
    done: Vec<u64>,
    answers_left: usize,
    state: M::State,
    /// The calls taken, each with the state before it.
    taken: Vec<(usize, M::State)>,
    longest: Option<Violation>,
    longest_answers: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a History<M::Op, M::Answer>) -> Self {
        let calls = history.calls();
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(calls.len() * 2);
        for (index, call) in calls.iter().enumerate() {
            order.push((call.invoked, false, index));
            if let Some((at, _)) = &call.answered {
                order.push(((*at).max(call.invoked), true, index));
            }
        }
        // Invocations come before answers of the same time: calls that touch overlap.
        order.sort_unstable();
        let last = order.len();
        let mut events = vec![Event { call: usize::MAX, is_answer: true, previous: last, next: usize::from(last > 0) }];
        let mut places = vec![(HEAD, None); calls.len()];
        for (index, (_, is_answer, call)) in order.into_iter().enumerate() {
            let place = index + 1;
            events.push(Event { call, is_answer, previous: index, next: if place == last { HEAD } else { place + 1 } });
            if let Some(places) = places.get_mut(call) {
                if is_answer { places.1 = Some(place) } else { places.0 = place }
            }
        }
        Self {
            model,
            history,
            events,
            places,
            done: vec![0; calls.len().div_ceil(64)],
            answers_left: calls.iter().filter(|call| call.answered.is_some()).count(),
            state: model.initial(),
            taken: Vec::new(),
            longest: None,
            longest_answers: usize::MAX,
        }
    }

    fn run(mut self, limit: usize) -> Verdict {
        let mut seen: FxHashSet<(Vec<u64>, M::State)> = FxHashSet::default();
        let mut place = self.event(HEAD).next;
        while self.answers_left > 0 {
            let event = self.event(place);
            if place == HEAD || event.is_answer {
                self.remember_longest(place);
                let Some(call) = self.take_back() else {
                    return Verdict::Violation(self.longest.expect("the search was stuck before it gave up"));
                };
                place = self.event(self.places(call).0).next;
                continue;
            }
            place = match self.after(event.call) {
                Some(state) => {
                    self.flip(event.call);
                    if seen.insert((self.done.clone(), state.clone())) {
                        self.take(event.call, state);
                        self.event(HEAD).next
                    } else {
                        self.flip(event.call);
                        event.next
                    }
                }
                None => event.next,
            };
            if seen.len() > limit {
                return Verdict::Undecided(seen.len());
            }
        }
        Verdict::Linearizable(self.taken.into_iter().map(|(call, _)| call).collect())
    }

    /// The state after `call`, if it may come next and is worth trying: a call without an answer that changes nothing
    /// need not happen.
    fn after(&self, call: usize) -> Option<M::State> {
        let call = self.history.calls().get(call).expect("events are about calls");
        let answer = call.answered.as_ref().map(|(_, answer)| answer);
        let state = self.model.step(&self.state, &call.op, answer)?;
        (answer.is_some() || state != self.state).then_some(state)
    }

    fn take(&mut self, call: usize, state: M::State) {
        self.taken.push((call, std::mem::replace(&mut self.state, state)));
        let (invocation, answer) = self.places(call);
        self.unlink(invocation);
        if let Some(answer) = answer {
            self.unlink(answer);
            self.answers_left -= 1;
        }
    }

    fn take_back(&mut self) -> Option<usize> {
        let (call, state) = self.taken.pop()?;
        self.state = state;
        self.flip(call);
        let (invocation, answer) = self.places(call);
        if let Some(answer) = answer {
            self.relink(answer);
            self.answers_left += 1;
        }
        self.relink(invocation);
        Some(call)
    }

    fn remember_longest(&mut self, place: usize) {
        if self.answers_left >= self.longest_answers {
            return;
        }
        self.longest_answers = self.answers_left;
        // At the end of the list every call left is one that nobody learned the outcome of, so an answer stopped us.
        let stuck_at = self.event(place).call;
        self.longest = Some(Violation {
            longest: self.taken.iter().map(|(call, _)| *call).collect(),
            stuck_at,
            state: format!("{:?}", self.state),
        });
    }

    fn flip(&mut self, call: usize) {
        let word = self.done.get_mut(call / 64).expect("a bit per call");
        *word ^= 1 << (call % 64);
    }

    fn event(&self, place: usize) -> Event {
        *self.events.get(place).expect("places are within the list")
    }

    fn event_mut(&mut self, place: usize) -> &mut Event {
        self.events.get_mut(place).expect("places are within the list")
    }

    fn places(&self, call: usize) -> (usize, Option<usize>) {
        *self.places.get(call).expect("every call has its places")
    }

    fn unlink(&mut self, place: usize) {
        let Event { previous, next, .. } = self.event(place);
        self.event_mut(previous).next = next;
        self.event_mut(next).previous = previous;
    }

    fn relink(&mut self, place: usize) {
        let Event { previous, next, .. } = self.event(place);
        self.event_mut(previous).next = place;
        self.event_mut(next).previous = place;
    }
}

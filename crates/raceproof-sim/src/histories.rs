//! Makes of a run's facts one history per name, as its clients saw it, and has the independent checker judge it.
//!
//! A grant is a call from when a program asked to when it was handed the grant. It ends by a release, called when the
//! program stopped believing; or by itself: called at the first moment when the program did not believe any more (it
//! was told, it died, its clock showed the end of the lease, an operator took it), and never answered.
//!
//! What a program asked for and never learned the outcome of stays open: it may have been granted at any time since, and
//! may have ended at any time after that. A refusal of an exclusive claim that would not wait needs a holder, and such a
//! grant may have been the one. Where holders are not all (somebody may wait for several names, a lock-delay may last, a
//! crash may undo a grant or bring one back), refusals are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raceproof_core::id::{RequestId, Token};
use raceproof_core::wire::Code;

use crate::checker::models::{Fenced, FencedAnswer, FencedOp, MutexAnswer, MutexOp, OwnerMutex};
use crate::checker::{Call, History, Model, Verdict, check};
use crate::invariants::{Claim, Ledger, Taking};
use crate::world::clock::Instant;
use crate::world::fact::{Fact, Loss};

/// The checker gives up on a part after so many configurations.
const CONFIGURATIONS_MAX: usize = 20_000;

#[derive(Clone, Debug)]
struct Holding {
    asked: Instant,
    believed: Instant,
    /// When the program gave it back, and when that was answered.
    released: Option<(Instant, Option<Instant>)>,
    /// When it was lost.
    lost: Option<Instant>,
}

/// A request that no program holds anything by.
#[derive(Clone, Debug)]
struct Unheld {
    client: usize,
    taking: Taking,
    /// What it may have been asked under.
    ids: Vec<RequestId>,
    asked: Instant,
    /// When it was refused, if that says that somebody else holds the name.
    refused: Option<Instant>,
    /// Whether it may have been granted all the same. So may another copy of it, which nobody learned of.
    open: bool,
}

/// How many places of a lock a claim takes.
const fn places(claim: Claim) -> u32 {
    match claim {
        Claim::Exclusive => Fenced::ALL,
        Claim::Shared => 1,
        Claim::Permits { take, .. } => take,
    }
}

/// What the histories came to.
#[derive(Debug, Default)]
pub(crate) struct Conclusion {
    pub(crate) calls: u64,
    pub(crate) undecided: u64,
    /// Parts whose refusals took too long to explain.
    pub(crate) undecided_refusals: u64,
    pub(crate) violation: Option<String>,
}

type Calls = Vec<Call<FencedOp, FencedAnswer>>;

/// The calls on one name, and those that may have happened or not, each with its end.
#[derive(Debug, Default)]
struct Part {
    claim: Option<Claim>,
    calls: Calls,
    open: Vec<[Call<FencedOp, FencedAnswer>; 2]>,
}

/// Has one name's history judged by one model.
///
/// Open calls make histories only more acceptable, so they are brought in when something fits nowhere without them, the
/// latest before it first. It is a violation when none is left to bring in.
fn judge_part<M: Model>(
    model: &M,
    name: &str,
    part: &Part,
    of_model: impl Fn(&Call<FencedOp, FencedAnswer>) -> Option<Call<M::Op, M::Answer>>,
    conclusion: &mut Conclusion,
) {
    let mut open: Vec<_> = part.open.iter().collect();
    open.sort_by_key(|[acquire, _]| acquire.invoked);
    let mut calls: Vec<_> = part.calls.iter().collect();
    let mut batch = 1;
    loop {
        let history: History<_, _> = calls.iter().filter_map(|call| of_model(call)).collect();
        let violation = match check(model, &history, CONFIGURATIONS_MAX) {
            Verdict::Linearizable(_) => return,
            Verdict::Undecided(_) if calls.iter().any(|call| is_refused(call) || call.process >= NOBODY) => {
                // What programs held is judged all the same.
                conclusion.undecided_refusals += 1;
                calls = part.calls.iter().filter(|call| !is_refused(call)).collect();
                open.clear();
                continue;
            }
            Verdict::Undecided(_) => {
                conclusion.undecided += 1;
                return;
            }
            Verdict::Violation(violation) => violation,
        };
        let stuck = history.calls().get(violation.stuck_at);
        let until = stuck.and_then(|stuck| Some(stuck.answered.as_ref()?.0)).unwrap_or(Instant::MAX);
        // What stops the search is not always what needs one, so the later ones get their turn too.
        let before = match open.partition_point(|[acquire, _]| acquire.invoked <= until) {
            0 => open.len(),
            before => before,
        };
        if before == 0 {
            conclusion.violation = Some(format!(
                "the history of {name:?} is not linearizable: {stuck:?} fits nowhere; the lock then is {}",
                violation.state
            ));
            return;
        }
        calls.extend(open.drain(before.saturating_sub(batch)..before).flatten());
        batch *= 2;
    }
}

/// Whether a call was refused.
const fn is_refused(call: &Call<FencedOp, FencedAnswer>) -> bool {
    matches!(call.answered, Some((_, FencedAnswer::Refused)))
}

/// Whether a call is no other than one on a mutex.
const fn is_alone(call: &Call<FencedOp, FencedAnswer>) -> bool {
    !matches!(call.op, FencedOp::Acquire { take, .. } if take != Fenced::ALL)
}

/// The same call on a mutex that knows owners and no tokens.
fn without_token(call: &Call<FencedOp, FencedAnswer>) -> Option<Call<MutexOp, MutexAnswer>> {
    let op = match call.op {
        FencedOp::Acquire { owner, .. } => MutexOp::Acquire { owner },
        FencedOp::Release { owner, .. } => MutexOp::Release { owner },
        FencedOp::Lose { owner, .. } | FencedOp::End { owner } => MutexOp::End { owner },
        FencedOp::Steal => return None,
    };
    let answered = call.answered.as_ref().map(|(at, answer)| match answer {
        FencedAnswer::Refused => (*at, MutexAnswer::Refused),
        FencedAnswer::Granted { .. } | FencedAnswer::Done => (*at, MutexAnswer::Done),
    });
    Some(Call { process: call.process, op, invoked: call.invoked, answered })
}

/// Collects.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    holdings: BTreeMap<u64, Holding>,
    unheld: Vec<Unheld>,
}

/// Whoever asks and holds nothing is told apart from every session by this and more.
const NOBODY: u64 = 1 << 48;

impl Histories {
    pub(crate) fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) {
        match fact {
            Fact::Believes { client, token, asked, request, .. } => {
                let id = ledger.grants.get(&token.as_u64()).and_then(|grant| grant.taking.id.clone());
                self.unheld.extend(Taking::of(request).map(|taking| Unheld {
                    client: *client,
                    taking,
                    ids: id.into_iter().collect(),
                    asked: *asked,
                    refused: None,
                    open: false,
                }));
                let holding = Holding { asked: *asked, believed: ledger.at, released: None, lost: None };
                self.holdings.insert(token.as_u64(), holding);
            }
            Fact::Disbelieves { token, loss, .. } => {
                if let Some(holding) = self.holdings.get_mut(&token.as_u64()) {
                    match loss {
                        Loss::Released => holding.released = Some((ledger.at, None)),
                        Loss::Told(_) | Loss::Died => holding.lost = Some(ledger.at),
                    }
                }
            }
            Fact::Refused { client, request, asked, code } => {
                let Some(taking) = Taking::of(request) else { return };
                let refused = (*code == Code::LockHeld).then_some(ledger.at);
                let open = !matches!(code, Code::LockHeld | Code::Deadlock);
                let ids = ledger.ids_of(*client, &taking, *asked);
                self.unheld.push(Unheld { client: *client, taking, ids, asked: *asked, refused, open });
            }
            Fact::Unlearned { request, asked } => {
                let taking = Taking::of(request);
                self.unheld.extend(taking.map(|taking| Unheld {
                    client: 0,
                    taking,
                    ids: Vec::new(),
                    asked: *asked,
                    refused: None,
                    open: true,
                }));
            }
            Fact::GaveBack { token, .. } => {
                if let Some(Holding { released: Some((_, answered)), .. }) = self.holdings.get_mut(&token.as_u64()) {
                    *answered = Some(ledger.at);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn judge(&self, ledger: &Ledger) -> Conclusion {
        let mut parts: BTreeMap<(bool, Arc<str>), Part> = BTreeMap::new();
        for (token, holding) in &self.holdings {
            let Some(grant) = ledger.grants.get(token) else { continue };
            let owner = grant.session.as_u64();
            for name in &grant.taking.names {
                let part = parts.entry((grant.taking.election, name.clone())).or_default();
                part.claim.get_or_insert(grant.taking.claim);
                part.calls.extend(self.calls(ledger, *token, owner, &grant.taking, holding));
            }
        }
        self.add_unheld(ledger, &mut parts);
        let mut conclusion = Conclusion::default();
        for ((_, name), part) in parts {
            conclusion.calls += part.calls.len() as u64;
            let model = match part.claim {
                Some(Claim::Permits { of, .. }) => Fenced::semaphore(of),
                _ => Fenced::shared_exclusive(),
            };
            if part.calls.iter().chain(part.open.iter().flatten()).all(is_alone) {
                judge_part(&OwnerMutex, &name, &part, without_token, &mut conclusion);
            }
            judge_part(&model, &name, &part, |call| Some(call.clone()), &mut conclusion);
        }
        conclusion
    }

    fn add_unheld(&self, ledger: &Ledger, parts: &mut BTreeMap<(bool, Arc<str>), Part>) {
        // Names that may not be had although nobody holds them.
        let mut closed: BTreeSet<&Arc<str>> = BTreeSet::new();
        let of_locks = ledger.takings.iter().map(|asked| &asked.taking).filter(|taking| !taking.election);
        for taking in of_locks.filter(|taking| taking.names.len() > 1 || taking.lock_delay_ms > 0) {
            closed.extend(&taking.names);
        }
        let copies = ledger.copies();
        for (owner, unheld) in (NOBODY..).zip(&self.unheld) {
            let Unheld { client, taking, ids, asked, refused, open } = unheld;
            let copied = ids.iter().any(|id| copies.get(&(*client, id)).is_some_and(|copies| *copies > 1));
            let op = FencedOp::Acquire { owner, take: places(taking.claim) };
            for name in &taking.names {
                let part = parts.entry((taking.election, name.clone())).or_default();
                // A crash undoes grants that nobody heard of, and what was given back without waiting for the disk.
                if let Some(at) = refused
                    && ledger.run <= 1
                    && taking.claim == Claim::Exclusive
                    && taking.names.len() == 1
                    && (taking.election || !closed.contains(name))
                {
                    let answered = Some((*at, FencedAnswer::Refused));
                    part.calls.push(Call { process: owner, op: op.clone(), invoked: *asked, answered });
                }
                if *open || copied {
                    // Another copy of one that was refused.
                    let owner = owner + NOBODY;
                    let acquire = FencedOp::Acquire { owner, take: places(taking.claim) };
                    part.open.push([acquire, FencedOp::End { owner }].map(|op| Call {
                        process: owner,
                        op,
                        invoked: *asked,
                        answered: None,
                    }));
                }
            }
        }
    }

    fn calls(
        &self,
        ledger: &Ledger,
        token: u64,
        owner: u64,
        taking: &Taking,
        holding: &Holding,
    ) -> impl Iterator<Item = Call<FencedOp, FencedAnswer>> + use<> {
        let take = places(taking.claim);
        let acquire = Call {
            process: owner,
            op: FencedOp::Acquire { owner, take },
            invoked: holding.asked,
            answered: Some((holding.believed, FencedAnswer::Granted { token })),
        };
        let taken = ledger.grants.get(&Token::new(token).as_u64()).filter(|grant| grant.excused);
        let taken = taken.and_then(|grant| grant.over);
        let release = holding.released.map(|(invoked, answered)| Call {
            process: owner,
            op: FencedOp::Release { owner, token },
            invoked,
            // Of a grant that may be over already, the answer says nothing.
            answered: answered.filter(|_| taken.is_none()).map(|at| (at, FencedAnswer::Done)),
        });
        let believed_until = ledger.sessions.get(&owner).map(|session| session.believed_until);
        // A release whose answer nobody saw may have had no effect; the lease ends the grant then.
        let answered = taken.is_none() && matches!(holding.released, Some((_, Some(_))));
        let lost = [holding.lost, believed_until, taken].into_iter().flatten().min().filter(|_| !answered);
        // What an operator took may have been taken before the program looked at its grant.
        let lose = lost.map(|at| Call {
            process: owner,
            op: FencedOp::Lose { owner, token },
            invoked: at.max(holding.asked),
            answered: None,
        });
        [Some(acquire), release, lose].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use raceproof_core::id::{SessionId, SessionKey};
    use raceproof_core::wire::{Acquire, Grant, LockPage, Mode, OnDisconnect, Open, Request, Response};

    use super::*;

    /// A ledger and the histories, shown the same facts by hand.
    #[derive(Default)]
    struct Bench {
        ledger: Ledger,
        histories: Histories,
        seq: u64,
    }

    fn exclusive(name: &str) -> Rc<Request> {
        Rc::new(Request::Acquire(Acquire::one(name)))
    }

    impl Bench {
        fn new(clients: u64) -> Self {
            let mut bench = Self::default();
            let none = LockPage { locks: Vec::new(), next: None };
            bench.see(0, &Fact::HubUp { run: 1, table: &none });
            for client in 1..=clients {
                let link = usize::try_from(client).expect("few clients");
                bench.see(0, &Fact::Connected { link, client: link, http: false });
                let open = Open { name: "".into(), ttl_ms: 10_000, on_disconnect: OnDisconnect::Keep };
                let session = SessionKey { id: SessionId::new(client), secret: 0 };
                let opened = Response::Opened { session, ttl_ms: 10_000, epoch: raceproof_core::id::Epoch::new(1) };
                bench.ask(0, link, &Rc::new(Request::Open(open)), opened);
                bench.see(0, &Fact::Lease { client: link, session: session.id, until: 10_000_000 });
            }
            bench
        }

        fn see(&mut self, at: Instant, fact: &Fact<'_>) {
            self.ledger.at = at;
            self.histories.see(&self.ledger, fact);
            self.ledger.apply(fact);
        }

        fn ask(&mut self, at: Instant, link: usize, request: &Rc<Request>, answer: Response) {
            self.seq += 1;
            let seq = self.seq;
            self.see(at, &Fact::Asked { link, seq, session: None, request });
            self.see(at, &Fact::Answered { link, seq, result: &Ok(Box::new(answer)) });
        }

        /// Holds a name from one time to another.
        fn holds(&mut self, client: usize, name: &str, token: u64, from: Instant, to: Instant) {
            let (session, token) = (SessionId::new(client as u64), Token::new(token));
            let request = exclusive(name);
            let grant = Grant { token, names: vec![name.into()], mode: Mode::Exclusive, lease_ms: 10_000 };
            self.ask(from, client, &request, Response::Granted(grant));
            self.see(from + 1, &Fact::Believes { client, session, token, request: &request, asked: from });
            self.see(to, &Fact::Disbelieves { client, token, loss: Loss::Released });
            self.see(to + 1, &Fact::GaveBack { client, token });
        }

        fn refused(&mut self, client: usize, name: &str, asked: Instant, at: Instant) {
            let request = exclusive(name);
            self.see(at, &Fact::Refused { client, request: &request, asked, code: Code::LockHeld });
        }

        fn is_linearizable(&self) -> bool {
            let conclusion = self.histories.judge(&self.ledger);
            assert_eq!((conclusion.undecided, conclusion.undecided_refusals), (0, 0));
            conclusion.violation.is_none()
        }
    }

    #[test]
    fn a_refusal_needs_a_holder() {
        let mut bench = Bench::new(2);
        bench.holds(1, "x", 1, 10, 100);
        bench.refused(2, "x", 50, 60);
        assert!(bench.is_linearizable());
        bench.refused(2, "x", 102, 110);
        assert!(!bench.is_linearizable(), "it was free by then");
    }

    #[test]
    fn a_request_whose_outcome_nobody_learned_may_have_been_granted_later() {
        let mut bench = Bench::new(3);
        bench.holds(1, "x", 1, 10, 100);
        bench.refused(2, "x", 502, 510);
        assert!(!bench.is_linearizable());
        let (request, other) = (exclusive("x"), exclusive("y"));
        bench.see(600, &Fact::Unlearned { request: &other, asked: 50 });
        assert!(!bench.is_linearizable(), "that is another name");
        bench.see(600, &Fact::Unlearned { request: &request, asked: 511 });
        assert!(!bench.is_linearizable(), "that was asked after the refusal");
        bench.see(600, &Fact::Unlearned { request: &request, asked: 50 });
        assert!(bench.is_linearizable());
        bench.holds(1, "x", 9, 700, 800);
        assert!(bench.is_linearizable(), "and it may be over by now");
        bench.refused(2, "x", 902, 910);
        assert!(bench.is_linearizable(), "the other open one");
        bench.holds(1, "x", 20, 920, 950);
        bench.refused(2, "x", 1_002, 1_010);
        assert!(!bench.is_linearizable(), "each holds once");
    }

    #[test]
    fn nothing_open_excuses_two_holders() {
        let mut bench = Bench::new(2);
        let request = exclusive("x");
        bench.see(5, &Fact::Unlearned { request: &request, asked: 1 });
        bench.holds(1, "x", 1, 10, 100);
        assert!(bench.is_linearizable());
        bench.holds(2, "x", 2, 50, 60);
        assert!(!bench.is_linearizable());
    }

    #[test]
    fn a_name_that_a_lock_delay_may_close_can_be_refused_without_a_holder() {
        let mut bench = Bench::new(2);
        let request = exclusive("x");
        let Request::Acquire(mut delayed) = Request::clone(&request) else { panic!("an acquire") };
        delayed.lock_delay_ms = 100;
        let grant = Grant { token: Token::new(1), names: vec!["x".into()], mode: Mode::Exclusive, lease_ms: 10_000 };
        bench.ask(5, 1, &Rc::new(Request::Acquire(delayed)), Response::Granted(grant));
        bench.refused(2, "x", 502, 510);
        assert!(bench.is_linearizable());
    }
}

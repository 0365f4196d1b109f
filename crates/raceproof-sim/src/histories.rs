//! Makes of a run's facts one history per name, as its clients saw it, and has the independent checker judge it.
//!
//! A grant is a call from when a program asked to when it was handed the grant. It ends by a release, called when the
//! program stopped believing; or by itself: called at the first moment when the program did not believe any more (it
//! was told, it died, its clock showed the end of the lease, an operator took it), and never answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use raceproof_core::id::Token;

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

/// What the histories came to.
#[derive(Debug, Default)]
pub(crate) struct Conclusion {
    pub(crate) calls: u64,
    pub(crate) undecided: u64,
    pub(crate) violation: Option<String>,
}

type Calls = Vec<Call<FencedOp, FencedAnswer>>;

/// Has one name's history judged by one model.
fn judge_part<M: Model>(
    model: &M,
    name: &str,
    calls: impl IntoIterator<Item = Call<M::Op, M::Answer>>,
    conclusion: &mut Conclusion,
) {
    let history: History<_, _> = calls.into_iter().collect();
    match check(model, &history, CONFIGURATIONS_MAX) {
        Verdict::Linearizable(_) => {}
        Verdict::Undecided(_) => conclusion.undecided += 1,
        Verdict::Violation(violation) => {
            let stuck = history.calls().get(violation.stuck_at);
            conclusion.violation = Some(format!(
                "the history of {name:?} is not linearizable: {stuck:?} fits nowhere; the lock then is {}",
                violation.state
            ));
        }
    }
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
        FencedOp::Lose { owner, .. } => MutexOp::End { owner },
        FencedOp::End { .. } | FencedOp::Steal => return None,
    };
    let answered = call.answered.as_ref().map(|(at, _)| (*at, MutexAnswer::Done));
    Some(Call { process: call.process, op, invoked: call.invoked, answered })
}

/// Collects.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    holdings: BTreeMap<u64, Holding>,
}

impl Histories {
    pub(crate) fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) {
        match fact {
            Fact::Believes { token, asked, .. } => {
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
            Fact::GaveBack { token, .. } => {
                if let Some(Holding { released: Some((_, answered)), .. }) = self.holdings.get_mut(&token.as_u64()) {
                    *answered = Some(ledger.at);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn judge(&self, ledger: &Ledger) -> Conclusion {
        let mut parts: BTreeMap<(bool, Arc<str>), (Claim, Calls)> = BTreeMap::new();
        for (token, holding) in &self.holdings {
            let Some(grant) = ledger.grants.get(token) else { continue };
            let owner = grant.session.as_u64();
            for name in &grant.taking.names {
                let part = parts.entry((grant.taking.election, name.clone()));
                let (_, calls) = part.or_insert_with(|| (grant.taking.claim, Vec::new()));
                calls.extend(self.calls(ledger, *token, owner, &grant.taking, holding));
            }
        }
        let mut conclusion = Conclusion::default();
        for ((_, name), (claim, calls)) in parts {
            conclusion.calls += calls.len() as u64;
            let model = match claim {
                Claim::Permits { of, .. } => Fenced::semaphore(of),
                Claim::Exclusive | Claim::Shared => Fenced::shared_exclusive(),
            };
            if calls.iter().all(is_alone) {
                judge_part(&OwnerMutex, &name, calls.iter().filter_map(without_token), &mut conclusion);
            }
            judge_part(&model, &name, calls, &mut conclusion);
        }
        conclusion
    }

    fn calls(
        &self,
        ledger: &Ledger,
        token: u64,
        owner: u64,
        taking: &Taking,
        holding: &Holding,
    ) -> impl Iterator<Item = Call<FencedOp, FencedAnswer>> + use<> {
        let take = match taking.claim {
            Claim::Exclusive => Fenced::ALL,
            Claim::Shared => 1,
            Claim::Permits { take, .. } => take,
        };
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

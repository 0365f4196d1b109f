//! Who waits for whom, since when, and from which line of the program: for people who look for a deadlock, or for what
//! takes so long (L6).

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::{Local, OpId};
use crate::hub::millis;
use crate::id::Token;
use crate::lock::{Grant, Key, Wait};
use crate::time::Time;
use crate::wire::{self, Code, CycleMember, Response};

/// Of how many who are in the way of one is told.
pub(super) const BLOCKERS_MAX: usize = 16;

/// A line of a program.
pub type Site = &'static Location<'static>;

/// Where something was asked for, and since when it is waited for or held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The line that asked.
    pub site: Site,
    /// Since when.
    pub since: Time,
}

/// What there is to be known of locks, in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Grants of locks that are valid.
    pub held: usize,
    /// Requests for locks that wait.
    pub waiting: usize,
    /// For how long the first of them has waited.
    pub waited_max: Duration,
    /// Waits that were over before they were served, since the start.
    pub timed_out: u64,
    /// Waits that would have closed a cycle, since the start.
    pub deadlocks: u64,
    /// Grants that passed on because nobody claimed them, since the start.
    pub unclaimed: u64,
}

/// One who waits for a lock, and who is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// The flow of work that waits.
    pub who: Arc<str>,
    /// What it waits for.
    pub waits_for: Arc<str>,
    /// For how long it has waited.
    pub waited: Duration,
    /// The line of the program that asked for it, if that is known.
    pub site: Option<Site>,
    /// Who holds it, then who waits before: the first 16.
    pub blockers: Vec<Blocker>,
}

/// One who is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Blocker {
    /// The flow of work that holds, or waits before.
    pub who: Arc<str>,
    /// The token of what it holds; none if it only waits before.
    pub token: Option<Token>,
    /// For how long it has held, or waited.
    pub since: Duration,
    /// The line of the program that asked, if that is known.
    pub site: Option<Site>,
}

impl Local {
    /// Those who wait for a lock, once for each name that is not free for them: the first `max`, in the order of asking.
    #[must_use]
    pub fn blocked(&self, now: Time, max: usize) -> Vec<Blocked> {
        let mut waits: Vec<_> = self.waits().collect();
        waits.sort_unstable_by_key(|wait| wait.ticket.id());
        waits.into_iter().flat_map(|wait| self.blocked_at(now, wait)).take(max).collect()
    }

    /// The same in numbers.
    #[must_use]
    pub fn stats(&self, now: Time) -> Stats {
        let hub = self.hub.stats();
        let first = self.waits().min_by_key(|wait| wait.ticket.id());
        Stats {
            held: self.held.len(),
            waiting: self.waits().count(),
            waited_max: elapsed(now, first.and_then(|wait| self.origin(wait))),
            timed_out: hub.refusals_total.get(&Code::WaitTimedOut).copied().unwrap_or_default(),
            deadlocks: hub.deadlocks_total,
            unclaimed: self.unclaimed,
        }
    }

    /// What the hub answered, with waits as old as they are: it knows one that was taken over only since then.
    pub(super) fn dated(&self, now: Time, mut response: Response) -> Response {
        match &mut response {
            Response::Lock(lock) => self.date(now, lock),
            Response::Locks(page) => page.locks.iter_mut().for_each(|lock| self.date(now, lock)),
            _ => {}
        }
        response
    }

    fn date(&self, now: Time, lock: &mut wire::Lock) {
        let key = Key::lock(Arc::clone(&lock.name));
        for (waiter, wait) in lock.waiters.iter_mut().zip(self.hub.table().waiters(&key)) {
            waiter.age_ms = millis(elapsed(now, self.origin(wait)));
        }
    }

    /// A cycle that a request from `site` would have closed, step by step.
    #[must_use]
    pub fn cycle(&self, now: Time, cycle: &[CycleMember], site: Site) -> Vec<Blocked> {
        let next = cycle.iter().cycle().skip(1);
        let steps = cycle.iter().zip(next).enumerate();
        steps.map(|(at, (member, next))| self.step(now, member, next, (at == 0).then_some(site))).collect()
    }

    /// `site` is the newcomer's, who does not wait any more.
    fn step(&self, now: Time, member: &CycleMember, next: &CycleMember, site: Option<Site>) -> Blocked {
        let wait = self.waits().find(|wait| wait.terms.owner == member.owner && wants(wait, &member.waits_for));
        let origin = match (site, wait) {
            (Some(site), _) => Some(Origin { site, since: now }),
            (None, Some(wait)) => self.origin(wait),
            (None, None) => None,
        };
        let is_next = |blocker: &Blocker| Some(&blocker.who) == next.owner.as_ref();
        let key = Key::lock(Arc::clone(&member.waits_for));
        let holders = self.hub.table().holders(&key).map(|grant| self.holder(now, grant));
        let waiters = self.hub.table().waiters(&key).map(|wait| self.waiter(now, wait));
        let blockers = holders.chain(waiters).filter(is_next).take(1).collect();
        Blocked {
            who: member.owner.clone().unwrap_or_default(),
            waits_for: Arc::clone(&member.waits_for),
            waited: elapsed(now, origin),
            site: origin.map(|origin| origin.site),
            blockers,
        }
    }

    /// A request for several names is blocked at each of them by others.
    fn blocked_at(&self, now: Time, wait: &Wait) -> impl Iterator<Item = Blocked> {
        let origin = self.origin(wait);
        wait.keys.iter().filter_map(move |key| {
            let in_the_way = |grant: &&Grant| grant.claim.conflicts(wait.claim);
            let holders = self.hub.table().holders(key).filter(in_the_way).map(|grant| self.holder(now, grant));
            let before = self.hub.table().waiters(key).take_while(|other| other.ticket < wait.ticket);
            let before = before.filter(|other| other.claim.conflicts(wait.claim));
            let before = before.map(|other| self.waiter(now, other));
            let blockers: Vec<_> = holders.chain(before).take(BLOCKERS_MAX).collect();
            (!blockers.is_empty()).then(|| Blocked {
                who: wait.terms.owner.clone().unwrap_or_default(),
                waits_for: Arc::clone(&key.name),
                waited: elapsed(now, origin),
                site: origin.map(|origin| origin.site),
                blockers,
            })
        })
    }

    fn holder(&self, now: Time, grant: &Grant) -> Blocker {
        let origin = self.held.get(&grant.token).copied();
        Blocker {
            who: grant.terms.owner.clone().unwrap_or_default(),
            token: Some(grant.token),
            since: elapsed(now, origin),
            site: origin.map(|origin| origin.site),
        }
    }

    fn waiter(&self, now: Time, wait: &Wait) -> Blocker {
        let origin = self.origin(wait);
        Blocker {
            who: wait.terms.owner.clone().unwrap_or_default(),
            token: None,
            since: elapsed(now, origin),
            site: origin.map(|origin| origin.site),
        }
    }

    /// Candidates wait for something else.
    fn waits(&self) -> impl Iterator<Item = &Wait> {
        self.hub.table().waits().filter(|wait| wait.terms.flows)
    }

    fn origin(&self, wait: &Wait) -> Option<Origin> {
        let op = OpId(self.hub.asker(wait.ticket.id())?.as_u64());
        self.ops.get(&op)?.origin
    }
}

fn wants(wait: &Wait, name: &Arc<str>) -> bool {
    wait.keys.iter().any(|key| key.name == *name)
}

fn elapsed(now: Time, origin: Option<Origin>) -> Duration {
    origin.map_or(Duration::ZERO, |origin| now.since(origin.since))
}

//! What people look at: locks, waiters, sessions, elections, and why a request waits. Read from the state as it is,
//! shown once everything that anyone was promised up to then is on disk.

use std::sync::Arc;

use super::sessions::millis;
use super::{Caller, Hub, Reply};
use crate::id::{RequestId, SessionId};
use crate::lock::{Grant, Key, Space, Wait};
use crate::session::Asked;
use crate::time::Time;
use crate::wire::{
    Check, Code, ElectionPage, Holder, Lock, LockPage, Page, Problem, Response, SessionInfo, SessionPage, Waiter,
    Waiting,
};

/// How many waiters a listing shows of one lock; their number is always exact.
const WAITERS_SHOWN_MAX: usize = 100;
const PAGE_MAX: u32 = 1_000;

impl Hub {
    /// What a look would be answered with if nothing had to be on disk first; `None` for a request that acts. For the
    /// simulator, which has to see the state without being part of what happens.
    #[cfg(feature = "mutations")]
    #[must_use]
    pub fn peek(&self, now: Time, request: &crate::wire::Request) -> Option<Response> {
        use crate::wire::Request;
        let reply = match request {
            Request::Locks(page) => self.list_locks(now, page),
            Request::Lock { name } => self.show_lock(now, name.clone()),
            Request::Sessions(page) => self.list_sessions(now, page).ok()?,
            Request::Election { name } => self.show_election(now, name.clone()),
            Request::Elections(page) => self.list_elections(now, page),
            Request::Check(check) => self.check(check),
            _ => return None,
        };
        match reply {
            Reply::Now(response) | Reply::After(_, response) => Some(response),
            Reply::Later => None,
        }
    }

    const fn read(&self, response: Response) -> Reply {
        Reply::After(self.promised, response)
    }

    pub(super) fn check(&self, check: &Check) -> Reply {
        let key = Key::lock(check.name.clone());
        let tokens: Vec<_> = self.table.holders(&key).map(|grant| grant.token).collect();
        let (valid, newest) = (tokens.contains(&check.token), tokens.last().copied());
        // Its holder may go by this, and not give back what a crash brings back.
        let after = if valid { self.promised } else { self.promised.max(self.revoked) };
        Reply::After(after, Response::Checked { valid, newest })
    }

    pub(super) fn why(&self, now: Time, caller: &Caller, request: &RequestId) -> Result<Reply, Problem> {
        let session = self.speaker(caller)?;
        let asked = self.sessions.get(&session).and_then(|session| session.asked(request));
        let Some(wait) = asked.and_then(|asked| match asked {
            Asked::Waiting(id) => self.table.wait(*id),
            _ => None,
        }) else {
            let detail = format!("request {request} of session {session} does not wait");
            return Err(Problem::new(Code::NotWaiting, detail));
        };
        let blocked_by = wait.keys.iter().map(|key| self.lock(now, key)).filter(in_the_way(wait)).collect();
        let waiting = Waiting {
            request: request.clone(),
            age_ms: millis(now.since(wait.since)),
            recovering: self.recovery.is_some(),
            blocked_by,
        };
        Ok(self.read(Response::Waiting(waiting)))
    }

    pub(super) fn list_locks(&self, now: Time, page: &Page) -> Reply {
        let (keys, next) = self.keys_of(Space::Lock, page);
        let locks = keys.iter().map(|key| self.lock(now, key)).collect();
        self.read(Response::Locks(LockPage { locks, next }))
    }

    pub(super) fn list_elections(&self, now: Time, page: &Page) -> Reply {
        let (keys, next) = self.keys_of(Space::Election, page);
        let elections = keys.into_iter().map(|key| self.election(now, key.name)).collect();
        self.read(Response::Elections(ElectionPage { elections, next }))
    }

    /// The names in use that are on a page, and the last of them if others follow.
    fn keys_of(&self, space: Space, page: &Page) -> (Vec<Key>, Option<Arc<str>>) {
        let limit = page.limit.clamp(1, PAGE_MAX) as usize;
        let mut keys: Vec<_> = self
            .table
            .keys_from(space, &page.prefix, page.after.as_deref())
            .take_while(|key| key.name.starts_with(&*page.prefix))
            .take(limit + 1)
            .cloned()
            .collect();
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().filter(|_| more).map(|key| key.name.clone());
        (keys, next)
    }

    pub(super) fn show_lock(&self, now: Time, name: Arc<str>) -> Reply {
        let lock = self.lock(now, &Key::lock(name));
        self.read(Response::Lock(lock))
    }

    pub(super) fn show_election(&self, now: Time, name: Arc<str>) -> Reply {
        let election = self.election(now, name);
        self.read(Response::Election(election))
    }

    pub(super) fn list_sessions(&self, now: Time, page: &Page) -> Result<Reply, Problem> {
        let limit = page.limit.clamp(1, PAGE_MAX) as usize;
        let after: u64 = match page.after.as_deref() {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                Problem::new(Code::BadRequest, format!("{text:?} is not the `next` of a page of sessions"))
            })?,
        };
        let mut found: Vec<_> = self
            .sessions
            .values_from(SessionId::new(after.saturating_add(1)))
            .filter(|session| session.name.starts_with(&*page.prefix))
            .take(limit + 1)
            .map(|session| SessionInfo {
                session: session.id,
                name: session.name.clone(),
                ttl_ms: millis(session.lease.ttl),
                lease_left_ms: millis(session.lease.expires.since(now)),
                connected: session.conn.is_some(),
                grants: session.grants.len() as u64,
                waits: session.waits.len() as u64,
            })
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|session| session.session.to_string().into());
        Ok(self.read(Response::Sessions(SessionPage { sessions: found, next })))
    }

    pub(super) fn lock(&self, now: Time, key: &Key) -> Lock {
        Lock {
            name: key.name.clone(),
            permits: self.table.permits_of(key),
            holders: self.table.holders(key).map(|grant| self.holder(now, grant)).collect(),
            waiters_count: self.table.waiters_count(key) as u64,
            waiters: self.waiters(now, key),
            delay_left_ms: self.table.closed_until(key).map(|until| millis(until.since(now))),
        }
    }

    pub(super) fn holder(&self, now: Time, grant: &Grant) -> Holder {
        let session = self.sessions.get(&grant.session);
        Holder {
            session: grant.session,
            session_name: self.session_name(grant.session),
            token: grant.token,
            mode: grant.claim.mode(),
            take: grant.claim.take(),
            class: grant.terms.class,
            age_ms: self.unix_ms(now).saturating_sub(grant.since_unix_ms),
            lease_left_ms: session.map_or(0, |session| millis(session.lease.expires.since(now))),
        }
    }

    pub(super) fn waiters(&self, now: Time, key: &Key) -> Vec<Waiter> {
        let numbered = (1..).zip(self.table.waiters(key)).take(WAITERS_SHOWN_MAX);
        numbered.map(|(position, wait)| self.waiter(now, position, wait)).collect()
    }

    fn waiter(&self, now: Time, position: u64, wait: &Wait) -> Waiter {
        Waiter {
            session: wait.session,
            session_name: self.session_name(wait.session),
            request: wait.terms.request.clone(),
            mode: wait.claim.mode(),
            priority: u8::try_from(wait.ticket.rank()).unwrap_or(u8::MAX),
            position,
            age_ms: millis(now.since(wait.since)),
        }
    }
}

/// Whether a lock stands in the way of `wait`: somebody holds it, waits before, or its lock-delay lasts.
fn in_the_way(wait: &Wait) -> impl Fn(&Lock) -> bool + '_ {
    |lock| {
        !lock.holders.is_empty()
            || lock.delay_left_ms.is_some()
            || lock.waiters.first().is_some_and(|first| {
                first.session != wait.session || first.request.as_ref() != wait.terms.request.as_ref()
            })
    }
}

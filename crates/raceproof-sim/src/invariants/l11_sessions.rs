//! L11: a session is a connection plus a lease. One that said so ends at once with its connection, and with it all that
//! it held and waited for. (That the end of a connection ends no other session is judged with L5.)

use raceproof_core::id::SessionId;
use raceproof_core::wire::{Request, Response};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Invariant, Ledger};
use crate::world::fact::Fact;
use crate::world::net::LinkId;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Which session the hub has on a connection, where that is certain.
    bound: FxHashMap<LinkId, SessionId>,
    /// Sessions whose connection went in this run of the hub, and that end with it. A crash may undo it.
    gone: FxHashSet<SessionId>,
}

impl Invariant for Sessions {
    fn name(&self) -> &'static str {
        "l11_sessions"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => {
                self.bound.clear();
                self.gone.clear();
            }
            // Until it is answered, nobody knows which connection the hub takes the session to be on.
            Fact::Asked { request, .. } => {
                if let Request::Resume(resume) = &***request {
                    self.bound.retain(|_, session| *session != resume.session.id);
                }
            }
            Fact::Answered { link, seq, result: Ok(response) } => {
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                match (&**response, &*pending.request) {
                    (Response::Opened { session, .. }, _) => {
                        self.bound.insert(*link, session.id);
                    }
                    (Response::Resumed { .. }, Request::Resume(resume)) => {
                        self.bound.insert(*link, resume.session.id);
                    }
                    _ => {}
                }
            }
            Fact::Disconnected { link } => {
                let session = self.bound.remove(link);
                let ends = |id: &SessionId| {
                    ledger.sessions.get(&id.as_u64()).is_some_and(|session| session.socket && session.ends_with_link)
                };
                self.gone.extend(session.filter(ends));
            }
            Fact::Listed(table) => {
                let holders = table.locks.iter().flat_map(|lock| lock.holders.iter().map(|holder| holder.session));
                let waiters = table.locks.iter().flat_map(|lock| lock.waiters.iter().map(|waiter| waiter.session));
                if let Some(session) = holders.chain(waiters).find(|session| self.gone.contains(session)) {
                    return Err(format!("session {session} outlives its connection, which it said it would not"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

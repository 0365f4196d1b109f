//! What only a hub inside its callers' own process is asked, by [`crate::local`]: nobody beyond that process hears of
//! its grants, so some of them may be made without it and shown to it when somebody else asks for the same name.

use std::sync::Arc;

use super::Hub;
use crate::id::{ConnId, Lsn, SessionId, Token};
use crate::lock::{Claim, Grant, Key, LockTable, Terms, WaitId};
use crate::time::Time;
use crate::wire::Class;

impl Hub {
    /// Takes over a grant of a name that was not in use here, or by grants that this one goes with.
    pub(crate) fn adopt(
        &mut self,
        now: Time,
        session: SessionId,
        name: Arc<str>,
        token: Token,
        owner: Arc<str>,
        claim: Claim,
    ) {
        let terms = Terms {
            class: Class::Durable,
            lock_delay_ms: 0,
            request: None,
            value: Arc::from(""),
            owner: Some(owner),
            flows: true,
        };
        if let Some(session) = self.sessions.get_mut(&session) {
            session.grants.insert(token);
        }
        self.table.insert(Grant {
            token,
            session,
            keys: vec![Key::lock(name)],
            claim,
            terms,
            since_unix_ms: self.unix_ms(now),
            visible_from: Lsn::new(0),
        });
    }

    /// Leaves out the tokens up to `last`: they were given elsewhere.
    pub(crate) fn skip_tokens(&mut self, last: Token) {
        self.tokens.skip_to(last);
    }

    /// The last token that was given.
    pub(crate) const fn token_last(&self) -> Token {
        self.tokens.last()
    }

    /// Whether anyone holds a lock of this name or waits for it.
    pub(crate) fn uses(&self, name: &Arc<str>) -> bool {
        let key = Key::lock(Arc::clone(name));
        self.table.waiters_count(&key) > 0 || self.table.holders(&key).next().is_some()
    }

    /// The names of a grant that is valid.
    pub(crate) fn names_of(&self, token: Token) -> Vec<Arc<str>> {
        let keys = self.table.grant(token).map(|grant| grant.keys.as_slice()).unwrap_or_default();
        keys.iter().map(|key| Arc::clone(&key.name)).collect()
    }

    /// Who holds what, and who waits for it.
    pub(crate) const fn table(&self) -> &LockTable {
        &self.table
    }

    /// Who is told when a request is served.
    pub(crate) fn asker(&self, id: WaitId) -> Option<ConnId> {
        self.replies.get(&id)?.first().map(|(conn, _)| *conn)
    }

    /// How many requests wait.
    pub(crate) fn waits_count(&self) -> usize {
        self.table.waits_count()
    }

    /// How many requests may wait from here on.
    pub(crate) const fn set_waiters_max(&mut self, max: usize) {
        self.config.waiters_max = max;
    }

    /// What a session holds, in token order.
    pub(crate) fn held_by(&self, session: SessionId) -> Vec<Token> {
        self.sessions.get(&session).map(|session| session.grants.iter().copied().collect()).unwrap_or_default()
    }
}

//! What is held while the command runs, and the sessions that hold it.

use std::future::{Future, pending};
use std::pin::Pin;

use raceproof::{Guard, Leadership, Leases, Raceproof};
use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;

use crate::supervise::link::SessionAccess;
use crate::supervise::wrapper::{Change, Holding, Sessions};

/// A guard or a leadership.
pub(super) enum Owned {
    Lock(Guard),
    Leadership(Leadership),
}

impl Owned {
    pub(super) fn token(&self) -> Token {
        match self {
            Self::Lock(guard) => guard.token(),
            Self::Leadership(leadership) => leadership.term(),
        }
    }
}

/// What is held, and the news of it.
pub(super) struct Held {
    pub(super) owned: Owned,
    session: SessionId,
    leases: Leases,
    lost: Pin<Box<dyn Future<Output = LostReason> + Send>>,
}

impl Held {
    pub(super) fn new(owned: Owned, leases: Leases) -> Self {
        let (session, lost): (_, Pin<Box<dyn Future<Output = LostReason> + Send>>) = match &owned {
            Owned::Lock(guard) => (guard.session(), Box::pin(guard.lost())),
            Owned::Leadership(leadership) => (leadership.leader().session, Box::pin(leadership.lost())),
        };
        Self { owned, session, leases, lost }
    }
}

impl Holding for Held {
    fn deadline(&self) -> Time {
        match &self.owned {
            Owned::Lock(guard) => guard.deadline(),
            Owned::Leadership(leadership) => leadership.deadline(),
        }
    }

    async fn changed(&mut self) -> Change {
        loop {
            tokio::select! {
                biased;
                reason = &mut self.lost => return Change::Lost(reason),
                change = self.leases.changed() => match change {
                    Some(Some(lease)) if lease.session == self.session => return Change::Renewed(lease.deadline),
                    // Another session, or none: then this one is lost, which is said above.
                    Some(_) => {}
                    None => return Change::Lost(LostReason::Ended),
                },
            }
        }
    }
}

/// No session yet.
pub(super) struct NoSessions;

impl Sessions for NoSessions {
    async fn next(&mut self) -> SessionAccess {
        pending().await
    }
}

/// The client's sessions: one that is lost while it waits is followed by another.
pub(super) struct OwnSessions {
    rp: Raceproof,
    leases: Leases,
    access: (String, Option<String>),
    told: Option<SessionId>,
}

impl OwnSessions {
    /// Those of a client of `access`: the server and the token for it.
    pub(super) fn new(rp: &Raceproof, access: (String, Option<String>)) -> Self {
        Self { rp: rp.clone(), leases: rp.leases(), access, told: None }
    }

    pub(super) fn current(&self) -> Option<SessionAccess> {
        let (server, auth_token) = self.access.clone();
        Some(SessionAccess { server, auth_token, key: self.rp.session_key()? })
    }
}

impl Sessions for OwnSessions {
    async fn next(&mut self) -> SessionAccess {
        loop {
            if let Some(access) = self.current().filter(|access| self.told != Some(access.key.id)) {
                self.told = Some(access.key.id);
                return access;
            }
            if self.leases.changed().await.is_none() {
                return pending().await;
            }
        }
    }
}

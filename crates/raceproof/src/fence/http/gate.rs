//! Lets the requests of one token in together, and a newer one only after the older ones have ended.
//!
//! Without it, a request could pass the check, be overtaken by the next holder's, and write last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raceproof_core::id::Token;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::fence::{CheckError, FenceStore};

/// The newest token that was let in since the gate was made. Each request under way holds it for reading.
type Gate = RwLock<Token>;

/// A gate for each resource that has a request under way or waiting, and none else.
#[derive(Debug, Default)]
pub(super) struct Gates {
    open: Mutex<HashMap<Arc<str>, Arc<Gate>>>,
}

/// A request that was let in; dropping it says that it has ended.
#[derive(Debug)]
pub(super) struct Entered {
    // Dropped before the visit, which then sees whether anybody else is there.
    _under_way: OwnedRwLockReadGuard<Token>,
    _visit: Visit,
}

/// Somebody at a gate, let in or waiting.
#[derive(Debug)]
struct Visit {
    gates: Arc<Gates>,
    resource: Arc<str>,
    gate: Option<Arc<Gate>>,
}

impl Gates {
    /// Lets a request in, if the store admits its token, as soon as no request of an older one is under way.
    ///
    /// # Cancel safety
    /// A request that stops waiting leaves nothing behind, but for a token that the store may have admitted.
    pub(super) async fn enter<T: FenceStore>(
        gates: &Arc<Self>,
        store: &T,
        resource: &Arc<str>,
        token: Token,
    ) -> Result<Entered, CheckError<T::Error>> {
        let (visit, gate) = Visit::begin(gates, resource);
        let under_way = Arc::clone(&gate).read_owned().await;
        let under_way = if token > *under_way {
            drop(under_way);
            let mut alone = gate.write_owned().await;
            store.check(resource, token).await?;
            *alone = token.max(*alone);
            alone.downgrade()
        } else {
            // Nobody older is under way, but another server may have let a newer token in.
            store.check(resource, token).await?;
            under_way
        };
        Ok(Entered { _under_way: under_way, _visit: visit })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Gate>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    fn begin(gates: &Arc<Gates>, resource: &Arc<str>) -> (Self, Arc<Gate>) {
        let gate = Arc::clone(gates.lock().entry(Arc::clone(resource)).or_default());
        let visit = Self { gates: Arc::clone(gates), resource: Arc::clone(resource), gate: Some(Arc::clone(&gate)) };
        (visit, gate)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut open = self.gates.lock();
        drop(self.gate.take());
        // Others can only leave while the map is locked: a gate that nobody but the map has is nobody's.
        if open.get(&self.resource).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            open.remove(&self.resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fence::MemoryFences;

    struct Door {
        gates: Arc<Gates>,
        store: MemoryFences,
        resource: Arc<str>,
    }

    impl Door {
        fn new() -> Self {
            Self { gates: Arc::default(), store: MemoryFences::default(), resource: Arc::from("r") }
        }

        async fn enter(&self, token: u64) -> Option<Entered> {
            Gates::enter(&self.gates, &self.store, &self.resource, Token::new(token)).await.ok()
        }

        /// Whether it waits, for as long as anybody cares.
        async fn waits(&self, token: u64) -> bool {
            tokio::time::timeout(Duration::from_secs(3600), self.enter(token)).await.is_err()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l9_a_newer_token_waits_for_the_requests_of_an_older_one() {
        let door = Door::new();
        let older = door.enter(5).await.unwrap();
        let beside = door.enter(5).await.unwrap();
        assert!(door.waits(6).await);
        drop(older);
        assert!(door.waits(6).await);
        drop(beside);
        let _newer = door.enter(6).await.unwrap();
        assert!(door.enter(5).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn l9_behind_a_newer_token_that_waits_an_older_one_is_refused() {
        let door = Arc::new(Door::new());
        let older = door.enter(5).await.unwrap();
        let spawn = |token| {
            let door = Arc::clone(&door);
            tokio::spawn(async move { door.enter(token).await.is_some() })
        };
        let newer = spawn(6);
        tokio::task::yield_now().await;
        let late = spawn(5);
        tokio::task::yield_now().await;
        drop(older);
        assert!(newer.await.unwrap());
        assert!(!late.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_requests_that_ended_were_refused_or_gave_up() {
        let door = Door::new();
        let older = door.enter(5).await.unwrap();
        assert!(door.waits(6).await);
        assert_eq!(door.gates.lock().len(), 1);
        drop(older);
        assert!(door.enter(4).await.is_none());
        drop(door.enter(7).await.unwrap());
        assert!(door.gates.lock().is_empty());
    }
}

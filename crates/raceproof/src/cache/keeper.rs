//! Drops what has expired where nobody writes: one task of whatever runtime the cache was last written in, as long as it
//! holds anything that ends by time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::bounds::{Key, Value};
use super::shared::{SHARDS, Shard, Shared};
use crate::rt::{Runtime, discarded};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::timer;

/// How often a shard is swept under one hold of its lock.
const SWEEPS: usize = 64;

/// Says, when the runtime ends, that nobody looks any more.
struct Keeper<K: Key, V: Value, E: Send + Sync + 'static>(Weak<Shared<K, V, E>>);

impl<K: Key, V: Value, E: Send + Sync + 'static> Shared<K, V, E> {
    /// Something may have been written: has somebody look for what expires. Outside a runtime nobody does.
    #[inline]
    pub(super) fn tend(self: &Arc<Self>) {
        if self.config.is_timed() && !self.tended.load(Ordering::Relaxed) {
            self.start_to_tend();
        }
    }

    #[cold]
    fn start_to_tend(self: &Arc<Self>) {
        let (Some(runtime), Some(every)) = (Runtime::current(), self.config.sweep_every()) else { return };
        if !self.tended.swap(true, Ordering::SeqCst) {
            runtime.spawn(Keeper(Arc::downgrade(self)).keep(every));
        }
    }

    /// Looks at so many times a few of what ends by time in one shard.
    fn tidy(&self, shard: &Mutex<Shard<K, V, E>>, sweeps: usize) {
        let now = self.now();
        let (mut expired, mut forgotten) = (Vec::new(), Vec::new());
        let mut locked = self.locked(shard);
        for _ in 0..sweeps {
            forgotten.push(self.sweep(&mut locked, now, &mut expired));
        }
        drop(locked);
        discarded(|| drop((expired, forgotten)));
    }

    /// Whether the keeper may end. Who writes does so before it looks for a keeper, and this the other way round.
    fn is_tended_enough(&self) -> bool {
        let is_empty = || self.shards.iter().all(|shard| self.locked(shard).ages.is_empty());
        if !is_empty() {
            return false;
        }
        self.tended.store(false, Ordering::SeqCst);
        // If another keeper has begun meanwhile, this one ends.
        is_empty() || self.tended.swap(true, Ordering::SeqCst)
    }
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Keeper<K, V, E> {
    async fn keep(mut self, every: Duration) {
        loop {
            timer::sleep(every).await;
            if self.goes_round().await.is_none() || self.0.upgrade().is_none_or(|shared| shared.is_tended_enough()) {
                self.0 = Weak::new();
                return;
            }
        }
    }

    /// Goes once round all that ends by time. None if the cache is gone, which nobody is kept from meanwhile.
    async fn goes_round(&self) -> Option<()> {
        for shard in 0..SHARDS {
            let round = |shared: &Shared<K, V, E>| Some(shared.locked(shared.shards.get(shard)?).ages.round());
            let mut sweeps = round(&*self.0.upgrade()?)?;
            while sweeps > 0 {
                let shared = self.0.upgrade()?;
                shared.tidy(shared.shards.get(shard)?, sweeps.min(SWEEPS));
                drop(shared);
                sweeps = sweeps.saturating_sub(SWEEPS);
                tokio::task::yield_now().await;
            }
        }
        Some(())
    }
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Drop for Keeper<K, V, E> {
    fn drop(&mut self) {
        // A runtime without timers panics, and would do so again.
        if let Some(shared) = self.0.upgrade().filter(|_| !std::thread::panicking()) {
            shared.tended.store(false, Ordering::SeqCst);
        }
    }
}

//! Values that are loaded once: K1, K2.

use std::sync::Arc;

use raceproof::cache::Cache;
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::Rng;
use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{check, given_up_after, polls};

type Numbers = Cache<u8, u64, String>;

/// Where values come from, read when a load begins.
#[derive(Default)]
struct Source {
    number: AtomicU64,
    under_way: AtomicU32,
    loads: AtomicU32,
}

impl Source {
    async fn load(self: Arc<Self>) -> Result<u64, String> {
        assert_eq!(self.under_way.fetch_add(1, Ordering::SeqCst), 0, "K1: two loads at a time");
        self.loads.fetch_add(1, Ordering::SeqCst);
        let number = self.number.load(Ordering::SeqCst);
        yield_now().await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(number)
    }

    async fn through(self: &Arc<Self>, cache: &Numbers) -> u64 {
        let source = Arc::clone(self);
        cache.get_or_load(&1, || source.load()).await.unwrap()
    }
}

/// Without a time limit on loads: there is no timer under shuttle.
fn cache() -> (Numbers, Arc<Source>) {
    (Cache::builder(10).load_timeout(None).build(), Arc::default())
}

#[test]
fn k1_one_load_whoever_gives_up() {
    check(|| {
        block_on(async {
            let (cache, source) = cache();
            let callers: Vec<_> = (0..3)
                .map(|caller| {
                    let (cache, source) = (cache.clone(), Arc::clone(&source));
                    let polls = polls(4);
                    spawn(async move {
                        if caller == 0 {
                            let _ = given_up_after(polls, source.through(&cache)).await;
                        } else {
                            assert_eq!(source.through(&cache).await, 0);
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
            assert_eq!(source.loads.load(Ordering::SeqCst), 1);
            assert_eq!((cache.stats().loading, cache.stats().waiters), (0, 0));
        });
    });
}

#[test]
fn k2_nobody_who_asks_after_an_invalidation_gets_what_was_before() {
    check(|| {
        block_on(async {
            let (cache, source) = cache();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let (cache, source) = (cache.clone(), Arc::clone(&source));
                    let polls = shuttle::rand::thread_rng().gen_range(1..6);
                    spawn(async move {
                        let _ = given_up_after(polls, source.through(&cache)).await;
                        let at_least = source.number.load(Ordering::SeqCst).saturating_sub(1);
                        let number = source.through(&cache).await;
                        assert!(number >= at_least, "K2: {number}, which was invalidated before {at_least}");
                    })
                })
                .collect();
            let writer = spawn({
                let (cache, source) = (cache.clone(), Arc::clone(&source));
                async move {
                    for number in 1..=3 {
                        source.number.store(number, Ordering::SeqCst);
                        cache.invalidate(&1);
                        // What is kept from here on was loaded from here on.
                        assert_eq!(source.through(&cache).await, number);
                    }
                }
            });
            writer.await.unwrap();
            for reader in readers {
                reader.await.unwrap();
            }
            assert_eq!(source.through(&cache).await, 3);
            assert_eq!((cache.stats().loading, cache.stats().waiters), (0, 0));
        });
    });
}

#[test]
fn k2_a_write_stays() {
    check(|| {
        block_on(async {
            let (cache, source) = cache();
            let reader = spawn({
                let (cache, source) = (cache.clone(), Arc::clone(&source));
                async move { source.through(&cache).await }
            });
            yield_now().await;
            cache.insert(1, 7);
            let number = reader.await.unwrap();
            assert!(number == 0 || number == 7);
            assert_eq!(cache.get(&1), Some(7));
        });
    });
}

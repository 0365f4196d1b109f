//! With paused time: how often is loaded, by whom, and what is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::*;

const MS: Duration = Duration::from_millis(1);
const LOAD: Duration = Duration::from_millis(200);

type Numbers = Cache<String, u32, String>;

/// Where values come from: a number that is read when a load begins and given when it ends, 200 ms later.
#[derive(Clone, Default)]
struct Source {
    number: Arc<AtomicU32>,
    loads: Arc<AtomicU32>,
}

impl Source {
    async fn load(self) -> Result<u32, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let number = self.number.load(Ordering::SeqCst);
        sleep(LOAD).await;
        Ok(number)
    }

    async fn through(&self, cache: &Numbers) -> Result<u32, LoadError<String>> {
        let source = self.clone();
        cache.get_or_load("key", move || source.load()).await
    }

    fn spawn(&self, cache: &Numbers) -> tokio::task::JoinHandle<Result<u32, LoadError<String>>> {
        let (source, cache) = (self.clone(), cache.clone());
        tokio::spawn(async move { source.through(&cache).await })
    }

    fn set(&self, number: u32) {
        self.number.store(number, Ordering::SeqCst);
    }

    fn loads(&self) -> u32 {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn k1_five_hundred_who_miss_load_once() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let mut callers = JoinSet::new();
    for _ in 0..500 {
        let (cache, source) = (cache.clone(), source.clone());
        callers.spawn(async move { source.through(&cache).await.unwrap() });
    }
    assert_eq!(callers.join_all().await, vec![0; 500]);
    assert_eq!(source.loads(), 1);
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.coalesced, stats.loads, stats.loading, stats.waiters), (500, 499, 1, 0, 0));
    assert_eq!(source.through(&cache).await.unwrap(), 0);
    assert_eq!(cache.stats().hits, 1);
}

/// The leader of a single flight is cancelled at 170 of 200 ms: those who wait do not begin again.
#[tokio::test(start_paused = true)]
async fn k1_a_cancelled_leader_does_not_start_a_second_load() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let began = Instant::now();
    let leader = source.spawn(&cache);
    sleep(10 * MS).await;
    let follower = source.spawn(&cache);
    sleep(160 * MS).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert_eq!(follower.await.unwrap().unwrap(), 0);
    assert_eq!(began.elapsed(), LOAD);
    assert_eq!(source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn k1_a_load_that_everybody_left_still_fills_the_cache() {
    let (cache, source) = (Numbers::new(100), Source::default());
    assert!(timeout(MS, source.through(&cache)).await.is_err());
    assert_eq!(cache.stats().waiters, 0);
    sleep(LOAD).await;
    assert_eq!(cache.get("key"), Some(0));
    assert_eq!(source.loads(), 1);
}

/// A leader whose future is kept but never polled again holds nobody up.
#[tokio::test(start_paused = true)]
async fn k1_a_leader_that_is_not_polled_holds_nobody_up() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let mut leader = Box::pin(source.through(&cache));
    tokio::select! {
        biased;
        _ = &mut leader => panic!("the load takes longer"),
        () = sleep(MS) => {}
    }
    assert_eq!(source.through(&cache).await.unwrap(), 0);
    assert_eq!(source.loads(), 1);
    assert_eq!(leader.await.unwrap(), 0);
}

/// Loads late and stale: the invalidation must not be undone by the load that began before it.
#[tokio::test(start_paused = true)]
async fn k2_a_late_load_does_not_resurrect_what_was_invalidated() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let old = source.spawn(&cache);
    sleep(100 * MS).await;
    source.set(1);
    cache.invalidate("key");
    // Asked before, so the value of before is right for it; but nothing of it is kept.
    assert_eq!(old.await.unwrap().unwrap(), 0);
    assert_eq!(cache.get("key"), None);
    assert_eq!(source.through(&cache).await.unwrap(), 1);
    assert_eq!((source.loads(), cache.stats().overtaken), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn k2_who_asks_after_the_invalidation_waits_for_a_later_load() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let began = Instant::now();
    let old = source.spawn(&cache);
    sleep(100 * MS).await;
    source.set(1);
    cache.invalidate("key");
    let (a, b) = (source.spawn(&cache), source.spawn(&cache));
    assert_eq!(old.await.unwrap().unwrap(), 0);
    assert_eq!((a.await.unwrap().unwrap(), b.await.unwrap().unwrap()), (1, 1));
    // One after the other (K1).
    assert_eq!(began.elapsed(), 2 * LOAD);
    assert_eq!(source.loads(), 2);
    assert_eq!(cache.get("key"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn k2_who_queued_the_later_load_may_go() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let old = source.spawn(&cache);
    tokio::task::yield_now().await;
    cache.invalidate("key");
    let first = source.spawn(&cache);
    tokio::task::yield_now().await;
    let second = source.spawn(&cache);
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    source.set(1);
    old.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap().unwrap(), 1);
    // When all have gone, it is not run.
    cache.invalidate("key");
    let old = source.spawn(&cache);
    tokio::task::yield_now().await;
    cache.invalidate("key");
    let only = source.spawn(&cache);
    tokio::task::yield_now().await;
    only.abort();
    old.await.unwrap().unwrap();
    sleep(2 * LOAD).await;
    assert_eq!((source.loads(), cache.stats().loading), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn k2_a_write_during_a_load_wins() {
    let (cache, source) = (Numbers::new(100), Source::default());
    let old = source.spawn(&cache);
    sleep(100 * MS).await;
    cache.insert("key".to_owned(), 7);
    assert_eq!(source.through(&cache).await.unwrap(), 7);
    old.await.unwrap().unwrap();
    assert_eq!(cache.get("key"), Some(7));
}

#[tokio::test(start_paused = true)]
async fn k2_invalidating_a_part_spares_the_rest() {
    let (cache, source) = (Numbers::new(100), Source::default());
    cache.insert("other".to_owned(), 1);
    let old = source.spawn(&cache);
    sleep(MS).await;
    cache.invalidate_where(|key| key == "key");
    old.await.unwrap().unwrap();
    assert_eq!((cache.get("key"), cache.get("other")), (None, Some(1)));
    cache.invalidate_all();
    assert_eq!((cache.get("other"), cache.stats().entries), (None, 0));
}

/// Document 002: the list of engines is asked for all the time, and fetched once every 2 s.
#[tokio::test(start_paused = true)]
async fn k1_five_hundred_readers_load_once_per_two_seconds() {
    let cache: Numbers = Cache::builder(10).ttl(Duration::from_secs(2)).build();
    let loads = Arc::new(AtomicU32::new(0));
    let began = Instant::now();
    let mut readers = JoinSet::new();
    for reader in 0..500 {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        readers.spawn(async move {
            sleep(reader % 50 * MS).await;
            while began.elapsed() < Duration::from_secs(10) {
                let loads = Arc::clone(&loads);
                let load = move || async move { Ok(loads.fetch_add(1, Ordering::SeqCst)) };
                let engines = cache.get_or_load("engines", load).await.unwrap();
                let age = began.elapsed() - u32::min(engines, 5) * Duration::from_secs(2);
                assert!(age <= Duration::from_millis(2_100), "{engines} after {:?}", began.elapsed());
                sleep(50 * MS).await;
            }
        });
    }
    readers.join_all().await;
    assert_eq!(loads.load(Ordering::SeqCst), 5);
    assert_eq!(cache.stats().hits, 500 * 200 - 5 - cache.stats().coalesced);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_served_while_one_load_refreshes_it() {
    let cache: Numbers = Cache::builder(10).ttl(Duration::from_secs(2)).stale(Duration::from_secs(1)).build();
    let source = Source::default();
    source.through(&cache).await.unwrap();
    source.set(1);
    sleep(Duration::from_millis(2_500)).await;
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(source.through(&cache).await.unwrap(), 0);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(LOAD + MS).await;
    assert_eq!(cache.get("key"), Some(1));
    assert_eq!((source.loads(), cache.stats().stale_hits), (2, 3));
    // Past its time it is not served.
    source.set(2);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(cache.get("key"), None);
    assert_eq!(source.through(&cache).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_not_tried_by_every_caller() {
    let second = Duration::from_secs(1);
    let cache: Numbers = Cache::builder(10).ttl(second).stale(60 * second).build();
    cache.insert("key".to_owned(), 1);
    let attempts = Arc::new(AtomicU32::new(0));
    sleep(second).await;
    for _ in 0..500 {
        let attempts = Arc::clone(&attempts);
        let load = move || async move {
            attempts.fetch_add(1, Ordering::SeqCst);
            Err("down".to_owned())
        };
        assert_eq!(cache.get_or_load("key", load).await.unwrap(), 1);
        sleep(10 * MS).await;
    }
    // 5 s, and a second between attempts.
    assert_eq!(attempts.load(Ordering::SeqCst), 5);
    assert_eq!(cache.stats().failed, 5);
}

#[tokio::test(start_paused = true)]
async fn absence_is_remembered_if_asked() {
    let cache: Numbers = Cache::builder(10).absent_ttl(Duration::from_secs(1)).build();
    for _ in 0..3 {
        assert_eq!(cache.get_or_find("key", || async { Ok(None) }).await.unwrap(), None);
    }
    assert_eq!((cache.stats().loads, cache.stats().hits), (1, 2));
    // Who can make a value makes one.
    assert_eq!(cache.get_or_load("key", || async { Ok(1) }).await.unwrap(), 1);
    cache.invalidate("key");
    assert_eq!(cache.get_or_find("key", || async { Ok(None) }).await.unwrap(), None);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(cache.get_or_find("key", || async { Ok(Some(2)) }).await.unwrap(), Some(2));

    let forgetful = Numbers::new(10);
    for _ in 0..3 {
        assert_eq!(forgetful.get_or_find("key", || async { Ok(None) }).await.unwrap(), None);
    }
    assert_eq!((forgetful.stats().loads, forgetful.stats().entries), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn who_makes_a_value_does_not_take_the_absence_another_found() {
    let cache = Numbers::new(10);
    let finder = tokio::spawn({
        let cache = cache.clone();
        async move {
            let load = || async {
                sleep(LOAD).await;
                Ok(None)
            };
            cache.get_or_find("key", load).await.unwrap()
        }
    });
    tokio::task::yield_now().await;
    assert_eq!(cache.get_or_load("key", || async { Ok(1) }).await.unwrap(), 1);
    assert_eq!(finder.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_who_waited_and_not_kept() {
    let cache = Numbers::new(10);
    let failing = || async {
        sleep(LOAD).await;
        Err("no such table".to_owned())
    };
    let (a, b) = tokio::join!(cache.get_or_load("key", failing), cache.get_or_load("key", failing));
    for result in [a, b] {
        assert!(matches!(result, Err(LoadError::Load(Failure::Failed(error))) if *error == "no such table"));
    }
    assert_eq!((cache.stats().loads, cache.stats().failed), (1, 1));
    assert_eq!(cache.get_or_load("key", || async { Ok(1) }).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_wherever_it_happens() {
    let cache = Numbers::new(10);
    let said = |result: Result<u32, LoadError<String>>, text: &str| match result {
        Err(LoadError::Load(Failure::Panicked(message))) => assert_eq!(&*message, text),
        other => panic!("{other:?}"),
    };
    said(cache.get_or_load("key", || -> std::future::Ready<_> { panic!("made") }).await, "made");
    said(cache.get_or_load("key", || async { panic!("polled") }).await, "polled");
    let late = || async {
        sleep(LOAD).await;
        panic!("late")
    };
    said(cache.get_or_load("key", late).await, "late");
    assert_eq!(cache.get_or_load("key", || async { Ok(1) }).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_dropped() {
    let cache: Numbers = Cache::builder(10).load_timeout(Some(LOAD)).build();
    let began = Instant::now();
    let hung = cache.get_or_load("key", std::future::pending).await;
    assert!(matches!(hung, Err(LoadError::Load(Failure::TimedOut(LOAD)))));
    assert_eq!(began.elapsed(), LOAD);
    assert_eq!(cache.get_or_load("key", || async { Ok(1) }).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn both_limits_refuse() {
    let cache: Numbers = Cache::builder(10).loads_max(1).waiters_max(1).build();
    let source = Source::default();
    let leader = source.spawn(&cache);
    tokio::task::yield_now().await;
    assert!(matches!(source.through(&cache).await, Err(LoadError::TooManyWaiters { limit: 1 })));
    let other = cache.get_or_load("other", || async { Ok(1) }).await;
    assert!(matches!(other, Err(LoadError::TooManyLoads { limit: 1 })));
    leader.await.unwrap().unwrap();
    assert_eq!(cache.get_or_load("other", || async { Ok(1) }).await.unwrap(), 1);
}

#[test]
fn the_end_of_the_runtime_is_told() {
    let (cache, source) = (Numbers::new(10), Source::default());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    let entered = first.enter();
    let leader = source.spawn(&cache);
    drop(entered);
    first.block_on(tokio::task::yield_now());
    drop(first);
    assert!(runtime().block_on(leader).unwrap_err().is_cancelled());
    assert_eq!((cache.stats().failed, cache.stats().loading), (1, 0));
    assert_eq!(runtime().block_on(source.through(&cache)).unwrap(), 0);
}

#[test]
fn a_load_that_need_not_wait_needs_no_runtime() {
    let cache = Numbers::new(10);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ready = Box::pin(cache.get_or_load("key", || async { Ok(1) }));
    assert!(matches!(ready.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(1))));
    let mut hung = Box::pin(cache.get_or_load("other", std::future::pending));
    assert!(matches!(hung.as_mut().poll(&mut context), std::task::Poll::Ready(Err(LoadError::NoRuntime))));
    assert_eq!(cache.stats().loading, 0);
}

#[test]
fn the_number_of_entries_is_bounded() {
    let cache: Cache<u32, u32, String> = Cache::new(1_000);
    for number in 0..100_000 {
        cache.insert(number, number);
    }
    let stats = cache.stats();
    assert!(stats.entries <= 1_000, "{}", stats.entries);
    assert_eq!(stats.entries as u64 + stats.evicted, 100_000);
}

#[test]
fn the_weight_is_bounded() {
    let cache: Cache<u32, Arc<[u8]>, String> =
        Cache::builder(100).weight(1_000_000, |_, value: &Arc<[u8]>| value.len() as u64).build();
    for number in 0..1_000 {
        cache.insert(number, vec![0; 10_000].into());
    }
    let stats = cache.stats();
    assert!(stats.weight <= 1_000_000 && stats.entries <= 100, "{stats:?}");
    assert!(stats.entries >= 50, "{stats:?}");
    cache.insert(0, vec![0; 2_000_000].into());
    assert_eq!(cache.get(&0), None);
}

/// Nobody asks for them again: what is written afterwards drops them.
#[tokio::test(start_paused = true)]
async fn the_expired_go_while_others_are_written() {
    let cache: Cache<u32, Arc<u32>, String> = Cache::builder(10_000).ttl(LOAD).absent_ttl(LOAD / 2).build();
    let value = Arc::new(0);
    for key in 0..1_000 {
        cache.insert(key, Arc::clone(&value));
        cache.get_or_find(&(key + 1_000), || async { Ok(None) }).await.unwrap();
    }
    assert_eq!((cache.stats().entries, Arc::strong_count(&value)), (2_000, 1_001));
    sleep(LOAD).await;
    for _ in 0..4 {
        for key in 2_000..3_000 {
            cache.insert(key, Arc::default());
        }
    }
    assert_eq!((cache.stats().entries, Arc::strong_count(&value)), (1_000, 1));
    assert_eq!(cache.stats().evicted, 0);
}

#[tokio::test(start_paused = true)]
async fn the_expired_can_be_swept() {
    let cache: Cache<u32, u32, String> = Cache::builder(10).ttl(LOAD).build();
    cache.insert(1, 1);
    sleep(LOAD).await;
    cache.insert(2, 2);
    cache.remove_expired();
    assert_eq!((cache.stats().entries, cache.get(&2)), (1, Some(2)));
    assert_eq!(cache.stats().hit_rate(), Some(1.0));
}

/// One task looks for them, as long as there are any.
#[tokio::test(start_paused = true)]
async fn the_expired_go_also_when_nobody_writes_or_asks() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let cache: Cache<u32, Arc<u32>, String> =
        Cache::builder(10_000).ttl(LOAD).stale(LOAD).absent_ttl(20 * LOAD).build();
    let value = Arc::new(0);
    for _ in 0..2 {
        for key in 0..5_000 {
            cache.insert(key, Arc::clone(&value));
        }
        cache.get_or_find(&5_000, || async { Ok(None) }).await.unwrap();
        assert_eq!((cache.stats().entries, Arc::strong_count(&value), tasks()), (5_001, 5_001, 1));
        sleep(20 * LOAD - MS).await;
        assert_eq!(cache.get_or_find(&5_000, || async { Err("not asked".into()) }).await.unwrap(), None);
        sleep(20 * LOAD + MS).await;
        assert_eq!((cache.stats().entries, Arc::strong_count(&value)), (0, 1));
        assert_eq!((cache.stats().evicted, tasks()), (0, 0));
    }
    cache.insert(1, Arc::clone(&value));
    drop(cache);
    assert_eq!(Arc::strong_count(&value), 1);
    sleep(20 * LOAD + MS).await;
    assert_eq!(tasks(), 0);
}

#[test]
fn the_expired_go_by_whatever_runtime_is_left() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let cache: Cache<u32, u32, String> = Cache::builder(10).ttl(MS).build();
    cache.insert(0, 0);
    let first = runtime();
    first.block_on(async { cache.insert(1, 1) });
    drop(first);
    runtime().block_on(async {
        cache.insert(2, 2);
        sleep(1_001 * MS).await;
        assert_eq!(cache.stats().entries, 0);
    });
}

//! A value that is made once: V1, V2.

use std::sync::Arc;

use raceproof::service::{GetError, Phase, Service};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{check, given_up_after, polls};

/// What is seen of the initialisations and clean-ups.
#[derive(Default)]
struct Seen {
    under_way: AtomicU32,
    made: AtomicU64,
    cleaned: AtomicU64,
    /// Told at the end: a panic in an initialisation is only its failure.
    two: AtomicBool,
}

impl Seen {
    fn begin(&self) {
        let others = self.under_way.fetch_add(1, Ordering::SeqCst);
        self.two.fetch_or(others > 0, Ordering::SeqCst);
    }

    fn one_at_a_time(&self) {
        assert!(!self.two.load(Ordering::SeqCst), "V1: two at a time");
    }

    fn end(&self, counted: &AtomicU64) -> u64 {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        counted.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A service whose values are numbers; of so many attempts the last fails.
fn service(fails_every: u64) -> (Service<u64, String>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let (inits, cleans) = (Arc::clone(&seen), Arc::clone(&seen));
    let attempts = Arc::new(AtomicU64::new(0));
    let service = Service::builder(move || {
        let (seen, attempts) = (Arc::clone(&inits), Arc::clone(&attempts));
        async move {
            seen.begin();
            let attempt = attempts.fetch_add(1, Ordering::SeqCst) + 1;
            yield_now().await;
            if attempt.is_multiple_of(fails_every) {
                seen.under_way.fetch_sub(1, Ordering::SeqCst);
                return Err("no".to_owned());
            }
            Ok(seen.end(&seen.made))
        }
    })
    .clean_up(move |_| {
        let seen = Arc::clone(&cleans);
        async move {
            seen.begin();
            yield_now().await;
            seen.end(&seen.cleaned);
        }
    })
    .build();
    (service, seen)
}

#[test]
fn v1_v2_callers_share_one_value_whoever_gives_up() {
    check(|| {
        block_on(async {
            let (service, seen) = service(u64::MAX);
            let callers: Vec<_> = (0..3)
                .map(|caller| {
                    let service = service.clone();
                    let polls = polls(4);
                    spawn(async move {
                        if caller == 0 {
                            // It may be the one who started it.
                            let _ = given_up_after(polls, service.get()).await;
                        } else {
                            assert_eq!(*service.get().await.unwrap(), 1);
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
            seen.one_at_a_time();
            assert_eq!(seen.made.load(Ordering::SeqCst), 1);
            assert_eq!(service.stats().waiters, 0);
        });
    });
}

#[test]
fn v1_every_value_that_is_given_up_is_cleaned_up_once() {
    check(|| {
        block_on(async {
            let (service, seen) = service(3);
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let service = service.clone();
                    spawn(async move {
                        let mut reader = service.reader();
                        for _ in 0..3 {
                            let polls = polls(6);
                            match given_up_after(polls, reader.get()).await {
                                None => {}
                                Some(Ok(value)) => assert!(*value > 0),
                                Some(Err(error)) => assert!(matches!(error, GetError::Init(_) | GetError::Closed)),
                            }
                        }
                    })
                })
                .collect();
            let resets = spawn({
                let service = service.clone();
                async move {
                    service.reset().await.unwrap();
                    let polls = polls(4);
                    let _ = given_up_after(polls, service.reset()).await;
                }
            });
            resets.await.unwrap();
            service.close().await.unwrap();
            for caller in callers {
                caller.await.unwrap();
            }
            assert_eq!(service.stats().phase, Phase::Closed);
            assert!(matches!(service.get().await, Err(GetError::Closed)));
            seen.one_at_a_time();
            assert_eq!(service.stats().waiters, 0);
            assert_eq!(seen.made.load(Ordering::SeqCst), seen.cleaned.load(Ordering::SeqCst));
        });
    });
}

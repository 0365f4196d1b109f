//! One attempt to recover a category at a time, whoever reports it and whoever goes.

use std::sync::Arc;
use std::time::Duration;

use raceproof::resilience::recovery::{Outcome, Recovery, Severity, Strategy};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::{AtomicU32, Ordering};

use super::{check, given_up_after, polls};

#[derive(Default)]
struct Runs {
    under_way: AtomicU32,
    begun: AtomicU32,
}

#[test]
fn one_attempt_at_a_time_which_outlives_whoever_began_it() {
    check(|| {
        block_on(async {
            let runs = Arc::new(Runs::default());
            let sees = Arc::clone(&runs);
            let run = move |_attempt| {
                let runs = Arc::clone(&sees);
                async move {
                    assert_eq!(runs.under_way.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                    let begun = runs.begun.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                    runs.under_way.fetch_sub(1, Ordering::SeqCst);
                    if begun == 0 { Err("not yet".into()) } else { Ok(()) }
                }
            };
            let strategy = Strategy::new(5, Duration::ZERO);
            let recovery = Recovery::builder().strategy("files", strategy, run).build();
            let reports: Vec<_> = (0..3)
                .map(|_| {
                    let (recovery, polls) = (recovery.clone(), polls(5));
                    spawn(async move {
                        let report = recovery.report("files", Severity::High, "gone");
                        given_up_after(polls, report).await
                    })
                })
                .collect();
            for report in reports {
                report.await.expect("no report panics");
            }
            while runs.under_way.load(Ordering::SeqCst) > 0 {
                yield_now().await;
            }
            // The last attempt may have to say so still.
            let mut outcome = Outcome::UnderWay;
            while outcome == Outcome::UnderWay {
                yield_now().await;
                outcome = recovery.report("files", Severity::High, "gone").await;
            }
            assert!(matches!(outcome, Outcome::Recovered | Outcome::Failed { .. }), "{outcome:?}");
            let counters = recovery.totals().counters;
            assert_eq!(counters.recovered + counters.failed, u64::from(runs.begun.load(Ordering::SeqCst)));
        });
    });
}

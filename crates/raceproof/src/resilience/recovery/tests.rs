use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::{advance, sleep, timeout};

use super::*;

const COOL_DOWN: Duration = Duration::from_secs(5);

/// Fails as often as it is told, then works; counts its runs and how many there were at a time.
#[derive(Clone, Default)]
struct Flaky {
    runs: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
}

impl Flaky {
    fn recovery(&self, failures: u32) -> Recovery<&'static str> {
        let flaky = self.clone();
        let run = move |_attempt| {
            let flaky = flaky.clone();
            async move {
                assert_eq!(flaky.at_once.fetch_add(1, Ordering::Relaxed), 0, "one at a time");
                sleep(Duration::from_secs(1)).await;
                flaky.at_once.fetch_sub(1, Ordering::Relaxed);
                let run = flaky.runs.fetch_add(1, Ordering::Relaxed);
                if run < failures { Err("still gone".into()) } else { Ok(()) }
            }
        };
        Recovery::builder().strategy("files", Strategy::new(2, COOL_DOWN), run).build()
    }
}

async fn report(recovery: &Recovery<&'static str>) -> Outcome {
    recovery.report("files", Severity::High, "gone").await
}

#[tokio::test(start_paused = true)]
async fn a_category_is_recovered_once_however_many_report_it() {
    let flaky = Flaky::default();
    let recovery = flaky.recovery(0);
    let reports: Vec<_> = (0..50)
        .map(|_| {
            let recovery = recovery.clone();
            tokio::spawn(async move { report(&recovery).await })
        })
        .collect();
    let mut recovered = 0;
    for outcome in reports {
        match outcome.await.unwrap() {
            Outcome::Recovered => recovered += 1,
            Outcome::UnderWay => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((recovered, flaky.runs.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(report(&recovery).await, Outcome::CoolingDown { retry_after: COOL_DOWN });
    let stats = recovery.stats();
    assert_eq!((stats[0].counters.reported, stats[0].counters.recovered, stats[0].per_minute), (51, 1, 51));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_capped_until_they_are_forgotten_or_reset() {
    let flaky = Flaky::default();
    let recovery = flaky.recovery(3);
    let failed = Outcome::Failed { reason: "still gone".into() };
    assert_eq!(report(&recovery).await, failed);
    advance(COOL_DOWN).await;
    assert_eq!(report(&recovery).await, failed);
    advance(COOL_DOWN).await;
    assert!(matches!(report(&recovery).await, Outcome::Exhausted { .. }));
    recovery.reset(&"files");
    assert_eq!(report(&recovery).await, failed);
    advance(COOL_DOWN).await;
    assert_eq!(report(&recovery).await, Outcome::Recovered);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_survives_the_caller_that_began_it() {
    let flaky = Flaky::default();
    let recovery = flaky.recovery(0);
    assert!(timeout(Duration::from_millis(10), report(&recovery)).await.is_err());
    assert_eq!(report(&recovery).await, Outcome::UnderWay);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(flaky.runs.load(Ordering::Relaxed), 1);
    assert!(matches!(report(&recovery).await, Outcome::CoolingDown { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_panics_failed_and_so_did_one_that_nobody_finished() {
    let run = |attempt| async move {
        assert_ne!(attempt, 1, "as the test wants");
        Ok(())
    };
    let recovery = Recovery::builder().strategy("files", Strategy::new(2, COOL_DOWN), run).build();
    assert!(matches!(report(&recovery).await, Outcome::Failed { reason } if reason.contains("as the test wants")));
    advance(COOL_DOWN).await;
    assert_eq!(report(&recovery).await, Outcome::Recovered);

    let abandoned = Flaky::default().recovery(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let begun = abandoned.clone();
    std::thread::spawn(move || {
        let gave_up = runtime.block_on(async { timeout(Duration::from_millis(1), report(&begun)).await });
        gave_up.unwrap_err();
        // With it goes the task of the strategy, in the middle of its second.
        drop(runtime);
    })
    .join()
    .unwrap();
    assert!(matches!(report(&abandoned).await, Outcome::CoolingDown { .. }), "nothing stays under way that is gone");
}

#[tokio::test(start_paused = true)]
async fn the_critical_and_the_frequent_are_told_and_a_hook_may_panic() {
    let (critical, alarms) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let recovery = Recovery::builder()
        .alarm_per_minute(3)
        .history_max(4)
        .on_critical({
            let critical = Arc::clone(&critical);
            move |entry: &Entry<&str>| {
                assert_eq!(&*entry.message, "down");
                critical.fetch_add(1, Ordering::Relaxed);
                panic!("as the test wants");
            }
        })
        .on_alarm({
            let alarms = Arc::clone(&alarms);
            move |_, per_minute| {
                alarms.fetch_add(per_minute, Ordering::Relaxed);
            }
        })
        .build();
    for severity in [Severity::Critical, Severity::Low, Severity::Critical, Severity::High, Severity::High] {
        assert_eq!(recovery.report("net", severity, "down").await, Outcome::NoStrategy);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        (critical.load(Ordering::Relaxed), alarms.load(Ordering::Relaxed)),
        (2, 4),
        "told once, with the fourth"
    );
    let history = recovery.history();
    assert_eq!(history.len(), 4);
    assert_eq!((history[0].severity, history[0].age), (Severity::Low, Duration::from_secs(4)));
}

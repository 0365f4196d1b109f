//! The first of two callers is cancelled: after 170 of the 200 ms that the work takes. The second came 20 ms after it,
//! and needs wait no longer than the rest of that work.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::frame::Sample;

const WORK: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_millis(20);
const CANCELLED: Duration = Duration::from_millis(170);

/// The work takes 180 ms more when the second comes; the rest is for timers and a busy machine.
pub(super) const IN_TIME_NS: f64 = 185e6;

const TRIES: usize = 10;

/// What a count has to be.
pub(super) const ONCE_EACH: &str = "begun 10 times for 10";

/// The work, and how often it was begun.
#[derive(Clone, Default)]
pub(super) struct Work(Arc<AtomicUsize>);

impl Work {
    pub(super) async fn run(self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        sleep(WORK).await;
    }
}

/// Has the work done, and waits for it.
pub(super) type Caller = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// How long the second caller waits.
pub(super) async fn wait(make: fn(Work) -> Caller) -> Result<Sample> {
    Ok(Sample::of_one(second(&make(Work::default())).await?))
}

/// How often the work is begun for so many pairs of callers.
pub(super) async fn count(make: fn(Work) -> Caller) -> Result<String> {
    let mut tries = JoinSet::new();
    let mut begun = 0;
    for _ in 0..TRIES {
        tries.spawn(async move {
            let work = Work::default();
            second(&make(work.clone())).await?;
            anyhow::Ok(work.0.load(Ordering::SeqCst))
        });
    }
    while let Some(count) = tries.join_next().await {
        begun += count??;
    }
    Ok(format!("begun {begun} times for {TRIES}"))
}

async fn second(caller: &Caller) -> Result<Duration> {
    let began = Instant::now();
    let first = tokio::spawn(caller());
    sleep_until(began + SECOND).await;
    let came = Instant::now();
    let second = tokio::spawn(caller());
    sleep_until(began + CANCELLED).await;
    first.abort();
    second.await??;
    Ok(came.elapsed())
}

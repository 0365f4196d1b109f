//! A value that is made once, beside `tokio::sync::OnceCell`.
//!
//! `OnceCell` is measured as it is used: asked with its initialiser, because that is what makes the value if it is not
//! there. `borrowed` gives a reference to the value, `owned` one that can be handed to a task.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use raceproof::service::Service;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::cancelled::{self, Caller, Work};
use crate::frame::{Race, Room, Row, Sample, Stopwatch};

const OURS: &str = "raceproof";
const PEER: &str = "once-cell";

pub(crate) fn room() -> Room {
    let borrowed = Row::new("ready-borrowed", 4_000_000)
        .system(OURS, reader)
        .system(PEER, once_cell_borrowed)
        .target(OURS, PEER, 1.1);
    let owned =
        Row::new("ready-owned", 2_000_000).system(OURS, owned).system(PEER, once_cell_owned).target(OURS, PEER, 1.1);
    let first = Row::new("first-of-200", 20_000).system(OURS, first).system(PEER, once_cell_first);
    let wait = Row::new("first-cancelled", 1)
        .system(OURS, |_| cancelled::wait(callers))
        .system(PEER, |_| cancelled::wait(once_cell_callers))
        .at_most_ns(OURS, cancelled::IN_TIME_NS);
    let count = Race::new("first-cancelled", OURS, cancelled::ONCE_EACH)
        .system(OURS, || cancelled::count(callers))
        .system(PEER, || cancelled::count(once_cell_callers));
    Room { name: "service", rows: vec![borrowed, owned, first, wait], races: vec![count] }
}

type Numbers = Service<u64, std::io::Error>;

async fn reader(times: usize) -> Result<Sample> {
    let mut reader = Numbers::new(|| async { Ok(7) }).reader();
    let mut sum = 0;
    reader.get().await?;
    let watch = Stopwatch::start();
    for _ in 0..times {
        sum += *black_box(&mut reader).get().await?;
    }
    let sample = watch.stop(times);
    ensure!(sum == 7 * times as u64);
    Ok(sample)
}

async fn once_cell_borrowed(times: usize) -> Result<Sample> {
    let cell: OnceCell<u64> = OnceCell::new();
    let mut sum = 0;
    cell.get_or_try_init(|| async { Ok::<_, std::io::Error>(7) }).await?;
    let watch = Stopwatch::start();
    for _ in 0..times {
        sum += *black_box(&cell).get_or_try_init(|| async { Ok::<_, std::io::Error>(7) }).await?;
    }
    let sample = watch.stop(times);
    ensure!(sum == 7 * times as u64);
    Ok(sample)
}

async fn owned(times: usize) -> Result<Sample> {
    let service = Numbers::new(|| async { Ok(7) });
    let mut sum = 0;
    service.get().await?;
    let watch = Stopwatch::start();
    for _ in 0..times {
        sum += *black_box(&service).get().await?;
    }
    let sample = watch.stop(times);
    ensure!(sum == 7 * times as u64);
    Ok(sample)
}

async fn once_cell_owned(times: usize) -> Result<Sample> {
    let cell: OnceCell<Arc<u64>> = OnceCell::new();
    let mut sum = 0;
    cell.get_or_try_init(|| async { Ok::<_, std::io::Error>(Arc::new(7)) }).await?;
    let watch = Stopwatch::start();
    for _ in 0..times {
        let value =
            Arc::clone(black_box(&cell).get_or_try_init(|| async { Ok::<_, std::io::Error>(Arc::new(7)) }).await?);
        sum += *value;
    }
    let sample = watch.stop(times);
    ensure!(sum == 7 * times as u64);
    Ok(sample)
}

/// 200 tasks ask at once; one time is that of one caller.
async fn first(times: usize) -> Result<Sample> {
    let watch = Stopwatch::start();
    for _ in 0..times / 200 {
        let service = Numbers::new(|| async {
            tokio::task::yield_now().await;
            Ok(7)
        });
        let mut callers = JoinSet::new();
        for _ in 0..200 {
            let service = service.clone();
            callers.spawn(async move { service.get().await.map(|value| *value) });
        }
        while let Some(value) = callers.join_next().await {
            ensure!(value?? == 7);
        }
        ensure!(service.stats().started == 1);
    }
    Ok(watch.stop(times))
}

async fn once_cell_first(times: usize) -> Result<Sample> {
    let watch = Stopwatch::start();
    for _ in 0..times / 200 {
        let cell = Arc::new(OnceCell::new());
        let mut callers = JoinSet::new();
        for _ in 0..200 {
            let cell = Arc::clone(&cell);
            callers.spawn(async move {
                let value = cell.get_or_init(|| async {
                    tokio::task::yield_now().await;
                    7
                });
                *value.await
            });
        }
        while let Some(value) = callers.join_next().await {
            ensure!(value? == 7);
        }
    }
    Ok(watch.stop(times))
}

fn callers(work: Work) -> Caller {
    let service: Numbers = Service::new(move || {
        let work = work.clone();
        async move {
            work.run().await;
            Ok(7)
        }
    });
    Box::new(move || {
        let service = service.clone();
        Box::pin(async move { Ok(service.get().await.map(drop)?) })
    })
}

fn once_cell_callers(work: Work) -> Caller {
    let cell = Arc::new(OnceCell::new());
    Box::new(move || {
        let (cell, work) = (Arc::clone(&cell), work.clone());
        Box::pin(async move {
            cell.get_or_init(|| work.run()).await;
            Ok(())
        })
    })
}

//! One publisher and 1, 4 or 16 subscribers, beside `tokio::sync::mpsc` for each subscriber, which loses nothing, and
//! `tokio::sync::broadcast`, which may.
//!
//! An operation is one event, published and received by everybody. A row fails if a system that promises to lose
//! nothing did.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raceproof::events::{Bus, Policy, Received};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

use crate::frame::{Race, Room, Row, Sample, Stopwatch};

const CAPACITY: usize = 1_024;

/// More than any machine needs to stop being slow.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn room() -> Room {
    let rows = [("subscribers-1", 1), ("subscribers-4", 4), ("subscribers-16", 16)]
        .into_iter()
        .map(|(name, subscribers)| {
            let row = Row::new(name, 400_000 / subscribers)
                .system("mpsc-each", move |times| mpsc_each(subscribers, times))
                .system("broadcast", move |times| broadcast_lossy(subscribers, times))
                .system("raceproof", move |times| bus(subscribers, times, Policy::Wait))
                .system("raceproof-drop-oldest", move |times| bus(subscribers, times, Policy::DropOldest));
            if subscribers > 1 { row.target("raceproof", "mpsc-each", 0.6) } else { row }
        })
        .collect();
    let lagging = Race::new("lagging-subscriber", "raceproof", "0 of 20000 lost")
        .system("raceproof", || lagging_bus(Policy::Wait))
        .system("raceproof-drop-oldest", || lagging_bus(Policy::DropOldest))
        .system("broadcast", lagging_broadcast);
    Room { name: "events", rows, races: vec![lagging] }
}

async fn joined(mut readers: JoinSet<Result<usize>>) -> Result<usize> {
    let mut sum = 0;
    while let Some(seen) = readers.join_next().await {
        sum += seen??;
    }
    Ok(sum)
}

async fn mpsc_each(subscribers: usize, times: usize) -> Result<Sample> {
    let (mut senders, mut readers) = (Vec::new(), JoinSet::new());
    for _ in 0..subscribers {
        let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
        senders.push(sender);
        readers.spawn(async move {
            let mut seen = 0;
            while receiver.recv().await.is_some() {
                seen += 1;
            }
            Ok(seen)
        });
    }
    let watch = Stopwatch::start();
    for n in 0..times as u64 {
        for sender in &senders {
            sender.send(n).await?;
        }
    }
    drop(senders);
    let seen = joined(readers).await?;
    ensure!(seen == times * subscribers, "{seen} of {}", times * subscribers);
    Ok(watch.stop(times))
}

async fn broadcast_lossy(subscribers: usize, times: usize) -> Result<Sample> {
    let (sender, _) = broadcast::channel::<u64>(CAPACITY);
    let mut readers = JoinSet::new();
    for _ in 0..subscribers {
        let mut receiver = sender.subscribe();
        readers.spawn(async move {
            let mut seen = 0;
            loop {
                match receiver.recv().await {
                    Ok(_) => seen += 1,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(seen),
                }
            }
        });
    }
    let watch = Stopwatch::start();
    for n in 0..times as u64 {
        let _ = sender.send(n);
        tokio::task::consume_budget().await;
    }
    drop(sender);
    joined(readers).await?;
    Ok(watch.stop(times))
}

async fn bus(subscribers: usize, times: usize, policy: Policy) -> Result<Sample> {
    let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
    let mut readers = JoinSet::new();
    for _ in 0..subscribers {
        let mut subscriber = bus.subscribe("reader").policy(policy).receiver()?;
        readers.spawn(async move {
            let mut seen = 0;
            let mut next = 0;
            while let Ok(received) = subscriber.recv().await {
                match received {
                    Received::Event(event) => {
                        ensure!(*event == next, "{event} instead of {next}");
                        seen += 1;
                        next += 1;
                    }
                    Received::Gap(gap) => next += gap.missed,
                    other => anyhow::bail!("{other:?}"),
                }
            }
            Ok(seen)
        });
    }
    let watch = Stopwatch::start();
    for n in 0..times as u64 {
        bus.publish(n).await?;
    }
    drop(bus);
    let seen = joined(readers).await?;
    ensure!(policy != Policy::Wait || seen == times * subscribers, "{seen} of {}", times * subscribers);
    Ok(watch.stop(times))
}

const LAGGING_EVENTS: u64 = 20_000;

/// Pauses after every hundredth event, so that whoever publishes without waiting is far ahead.
async fn lag(seen: u64) {
    if seen.is_multiple_of(100) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn lagging_bus(policy: Policy) -> Result<String> {
    let bus = Bus::<u64>::builder().capacity(CAPACITY).build();
    let mut subscriber = bus.subscribe("lagging").policy(policy).receiver()?;
    let reader = tokio::spawn(async move {
        let (mut seen, mut told) = (0, 0);
        while let Ok(received) = subscriber.recv().await {
            match received {
                Received::Event(_) => {
                    seen += 1;
                    lag(seen).await;
                }
                Received::Gap(gap) => told += gap.missed,
                _ => {}
            }
        }
        (seen, told)
    });
    for n in 0..LAGGING_EVENTS {
        tokio::time::timeout(SOON, bus.publish(n)).await.context("the publisher is stuck")??;
    }
    drop(bus);
    let (seen, told) = tokio::time::timeout(SOON, reader).await.context("the reader is stuck")??;
    ensure!(seen + told == LAGGING_EVENTS, "{seen} seen and {told} told of");
    let lost = format!("{} of {LAGGING_EVENTS} lost", LAGGING_EVENTS - seen);
    Ok(if told > 0 { format!("{lost}, each of them told of") } else { lost })
}

/// A subscriber that does not look at the error, as most do not.
async fn lagging_broadcast() -> Result<String> {
    let (sender, mut receiver) = broadcast::channel::<u64>(CAPACITY);
    let reader = tokio::spawn(async move {
        let mut seen = 0;
        loop {
            match receiver.recv().await {
                Ok(_) => {
                    seen += 1;
                    lag(seen).await;
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return seen,
            }
        }
    });
    for n in 0..LAGGING_EVENTS {
        let _ = sender.send(n);
        tokio::task::consume_budget().await;
    }
    drop(sender);
    let seen = tokio::time::timeout(SOON, reader).await.context("the reader is stuck")??;
    Ok(format!("{} of {LAGGING_EVENTS} lost", LAGGING_EVENTS - seen))
}

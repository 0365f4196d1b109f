//! Background work of an application: one sync at a time, a feed that is kept alive, and nothing left at the end.
//!
//! ```sh
//! cargo run -p raceproof --example background_tasks
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use raceproof::background_task;
use raceproof::events::Received;
use raceproof::task::{EventKind, Outcome, Overlap, Restart, SpawnError, Supervisor};
use tokio::sync::{Notify, mpsc, watch};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::new();
    let mut events = supervisor.events()?;

    // A button that is pressed five times: one sync runs, one follows with what has changed since, the others are it.
    let (syncs, network) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let press = || {
        let (syncs, network) = (Arc::clone(&syncs), Arc::clone(&network));
        background_task!(supervisor, "sync", overlap = Overlap::QueueOne, async move {
            network.notified().await;
            network.notify_one();
            syncs.fetch_add(1, Ordering::Relaxed);
        })
    };
    let presses = [press()?, press()?, press()?, press()?, press()?];
    network.notify_one();
    for sync in &presses {
        assert_eq!(sync.outcome().await, Outcome::Completed);
    }
    assert_eq!(syncs.load(Ordering::Relaxed), 2);

    // A reminder whose time is changed twice: the newest replaces the one before, and comes alone.
    let (morning, clock) = watch::channel(false);
    let (remind, mut reminded) = mpsc::channel(3);
    let remind_at = |hour: u32| {
        let (mut clock, remind) = (clock.clone(), remind.clone());
        background_task!(supervisor, "remind/ann", overlap = Overlap::Replace, |cancel| async move {
            tokio::select! {
                // Before anything else: it may be morning as well.
                biased;
                () = cancel.cancelled() => {}
                _ = clock.wait_for(|morning| *morning) => drop(remind.try_send(hour)),
            }
        })
    };
    let reminders = [remind_at(7)?, remind_at(8)?, remind_at(9)?];
    morning.send_replace(true);
    for reminder in &reminders {
        reminder.outcome().await;
    }
    assert_eq!((reminded.recv().await, reminded.try_recv().ok()), (Some(9), None));

    // A feed that panics twice before it holds.
    let mut connections = 0;
    let (connected, mut held) = mpsc::channel(1);
    let feed = supervisor.task("feed").backoff(Duration::from_millis(1), Duration::from_millis(10));
    let feed = feed.supervise(Restart::OnFailure, move |cancel| {
        connections += 1;
        let (connection, connected) = (connections, connected.clone());
        async move {
            assert!(connection > 2, "connection {connection} broke");
            let _ = connected.send(connection).await;
            cancel.cancelled().await;
        }
    })?;
    assert_eq!(held.recv().await, Some(3));
    // Another part of the program wants a feed, too.
    let second = background_task!(supervisor, "feed", async {});
    assert!(matches!(second, Err(SpawnError::Running { .. })));

    let report = supervisor.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(feed.outcome().await, Outcome::Cancelled { started: true });

    let mut panics = 0;
    while let Ok(Some(Received::Event(event))) = events.try_recv() {
        panics += u32::from(matches!(event.kind, EventKind::Panicked(_)));
    }
    assert_eq!(panics, 2);
    println!("5 presses made 2 syncs; the feed held after {panics} panics; nothing is left");
    Ok(())
}

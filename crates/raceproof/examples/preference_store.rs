//! Preferences that many change at a time: the last change is what is on disk, and everybody hears of changes in the
//! order in which they were made.
//!
//! ```sh
//! cargo run -p raceproof --example preference_store
//! ```
//!
//! A write that is spawned for each change may be overtaken by an earlier one, and then the older value lands last. Here
//! one worker owns the preferences and their file; it answers a change when it is on disk, and tells of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raceproof::events::Bus;
use raceproof::worker::{Handler, Worker};
use tokio::task::JoinSet;

/// A preference has a value; `version` counts the changes of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Changed {
    version: u64,
    key: String,
    value: String,
}

/// Owns the preferences. There is one, so writes cannot overtake each other.
struct Preferences {
    path: PathBuf,
    values: BTreeMap<String, String>,
    version: u64,
    changes: Bus<Changed>,
}

impl Handler<(String, String)> for Preferences {
    type Reply = Result<Changed, String>;

    async fn handle(&mut self, (key, value): (String, String)) -> Self::Reply {
        self.values.insert(key.clone(), value.clone());
        self.version += 1;
        let text: String = self.values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        if self.version % 2 == 1 {
            // Every other write takes longer than the one after it, which could overtake it.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || std::fs::write(path, text)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let changed = Changed { version: self.version, key, value };
        self.changes.publish(changed.clone()).await.map_err(|error| error.to_string())?;
        Ok(changed)
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("preferences-{}", std::process::id()));
    let changes = Bus::<Changed>::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let window = changes.subscribe("window").handler(move |change: Arc<Changed>| {
        log.lock().expect("nobody panics with the log").push((*change).clone());
        std::future::ready(())
    })?;

    let (file, bus) = (path.clone(), changes.clone());
    let preferences = Worker::builder("preferences").mailbox(256).spawn(move || Preferences {
        path: file.clone(),
        values: BTreeMap::new(),
        version: 0,
        changes: bus.clone(),
    })?;

    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let preferences = preferences.clone();
        writers.spawn(async move {
            for n in 0..10 {
                let change = (format!("key {}", n % 3), format!("{n} by {writer}"));
                preferences.call(change).await.expect("the worker runs").expect("the file is written");
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer?;
    }
    preferences.stop().await;
    changes.drain().await;
    window.stop().await;

    let seen = seen.lock().expect("nobody panics with the log");
    assert!(seen.iter().map(|change| change.version).eq(1..=80), "changes were heard of out of order");
    let last: BTreeMap<_, _> = seen.iter().map(|change| (&change.key, &change.value)).collect();
    let wanted: String = last.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    assert_eq!(std::fs::read_to_string(&path)?, wanted, "an older write landed last");
    std::fs::remove_file(&path)?;
    println!("80 changes by 8 writers: heard of in order, and the last of each key is on disk\n{wanted}");
    Ok(())
}

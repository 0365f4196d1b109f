//! The hub's side of the store: hands over records, hears how far they are on disk, and has a snapshot taken
//! when the log has grown. What a record means it does not know, and when an answer may go it does not decide.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use raceproof::store::{
    self, Job, LoadError, Loaded, MemStore, Storage, StorageStats, WriteError, Writer, WriterEvent, WriterOptions,
};
use raceproof_core::hub::{Hub, Record, Snapshot};
use raceproof_core::id::Lsn;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{ServerConfig, StoreKind};
use crate::metrics::Metrics;
use crate::server::StartError;

/// Appends between two looks at whether a snapshot is due.
const LOOK_EVERY: u32 = 1_024;

/// What the writer's thread tells the sequencer.
#[derive(Debug, Default)]
struct Signal {
    flushed: AtomicU64,
    failed: OnceLock<String>,
    changed: Notify,
}

/// How far the store has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Everything up to here is on disk.
    Flushed(Lsn),
    /// It failed.
    Failed(String),
}

/// The open store.
#[derive(Debug)]
pub(crate) struct Journal {
    writer: Option<Writer>,
    signal: Arc<Signal>,
    wanted: Option<Lsn>,
    since_look: u32,
}

/// Opens the store that the configuration names, and makes the hub that it holds.
pub(crate) fn open(config: &ServerConfig, clock: Clock, metrics: &Arc<Metrics>) -> Result<(Hub, Journal), StartError> {
    let storage: Box<dyn Storage> = match &config.store {
        StoreKind::Directory { path, kind } => store::open(path, *kind)?,
        StoreKind::Memory => Box::new(MemStore::new()),
    };
    open_on(storage, config, clock, metrics)
}

/// The same on a store that is already there.
pub(crate) fn open_on(
    mut storage: Box<dyn Storage>,
    config: &ServerConfig,
    clock: Clock,
    metrics: &Arc<Metrics>,
) -> Result<(Hub, Journal), StartError> {
    let Loaded { snapshot, records, torn, .. } = storage.load()?;
    if let Some(torn) = torn {
        let path = torn.path.display();
        tracing::warn!(%path, torn.offset, torn.bytes, "cut off what a crash left of a write that nobody was told of");
    }
    let snapshot = snapshot.map(|(lsn, bytes)| Snapshot::from_bytes(&bytes).map(|snapshot| (lsn, snapshot)));
    let records: Vec<_> = records
        .into_iter()
        .map(|(lsn, bytes)| Record::from_bytes(&bytes).map(|record| (lsn, record)))
        .collect::<Result<_, _>>()?;
    let hub = Hub::restore(config.hub.clone(), snapshot.transpose()?, records, clock.now())?;
    let storage = Box::new(Timed { storage, metrics: Arc::clone(metrics) });
    let journal = Journal::start(storage, WriterOptions::default())?;
    Ok((hub, journal))
}

impl Journal {
    /// Starts the writer of a store that is loaded.
    pub(crate) fn start(storage: Box<dyn Storage>, options: WriterOptions) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let told = Arc::clone(&signal);
        let writer = Writer::start(storage, options, move |event| told.hear(event))?;
        Ok(Self { writer: Some(writer), signal, wanted: None, since_look: 0 })
    }

    /// What can be waited for without the journal at hand.
    pub(crate) fn changes(&self) -> Changes {
        Changes(Arc::clone(&self.signal))
    }

    pub(crate) fn progress(&self) -> Progress {
        self.signal.progress()
    }

    /// Whether somebody waits for more than [`Self::commit`] has passed on.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    pub(crate) fn append(&mut self, lsn: Lsn, record: &Record) {
        self.since_look += 1;
        if let Some(writer) = &self.writer {
            writer.append(lsn, &record.to_bytes());
        }
    }

    /// Somebody waits for `lsn`. Passed on by [`Self::commit`], once for all that came in one turn.
    pub(crate) fn want(&mut self, lsn: Lsn) {
        self.wanted = self.wanted.max(Some(lsn));
    }

    /// The end of a turn: starts the flush that somebody waits for, and a snapshot when one is due.
    pub(crate) fn commit(&mut self, hub: &Hub) {
        let Some(writer) = &self.writer else { return };
        if let Some(lsn) = self.wanted.take() {
            writer.flush(lsn);
        }
        if self.since_look >= LOOK_EVERY {
            self.since_look = 0;
            if writer.stats().snapshot_wanted {
                writer.snapshot(hub.lsn(), hub.snapshot().to_bytes());
            }
        }
    }

    pub(crate) fn stats(&self) -> StorageStats {
        self.writer.as_ref().map(Writer::stats).unwrap_or_default()
    }

    /// Writes what is left and closes the store.
    pub(crate) fn close(&mut self) -> impl Future<Output = Result<(), WriteError>> + use<> {
        let writer = self.writer.take();
        async move {
            let Some(writer) = writer else { return Ok(()) };
            // Joins a thread that ends with a flush.
            match tokio::task::spawn_blocking(move || writer.stop()).await {
                Ok(closed) => closed,
                Err(_) => Err(WriteError::WriterGone),
            }
        }
    }
}

/// How far the store has come, and news of it.
#[derive(Debug)]
pub(crate) struct Changes(Arc<Signal>);

impl Changes {
    /// Resolves after each change of [`Self::progress`].
    pub(crate) async fn wait(&self) {
        self.0.changed.notified().await;
    }

    pub(crate) fn progress(&self) -> Progress {
        self.0.progress()
    }

    pub(crate) fn is_flushed(&self, lsn: Lsn) -> bool {
        self.0.flushed.load(Ordering::Acquire) >= lsn.as_u64()
    }
}

impl Signal {
    fn progress(&self) -> Progress {
        match self.failed.get() {
            Some(detail) => Progress::Failed(detail.clone()),
            None => Progress::Flushed(Lsn::new(self.flushed.load(Ordering::Acquire))),
        }
    }

    fn hear(&self, event: WriterEvent) {
        match event {
            WriterEvent::Flushed(lsn) => {
                self.flushed.fetch_max(lsn.as_u64(), Ordering::Release);
            }
            WriterEvent::Failed(error) => {
                let _first_counts = self.failed.set(describe(&error));
            }
            WriterEvent::SnapshotInstalled(lsn) => {
                tracing::debug!(%lsn, "snapshot installed");
                return;
            }
            WriterEvent::SnapshotFailed(lsn, error) => {
                tracing::warn!(%lsn, error = describe(&error), "the snapshot did not fit; the log goes on");
                return;
            }
            _ => return,
        }
        self.changed.notify_one();
    }
}

/// An error with what is behind it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A store whose flushes are timed.
#[derive(Debug)]
struct Timed {
    storage: Box<dyn Storage>,
    metrics: Arc<Metrics>,
}

impl Storage for Timed {
    fn load(&mut self) -> Result<Loaded, LoadError> {
        self.storage.load()
    }

    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        self.storage.append(lsn, record)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let (before, start) = (self.storage.stats().flushes, Instant::now());
        let flushed = self.storage.flush();
        // With nothing to flush there is nothing to tell.
        if self.storage.stats().flushes > before {
            self.metrics.flushed(start.elapsed());
        }
        flushed
    }

    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError> {
        self.storage.install_snapshot(lsn, snapshot)
    }

    fn begin_snapshot(&mut self, lsn: Lsn, snapshot: Vec<u8>) -> Result<(), WriteError> {
        self.storage.begin_snapshot(lsn, snapshot)
    }

    fn take_job(&mut self) -> Option<Job> {
        self.storage.take_job()
    }

    fn idle(&mut self) -> Result<(), WriteError> {
        self.storage.idle()
    }

    fn close(&mut self) -> Result<(), WriteError> {
        self.storage.close()
    }

    fn stats(&self) -> StorageStats {
        self.storage.stats()
    }
}

//! The thread that writes: one flush for everything that waits.
//!
//! Owns a [`Storage`] and the order in which it is used. Records that somebody waits for are flushed at once,
//! together with all that arrived meanwhile; the others within [`WriterOptions::lazy_flush`]. It sleeps when there
//! is nothing to do, and a record that nobody waits for does not wake it if it will wake in time by itself.
//!
//! After a failure it writes nothing more, and says so once.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raceproof_core::id::Lsn;

use super::{Job, Storage, StorageStats, WriteError};

/// Delays and limits of a [`Writer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WriterOptions {
    /// A record that nobody waits for is durable after this at the latest, but for the flush itself. Default 5 ms.
    pub lazy_flush: Duration,
    /// With more than this waiting to be written, [`Writer::append`] blocks. Default 64 MiB.
    pub queue_bytes_max: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { lazy_flush: Duration::from_millis(5), queue_bytes_max: 64 << 20 }
    }
}

/// What a [`Writer`] has to say. Told on its thread, so what is told must not take long.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WriterEvent {
    /// Everything up to here is durable.
    Flushed(Lsn),
    /// The snapshot of this position is durable.
    SnapshotInstalled(Lsn),
    /// The snapshot of this position did not fit on the disk. The store goes on without it.
    SnapshotFailed(Lsn, WriteError),
    /// The store failed. Nothing that was not flushed before will be; no event follows.
    Failed(WriteError),
}

/// A thread that owns a store.
///
/// Dropping it flushes what is queued and closes the store, as [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// The writer sleeps on this.
    work: Condvar,
    /// Appenders that met a full queue sleep on this.
    room: Condvar,
    options: WriterOptions,
}

#[derive(Debug, Default)]
struct Queue {
    batch: Batch,
    /// The last record that somebody waits for.
    flush: Option<Lsn>,
    /// When the oldest record that is not flushed came.
    oldest: Option<Instant>,
    snapshot: Option<(Lsn, Vec<u8>)>,
    job_done: Option<JobDone>,
    stats: StorageStats,
    sleep: Sleep,
    stop: bool,
    failed: Option<WriteError>,
}

/// Records end to end, so that queueing one allocates nothing.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Position of a record and where it ends.
    ends: Vec<(Lsn, usize)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    Until(Instant),
    ForEver,
}

#[derive(Debug)]
struct JobDone {
    snapshot: Option<Lsn>,
    outcome: Result<(), WriteError>,
}

impl Writer {
    /// Starts the thread. The store must be loaded.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        storage: Box<dyn Storage>,
        options: WriterOptions,
        on_event: impl FnMut(WriterEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Queue { stats: storage.stats(), ..Queue::default() };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), work: Condvar::new(), room: Condvar::new(), options });
        let keeper = Keeper::start(Arc::clone(&shared))?;
        let run = Run {
            shared: Arc::clone(&shared),
            storage,
            on_event: Box::new(on_event),
            keeper,
            flushed: Lsn::new(0),
            failed: false,
        };
        let thread = thread::Builder::new().name("raceproof-store".to_owned()).spawn(move || run.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues a record that follows the last one. Blocks while the queue is full; a store that is so far behind
    /// serves nobody. After a failure the record is dropped, as [`WriterEvent::Failed`] said.
    pub fn append(&self, lsn: Lsn, record: &[u8]) {
        let mut queue = self.shared.lock();
        while queue.batch.bytes.len() >= self.shared.options.queue_bytes_max && queue.failed.is_none() {
            queue = self.shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.failed.is_some() {
            return;
        }
        queue.batch.push(lsn, record);
        if queue.oldest.is_none() {
            let at = Instant::now();
            queue.oldest = Some(at);
            self.shared.wake_by(queue, at + self.shared.options.lazy_flush);
        }
    }

    /// Somebody waits for the record `lsn`. Called once after several appends, with the last position, it costs one
    /// flush; called between them, perhaps two.
    pub fn flush(&self, lsn: Lsn) {
        let mut queue = self.shared.lock();
        queue.flush = queue.flush.max(Some(lsn));
        self.shared.wake(queue);
    }

    /// Queues a snapshot of everything up to `lsn`, which must have been appended. One that was queued before and
    /// not begun is replaced.
    pub fn snapshot(&self, lsn: Lsn, snapshot: Vec<u8>) {
        let mut queue = self.shared.lock();
        queue.snapshot = Some((lsn, snapshot));
        queue.stats.snapshot_wanted = false;
        self.shared.wake(queue);
    }

    /// The store's numbers as of the last time that the thread did something.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        self.shared.lock().stats
    }

    /// Flushes what is queued, closes the store, and ends the thread.
    ///
    /// # Errors
    /// The failure that ended the store, now or before.
    pub fn stop(mut self) -> Result<(), WriteError> {
        self.end();
        match self.shared.lock().failed.clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn end(&mut self) {
        let mut queue = self.shared.lock();
        queue.stop = true;
        self.shared.wake(queue);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.lock().failed.get_or_insert(WriteError::WriterGone);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let asleep = std::mem::replace(&mut queue.sleep, Sleep::Awake) != Sleep::Awake;
        drop(queue);
        if asleep {
            self.work.notify_one();
        }
    }

    /// Wakes the writer if it would not wake by then.
    fn wake_by(&self, queue: MutexGuard<'_, Queue>, by: Instant) {
        match queue.sleep {
            Sleep::Awake => {}
            Sleep::Until(at) if at <= by => {}
            Sleep::Until(_) | Sleep::ForEver => self.wake(queue),
        }
    }
}

impl Batch {
    fn push(&mut self, lsn: Lsn, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push((lsn, self.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (Lsn, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(lsn, end)| {
            let record = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (*lsn, record)
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // A burst should not be paid for ever.
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
    }
}

const BATCH_BYTES_KEPT: usize = 1 << 20;

/// The writer's thread.
struct Run {
    shared: Arc<Shared>,
    /// Before the store: a job must have ended when the store's directory becomes free.
    keeper: Keeper,
    storage: Box<dyn Storage>,
    on_event: Box<dyn FnMut(WriterEvent) + Send>,
    flushed: Lsn,
    failed: bool,
}

/// What was taken from the queue to be done in one go.
#[derive(Default)]
struct Round {
    batch: Batch,
    flush: bool,
    snapshot: Option<(Lsn, Vec<u8>)>,
    job_done: Option<JobDone>,
    idle: bool,
    stop: bool,
}

impl Run {
    fn run(mut self) {
        let _gone = Gone(Arc::clone(&self.shared));
        let mut round = Round::default();
        loop {
            self.next(&mut round);
            // Whoever waits must learn of a panic too; nothing is used of what it left behind.
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.act(&mut round)));
            if let Err(error) = outcome.unwrap_or(Err(WriteError::WriterGone)) {
                self.fail(error);
            }
            if round.stop || self.failed {
                break;
            }
        }
    }

    /// Waits until there is something to do, and takes it.
    fn next(&mut self, round: &mut Round) {
        let lazy = self.shared.options.lazy_flush;
        let shared = Arc::clone(&self.shared);
        self.publish();
        let mut queue = shared.lock();
        // The first sleep after work is a short one: a record that comes meanwhile need not wake anybody, and if
        // none comes it is time for `idle`.
        let mut rested = round.idle;
        round.idle = false;
        let nap_end = Instant::now() + lazy;
        loop {
            let wanted = queue.flush.is_some() || queue.snapshot.is_some() || queue.job_done.is_some() || queue.stop;
            let due = queue.oldest.map(|at| at + lazy);
            let until = match (wanted, due, rested) {
                (true, ..) => break,
                (false, Some(due), _) => Some(due),
                (false, None, false) => Some(nap_end),
                (false, None, true) => None,
            };
            let (guard, timed_out) = shared.sleep(queue, until);
            queue = guard;
            if timed_out {
                if queue.oldest.is_none() {
                    round.idle = true;
                    break;
                }
                rested = true;
                if queue.oldest.is_some_and(|at| at + lazy <= Instant::now()) {
                    break;
                }
            }
        }
        queue.sleep = Sleep::Awake;
        round.flush = queue.flush.take().is_some_and(|lsn| lsn > self.flushed) || queue.oldest.take().is_some();
        std::mem::swap(&mut round.batch, &mut queue.batch);
        round.snapshot = queue.snapshot.take();
        round.job_done = queue.job_done.take();
        round.stop = queue.stop;
        let full = round.batch.bytes.len() >= shared.options.queue_bytes_max;
        drop(queue);
        if full {
            shared.room.notify_all();
        }
    }

    fn act(&mut self, round: &mut Round) -> Result<(), WriteError> {
        let mut last = None;
        for (lsn, record) in round.batch.iter() {
            self.storage.append(lsn, record)?;
            last = Some(lsn);
        }
        round.batch.clear();
        if round.flush || round.stop {
            self.storage.flush()?;
            if let Some(lsn) = last {
                self.flushed = lsn;
                self.publish();
                (self.on_event)(WriterEvent::Flushed(lsn));
            }
        }
        if let Some((lsn, snapshot)) = round.snapshot.take() {
            self.begin_snapshot(lsn, snapshot)?;
        }
        if let Some(done) = round.job_done.take() {
            self.keeper.busy = false;
            self.job_done(done)?;
        }
        if !self.keeper.busy
            && let Some(job) = self.storage.take_job()
        {
            self.keeper.give(job);
        }
        if round.stop {
            self.storage.close()?;
        } else if round.idle {
            self.storage.idle()?;
        }
        Ok(())
    }

    /// Makes the store's numbers known, before whatever is told that is based on them.
    fn publish(&self) {
        let stats = self.storage.stats();
        let mut queue = self.shared.lock();
        queue.stats = stats;
        queue.stats.snapshot_wanted &= queue.snapshot.is_none();
    }

    fn begin_snapshot(&mut self, lsn: Lsn, snapshot: Vec<u8>) -> Result<(), WriteError> {
        match self.storage.begin_snapshot(lsn, snapshot) {
            Ok(()) if self.storage.stats().snapshot_lsn >= lsn => {
                (self.on_event)(WriterEvent::SnapshotInstalled(lsn));
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(error) if error.is_full() => {
                (self.on_event)(WriterEvent::SnapshotFailed(lsn, error));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn job_done(&mut self, done: JobDone) -> Result<(), WriteError> {
        match (done.snapshot, done.outcome) {
            (Some(lsn), Ok(())) => (self.on_event)(WriterEvent::SnapshotInstalled(lsn)),
            (Some(lsn), Err(error)) if error.is_full() => (self.on_event)(WriterEvent::SnapshotFailed(lsn, error)),
            (_, Err(error)) if !error.is_full() => return Err(error),
            (None, _) | (Some(_), Err(_)) => {}
        }
        Ok(())
    }

    fn fail(&mut self, error: WriteError) {
        self.failed = true;
        let mut queue = self.shared.lock();
        queue.failed = Some(error.clone());
        queue.batch = Batch::default();
        drop(queue);
        self.shared.room.notify_all();
        (self.on_event)(WriterEvent::Failed(error));
    }
}

/// Whoever waits for room must not wait for a thread that panicked.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().failed.get_or_insert(WriteError::WriterGone);
            self.0.room.notify_all();
        }
    }
}

impl Shared {
    /// Sleeps until woken, or until a time. True if the time came.
    fn sleep<'q>(&self, mut queue: MutexGuard<'q, Queue>, until: Option<Instant>) -> (MutexGuard<'q, Queue>, bool) {
        let Some(until) = until else {
            queue.sleep = Sleep::ForEver;
            return (self.work.wait(queue).unwrap_or_else(PoisonError::into_inner), false);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (queue, true);
        }
        queue.sleep = Sleep::Until(until);
        let (queue, timeout) = self.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
        (queue, timeout.timed_out())
    }
}

/// The thread that does a store's jobs, so that commits do not wait for a snapshot.
struct Keeper {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
}

impl Keeper {
    fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = thread::Builder::new().name("raceproof-keeper".to_owned()).spawn(move || {
            for job in inbox {
                let snapshot = job.snapshot();
                // A store whose jobs end in a panic would never be compacted again, and nobody would know.
                let outcome = panic::catch_unwind(AssertUnwindSafe(|| job.run()));
                let outcome = outcome.unwrap_or(Err(WriteError::WriterGone));
                let mut queue = shared.lock();
                queue.job_done = Some(JobDone { snapshot, outcome });
                shared.wake(queue);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), busy: false })
    }

    fn give(&mut self, job: Job) {
        // If the thread is gone the job is dropped, which the store notices.
        self.busy = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic: its jobs' panics are caught.
            let _ = thread.join();
        }
    }
}

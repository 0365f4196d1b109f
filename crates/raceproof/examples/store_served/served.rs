//! A hub over a store, driven as a server drives it but without sockets: sessions that take and release names, one
//! flush for all that ask at a time, a snapshot when the store wants one.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use raceproof::store::{LogOptions, LogStore, Storage, Writer, WriterEvent, WriterOptions};
use raceproof_core::hub::{Caller, Config, ConnKind, Hub, Output, Record, Snapshot};
use raceproof_core::id::{ConnId, Lsn, RequestId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{Acquire, OnDisconnect, Open, Release, Request, Response};

type Failure = Box<dyn Error + Send + Sync>;

/// Longer than a flush takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a store was like while it served.
#[derive(Debug, Default, Clone)]
pub(crate) struct Served {
    pub(crate) acquired: u64,
    pub(crate) released: u64,
    pub(crate) token_last: u64,
    pub(crate) records: u64,
    pub(crate) flushes: u64,
    pub(crate) snapshots: u64,
    pub(crate) snapshot_bytes: u64,
    /// Bytes of log that the next start has to read, beside the snapshot.
    pub(crate) log_bytes: u64,
    /// The most that the directory's files ever took, looked at between rounds.
    pub(crate) bytes_max: u64,
    pub(crate) took: Duration,
}

/// What opening it again was like.
#[derive(Debug, Clone)]
pub(crate) struct Reopened {
    pub(crate) read: Duration,
    pub(crate) restored: Duration,
    pub(crate) records: usize,
    pub(crate) sessions: usize,
    /// The token of a grant after the restart.
    pub(crate) token: u64,
}

/// A hub, its store's writer, and what is left to say of both.
struct Shell {
    hub: Hub,
    writer: Writer,
    events: Receiver<WriterEvent>,
    origin: Instant,
    seq: u64,
    flushed: Lsn,
    answers: Vec<(ConnId, Response)>,
    seen: Served,
}

/// Serves `cycles` times an acquire and a release, on as many names as sessions, and stops where the log behind the
/// last snapshot is about as long as it gets: the worst moment to be opened.
pub(crate) fn serve(dir: &Path, options: LogOptions, names: u64, cycles: u64) -> Result<Served, Failure> {
    let log_bytes_max = options.snapshot_after_bytes;
    let mut store = LogStore::open(dir, options)?;
    let loaded = store.load()?;
    assert_eq!(loaded.last_lsn(), Lsn::new(0), "the directory is in use");
    let (told, events) = channel();
    let writer = Writer::start(Box::new(store), WriterOptions::default(), move |event| drop(told.send(event)))?;
    let mut shell = Shell {
        hub: Hub::new(Config::default(), Time::from_millis(1)),
        writer,
        events,
        origin: Instant::now(),
        seq: 0,
        flushed: Lsn::new(0),
        answers: Vec::new(),
        seen: Served::default(),
    };
    shell.open_sessions(names)?;
    let names: Vec<Arc<str>> = (0..names).map(|number| format!("name-{number}").into()).collect();
    loop {
        shell.round(&names)?;
        let stats = shell.writer.stats();
        if shell.seen.released >= cycles && stats.log_bytes_since_snapshot * 10 > log_bytes_max * 9 {
            break;
        }
        if stats.snapshot_wanted {
            shell.writer.snapshot(shell.hub.lsn(), shell.hub.snapshot().to_bytes());
        }
        if stats.flushes.is_multiple_of(16) {
            shell.seen.bytes_max = shell.seen.bytes_max.max(bytes_in(dir)?);
        }
    }
    let Shell { writer, events, mut seen, origin, .. } = shell;
    let stats = writer.stats();
    writer.stop()?;
    let installed = |event: &WriterEvent| matches!(event, WriterEvent::SnapshotInstalled(_));
    seen.snapshots += events.try_iter().filter(installed).count() as u64;
    seen.took = origin.elapsed();
    seen.records = stats.last_lsn.as_u64();
    seen.flushes = stats.flushes;
    seen.snapshot_bytes = stats.snapshot_bytes;
    seen.log_bytes = stats.log_bytes_since_snapshot;
    seen.bytes_max = seen.bytes_max.max(bytes_in(dir)?);
    Ok(seen)
}

/// Opens what `serve` left, as a server's start does, and takes a lock.
pub(crate) fn reopen(dir: &Path, options: LogOptions) -> Result<Reopened, Failure> {
    let start = Instant::now();
    let mut store = LogStore::open(dir, options)?;
    let loaded = store.load()?;
    let read = start.elapsed();
    let records = loaded.records.len();
    let snapshot = match loaded.snapshot {
        Some((lsn, bytes)) => Some((lsn, Snapshot::from_bytes(&bytes)?)),
        None => None,
    };
    let log = loaded.records.iter().map(|(lsn, bytes)| Ok((*lsn, Record::from_bytes(bytes)?)));
    let log = log.collect::<Result<Vec<_>, Failure>>()?;
    let hub = Hub::restore(Config::default(), snapshot, log, Time::from_millis(1))?;
    let restored = start.elapsed();
    let sessions = hub.sessions_count();
    let (told, events) = channel();
    let writer = Writer::start(Box::new(store), WriterOptions::default(), move |event| drop(told.send(event)))?;
    let mut shell = Shell {
        hub,
        writer,
        events,
        origin: Instant::now(),
        seq: 0,
        flushed: Lsn::new(0),
        answers: Vec::new(),
        seen: Served::default(),
    };
    shell.open_sessions(1)?;
    shell.round(&["name-after".into()])?;
    let token = shell.seen.token_last;
    shell.writer.stop()?;
    Ok(Reopened { read, restored, records, sessions, token })
}

impl Shell {
    fn now(&self) -> Time {
        Time::from_millis(2) + self.origin.elapsed()
    }

    fn ask(&mut self, conn: ConnId, request: Request) {
        self.seq += 1;
        let caller = Caller { conn, seq: self.seq, session: None, entropy: u128::from(self.seq) };
        let now = self.now();
        self.hub.request(now, caller, request);
    }

    fn open_sessions(&mut self, count: u64) -> Result<(), Failure> {
        for number in 0..count {
            let now = self.now();
            self.hub.connect(now, ConnId::new(number + 1), ConnKind::Socket);
            let open = Open { name: "served".into(), ttl_ms: 3_600_000, on_disconnect: OnDisconnect::default() };
            self.ask(ConnId::new(number + 1), Request::Open(open));
        }
        self.settle()
    }

    /// Every session takes its name and gives it back.
    fn round(&mut self, names: &[Arc<str>]) -> Result<(), Failure> {
        let now = self.now();
        self.hub.tick(now);
        for (conn, name) in (1..).zip(names) {
            let request = Some(RequestId::new(format!("{conn}-{}", self.seq)));
            let acquire = Acquire { request, ..Acquire::one(Arc::clone(name)) };
            self.ask(ConnId::new(conn), Request::Acquire(acquire));
        }
        self.settle()?;
        let granted = std::mem::take(&mut self.answers);
        for (conn, response) in granted {
            let Response::Granted(grant) = response else { continue };
            let name = grant.names.first().ok_or("a grant of nothing")?;
            assert!(grant.token > Token::new(self.seen.token_last), "tokens increase");
            self.seen.token_last = grant.token.as_u64();
            self.seen.acquired += 1;
            self.ask(conn, Request::Release(Release { name: Arc::clone(name), token: grant.token }));
        }
        self.settle()?;
        let released = self.answers.drain(..).filter(|(_, response)| matches!(response, Response::Released { .. }));
        self.seen.released += released.count() as u64;
        Ok(())
    }

    /// Hands on every output, and waits for the disk as long as an answer does.
    fn settle(&mut self) -> Result<(), Failure> {
        loop {
            let mut wanted = None;
            while let Some(output) = self.hub.poll_output() {
                match output {
                    Output::Append { lsn, record } => self.writer.append(lsn, &record.to_bytes()),
                    Output::Flush { lsn } => wanted = wanted.max(Some(lsn)),
                    Output::Answer { conn, result, .. } => match result {
                        Ok(response) => self.answers.push((conn, *response)),
                        Err(problem) => return Err(problem.to_string().into()),
                    },
                    Output::Push { .. } | Output::Close { .. } => {}
                }
            }
            let Some(lsn) = wanted.filter(|lsn| *lsn > self.flushed) else { return Ok(()) };
            self.writer.flush(lsn);
            while self.flushed < lsn {
                match self.events.recv_timeout(PATIENCE)? {
                    WriterEvent::Flushed(at) => self.flushed = at,
                    WriterEvent::SnapshotInstalled(_) => self.seen.snapshots += 1,
                    other => return Err(format!("{other:?}").into()),
                }
            }
            let now = self.now();
            self.hub.flushed(now, self.flushed);
        }
    }
}

/// The size of all files in a directory.
pub(crate) fn bytes_in(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        match entry?.metadata() {
            Ok(file) => bytes += file.len(),
            // Renamed or removed while the directory was read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

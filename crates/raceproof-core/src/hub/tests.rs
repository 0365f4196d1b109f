//! Hand-driven: a fake clock, a fake disk, and every output looked at.

mod claims;
mod crash;
mod deadlock;
mod election;
mod leases;
mod limits;
mod locks;
mod model;
mod retry;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::id::{RequestId, SessionKey};
use crate::wire::{Acquire, Campaign, Class, Grant, Held, Leader, Mode, OnDisconnect, Open, Release, Resign, Resume};

/// A hub with its disk, driven by hand. Unless told otherwise the disk is instant.
pub(super) struct Bench {
    pub(super) hub: Hub,
    pub(super) now: Time,
    pub(super) log: Vec<(Lsn, Record)>,
    pub(super) flushed: usize,
    /// Whether flushes are held back until `flush` is called.
    pub(super) slow_disk: bool,
    pub(super) flush_wishes: usize,
    pub(super) answers: BTreeMap<(ConnId, u64), Result<Response, Problem>>,
    pub(super) events: VecDeque<(ConnId, Event)>,
    pub(super) closed: Vec<ConnId>,
    conn_last: u64,
    seq_last: u64,
}

/// A client over a socket, with a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) conn: ConnId,
    pub(super) key: SessionKey,
}

pub(super) type Asked = (ConnId, u64);

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let mut bench = Self::around(Hub::new(config, Time::from_millis(1_000)));
        bench.now = Time::from_millis(1_000);
        bench.drain();
        bench
    }

    fn around(hub: Hub) -> Self {
        Self {
            hub,
            now: Time::ZERO,
            log: Vec::new(),
            flushed: 0,
            slow_disk: false,
            flush_wishes: 0,
            answers: BTreeMap::new(),
            events: VecDeque::new(),
            closed: Vec::new(),
            conn_last: 0,
            seq_last: 0,
        }
    }

    /// Loses the process and everything that was not flushed; starts another on what is left.
    pub(super) fn crash(&mut self) {
        self.crash_with(Config::default());
    }

    pub(super) fn crash_with(&mut self, config: Config) {
        self.log.truncate(self.flushed);
        let hub = Hub::restore(config, None, self.log.clone(), self.now).expect("a log of our own");
        self.hub = hub;
        self.answers.clear();
        self.events.clear();
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Append { lsn, record } => {
                    assert_eq!(lsn.as_u64(), self.log.len() as u64 + 1, "records are dense");
                    let copy = Record::from_bytes(&record.to_bytes()).expect("a record");
                    assert_eq!(copy, record);
                    self.log.push((lsn, record));
                }
                Output::Flush { lsn } => {
                    assert!(lsn.as_u64() <= self.log.len() as u64, "a wish for a record that is not there");
                    self.flush_wishes += 1;
                    if !self.slow_disk {
                        self.flushed = lsn.as_u64() as usize;
                        self.hub.flushed(self.now, lsn);
                    }
                }
                Output::Answer { conn, seq, result } => {
                    let result = result.map(|response| *response).map_err(|problem| *problem);
                    assert!(self.answers.insert((conn, seq), result).is_none(), "answered twice");
                }
                Output::Push { conn, event } => self.events.push_back((conn, event)),
                Output::Close { conn } => self.closed.push(conn),
            }
        }
    }

    pub(super) fn flush(&mut self) {
        self.flushed = self.log.len();
        self.hub.flushed(self.now, Lsn::new(self.flushed as u64));
        self.drain();
    }

    /// Lets time pass as a server does: with a tick every 10 ms.
    pub(super) fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            self.now += Duration::from_millis(10);
            self.hub.tick(self.now);
            self.drain();
        }
        self.now += Duration::from_millis(millis % 10);
        self.hub.tick(self.now);
        self.drain();
    }

    pub(super) fn connect(&mut self, kind: ConnKind) -> ConnId {
        self.conn_last += 1;
        let conn = ConnId::new(self.conn_last);
        self.hub.connect(self.now, conn, kind);
        self.drain();
        conn
    }

    pub(super) fn disconnect(&mut self, conn: ConnId) {
        self.hub.disconnect(self.now, conn);
        self.drain();
    }

    pub(super) fn send(&mut self, conn: ConnId, session: Option<SessionKey>, request: Request) -> Asked {
        self.seq_last += 1;
        let seq = self.seq_last;
        let entropy = u128::from(seq) << 64 | 0xfeed;
        self.hub.request(self.now, Caller { conn, seq, session, entropy }, request);
        self.drain();
        (conn, seq)
    }

    pub(super) fn answer(&mut self, asked: Asked) -> Option<Result<Response, Problem>> {
        self.answers.remove(&asked)
    }

    pub(super) fn ask(&mut self, conn: ConnId, request: Request) -> Result<Response, Problem> {
        let asked = self.send(conn, None, request);
        self.answer(asked).expect("an answer at once")
    }

    pub(super) fn client_with(&mut self, name: &str, ttl_ms: u64, on_disconnect: OnDisconnect) -> Client {
        let conn = self.connect(ConnKind::Socket);
        let open = Open { name: name.into(), ttl_ms, on_disconnect };
        let asked = self.send(conn, None, Request::Open(open));
        if self.slow_disk {
            self.flush();
        }
        match self.answer(asked) {
            Some(Ok(Response::Opened { session, .. })) => Client { conn, key: session },
            other => panic!("not opened: {other:?}"),
        }
    }

    pub(super) fn client(&mut self, name: &str) -> Client {
        self.client_with(name, 10_000, OnDisconnect::Keep)
    }

    pub(super) fn acquire(&mut self, client: Client, acquire: Acquire) -> Asked {
        self.send(client.conn, None, Request::Acquire(acquire))
    }

    /// The grant that a request was answered with by now.
    pub(super) fn granted(&mut self, asked: Asked) -> Grant {
        match self.answer(asked) {
            Some(Ok(Response::Granted(grant))) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    pub(super) fn take(&mut self, client: Client, name: &str) -> Token {
        let asked = self.acquire(client, lock(name));
        self.granted(asked).token
    }

    pub(super) fn refused(&mut self, asked: Asked) -> Problem {
        match self.answer(asked) {
            Some(Err(problem)) => problem,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(super) fn waits(&self, asked: Asked) -> bool {
        !self.answers.contains_key(&asked)
    }

    pub(super) fn release(&mut self, client: Client, name: &str, token: Token) -> Result<Response, Problem> {
        self.ask(client.conn, Request::Release(Release { name: name.into(), token }))
    }

    /// A new connection for a session that was open before.
    pub(super) fn resume(&mut self, client: Client, held: Vec<Held>, pending: &[&str]) -> (Client, Response) {
        let conn = self.connect(ConnKind::Socket);
        let pending = pending.iter().map(|id| RequestId::new(*id)).collect();
        let resume = Resume { session: client.key, attempt: 0, held, pending };
        let response = self.ask(conn, Request::Resume(resume)).expect("a session that is known");
        (Client { conn, key: client.key }, response)
    }

    pub(super) fn keepalive(&mut self, client: Client) {
        self.ask(client.conn, Request::Keepalive {}).expect("a session that is known");
    }

    /// What one name looks like: tokens of its holders, and how many wait.
    pub(super) fn look(&mut self, name: &str) -> (Vec<Token>, u64) {
        let conn = self.connect(ConnKind::Socket);
        let shown = self.ask(conn, Request::Lock { name: name.into() }).expect("a lock");
        self.disconnect(conn);
        match shown {
            Response::Lock(lock) => (lock.holders.iter().map(|holder| holder.token).collect(), lock.waiters_count),
            other => panic!("not a lock: {other:?}"),
        }
    }
}

pub(super) fn lock(name: &str) -> Acquire {
    locks(&[name])
}

pub(super) fn locks(names: &[&str]) -> Acquire {
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    Acquire { names, wait_ms: crate::wire::WAIT_MS_FOREVER, ..Acquire::one("") }
}

pub(super) fn held(token: Token, name: &str, class: Class) -> Held {
    Held { token, names: vec![name.into()], mode: Mode::Exclusive, permits: None, take: 1, class, lock_delay_ms: 0 }
}

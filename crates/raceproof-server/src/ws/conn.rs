//! One WebSocket connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use raceproof_core::id::ConnId;
use raceproof_core::wire::{ClientFrame, Code, Problem, ServerFrame};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::close::Close;
use super::frames::{self, Decoder, Incoming, Outgoing};
use crate::config::Limits;
use crate::outbox::{Message, Outbox};
use crate::sequencer::{Input, Link};
use crate::server::Place;

/// How long the other side may take to answer a close.
const CLOSING: Duration = Duration::from_secs(1);

/// Frames that one connection may have read before others have their turn, but for those that came along.
const FRAMES_PER_TURN: u32 = 64;

/// What is read at a time.
const READ_BYTES: usize = 4 * 1_024;

/// Frames are gathered up to this size before they are written.
const WRITE_BYTES: usize = 16 * 1_024;

/// Looks for signs of life fall on multiples of this.
const WAKE_TOGETHER: Duration = Duration::from_millis(100);

/// What each thread's connections use in turn: room to read, room for one message, and room for what is written.
struct Scratch {
    read: Box<[u8]>,
    text: Vec<u8>,
    write: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { read: vec![0; READ_BYTES].into(), text: Vec::new(), write: Vec::new() });
}

/// Serves a connection until either side ends it. `read` has come already.
///
/// When the server stops it says so through the outbox; only a connection that is then waiting for the other side has
/// to be cut off.
pub(super) async fn run(socket: TcpStream, read: Vec<u8>, link: Link, limits: Arc<Limits>, place: Place) {
    let conn = link.conn();
    let outbox = Arc::new(Outbox::new(limits.outbox_frames));
    link.send(Input::Connect { conn, outbox: Arc::clone(&outbox) });
    let _gone = Gone { link: link.clone(), conn };
    let mut connection = Connection {
        socket,
        decoder: Decoder::new(limits.frame_bytes),
        left: Vec::new(),
        backlog: false,
        out: Vec::new(),
        batch: VecDeque::new(),
        ended: None,
        speaker: Speaker { link, conn, outbox, read_last: 0, heard: true, store_first: false },
        written_last: 0,
        written: 0,
        gave_way: false,
        pinged: false,
        pause: jittered(limits.ping_interval, conn),
        look_at: None,
        limits,
        place,
    };
    connection.take(read);
    if let Some(close) = connection.serve().await {
        let cut = connection.place.cut.clone();
        let _lost = cut.run_until_cancelled(timeout(CLOSING, connection.close(close))).await;
    }
}

/// Tells the hub that a connection is gone, whatever ended its task.
struct Gone {
    link: Link,
    conn: ConnId,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.link.send(Input::Disconnect { conn: self.conn });
    }
}

/// Why a connection stopped being served: with a word to say, or without one to say it to.
type Stopped = Option<Close>;

struct Connection {
    socket: TcpStream,
    decoder: Decoder,
    /// The beginning of a frame; behind a backlog, whole ones too.
    left: Vec<u8>,
    /// Whether frames that have come were left for the next turn.
    backlog: bool,
    /// Frames, or what is left of one, that the socket has not taken.
    out: Vec<u8>,
    /// Taken from the outbox, and not yet put into frames.
    batch: VecDeque<Message>,
    /// Why nothing more is read; what was answered before is written first.
    ended: Option<Stopped>,
    speaker: Speaker,
    /// The `seq` of the last frame that was written.
    written_last: u64,
    /// Bytes that the socket has taken.
    written: u64,
    /// Whether the turn before ended to let the store be started.
    gave_way: bool,
    /// Whether the last look found silence, and asked.
    pinged: bool,
    pause: Duration,
    /// When the timer that wakes this connection's task fires; `None` while it is not armed.
    look_at: Option<Instant>,
    limits: Arc<Limits>,
    place: Place,
}

/// A connection as the hub knows it.
struct Speaker {
    link: Link,
    conn: ConnId,
    outbox: Arc<Outbox>,
    /// The `seq` of the last frame that was read.
    read_last: u64,
    /// Whether anything came since the last look at the time.
    heard: bool,
    /// Whether the store should be started before anything is written.
    store_first: bool,
}

/// What a turn cannot do at once.
enum Step {
    /// The socket takes no more for now.
    Write,
    /// Nothing was heard for a while, or something was.
    Look,
    End(Stopped),
}

impl Connection {
    async fn serve(&mut self) -> Stopped {
        let timer = sleep_until(self.next_look());
        tokio::pin!(timer);
        loop {
            let done = match poll_fn(|cx| self.poll_turn(cx, timer.as_mut())).await {
                Step::Write => self.write().await,
                Step::Look => {
                    let alive = self.look_for_life().await;
                    timer.as_mut().reset(self.next_look());
                    self.look_at = None;
                    alive
                }
                Step::End(stopped) => Err(stopped),
            };
            if let Err(stopped) = done {
                return stopped;
            }
        }
    }

    /// Reads what has come, hands it to the hub, and writes what the hub has to say: several frames at a time, and an
    /// answer that needs no waiting in the same turn as its request.
    fn poll_turn(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Step> {
        self.speaker.outbox.attend();
        let drained = self.read_some(cx);
        if std::mem::take(&mut self.speaker.store_first) && !self.gave_way && self.speaker.outbox.has_some() {
            // A write takes longer than it takes the sequencer to start the store, for everybody who waits.
            self.gave_way = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.gave_way = false;
        loop {
            let taken = self.speaker.outbox.poll_take(cx, &mut self.batch);
            if taken.is_pending() && self.out.is_empty() {
                break;
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Step::End(None)),
                Poll::Pending => return Poll::Ready(Step::Write),
            }
            if let Poll::Ready(Some(ending)) = taken {
                return Poll::Ready(Step::End(Some(ending.into())));
            }
        }
        if let Some(stopped) = self.ended {
            return Poll::Ready(Step::End(stopped));
        }
        if !drained {
            // Others have their turn first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_look(cx, timer)
    }

    /// Whether it is time to look for signs of life. The timer is armed once, and not looked at again before its time:
    /// it wakes this task whatever was read meanwhile.
    fn poll_look(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Step> {
        if self.look_at.is_some_and(|at| Instant::now() < at) {
            return Poll::Pending;
        }
        self.look_at = Some(timer.deadline());
        // Out of budget, it would be polled without being armed.
        Pin::new(&mut unconstrained(timer)).poll(cx).map(|()| Step::Look)
    }

    /// Says whether everything that has come was read.
    fn read_some(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.speaker.read_last;
        if self.backlog && !self.speaker.outbox.is_crowded() {
            self.backlog = false;
            let left = std::mem::take(&mut self.left);
            self.take(left);
        }
        while self.ended.is_none() && !self.backlog && self.speaker.read_last - before < u64::from(FRAMES_PER_TURN) {
            let read = match self.left.is_empty() {
                true => SCRATCH.with_borrow_mut(|scratch| self.poll_read(cx, &mut scratch.read)),
                false => self.poll_read_on(cx),
            };
            match read {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.ended = Some(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return true,
            }
        }
        self.ended.is_some()
    }

    /// Reads into a buffer that was empty, and takes what has come.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = ready!(poll_fill(&mut self.socket, cx, buffer))?;
        if let Some(bytes) = buffer.get_mut(..count) {
            let done = self.decode(bytes);
            self.left.extend_from_slice(bytes.get(done..).unwrap_or_default());
        }
        Poll::Ready(Ok(count))
    }

    /// Reads on where a frame has begun.
    fn poll_read_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let begun = self.left.len();
        self.left.resize(begun + READ_BYTES, 0);
        let read = poll_fill(&mut self.socket, cx, self.left.get_mut(begun..).unwrap_or_default());
        let count = if let Poll::Ready(Ok(count)) = &read { *count } else { 0 };
        self.left.truncate(begun + count);
        if count > 0 {
            let left = std::mem::take(&mut self.left);
            self.take(left);
        }
        read
    }

    /// Takes what has come; keeps the beginning of a frame.
    fn take(&mut self, mut bytes: Vec<u8>) {
        let done = self.decode(&mut bytes);
        if done < bytes.len() {
            bytes.drain(..done);
            self.left = bytes;
        }
    }

    fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let Self { decoder, speaker, out, ended, backlog, .. } = self;
        let decoded = decoder.decode(bytes, |message| {
            speaker.heard = true;
            match message {
                Incoming::Text(text) => {
                    speaker.text(text)?;
                    if speaker.outbox.is_crowded() {
                        *backlog = true;
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Incoming::Ping(payload) => frames::encode(Outgoing::Pong, payload, out),
                Incoming::Pong => {}
                Incoming::Close(code) => {
                    frames::encode(Outgoing::Close, code.as_ref().map_or(&[], |code| code), out);
                    return Err(None);
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        decoded.unwrap_or_else(|stopped| {
            *ended = Some(stopped);
            bytes.len()
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.out.is_empty() {
                let count = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += count as u64;
                self.out.drain(..count);
            }
            if self.out.capacity() > 0 {
                self.out = Vec::new();
            }
            if self.batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            SCRATCH.with_borrow_mut(|scratch| self.write_some(cx, scratch))?;
        }
    }

    /// Puts messages into frames and writes them. What the socket does not take is kept.
    fn write_some(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> io::Result<()> {
        let Scratch { text, write, .. } = scratch;
        write.clear();
        while write.len() < WRITE_BYTES
            && let Some(message) = self.batch.pop_front()
        {
            self.written_last += 1;
            text.clear();
            frame(self.written_last, message).write_json(text);
            frames::encode(Outgoing::Text, text, write);
        }
        if self.batch.is_empty() {
            self.batch = VecDeque::new();
        }
        let taken = match Pin::new(&mut self.socket).poll_write(cx, write) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        self.written += taken as u64;
        self.out.extend_from_slice(write.get(taken..).unwrap_or_default());
        if text.capacity() > WRITE_BYTES || write.capacity() > 2 * WRITE_BYTES {
            // A rare large message leaves no large buffer behind.
            (*text, *write) = (Vec::new(), Vec::new());
        }
        Ok(())
    }

    /// Waits until the socket has taken what was begun, for as long as it takes any of it. Once the connection has
    /// ended, what is left of it has that long as a whole.
    async fn write(&mut self) -> Result<(), Stopped> {
        let (patience, cut) = (self.limits.write_timeout, self.place.cut.clone());
        let mut deadline = Instant::now() + patience;
        loop {
            let step = timeout_at(deadline, poll_fn(|cx| self.poll_write_some(cx)));
            match cut.run_until_cancelled(step).await {
                Some(Ok(Ok(true))) => return Ok(()),
                Some(Ok(Ok(false))) if self.speaker.outbox.has_ended() => {}
                Some(Ok(Ok(false))) => deadline = Instant::now() + patience,
                // Nobody reads; a close would not be read either.
                _ => return Err(None),
            }
        }
    }

    /// Ready with whether everything was written, once anything was.
    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let before = self.written;
        match self.poll_write(cx) {
            Poll::Ready(done) => Poll::Ready(done.map(|()| true)),
            Poll::Pending if self.written > before => Poll::Ready(Ok(false)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Many connections share one wake-up: there may be tens of thousands.
    fn next_look(&self) -> Instant {
        self.speaker.link.clock().after(self.pause, WAKE_TOGETHER.min(self.pause / 10))
    }

    async fn look_for_life(&mut self) -> Result<(), Stopped> {
        if std::mem::take(&mut self.speaker.heard) {
            self.pinged = false;
            return Ok(());
        }
        if std::mem::replace(&mut self.pinged, true) {
            return Err(Some(Close::PingTimeout));
        }
        frames::encode(Outgoing::Ping, &[], &mut self.out);
        self.write().await
    }

    /// Says why, and listens until the other side has heard it and hangs up: what comes unread would undo it.
    async fn close(&mut self, close: Close) -> io::Result<()> {
        frames::encode(Outgoing::Close, &close.payload(), &mut self.out);
        poll_fn(|cx| self.poll_write(cx)).await?;
        self.socket.shutdown().await?;
        let mut unheard = vec![0; 1_024];
        while self.socket.read(&mut unheard).await? > 0 {}
        Ok(())
    }
}

impl Speaker {
    fn text(&mut self, text: &str) -> Result<(), Stopped> {
        match ClientFrame::from_json(text) {
            Ok(ClientFrame { seq, request }) => {
                self.expect(seq)?;
                self.store_first |=
                    self.link.submit(Input::Frame { conn: self.conn, outbox: Arc::clone(&self.outbox), seq, request });
            }
            Err(error) => {
                let seq = numbered(text).ok_or(Some(Close::BadFrame))?;
                self.expect(seq)?;
                let problem =
                    Problem::new(Code::BadRequest, format!("the frame's request is not one of this protocol: {error}"));
                self.outbox.push(Message::Answer { re: seq, result: Err(Box::new(problem)) });
            }
        }
        Ok(())
    }

    /// Frames count from 1 without a gap: a client that lost count has lost frames.
    fn expect(&mut self, seq: u64) -> Result<(), Stopped> {
        self.read_last += 1;
        if seq == self.read_last { Ok(()) } else { Err(Some(Close::BadFrame)) }
    }
}

fn poll_fill(socket: &mut TcpStream, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(socket).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

fn frame(seq: u64, message: Message) -> ServerFrame {
    match message {
        Message::Answer { re, result } => ServerFrame::Answer { seq, re, result },
        Message::Push(event) => ServerFrame::Push { seq, event: *event },
    }
}

/// The number of a frame whose request could not be read: it can at least be answered.
fn numbered(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    serde_json::from_str::<Numbered>(text).ok().map(|frame| frame.seq)
}

/// Spreads what happens once per `interval` over connections that all came at once, by up to a tenth either way.
fn jittered(interval: Duration, conn: ConnId) -> Duration {
    let spread = conn.as_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    // 0 to 2^32 stands for 0.9 to 1.1.
    interval.mul_f64(0.9 + 0.2 * (spread as f64 / f64::from(u32::MAX)))
}

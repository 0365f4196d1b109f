//! One WebSocket connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use raceproof_core::id::ConnId;
use raceproof_core::wire::{ClientFrame, Code, Problem, ServerFrame};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use super::close::Close;
use crate::config::Limits;
use crate::outbox::{Ending, KEPT_SLOTS, Message, Outbox};
use crate::sequencer::{Input, Link};

/// How long the other side may take to answer a close.
const CLOSING: Duration = Duration::from_secs(1);

/// Looks for signs of life fall on multiples of this.
const WAKE_TOGETHER: Duration = Duration::from_millis(100);

/// Serves a connection until either side ends it.
pub(super) async fn run(socket: WebSocketStream<TcpStream>, link: Link, limits: Arc<Limits>) {
    let conn = link.conn();
    let outbox = Arc::new(Outbox::new(limits.outbox_frames));
    link.send(Input::Connect { conn, outbox: Arc::clone(&outbox) });
    let _gone = Gone { link: link.clone(), conn };
    let mut connection = Connection {
        socket,
        link,
        conn,
        outbox,
        read_last: 0,
        written_last: 0,
        heard: true,
        pinged: false,
        pause: jittered(limits.ping_interval, conn),
        limits,
    };
    if let Err(Some(close)) = connection.serve().await {
        let _lost = timeout(CLOSING, connection.close(close)).await;
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
    socket: WebSocketStream<TcpStream>,
    link: Link,
    conn: ConnId,
    outbox: Arc<Outbox>,
    /// The `seq` of the last frame that was read, and of the last that was written.
    read_last: u64,
    written_last: u64,
    /// Whether anything came since the last look at the time.
    heard: bool,
    /// Whether the last look found silence, and asked.
    pinged: bool,
    pause: Duration,
    limits: Arc<Limits>,
}

enum Step {
    Read(Option<Result<Frame, Error>>),
    Write(Option<Ending>),
    Quiet,
}

impl Connection {
    async fn serve(&mut self) -> Result<(), Stopped> {
        let timer = sleep_until(self.next_look());
        tokio::pin!(timer);
        let mut batch = VecDeque::new();
        loop {
            let step = poll_fn(|cx| self.poll_step(cx, timer.as_mut(), &mut batch)).await;
            match step {
                Step::Read(Some(Ok(frame))) => self.read(&frame, &mut batch)?,
                Step::Read(Some(Err(error))) => return Err(Close::for_error(&error)),
                Step::Read(None) => return Ok(()),
                Step::Write(ending) => {
                    self.write(&mut batch).await?;
                    if let Some(ending) = ending {
                        return Err(Some(ending.into()));
                    }
                }
                Step::Quiet => {
                    self.look_for_life().await?;
                    timer.as_mut().reset(self.next_look());
                }
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>, batch: &mut VecDeque<Message>) -> Poll<Step> {
        let taken = self.outbox.poll_take(cx, batch);
        if let Poll::Ready(ending) = taken {
            return Poll::Ready(Step::Write(ending));
        }
        if !batch.is_empty() {
            return Poll::Ready(Step::Write(None));
        }
        if !self.outbox.is_ahead()
            && let Poll::Ready(frame) = self.socket.poll_next_unpin(cx)
        {
            return Poll::Ready(Step::Read(frame));
        }
        timer.poll(cx).map(|()| Step::Quiet)
    }

    fn read(&mut self, frame: &Frame, batch: &mut VecDeque<Message>) -> Result<(), Stopped> {
        self.heard = true;
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => return Err(Some(Close::NotText)),
            // Pongs are written by the library, closes answered by it.
            Frame::Ping(_) | Frame::Pong(_) | Frame::Close(_) | Frame::Frame(_) => return Ok(()),
        };
        match ClientFrame::from_json(text) {
            Ok(ClientFrame { seq, request }) => {
                self.expect(seq)?;
                self.outbox.submitted();
                self.link.send(Input::Frame { conn: self.conn, seq, request });
            }
            Err(error) => {
                let seq = numbered(text).ok_or(Some(Close::BadFrame))?;
                self.expect(seq)?;
                let problem =
                    Problem::new(Code::BadRequest, format!("the frame's request is not one of this protocol: {error}"));
                batch.push_back(Message::Answer { re: seq, result: Err(Box::new(problem)) });
            }
        }
        Ok(())
    }

    /// Frames count from 1 without a gap: a client that lost count has lost frames.
    fn expect(&mut self, seq: u64) -> Result<(), Stopped> {
        self.read_last += 1;
        if seq == self.read_last { Ok(()) } else { Err(Some(Close::BadFrame)) }
    }

    async fn write(&mut self, batch: &mut VecDeque<Message>) -> Result<(), Stopped> {
        let patience = self.limits.write_timeout;
        let write = async {
            while let Some(message) = batch.pop_front() {
                self.written_last += 1;
                let text = encode(self.written_last, message);
                self.socket.feed(Frame::text(text)).await?;
            }
            self.socket.flush().await
        };
        let written = timeout(patience, write).await;
        if batch.capacity() > KEPT_SLOTS {
            *batch = VecDeque::new();
        }
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            // Nobody reads; a close would not be read either.
            Err(_) => Err(None),
        }
    }

    /// Many connections share one wake-up: there may be tens of thousands.
    fn next_look(&self) -> Instant {
        self.link.clock().after(self.pause, WAKE_TOGETHER.min(self.pause / 10))
    }

    async fn look_for_life(&mut self) -> Result<(), Stopped> {
        if std::mem::take(&mut self.heard) {
            self.pinged = false;
            return Ok(());
        }
        if std::mem::replace(&mut self.pinged, true) {
            return Err(Some(Close::PingTimeout));
        }
        let ping = self.socket.send(Frame::Ping(Default::default()));
        match timeout(self.limits.write_timeout, ping).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }

    /// Says why, and waits until the other side has heard it.
    async fn close(&mut self, close: Close) -> Result<(), Error> {
        self.socket.close(Some(close.frame())).await?;
        while let Some(frame) = self.socket.next().await {
            frame?;
        }
        Ok(())
    }
}

fn encode(seq: u64, message: Message) -> String {
    match message {
        Message::Answer { re, result } => ServerFrame::Answer { seq, re, result },
        Message::Push(event) => ServerFrame::Push { seq, event: *event },
    }
    .to_json()
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

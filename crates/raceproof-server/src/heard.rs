//! HTTP connections and their patience: one that rests between requests may do so for long, one that has begun a request
//! must get on with it, and one that is answered must read. The HTTP library has one timeout for the first two, which is
//! the longer, and none for the third; here are the shorter one and the missing one.
//!
//! What comes while a request is being answered counts as rest until more comes: such a beginning has the longer time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Where a connection is with its next request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing of it has come.
    Rest,
    /// Its head is coming, since then; so it is taken of a fresh connection.
    Coming(Instant),
    /// Its head has come, its answer has not.
    Asked,
}

/// A connection's stage; shared by what reads it, what answers it and what watches it, all within one task.
#[derive(Clone, Debug)]
pub(crate) struct Requests(Arc<Mutex<Progress>>);

#[derive(Debug)]
struct Progress {
    stage: Stage,
    /// Since when the other side has taken nothing of what is to be written.
    stuck: Option<Instant>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Progress { stage: Stage::Coming(Instant::now()), stuck: None })))
    }

    /// A request's head has come.
    pub(crate) fn asked(&self) {
        self.lock().stage = Stage::Asked;
    }

    /// It is answered.
    pub(crate) fn answered(&self) {
        self.lock().stage = Stage::Rest;
    }

    fn came(&self) {
        let mut progress = self.lock();
        if progress.stage == Stage::Rest {
            progress.stage = Stage::Coming(Instant::now());
        }
    }

    fn wrote(&self) {
        self.lock().stuck = None;
    }

    fn stuck(&self) {
        self.lock().stuck.get_or_insert_with(Instant::now);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a head has been coming for longer than `head`, or nothing was taken of an answer for longer than
    /// `write`. To be polled after the connection, in its task: that is what notices that something has changed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn overdue(&self, head: Duration, write: Duration) {
        let timer = sleep_until(Instant::now() + head);
        tokio::pin!(timer);
        poll_fn(|cx| {
            let Some(due) = self.due(head, write) else { return Poll::Pending };
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }

    fn due(&self, head: Duration, write: Duration) -> Option<Instant> {
        let progress = self.lock();
        let coming = match progress.stage {
            Stage::Coming(since) => Some(since + head),
            Stage::Rest | Stage::Asked => None,
        };
        let stuck = progress.stuck.map(|since| since + write);
        coming.into_iter().chain(stuck).min()
    }
}

/// A connection's stream, which notes that something came, and that nothing can be written.
#[derive(Debug)]
pub(crate) struct Heard {
    stream: TcpStream,
    requests: Requests,
    stuck: bool,
}

impl Heard {
    pub(crate) const fn new(stream: TcpStream, requests: Requests) -> Self {
        Self { stream, requests, stuck: false }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match (self.stuck, written.is_pending()) {
            (_, true) => self.requests.stuck(),
            (true, false) => self.requests.wrote(),
            (false, false) => {}
        }
        self.stuck = written.is_pending();
        written
    }
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.requests.came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

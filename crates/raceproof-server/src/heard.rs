//! HTTP connections between requests: one that rests may do so for long, one that has begun a request must get on with
//! it. The HTTP library has one timeout for both, which is the longer; here is the shorter.
//!
//! What comes while a request is being answered counts as rest until more comes: such a beginning has the longer time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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
pub(crate) struct Requests(Arc<Mutex<Stage>>);

impl Requests {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Stage::Coming(Instant::now()))))
    }

    /// A request's head has come.
    pub(crate) fn asked(&self) {
        self.set(|_| Stage::Asked);
    }

    /// It is answered.
    pub(crate) fn answered(&self) {
        self.set(|_| Stage::Rest);
    }

    fn came(&self) {
        self.set(|stage| if stage == Stage::Rest { Stage::Coming(Instant::now()) } else { stage });
    }

    fn set(&self, next: impl FnOnce(Stage) -> Stage) {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *stage = next(*stage);
    }

    /// Resolves when a head has been coming for longer than `patience`. To be polled after the connection, in its task:
    /// that is what notices that the stage has changed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn dawdle(&self, patience: Duration) {
        let timer = sleep_until(Instant::now() + patience);
        tokio::pin!(timer);
        poll_fn(|cx| {
            let Stage::Coming(since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else {
                return Poll::Pending;
            };
            if timer.deadline() != since + patience {
                timer.as_mut().reset(since + patience);
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }
}

/// A connection's stream, which notes that something came.
#[derive(Debug)]
pub(crate) struct Heard {
    stream: TcpStream,
    requests: Requests,
}

impl Heard {
    pub(crate) const fn new(stream: TcpStream, requests: Requests) -> Self {
        Self { stream, requests }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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

//! What answers requests.

/// Answers requests, one at a time.
///
/// A closure that takes a request and returns a future is one. Implement it for a type of yours if the future has to
/// borrow what the worker keeps between requests.
pub trait Handler<Q>: Send + 'static {
    /// What it answers; a `Result` if a request can fail.
    type Reply: Send + 'static;

    /// Answers a request. If it panics, this handler is dropped and the worker makes another.
    ///
    /// # Cancel safety
    /// The future is dropped in the middle when [`Worker::stop_within`](super::Worker::stop_within) is out of time, with
    /// the last `Worker`, and, with [`Builder::drop_abandoned`](super::Builder::drop_abandoned), when its caller has gone.
    /// The handler itself is kept in that last case, so what the future has half done to it has to be bearable.
    fn handle(&mut self, request: Q) -> impl Future<Output = Self::Reply> + Send;
}

impl<Q, H, F> Handler<Q> for H
where
    H: FnMut(Q) -> F + Send + 'static,
    F: Future + Send,
    F::Output: Send + 'static,
{
    type Reply = F::Output;

    fn handle(&mut self, request: Q) -> impl Future<Output = F::Output> + Send {
        self(request)
    }
}

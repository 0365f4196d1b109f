//! What answers requests.

/// Answers requests, one at a time.
///
/// A closure that takes a request and returns a future is one. Implement it for a type of yours if the future has to
/// borrow what the worker keeps between requests.
pub trait Handler<Q>: Send + 'static {
    /// What it answers; a `Result` if a request can fail.
    type Reply: Send + 'static;

    /// Answers a request. If it panics, this handler is dropped and the worker makes another.
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

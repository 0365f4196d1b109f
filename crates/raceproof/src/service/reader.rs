//! A handle that remembers the value.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{GetError, Service};
use crate::rt::BoxFuture;

/// A handle that keeps the value it saw last; from [`Service::reader`]. Reading it again costs one atomic load, however
/// many others read and however often the service was reset (V3).
///
/// A reader that is not used keeps a value that was given up from being dropped, until it is used or dropped itself.
pub struct Reader<T, E> {
    service: Service<T, E>,
    /// Which value this is, as the service counts them.
    seen: usize,
    value: Option<Arc<T>>,
}

impl<T, E> Reader<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) const fn new(service: Service<T, E>) -> Self {
        Self { service, seen: 0, value: None }
    }

    /// The value, as by [`Service::get`].
    ///
    /// # Errors
    /// As [`Service::get`].
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Service::get`].
    #[inline]
    pub fn get(&mut self) -> impl Future<Output = Result<&T, GetError<E>>> + Send + use<'_, T, E> {
        let later = if self.is_current() { None } else { Some(self.ask()) };
        Read { reader: Some(self), later }
    }

    #[cold]
    fn ask(&self) -> BoxFuture<Result<Arc<T>, GetError<E>>> {
        let service = self.service.clone();
        Box::pin(async move { service.get().await })
    }

    #[inline]
    fn is_current(&self) -> bool {
        self.seen != 0 && self.seen == self.service.shared.published()
    }

    #[cold]
    fn see(&mut self, value: Arc<T>) {
        // The number and the value are read together; one that has been given up since is served once.
        self.seen = match self.service.shared.value() {
            Some((number, current)) if Arc::ptr_eq(&current, &value) => number,
            _ => 0,
        };
        self.value = Some(value);
    }
}

/// Written by hand, so that a reader that has the value pays for nothing else.
struct Read<'a, T, E> {
    reader: Option<&'a mut Reader<T, E>>,
    /// None: the reader has the value.
    later: Option<BoxFuture<Result<Arc<T>, GetError<E>>>>,
}

impl<'a, T, E> Future for Read<'a, T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<&'a T, GetError<E>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(later) = &mut self.later {
            let value = match later.as_mut().poll(cx) {
                Poll::Ready(Ok(value)) => value,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.later = None;
            if let Some(reader) = &mut self.reader {
                reader.see(value);
            }
        }
        match self.reader.take().map(|reader| &reader.value) {
            Some(Some(value)) => Poll::Ready(Ok(value)),
            // Polled again after its end.
            _ => Poll::Ready(Err(GetError::Closed)),
        }
    }
}

impl<T, E> Clone for Reader<T, E> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), seen: self.seen, value: self.value.clone() }
    }
}

impl<T, E> fmt::Debug for Reader<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("service", &self.service).finish_non_exhaustive()
    }
}

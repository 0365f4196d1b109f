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
    /// The value that was seen last, and which it is as the service counts them.
    seen: Option<(usize, Arc<T>)>,
}

impl<T, E> Reader<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) const fn new(service: Service<T, E>) -> Self {
        Self { service, seen: None }
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
        Read { reader: Some(self), later: None }
    }

    #[inline]
    fn is_current(&self) -> bool {
        self.seen.as_ref().is_some_and(|(number, _)| *number == self.service.shared.published())
    }

    /// Remembers a value. One that has been given up since is served once, under a number that no value has.
    fn see(&mut self, value: Arc<T>) -> &T {
        // The number is read together with the value that it is of.
        let number = match self.service.shared.value() {
            Some((number, current)) if Arc::ptr_eq(&current, &value) => number,
            _ => usize::MAX,
        };
        &self.seen.insert((number, value)).1
    }
}

/// Written by hand, so that a reader that has the value pays for nothing else.
struct Read<'a, T, E> {
    /// None: it has ended.
    reader: Option<&'a mut Reader<T, E>>,
    /// What is waited for.
    later: Option<BoxFuture<Result<Arc<T>, GetError<E>>>>,
}

impl<'a, T, E> Future for Read<'a, T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<&'a T, GetError<E>>;

    // Always: a call and the result's way through memory would take longer than the read itself.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.later.is_none()
            && let Some(reader) = self.reader.take_if(|reader| reader.is_current())
            && let Some((_, value)) = &reader.seen
        {
            return Poll::Ready(Ok(value));
        }
        self.ask(cx)
    }
}

impl<'a, T, E> Read<'a, T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    #[cold]
    #[inline(never)]
    fn ask(&mut self, cx: &mut Context<'_>) -> Poll<Result<&'a T, GetError<E>>> {
        // Polled again after its end.
        let Some(reader) = &mut self.reader else { return Poll::Ready(Err(GetError::Closed)) };
        let later = self.later.get_or_insert_with(|| {
            let service = reader.service.clone();
            Box::pin(async move { service.get().await })
        });
        let Poll::Ready(value) = later.as_mut().poll(cx) else { return Poll::Pending };
        self.later = None;
        let Some(reader) = self.reader.take() else { return Poll::Ready(Err(GetError::Closed)) };
        match value {
            Ok(value) => Poll::Ready(Ok(reader.see(value))),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T, E> Clone for Reader<T, E> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), seen: self.seen.clone() }
    }
}

impl<T, E> fmt::Debug for Reader<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("service", &self.service).finish_non_exhaustive()
    }
}

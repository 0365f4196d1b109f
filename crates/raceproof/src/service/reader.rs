//! A handle that remembers the value.

use std::fmt;
use std::sync::Arc;

use super::{GetError, Service};

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
    pub async fn get(&mut self) -> Result<&T, GetError<E>> {
        if self.seen == 0 || self.seen != self.service.shared.published() {
            self.look().await?;
        }
        self.value.as_deref().ok_or(GetError::Closed)
    }

    #[cold]
    async fn look(&mut self) -> Result<(), GetError<E>> {
        self.seen = 0;
        self.value = None;
        let value = self.service.get().await?;
        // The number and the value are read together; one that has been given up since is served once.
        self.seen = match self.service.shared.value() {
            Some((number, current)) if Arc::ptr_eq(&current, &value) => number,
            _ => 0,
        };
        self.value = Some(value);
        Ok(())
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

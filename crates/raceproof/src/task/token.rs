//! A flag that is set once, and can be waited for.

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::Notify;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::waiting::until;

/// Asks a task to stop.
///
/// Clones are the same token; [`child`](Self::child) makes one that is cancelled with this one, but not the other way
/// round. Dropping a token cancels nothing.
#[derive(Clone, Default)]
pub struct CancelToken {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    told: Notify,
    children: Mutex<Vec<Weak<Self>>>,
    /// Kept, because it is through it that its own parent reaches this one.
    _parent: Option<Arc<Self>>,
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled when this one is.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self { inner: Arc::new(Inner { _parent: Some(Arc::clone(&self.inner)), ..Inner::default() }) };
        let mut children = self.inner.children.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            child.inner.cancelled.store(true, Ordering::Release);
        } else {
            // So that a token with many short-lived children does not keep them all.
            if children.len() == children.capacity() {
                children.retain(|child| child.strong_count() > 0);
            }
            children.push(Arc::downgrade(&child.inner));
        }
        drop(children);
        child
    }

    /// Cancels this token and its children, for ever.
    pub fn cancel(&self) {
        let mut cancelled = vec![Arc::clone(&self.inner)];
        while let Some(token) = cancelled.pop() {
            // Under the lock, so that a child that is being made sees the flag or is seen.
            let mut children = token.children.lock().unwrap_or_else(PoisonError::into_inner);
            token.cancelled.store(true, Ordering::Release);
            cancelled.extend(children.drain(..).filter_map(|child| child.upgrade()));
            drop(children);
            token.told.notify_waiters();
        }
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::Acquire)
    }

    /// Returns when the token is cancelled, at once if it has been.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn cancelled(&self) {
        until(&self.inner.told, || self.is_cancelled()).await;
    }
}

//! Locks, atomics and what each thread has of its own: the standard library's, or shuttle's under `--cfg shuttle`.

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic},
    thread_local,
};

/// Where a value is while nobody has it: in one step it is taken out, or put back.
#[cfg(not(shuttle))]
pub(crate) struct Slot<T>(crossbeam_utils::atomic::AtomicCell<Option<Box<T>>>);

#[cfg(not(shuttle))]
impl<T> Slot<T> {
    pub(crate) const fn new(value: Box<T>) -> Self {
        Self(crossbeam_utils::atomic::AtomicCell::new(Some(value)))
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.take()
    }

    #[inline]
    pub(crate) fn put(&self, value: Option<Box<T>>) {
        self.0.store(value);
    }
}

#[cfg(shuttle)]
pub(crate) struct Slot<T>(Mutex<Option<Box<T>>>);

#[cfg(shuttle)]
impl<T> Slot<T> {
    pub(crate) fn new(value: Box<T>) -> Self {
        Self(Mutex::new(Some(value)))
    }

    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.lock().take()
    }

    pub(crate) fn put(&self, value: Option<Box<T>>) {
        *self.lock() = value;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<T>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

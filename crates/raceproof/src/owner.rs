//! Which flow of work an acquisition belongs to, for the search for deadlocks (L6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;

/// What was said of the flow.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    /// The Tokio task, or the thread outside one.
    Task,
    /// Behind one pointer, so that an [`Owner`] is two words, which stay in registers.
    Named(Arc<Arc<str>>),
    /// One of its own each time.
    Detached,
}

/// The flow of one acquisition, written out only when somebody has to read it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    Task(tokio::task::Id),
    Thread(ThreadId),
    Named(Arc<Arc<str>>),
    Detached(u64),
}

static DETACHED: AtomicU64 = AtomicU64::new(0);

impl Flow {
    /// Whether the machine takes it: a name has 1 to 64 bytes.
    pub(crate) fn is_usable(&self) -> bool {
        match self {
            Self::Named(name) => (1..=64).contains(&name.len()),
            Self::Task | Self::Detached => true,
        }
    }

    #[inline]
    pub(crate) fn owner(&self) -> Owner {
        match self {
            Self::Task => match tokio::task::try_id() {
                Some(id) => Owner::Task(id),
                None => Owner::Thread(std::thread::current().id()),
            },
            Self::Named(name) => Owner::Named(Arc::clone(name)),
            Self::Detached => Owner::Detached(DETACHED.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Owner {
    pub(crate) fn text(&self) -> Arc<str> {
        match self {
            Self::Task(id) => format!("t{id}").into(),
            Self::Thread(id) => format!("{id:?}").into(),
            Self::Named(name) => Arc::clone(name.as_ref()),
            Self::Detached(number) => format!("d{number}").into(),
        }
    }
}

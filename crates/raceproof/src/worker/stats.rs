//! A worker at one moment.

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests in the mailbox.
    pub waiting: usize,
    /// Requests of callers that wait for room in the mailbox.
    pub patient: usize,
    /// Requests in workers' hands.
    pub in_hand: usize,
    /// Workers that have not ended.
    pub workers: usize,
    /// Whether no more requests are taken.
    pub stopped: bool,
    /// Requests that were taken into the mailbox since the worker was made.
    pub accepted: u64,
    /// Requests that were given back because there was no room.
    pub refused: u64,
    /// Requests whose callers went, and that were not started or not finished.
    pub abandoned: u64,
    /// Requests whose time was over before a worker had them.
    pub expired: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Panics.
    pub panicked: u64,
}

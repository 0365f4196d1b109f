//! One vocabulary for what happens when something is started that is running already.

/// What happens to a start while an earlier one with the same name is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Overlap {
    /// It is refused, and whoever asked is told since when the other runs.
    #[default]
    Skip,
    /// One waits until the running one has ended; further ones are the same as the one that waits.
    QueueOne,
    /// All wait, in their order, as far as the queue allows.
    QueueAll,
    /// The running one is stopped and those that wait are dropped; this one starts once the running one has ended.
    Replace,
    /// Both run.
    Allow,
}

//! A bus at one moment.

/// A bus at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Events published since the bus was made.
    pub published: u64,
    /// Events that the ring holds.
    pub buffered: usize,
    /// Publishers that wait for room.
    pub publishers_waiting: usize,
    /// Subscribers that were cut off since the bus was made.
    pub disconnected: u64,
    /// Whether the bus is closed.
    pub closed: bool,
    /// All subscribers, the oldest first.
    pub subscribers: Vec<SubscriberStats>,
}

/// A subscriber at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// The name it was given.
    pub name: String,
    /// Events in the ring that it has yet to take.
    pub behind: u64,
    /// Events that it lost and was told of.
    pub missed: u64,
    /// Whether publishers wait for it.
    pub full: bool,
    /// How often its handler panicked.
    pub panics: u64,
}

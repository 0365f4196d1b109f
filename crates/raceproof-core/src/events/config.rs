//! Limits of a bus, and what each subscriber asks for.

/// Limits of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How many events the ring holds, which is as far as any subscriber may be behind. At least 1; default 1,024.
    pub capacity: usize,
    /// How many events are kept, though everybody has read them, for those who subscribe later. At most `capacity`;
    /// default 0.
    pub replay: usize,
    /// How many subscribers there may be. Default 1,024.
    pub subscribers_max: usize,
    /// How many publishers may wait for room. Default 1,024.
    pub publishers_waiting_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { capacity: 1_024, replay: 0, subscribers_max: 1_024, publishers_waiting_max: 1_024 }
    }
}

/// What happens when a subscriber is as far behind as its limit allows and another event is published (B2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Publishers wait until it has read on. Nothing is lost.
    #[default]
    Wait,
    /// It loses the oldest event that it has not read, and reads a `Gap` in its place. Nobody waits.
    DropOldest,
    /// It is cut off and told so. Nobody waits.
    Disconnect,
}

/// What one subscriber asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReaderConfig {
    /// What happens when it is full.
    pub policy: Policy,
    /// How many unread events make it full; default and most: the capacity of the bus.
    pub limit: Option<usize>,
    /// How many past events it wants to see first. It gets those that the bus still has.
    pub replay: usize,
}

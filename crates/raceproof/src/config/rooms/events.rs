//! `[events]`: limits of event buses.

use raceproof_core::events::Config;

use crate::events::{Builder, Bus};

/// The section `[events]`: the limits of a [`Bus`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EventsConfig {
    /// How many events a bus holds, which is as far as any subscriber may be behind.
    pub capacity: usize,
    /// How many past events are kept for those who subscribe later.
    pub replay: usize,
    /// How many subscribers there may be.
    pub subscribers_max: usize,
    /// How many publishers may wait for room.
    pub publishers_waiting_max: usize,
}

impl Default for EventsConfig {
    fn default() -> Self {
        let Config { capacity, replay, subscribers_max, publishers_waiting_max, .. } = Config::default();
        Self { capacity, replay, subscribers_max, publishers_waiting_max }
    }
}

impl EventsConfig {
    /// A bus.
    #[must_use]
    pub fn builder<E>(&self) -> Builder<E> {
        Bus::builder()
            .capacity(self.capacity)
            .replay(self.replay)
            .subscribers_max(self.subscribers_max)
            .publishers_waiting_max(self.publishers_waiting_max)
    }
}

section! {
    EventsConfig, "events", "Event buses: how much they hold.";
    "capacity" capacity: usize = "queue", "how many events a bus holds, which is as far as a subscriber may be behind";
    "replay" replay: usize, "how many past events are kept for those who subscribe later";
    "subscribers-max" subscribers_max: usize, "how many subscribers there may be";
    "publishers-waiting-max" publishers_waiting_max: usize = "waiters-max", "how many publishers may wait for room";
    check |values| {
        super::some("capacity", values.capacity == 0)?;
        if values.replay > values.capacity {
            return Err("replay is more than capacity".into());
        }
        Ok(())
    }
}

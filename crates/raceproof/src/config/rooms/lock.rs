//! `[lock]` and `[semaphore]`: locks of this process by name. The program `raceproof` has keys of its own in `[lock]`.

use std::num::NonZeroU32;
use std::time::Duration;

/// The section `[lock]`: how the locks of a [registry](crate::registry::Registry::lock) are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LockConfig {
    /// How long to wait for it; none for as long as it takes.
    pub wait: Option<Duration>,
}

/// The section `[semaphore]`: what the semaphores of a [registry](crate::registry::Registry::semaphore) are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SemaphoreConfig {
    /// How many permits there are.
    pub permits: NonZeroU32,
    /// How long to wait for them; none for as long as it takes.
    pub wait: Option<Duration>,
}

impl Default for SemaphoreConfig {
    fn default() -> Self {
        Self { permits: NonZeroU32::new(8).expect("it is not zero"), wait: None }
    }
}

section! {
    LockConfig, "lock",
    "Locks by name within the process. The other keys of this section are the [program's](cli.md#settings).";
    "wait" wait: Option<Duration>, "how long to wait for it; none: as long as it takes";
}

section! {
    SemaphoreConfig, "semaphore", "Semaphores by name within the process.";
    "permits" permits: NonZeroU32 = "concurrency", "how many permits there are";
    "wait" wait: Option<Duration>, "how long to wait for them; none: as long as it takes";
}

//! The sections: which room has which keys, and what is made of them.

#[cfg(feature = "config")]
use std::time::Duration;

/// A section whose values are its configuration: its name, what it is about, its keys (see [`keys`](super::schema)),
/// and, where not all values go together, a check that says which do not.
macro_rules! section {
    (
        $config:ty, $name:literal, $about:literal;
        $($key:literal $field:ident : $kind:ty $(= $shared:literal)?, $what:literal;)+
        $(check |$values:ident| $check:block)?
    ) => {
        #[cfg(feature = "config")]
        impl crate::config::schema::sealed::Section for $config {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $about;
            type Values = Self;

            fn keys() -> Vec<crate::config::schema::Key<Self>> {
                crate::config::schema::keys![$($key $field: $kind $(= $shared)?, $what;)+]
            }

            fn build(values: Self) -> Result<Self, String> {
                $(
                    let check = |$values: &Self| -> Result<(), String> { $check };
                    check(&values)?;
                )?
                Ok(values)
            }
        }
    };
}

mod breaker;
#[cfg(feature = "cache")]
mod cache;
mod debounce;
mod events;
mod limit;
mod lock;
mod recovery;
mod retry;
mod service;
mod shared;
mod startup;
mod task;
mod throttle;
mod timeout;
mod worker;

pub use self::breaker::BreakerConfig;
#[cfg(feature = "cache")]
pub use self::cache::CacheConfig;
pub use self::debounce::DebounceConfig;
pub use self::events::EventsConfig;
pub use self::limit::LimitConfig;
pub use self::lock::{LockConfig, SemaphoreConfig};
pub use self::recovery::RecoveryConfig;
pub use self::retry::RetryConfig;
pub use self::service::ServiceConfig;
pub use self::shared::AsyncConfig;
pub use self::startup::StartupConfig;
pub use self::task::TaskConfig;
pub use self::throttle::ThrottleConfig;
pub use self::timeout::TimeoutConfig;
pub use self::worker::WorkerConfig;

/// The section whose values stand in for those that other sections leave out.
#[cfg(feature = "config")]
pub(super) const SHARED: &str = "async";

/// Every section, in the order of the reference.
#[cfg(feature = "config")]
pub(super) const SECTIONS: &[super::schema::Section] = {
    use super::schema::Section;
    &[
        Section::of::<AsyncConfig>(),
        Section::of::<BreakerConfig>(),
        #[cfg(feature = "cache")]
        Section::of::<CacheConfig>(),
        Section::of::<DebounceConfig>(),
        Section::of::<EventsConfig>(),
        Section::of::<LimitConfig>(),
        Section::of::<LockConfig>(),
        Section::of::<RecoveryConfig>(),
        Section::of::<RetryConfig>(),
        Section::of::<SemaphoreConfig>(),
        Section::of::<ServiceConfig>(),
        Section::of::<StartupConfig>(),
        Section::of::<TaskConfig>(),
        Section::of::<ThrottleConfig>(),
        Section::of::<TimeoutConfig>(),
        Section::of::<WorkerConfig>(),
    ]
};

/// Refuses nothing where there has to be something.
#[cfg(feature = "config")]
fn some(what: &str, is_nothing: bool) -> Result<(), String> {
    if is_nothing { Err(format!("{what} is 0")) } else { Ok(()) }
}

/// Refuses a bound that is less than what it bounds.
#[cfg(feature = "config")]
fn ordered(low: &str, least: Duration, high: &str, most: Duration) -> Result<(), String> {
    if least > most { Err(format!("{low} is longer than {high}")) } else { Ok(()) }
}

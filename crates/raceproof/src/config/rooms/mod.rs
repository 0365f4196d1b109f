//! The sections: which room has which keys, and what is made of them.

mod breaker;
#[cfg(feature = "cache")]
mod cache;
mod debounce;
mod events;
mod limit;
mod retry;
mod service;
mod shared;
mod task;
mod throttle;
mod timeout;

pub use self::breaker::BreakerConfig;
#[cfg(feature = "cache")]
pub use self::cache::CacheConfig;
pub use self::debounce::DebounceConfig;
pub use self::events::EventsConfig;
pub use self::limit::LimitConfig;
pub use self::retry::RetryConfig;
pub use self::service::ServiceConfig;
pub use self::shared::AsyncConfig;
pub use self::task::TaskConfig;
pub use self::throttle::ThrottleConfig;
pub use self::timeout::TimeoutConfig;

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
        Section::of::<RetryConfig>(),
        Section::of::<ServiceConfig>(),
        Section::of::<TaskConfig>(),
        Section::of::<ThrottleConfig>(),
        Section::of::<TimeoutConfig>(),
    ]
};

/// Refuses nothing where there has to be something.
#[cfg(feature = "config")]
fn some(what: &str, is_nothing: bool) -> Result<(), String> {
    if is_nothing { Err(format!("{what} is 0")) } else { Ok(()) }
}

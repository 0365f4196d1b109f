//! What the rooms are told at the start, and reading it: `$XDG_CONFIG_HOME/raceproof/config.toml`, then
//! `./raceproof.toml`, then `RACEPROOF_*`.
//!
//! Owns: one plain struct a room and, with the feature `config`, the sections and keys of the file, where each value
//! comes from, and the refusal of keys that do not exist. Refuses: to keep anything; that is the
//! [registry's](crate::registry).
//!
//! A section holds for every instance of its room, a table in it for one of them:
#![cfg_attr(feature = "config", doc = "```")]
#![cfg_attr(not(feature = "config"), doc = "```ignore")]
//! # fn main() -> Result<(), raceproof::config::ConfigError> {
//! use raceproof::config::{BreakerConfig, Config};
//!
//! let config = Config::from_toml(
//!     r#"
//!     [breaker]
//!     open-for = "30s"
//!
//!     [breaker.payments]
//!     failures = 3
//!     "#,
//! )?;
//! let payments: BreakerConfig = config.room("payments");
//! assert_eq!(payments.open_for, std::time::Duration::from_secs(30));
//! # Ok(()) }
//! ```
//!
//! A misspelt key is an error that names the nearest valid one. The repository's `docs/configuration.md` lists every
//! key with its default.

#[cfg(feature = "config")]
mod error;
#[cfg(feature = "config")]
mod file;
#[cfg(feature = "config")]
mod load;
#[cfg(feature = "config")]
pub mod program;
mod rooms;
#[cfg(feature = "config")]
pub(crate) mod schema;
#[cfg(feature = "config")]
pub(crate) mod setting;
#[cfg(feature = "config")]
mod table;
#[cfg(all(test, feature = "config"))]
mod tests;

#[cfg(feature = "config")]
pub use self::error::{ConfigError, Origin};
#[cfg(feature = "config")]
pub use self::file::Config;
#[cfg(feature = "config")]
pub use self::load::Sources;
#[cfg(feature = "cache")]
pub use self::rooms::CacheConfig;
pub use self::rooms::{
    AsyncConfig, BreakerConfig, DebounceConfig, EventsConfig, LimitConfig, LockConfig, RecoveryConfig, RetryConfig,
    SemaphoreConfig, ServiceConfig, StartupConfig, TaskConfig, ThrottleConfig, TimeoutConfig, WorkerConfig,
};
#[cfg(feature = "config")]
pub use self::schema::{KeyInfo, Room};
#[cfg(feature = "config")]
pub use self::setting::duration;
#[cfg(feature = "config")]
pub use self::table::reference;

//! The sections: which room has which keys.

mod service;
mod shared;

pub use self::service::ServiceConfig;
pub use self::shared::AsyncConfig;
use super::schema::Section;

/// The section whose values stand in for those that other sections leave out.
pub(super) const SHARED: &str = "async";

/// Every section, in the order of the reference.
pub(super) const SECTIONS: &[Section] = &[Section::of::<AsyncConfig>(), Section::of::<ServiceConfig>()];

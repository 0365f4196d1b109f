//! Under construction.

#[cfg(feature = "store")]
pub mod store;

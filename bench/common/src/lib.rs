//! What the benches share: measurements and their ratios, what was wanted of them, and how both are shown.

pub mod book;
pub mod host;
pub mod report;
pub mod stats;
pub mod targets;

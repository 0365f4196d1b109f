//! When a breaker opens, and for how long.

use std::time::Duration;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Window {
    /// The last so many results.
    Calls(u32),
    /// The results of the last so much time, in tenths of it.
    Time(Duration),
}

/// How much failure opens a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Threshold {
    /// So many failures without a success between them.
    Consecutive(u32),
    /// So many failures within the window.
    Failures {
        /// How many.
        count: u32,
        /// Among which results.
        window: Window,
    },
    /// Such a share of failures within the window.
    Rate {
        /// 1 to 100.
        percent: u8,
        /// Fewer results than this say nothing.
        calls_min: u32,
        /// Among which results.
        window: Window,
    },
}

/// What a [`Breaker`](super::Breaker) is told at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How much failure opens it. Default: five failures in a row.
    pub threshold: Threshold,
    /// How long it stays open before it probes. Default: 60 s.
    pub open_for: Duration,
    /// Each failed probe doubles the open period, up to this. Default: as [`open_for`](Self::open_for), so it never
    /// grows.
    pub open_for_max: Duration,
    /// How many calls half-open admits, and how many of them have to succeed: all. Default: 1.
    pub probes: u32,
    /// After how long without a verdict a probe is given up and its place is free. Default: 30 s.
    pub probe_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threshold: Threshold::Consecutive(5),
            open_for: Duration::from_secs(60),
            open_for_max: Duration::from_secs(60),
            probes: 1,
            probe_timeout: Duration::from_secs(30),
        }
    }
}

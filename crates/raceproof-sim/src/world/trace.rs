//! What happened, in order: always as a hash, on request as text.

use std::fmt;

use super::clock::Instant;

/// A record of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    text: bool,
    tail: std::collections::VecDeque<String>,
}

/// How many of the last lines are kept when text is on.
const TAIL: usize = 100_000;

impl Trace {
    /// A trace that keeps its text or not.
    #[must_use]
    pub fn new(text: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, text, tail: std::collections::VecDeque::new() }
    }

    /// Whether text is kept.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.text
    }

    /// Enters numbers that tell one run from another.
    pub fn mix(&mut self, at: Instant, words: &[u64]) {
        self.lines += 1;
        for word in std::iter::once(&at).chain(words) {
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// Enters a line, if text is on.
    pub fn line(&mut self, at: Instant, text: fmt::Arguments<'_>) {
        if !self.text {
            return;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(format!("{:>4}.{:06} {text}", at / 1_000_000, at % 1_000_000));
    }

    /// The hash of everything, and how many events there were.
    #[must_use]
    pub const fn sum(&self) -> (u64, u64) {
        (self.hash, self.lines)
    }

    /// The lines.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.tail.into()
    }
}

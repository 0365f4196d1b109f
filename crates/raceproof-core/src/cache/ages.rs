//! Finding the entries whose time is over, a few at a time.

use std::collections::VecDeque;

use super::{Freshness, Times};
use crate::time::Time;

/// How many entries one sweep looks at. More than one, so that a full round takes fewer writes than there are entries.
const LOOKS: usize = 2;

/// The entries that end by time, each with the times that it was kept with.
///
/// Every entry that is kept is [noted](Self::note), and each such write [sweeps](Self::sweep): it goes round all that is
/// noted, and drops what has ended or was replaced. So an entry whose time is over is held for no longer than as many
/// writes as there are entries, and no more is noted than twice the entries there are.
#[derive(Debug)]
pub struct Ages<K> {
    noted: VecDeque<(K, Times)>,
}

impl<K> Default for Ages<K> {
    fn default() -> Self {
        Self { noted: VecDeque::new() }
    }
}

impl<K> Ages<K> {
    /// An entry was kept with times that are not those it had.
    pub fn note(&mut self, key: K, times: Times) {
        self.noted.push_back((key, times));
    }

    /// Looks at the next few. `entry` is told the times an entry was kept with and whether they are over; it says
    /// whether the entry still has these times, and removes it if it has and they are.
    ///
    /// What comes back is not noted any more, and is for the caller to drop.
    pub fn sweep(&mut self, now: Time, mut entry: impl FnMut(&K, Times, bool) -> bool) -> [Option<K>; LOOKS] {
        let mut gone = [const { None }; LOOKS];
        let looks = LOOKS.min(self.noted.len());
        for gone in gone.iter_mut().take(looks) {
            let Some((key, times)) = self.noted.pop_front() else { break };
            let over = times.at(now) == Freshness::Expired;
            if entry(&key, times, over) && !over {
                self.noted.push_back((key, times));
            } else {
                *gone = Some(key);
            }
        }
        // What a rush of entries took is given back when they have gone.
        if self.noted.len() < self.noted.capacity() / 4 {
            self.noted.shrink_to(2 * self.noted.len());
        }
        gone
    }

    /// How many sweeps go round all that is noted.
    #[must_use]
    pub fn round(&self) -> usize {
        self.noted.len().div_ceil(LOOKS)
    }

    /// How many are noted, also such as have gone since.
    #[must_use]
    pub fn len(&self) -> usize {
        self.noted.len()
    }

    /// Whether none is noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }
}

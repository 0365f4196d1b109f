//! Fences in memory, for resources that live in memory too.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::sync::{Mutex, PoisonError};

use super::{CheckError, Fence, FenceStore, Token};

/// Fences that are forgotten with the process.
///
/// Right for what is forgotten with the process itself. Anything that outlives it needs a fence that does, such as
/// [`DirectoryFences`](super::directory::DirectoryFences): the first write after a restart would pass, however stale.
#[derive(Debug)]
pub struct MemoryFences {
    max_resources: usize,
    fences: Mutex<BTreeMap<Box<str>, Fence>>,
}

/// There is no room for another resource. None is evicted, because a fence that is forgotten admits anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for another fence: {max_resources} resources are remembered")]
pub struct TooManyResources {
    /// How many fit.
    pub max_resources: usize,
}

impl MemoryFences {
    /// Room for `max_resources` resources.
    #[must_use]
    pub const fn new(max_resources: usize) -> Self {
        Self { max_resources, fences: Mutex::new(BTreeMap::new()) }
    }

    /// [`FenceStore::check`], at once.
    ///
    /// # Errors
    /// As there.
    pub fn check_now(&self, resource: &str, token: Token) -> Result<(), CheckError<TooManyResources>> {
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fence) = fences.get_mut(resource) {
            return Ok(fence.check(token)?);
        }
        if fences.len() >= self.max_resources {
            return Err(CheckError::Store(TooManyResources { max_resources: self.max_resources }));
        }
        let mut fence = Fence::new();
        fence.check(token)?;
        fences.insert(resource.into(), fence);
        Ok(())
    }
}

impl Default for MemoryFences {
    /// Room for 65,536 resources.
    fn default() -> Self {
        Self::new(1 << 16)
    }
}

impl FenceStore for MemoryFences {
    type Error = TooManyResources;

    fn check(&self, resource: &str, token: Token) -> impl Future<Output = Result<(), CheckError<Self::Error>>> + Send {
        ready(self.check_now(resource, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::Stale;

    #[test]
    fn l9_resources_are_fenced_one_by_one() {
        let fences = MemoryFences::default();
        fences.check_now("a", Token::new(6)).unwrap();
        fences.check_now("b", Token::new(5)).unwrap();
        let refused = fences.check_now("a", Token::new(5));
        assert!(matches!(refused, Err(CheckError::Stale(Stale { newest, .. })) if newest == Token::new(6)));
    }

    #[test]
    fn a_full_memory_refuses_another_resource_and_forgets_none() {
        let fences = MemoryFences::new(1);
        fences.check_now("a", Token::new(6)).unwrap();
        let refused = fences.check_now("b", Token::new(7));
        assert!(matches!(refused, Err(CheckError::Store(TooManyResources { max_resources: 1 }))));
        fences.check_now("a", Token::new(7)).unwrap();
        assert!(matches!(fences.check_now("a", Token::new(6)), Err(CheckError::Stale(_))));
    }

    #[test]
    fn a_refused_first_token_takes_no_room() {
        let fences = MemoryFences::new(1);
        assert!(fences.check_now("a", Token::new(0)).is_err());
        fences.check_now("b", Token::new(1)).unwrap();
    }
}

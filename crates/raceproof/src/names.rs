//! The names of a lock: nearly always one.

use std::slice;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) enum Names {
    One(Arc<str>),
    Many(Vec<Arc<str>>),
}

impl Names {
    pub(crate) const fn as_slice(&self) -> &[Arc<str>] {
        match self {
            Self::One(name) => slice::from_ref(name),
            Self::Many(names) => names.as_slice(),
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<Arc<str>> {
        self.as_slice().to_vec()
    }
}

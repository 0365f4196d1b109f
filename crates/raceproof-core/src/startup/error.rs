//! Why nothing is started.

use std::sync::Arc;

/// What is wrong with a set of services.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Two have the same name.
    #[error("two services are called {name:?}")]
    Duplicate {
        /// The name.
        name: Arc<str>,
    },
    /// One depends on a service that is not there.
    #[error("{name:?} depends on {dependency:?}, which is not a service")]
    Unknown {
        /// Who depends on it.
        name: Arc<str>,
        /// What is missing.
        dependency: Arc<str>,
    },
    /// Some depend on each other in a circle.
    #[error("services depend on each other in a circle: {}", circle(.names))]
    Cycle {
        /// Each depends on the next, and the last on the first.
        names: Vec<Arc<str>>,
    },
}

fn circle(names: &[Arc<str>]) -> String {
    let closed: Vec<&str> = names.iter().chain(names.first()).map(|name| &**name).collect();
    closed.join(" -> ")
}

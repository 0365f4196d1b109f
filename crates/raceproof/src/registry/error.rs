//! Why the registry has no handle.

use super::Room;

/// Why a registry gives no handle.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is an instance of this name, and it was built with another configuration.
    #[error("the {room} {name:?} was built with another configuration: {built}, and not {asked}")]
    Conflict {
        /// The room.
        room: Room,
        /// The instance's name.
        name: String,
        /// What it was built with.
        built: String,
        /// What was asked for.
        asked: String,
    },
    /// There is an instance of this name, and it is of another type: another event, key or value.
    #[error("the {room} {name:?} is a {is}, and not a {asked}")]
    Type {
        /// The room.
        room: Room,
        /// The instance's name.
        name: String,
        /// What it is.
        is: &'static str,
        /// What was asked for.
        asked: &'static str,
    },
    /// It runs in tasks, and there is no Tokio runtime here to run them.
    #[error("there is no Tokio runtime to run the {room} {name:?}")]
    NoRuntime {
        /// The room.
        room: Room,
        /// The instance's name.
        name: String,
    },
    /// There is an instance of this name already.
    #[error("there is a {room} {name:?} already")]
    Taken {
        /// The room.
        room: Room,
        /// The instance's name.
        name: String,
    },
}

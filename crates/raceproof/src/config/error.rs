//! Where a value comes from, and why settings cannot be used.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A text that the program gave.
    Text,
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text => f.write_str("text"),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// Settings that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read, or is not TOML.
    #[error("{origin}: {detail}")]
    Source {
        /// The file, or the text.
        origin: Origin,
        /// What is wrong.
        detail: String,
    },
    /// There is no such key, section or variable.
    #[error("{origin}: there is no setting {key:?}{}", near.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    UnknownKey {
        /// Where it is.
        origin: Origin,
        /// The key.
        key: String,
        /// A valid one that looks like it.
        near: Option<String>,
    },
    /// A value is not of its kind.
    #[error("{origin}: {key} is {text:?}: {detail}")]
    Value {
        /// Where it is.
        origin: Origin,
        /// The key.
        key: String,
        /// What it says.
        text: String,
        /// What is wrong.
        detail: String,
    },
    /// Values that are right one by one do not go together.
    #[error("[{section}]: {detail}")]
    Section {
        /// The section, with the name of the instance if it has one.
        section: String,
        /// What is wrong.
        detail: String,
    },
}

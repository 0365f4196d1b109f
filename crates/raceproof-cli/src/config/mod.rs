//! Settings: flags, then `RACEPROOF_*`, then `./raceproof.toml`, then `$XDG_CONFIG_HOME/raceproof/config.toml`, then
//! defaults.
//!
//! Owns: the keys, where each value comes from, and the refusal of keys that do not exist. Refuses: to do anything
//! with them.

mod keys;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

pub(crate) use keys::{KEYS, Key, address};
pub(crate) use load::{Sources, load};

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A value: lists have one text an entry, everything else exactly one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub texts: Vec<String>,
    pub origin: Origin,
}

/// Settings that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// A file cannot be read, or is not TOML.
    #[error("{path}: {detail}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is no such key, or a setting of the library's rooms cannot be used.
    #[error(transparent)]
    Rooms(#[from] raceproof::config::ConfigError),
    /// A value is not of its kind.
    #[error("{origin}: {key} is {text:?}: {detail}")]
    Value {
        /// Where it is.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What it says.
        text: String,
        /// What is wrong.
        detail: String,
    },
}

/// Every setting with its value.
#[derive(Debug)]
pub(crate) struct Settings(BTreeMap<&'static str, Value>);

impl Settings {
    /// What a flag said, if it was given, wins.
    pub(crate) fn flag(mut self, key: &'static str, text: Option<impl ToString>) -> Self {
        if let Some(text) = text {
            self.0.insert(key, Value { texts: vec![text.to_string()], origin: Origin::Flag });
        }
        self
    }

    /// What a repeated flag said, if it was given, wins.
    pub(crate) fn flags(mut self, key: &'static str, texts: &[String]) -> Self {
        if !texts.is_empty() {
            self.0.insert(key, Value { texts: texts.to_vec(), origin: Origin::Flag });
        }
        self
    }

    /// A setting with its origin.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A text, if it is set.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.texts.first().map(String::as_str)
    }

    /// A list.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.value(key).map(|value| value.texts.clone()).unwrap_or_default()
    }

    /// A yes or no; no unless it is set.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    /// A duration that has a default.
    pub(crate) fn duration(&self, key: &str) -> Duration {
        let duration = self.text(key).and_then(|text| raceproof::config::duration(text).ok());
        duration.expect("it has a default, and every value was checked when it was loaded")
    }

    /// A choice that has a default.
    pub(crate) fn choice<T: ValueEnum>(&self, key: &str) -> T {
        let choice = self.text(key).and_then(|text| T::from_str(text, true).ok());
        choice.expect("it has a default, and every value was checked when it was loaded")
    }
}

/// The directory of state that outlives a restart: `$XDG_STATE_HOME/raceproof`.
pub(crate) fn state_dir() -> Option<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state")
}

/// The directory of a user's own settings: `$XDG_CONFIG_HOME/raceproof`.
pub(crate) fn config_dir() -> Option<PathBuf> {
    xdg("XDG_CONFIG_HOME", ".config")
}

/// By the rules of the base directory specification a relative path is as good as none.
fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| std::env::home_dir().map(|home| home.join(below_home)))?;
    Some(base.join("raceproof"))
}

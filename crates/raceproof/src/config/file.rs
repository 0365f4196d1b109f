//! Everything that was said, read and checked.

use std::collections::BTreeMap;

use super::rooms::{SECTIONS, SHARED};
use super::schema::{Room, Section, sealed};
use super::{ConfigError, Origin, Sources};

/// The settings of all rooms, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) sections: &'static [Section],
    values: BTreeMap<&'static str, Values>,
    pub(super) warnings: Vec<String>,
}

/// What was said of a section.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) own: BTreeMap<&'static str, Value>,
    pub(super) named: BTreeMap<String, BTreeMap<&'static str, Value>>,
}

/// A text that was found to be a value of its key.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Nobody said anything.
impl Default for Config {
    fn default() -> Self {
        Self::blank(SECTIONS)
    }
}

impl Config {
    /// Reads what this process was started with: see [`Sources::of_this_process`].
    ///
    /// # Errors
    /// When a file cannot be read, a key does not exist or a value is not of its kind. The first such is named.
    pub fn load() -> Result<Self, ConfigError> {
        let config = Self::from_sources(&Sources::of_this_process())?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    /// Reads files, then variables. Later files go before earlier ones, variables before files.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_sources(sources: &Sources) -> Result<Self, ConfigError> {
        Self::default().read(sources)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.read_text(text, &Origin::Text)?;
        config.checked()
    }

    const fn blank(sections: &'static [Section]) -> Self {
        Self { sections, values: BTreeMap::new(), warnings: Vec::new() }
    }

    fn read(mut self, sources: &Sources) -> Result<Self, ConfigError> {
        for path in &sources.files {
            self.read_file(path)?;
        }
        self.read_variables(&sources.variables)?;
        self.checked()
    }

    /// Every section and every instance has to go together.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        for section in self.sections {
            (section.check_whole)(&self, None)?;
            for name in self.names_of(section.name) {
                (section.check_whole)(&self, Some(name))?;
            }
        }
        Ok(self)
    }

    /// The configuration of one instance: what its own table says, then its section, then `[async]`, then the default.
    #[must_use]
    pub fn room<R: Room>(&self, name: &str) -> R {
        self.build(Some(name)).expect("every instance was built once when the settings were read")
    }

    /// The configuration of the instances that have no table of their own.
    #[must_use]
    pub fn section_of<R: Room>(&self) -> R {
        self.build(None).expect("every section was built once when the settings were read")
    }

    /// The instances that have a table of their own.
    pub fn names<R: Room>(&self) -> impl Iterator<Item = &str> {
        self.names_of(R::NAME)
    }

    /// Where the value of a key comes from, such as `open-for` of a breaker. None where the default holds, and where
    /// there is no such key.
    #[must_use]
    pub fn origin<R: Room>(&self, name: Option<&str>, key: &str) -> Option<&Origin> {
        let key = R::keys().into_iter().find(|known| known.name == key)?;
        self.value(R::NAME, name, key.name, key.shared).map(|value| &value.origin)
    }

    /// What to warn of: variables that look like misspelt settings. [`load`](Self::load) logs them.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn build<R: sealed::Section>(&self, name: Option<&str>) -> Result<R, ConfigError> {
        let section = || name.map_or_else(|| R::NAME.to_owned(), |name| format!("{}.{name}", R::NAME));
        let failed = |detail| ConfigError::Section { section: section(), detail };
        let mut values = R::Values::default();
        for key in R::keys() {
            if let Some(value) = self.value(R::NAME, name, key.name, key.shared) {
                (key.set)(&mut values, &value.text).map_err(failed)?;
            }
        }
        R::build(values).map_err(failed)
    }

    fn value(&self, section: &str, name: Option<&str>, key: &str, shared: Option<&str>) -> Option<&Value> {
        let values = self.values.get(section);
        let own = || values.and_then(|values| values.own.get(key));
        let named = name.and_then(|name| values?.named.get(name)?.get(key));
        let shared = || shared.and_then(|shared| self.values.get(SHARED)?.own.get(shared));
        named.or_else(own).or_else(shared)
    }

    pub(super) fn values(&mut self, section: &'static str) -> &mut Values {
        self.values.entry(section).or_default()
    }

    fn names_of(&self, section: &str) -> impl Iterator<Item = &str> {
        self.values.get(section).into_iter().flat_map(|values| values.named.keys().map(String::as_str))
    }
}

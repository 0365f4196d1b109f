//! What a section is: its keys, and what they are put together to.

use super::{Config, ConfigError};

/// What a room is told at the start, as far as a file can say it.
///
/// Implemented by the configurations of the rooms that have a section; see [`Config::room`].
pub trait Room: Sized + sealed::Section {}

impl<R: sealed::Section> Room for R {}

/// What only this crate says of a section. The traits are public for the bound alone.
pub(crate) mod sealed {
    use super::Key;

    #[expect(unnameable_types, reason = "sealed: the sections are this crate's")]
    pub trait Section: Sized {
        /// Its name: `breaker`.
        #[doc(hidden)]
        const NAME: &'static str;
        /// What it is about, for the reference.
        #[doc(hidden)]
        const ABOUT: &'static str;
        /// Whether its tables are instances: `[breaker.payments]`.
        #[doc(hidden)]
        const NAMED: bool = true;
        /// The keys' values, one field each. Its default is the room's.
        #[doc(hidden)]
        type Values: Default;

        #[doc(hidden)]
        fn keys() -> Vec<Key<Self::Values>>;

        /// Puts the values together; the error says which do not go together.
        #[doc(hidden)]
        fn build(values: Self::Values) -> Result<Self, String>;
    }
}

/// A key of a section.
#[expect(unnameable_types, reason = "named by a sealed trait only")]
#[derive(Debug)]
pub struct Key<V> {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: &'static str,
    /// The key of `[async]` that holds where the section says nothing.
    pub(crate) shared: Option<&'static str>,
    pub(crate) show: fn(&V) -> String,
    pub(crate) set: fn(&mut V, &str) -> Result<(), String>,
}

/// The keys of a section: `"in-a-file" field: Kind, "what it is for";`, with `= "shared"` after the kind where a key of
/// `[async]` stands in for it.
macro_rules! keys {
    ($($name:literal $field:ident : $kind:ty $(= $shared:literal)?, $about:literal;)+) => {
        vec![$($crate::config::schema::Key {
            name: $name,
            about: $about,
            kind: <$kind as $crate::config::setting::Setting>::KIND,
            shared: $crate::config::schema::keys!(@shared $($shared)?),
            show: |values| $crate::config::setting::Setting::show(&values.$field),
            set: |values, text| {
                values.$field = <$kind as $crate::config::setting::Setting>::read(text)?;
                Ok(())
            },
        }),+]
    };
    (@shared) => { None };
    (@shared $shared:literal) => { Some($shared) };
}
pub(crate) use keys;

/// A key of the reference.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeyInfo {
    /// The section.
    pub section: &'static str,
    /// The key in it.
    pub name: &'static str,
    /// The variable that goes before files.
    pub variable: String,
    /// What is written there.
    pub kind: &'static str,
    /// What holds if nobody says anything.
    pub default: String,
    /// The key of `[async]` that goes before the default.
    pub shared: Option<&'static str>,
    /// What it is for.
    pub about: &'static str,
}

/// A section, whatever room it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) named: bool,
    pub(crate) keys: fn() -> Vec<KeyInfo>,
    /// Whether a text is a value of a key.
    pub(crate) check: fn(&str, &str) -> Result<(), String>,
    /// Whether everything that was said of the section, or of one of its instances, goes together.
    pub(crate) check_whole: fn(&Config, Option<&str>) -> Result<(), ConfigError>,
}

impl Section {
    pub(crate) const fn of<R: sealed::Section>() -> Self {
        Self {
            name: R::NAME,
            about: R::ABOUT,
            named: R::NAMED,
            keys: keys_of::<R>,
            check: check::<R>,
            check_whole: |config, name| config.build::<R>(name).map(drop),
        }
    }

    /// The key as the schema has it.
    pub(crate) fn key(&self, name: &str) -> Option<KeyInfo> {
        (self.keys)().into_iter().find(|key| key.name == name)
    }

    /// What the names of its variables begin with.
    pub(crate) fn variable(&self) -> String {
        variable(self.name)
    }
}

fn keys_of<R: sealed::Section>() -> Vec<KeyInfo> {
    let defaults = R::Values::default();
    let info = |key: Key<R::Values>| KeyInfo {
        section: R::NAME,
        name: key.name,
        variable: format!("{}_{}", variable(R::NAME), upper(key.name)),
        kind: key.kind,
        default: (key.show)(&defaults),
        shared: key.shared,
        about: key.about,
    };
    R::keys().into_iter().map(info).collect()
}

fn check<R: sealed::Section>(key: &str, text: &str) -> Result<(), String> {
    let key = R::keys().into_iter().find(|known| known.name == key);
    key.map_or(Ok(()), |key| (key.set)(&mut R::Values::default(), text))
}

/// The variable of a dotted name.
pub(crate) fn variable(name: &str) -> String {
    format!("RACEPROOF_{}", upper(name))
}

/// As variables are written.
pub(crate) fn upper(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

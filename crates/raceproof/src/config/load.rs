//! Reading the settings: files, then variables.

use std::io;
use std::path::{Path, PathBuf};

use super::file::Value;
use super::schema::{Section, upper, variable};
use super::{Config, ConfigError, Origin, program};

const PREFIX: &str = "RACEPROOF_";
/// A name this far off may still be meant.
const NEAR: f64 = 0.6;
/// A shared prefix makes every variable look like every other: ask for more there.
const NEAR_VARIABLE: f64 = 0.85;

/// What there is to read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files, the weakest first. Those that do not exist are passed over.
    pub files: Vec<PathBuf>,
    /// The environment: names and values.
    pub variables: Vec<(String, String)>,
}

impl Sources {
    /// What this process was started with: `$XDG_CONFIG_HOME/raceproof/config.toml`, then `./raceproof.toml`, then the
    /// variables that begin with `RACEPROOF_`.
    #[must_use]
    pub fn of_this_process() -> Self {
        // By the rules of the base directory specification a relative path is as good as none.
        let given = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = given.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        let own = base.map(|base| base.join("raceproof/config.toml"));
        let files = own.into_iter().chain([PathBuf::from("raceproof.toml")]).collect();
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self { files, variables: variables.collect() }
    }
}

impl Config {
    pub(super) fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let origin = Origin::File(path.to_owned());
        match std::fs::read_to_string(path) {
            Ok(text) => self.read_text(&text, &origin),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            Err(error) => Err(ConfigError::Source { origin, detail: format!("it cannot be read: {error}") }),
        }
    }

    pub(super) fn read_text(&mut self, text: &str, origin: &Origin) -> Result<(), ConfigError> {
        let failed = |error: toml::de::Error| ConfigError::Source { origin: origin.clone(), detail: error.to_string() };
        let table: toml::Table = text.parse().map_err(failed)?;
        for (name, entry) in table {
            let is_key = program::KEYS.contains(&name.as_str());
            match (self.section(&name), entry) {
                (Some(section), toml::Value::Table(entries)) => self.read_section(section, entries, origin)?,
                (None, toml::Value::Table(entries)) if is_key || is_program_table(&name) => {
                    read_program(&name, &entries, origin)?;
                }
                _ if is_key => {}
                (section, entry) if section.is_some() || is_program_table(&name) => {
                    let detail = format!("expected a table: [{name}]");
                    return Err(ConfigError::Value { origin: origin.clone(), key: name, text: scalar(&entry), detail });
                }
                _ => return Err(unknown(origin, "", &name, &self.top_level())),
            }
        }
        Ok(())
    }

    fn read_section(&mut self, section: Section, entries: toml::Table, origin: &Origin) -> Result<(), ConfigError> {
        for (name, entry) in entries {
            let dotted = format!("{}.{name}", section.name);
            match entry {
                entry if program::KEYS.contains(&dotted.as_str()) => drop(entry),
                toml::Value::Table(inner) if section.named && section.key(&name).is_none() => {
                    for (key, entry) in inner {
                        self.set(section, Some(&name), &key, scalar(&entry), origin.clone())?;
                    }
                    // An empty table is an instance with the section's values.
                    self.values(section.name).named.entry(name).or_default();
                }
                entry => self.set(section, None, &name, scalar(&entry), origin.clone())?,
            }
        }
        Ok(())
    }

    /// Checks one value and keeps it.
    fn set(
        &mut self,
        section: Section,
        instance: Option<&str>,
        name: &str,
        text: String,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let place = instance.map_or_else(|| section.name.to_owned(), |instance| format!("{}.{instance}", section.name));
        let Some(key) = section.key(name) else {
            return Err(unknown(&origin, &format!("{place}."), name, &keys_of(&section)));
        };
        if let Err(detail) = self.check(section, key.name, &text) {
            return Err(ConfigError::Value { origin, key: format!("{place}.{name}"), text, detail });
        }
        let values = self.values(section.name);
        let values = match instance {
            Some(instance) => values.named.entry(instance.to_owned()).or_default(),
            None => &mut values.own,
        };
        values.insert(key.name, Value { text, origin });
        Ok(())
    }

    /// A value of `[async]` has to be one of every key that it stands in for.
    fn check(&self, section: Section, name: &'static str, text: &str) -> Result<(), String> {
        (section.check)(name, text)?;
        if section.named {
            return Ok(());
        }
        for other in self.sections {
            for key in (other.keys)().iter().filter(|key| key.shared == Some(name)) {
                (other.check)(key.name, text).map_err(|detail| format!("{}.{}: {detail}", key.section, key.name))?;
            }
        }
        Ok(())
    }

    pub(super) fn read_variables(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, text) in variables {
            // An empty variable is one that was meant to be unset.
            if !name.starts_with(PREFIX) || text.is_empty() || program::has_variable(name) {
                continue;
            }
            self.read_variable(name, text)?;
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let origin = Origin::Variable(name.to_owned());
        let after = |section: &Section| name.strip_prefix(&section.variable())?.strip_prefix('_').map(str::to_owned);
        // The longest first: a section's name may begin with another's.
        let found = self.sections.iter().filter_map(|section| Some((*section, after(section)?)));
        let Some((section, rest)) = found.max_by_key(|(section, _)| section.name.len()) else {
            // The prefix is not ours alone: a program may have variables of its own.
            let known = self.variables();
            if let Some(near) = nearest(name, known.iter().map(String::as_str), NEAR_VARIABLE) {
                let warning = format!("${name} is not a setting and has no effect; did you mean ${near}?");
                self.warnings.push(warning);
            }
            return Ok(());
        };
        let (instance, key) = match rest.strip_prefix('_').and_then(|rest| rest.rsplit_once("__")) {
            Some((instance, key)) if section.named => (Some(self.instance(section.name, instance)), key),
            _ => (None, rest.as_str()),
        };
        let known = (section.keys)().into_iter().find(|known| upper(known.name) == key);
        match known {
            Some(known) => self.set(section, instance.as_deref(), known.name, text.to_owned(), origin),
            None => {
                let known = keys_of(&section).into_iter().map(|name| format!("{}_{}", section.variable(), upper(name)));
                let known: Vec<String> = known.collect();
                let asked = format!("{}_{key}", section.variable());
                let near = nearest(&asked, known.iter().map(String::as_str), NEAR_VARIABLE);
                Err(ConfigError::UnknownKey { origin, key: name.to_owned(), near })
            }
        }
    }

    /// The instance that a variable names: one that a file has, else one of that name in small letters.
    fn instance(&mut self, section: &'static str, written: &str) -> String {
        let known = self.values(section).named.keys().find(|name| upper(name) == written.to_ascii_uppercase());
        known.cloned().unwrap_or_else(|| written.to_ascii_lowercase().replace('_', "-"))
    }

    fn section(&self, name: &str) -> Option<Section> {
        self.sections.iter().find(|section| section.name == name).copied()
    }

    fn top_level(&self) -> Vec<&'static str> {
        let program = program::KEYS.iter().map(|key| key.split_once('.').map_or(*key, |(table, _)| table));
        self.sections.iter().map(|section| section.name).chain(program).collect()
    }

    fn variables(&self) -> Vec<String> {
        let own = self.sections.iter().flat_map(|section| (section.keys)().into_iter().map(|key| key.variable));
        own.chain(program::KEYS.iter().map(|key| variable(key))).collect()
    }
}

/// A refusal that names the nearest valid key, with everything that stands before it.
fn unknown(origin: &Origin, before: &str, name: &str, known: &[&'static str]) -> ConfigError {
    let near = nearest(name, known.iter().copied(), NEAR).map(|near| format!("{before}{near}"));
    ConfigError::UnknownKey { origin: origin.clone(), key: format!("{before}{name}"), near }
}

fn keys_of(section: &Section) -> Vec<&'static str> {
    let program = program::KEYS.iter().filter_map(|key| key.split_once('.'));
    let program = program.filter(|(table, _)| *table == section.name).map(|(_, key)| key);
    (section.keys)().into_iter().map(|key| key.name).chain(program).collect()
}

fn is_program_table(name: &str) -> bool {
    program::KEYS.iter().any(|key| key.split_once('.').is_some_and(|(table, _)| table == name))
}

/// The program checks its values; a key that it does not have is refused here, too.
fn read_program(table: &str, entries: &toml::Table, origin: &Origin) -> Result<(), ConfigError> {
    let known: Vec<_> = program::KEYS.iter().filter_map(|key| key.strip_prefix(table)?.strip_prefix('.')).collect();
    match entries.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(unknown(origin, &format!("{table}."), name, &known)),
        None => Ok(()),
    }
}

/// As it would be written into a variable. What is not one value is one of no key.
fn scalar(entry: &toml::Value) -> String {
    match entry {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>, enough: f64) -> Option<String> {
    let scored = names.map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 >= enough).then(|| best.1.to_owned())
}

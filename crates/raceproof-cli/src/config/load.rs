//! Reading the settings.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfigError, KEYS, Key, Origin, Settings, Value};

const PREFIX: &str = "RACEPROOF_";

/// What there is to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// Files, the weakest first. Those that do not exist are passed over.
    pub files: Vec<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, String)>,
}

impl Sources {
    /// What this process was started with.
    pub(crate) fn of_this_process() -> Self {
        let own = super::config_dir().map(|dir| dir.join("config.toml"));
        let files = own.into_iter().chain([PathBuf::from("raceproof.toml")]).collect();
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self { files, variables: variables.collect() }
    }
}

/// Reads everything and checks it. Also returns what to warn of: variables that look like misspelt settings.
///
/// The rooms of the library have their settings in the same places, and the library knows which keys there are in all;
/// what is not the program's is its to check.
pub(crate) fn load(sources: &Sources) -> Result<(Settings, Vec<String>), ConfigError> {
    let Sources { files, variables } = sources.clone();
    let rooms = raceproof::config::Config::from_sources(&raceproof::config::Sources { files, variables })?;
    let mut values = BTreeMap::new();
    for key in &KEYS {
        if let Some(default) = key.default {
            values.insert(key.name, Value { texts: vec![default.to_owned()], origin: Origin::Default });
        }
    }
    for path in &sources.files {
        read_file(path, &mut values)?;
    }
    read_variables(&sources.variables, &mut values)?;
    Ok((Settings(values), rooms.warnings().to_vec()))
}

fn read_file(path: &Path, values: &mut BTreeMap<&'static str, Value>) -> Result<(), ConfigError> {
    let failed = |detail: String| ConfigError::File { path: path.to_owned(), detail };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(failed(format!("it cannot be read: {error}"))),
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| failed(error.to_string()))?;
    let origin = Origin::File(path.to_owned());
    for (name, entry) in table {
        match entry {
            toml::Value::Table(inner) => {
                for (inner, entry) in inner {
                    set(&format!("{name}.{inner}"), &entry, &origin, values)?;
                }
            }
            entry => set(&name, &entry, &origin, values)?,
        }
    }
    Ok(())
}

fn set(
    name: &str,
    entry: &toml::Value,
    origin: &Origin,
    values: &mut BTreeMap<&'static str, Value>,
) -> Result<(), ConfigError> {
    let Some(key) = KEYS.iter().find(|key| key.name == name) else { return Ok(()) };
    let texts = match entry {
        toml::Value::Array(entries) if key.list => entries.iter().map(scalar).collect(),
        entry => vec![scalar(entry)],
    };
    insert(key, texts, origin, values)
}

fn read_variables(
    variables: &[(String, String)],
    values: &mut BTreeMap<&'static str, Value>,
) -> Result<(), ConfigError> {
    for (name, text) in variables {
        let origin = Origin::Variable(name.clone());
        match KEYS.iter().find(|key| key.variable == name) {
            // An empty variable is one that was meant to be unset.
            Some(_) if text.is_empty() => {}
            Some(key) if key.list => {
                let texts = text.split(',').map(|text| text.trim().to_owned()).collect();
                insert(key, texts, &origin, values)?;
            }
            Some(key) => insert(key, vec![text.clone()], &origin, values)?,
            None => {}
        }
    }
    Ok(())
}

fn insert(
    key: &Key,
    texts: Vec<String>,
    origin: &Origin,
    values: &mut BTreeMap<&'static str, Value>,
) -> Result<(), ConfigError> {
    for text in &texts {
        (key.check)(text).map_err(|detail| ConfigError::Value {
            origin: origin.clone(),
            key: key.name,
            text: if key.secret { "…".into() } else { text.clone() },
            detail,
        })?;
    }
    values.insert(key.name, Value { texts, origin: origin.clone() });
    Ok(())
}

fn scalar(entry: &toml::Value) -> String {
    match entry {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

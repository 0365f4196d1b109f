//! `raceproof config show`.

use std::fmt::Write as _;

use serde_json::json;

use super::print;
use crate::args::{Config, ConfigAction};
use crate::config::{KEYS, Key, Settings, Value};
use crate::failure::Failure;

pub(super) fn config(args: &Config, settings: &Settings) -> Result<u8, Failure> {
    let ConfigAction::Show { origin, json } = args.action;
    let shown = if json { as_json(settings) } else { as_text(settings, origin) };
    print(&shown)?;
    Ok(0)
}

/// What may be shown of a value.
fn texts(key: &Key, value: &Value) -> Vec<String> {
    if key.secret { vec!["(secret)".into()] } else { value.texts.clone() }
}

fn as_text(settings: &Settings, origin: bool) -> String {
    let mut shown = String::new();
    let width = KEYS.iter().map(|key| key.name.len()).max().unwrap_or_default();
    for key in &KEYS {
        let value = settings.value(key.name);
        let text = value.map_or_else(|| "(not set)".into(), |value| texts(key, value).join(", "));
        let from = value.filter(|_| origin).map(|value| format!("  # {}", value.origin)).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "{:width$} = {text}{from}", key.name);
    }
    shown
}

fn as_json(settings: &Settings) -> String {
    let shown = KEYS.iter().map(|key| {
        let value = settings.value(key.name);
        let texts = value.map(|value| texts(key, value));
        let entry = json!({
            "value": if key.list { json!(settings.list(key.name)) } else { json!(texts.and_then(|t| t.into_iter().next())) },
            "origin": value.map(|value| value.origin.to_string()),
            "variable": key.variable,
            "about": key.about,
        });
        (key.name.to_owned(), entry)
    });
    let settings: serde_json::Map<_, _> = shown.collect();
    format!("{}\n", super::list::envelope(1, "config", &json!({ "settings": settings })))
}

//! The reference: every section and key as tables for people.

use std::fmt::Write as _;

use super::rooms::SECTIONS;

/// Every section with its keys, in Markdown: what `docs/configuration.md` holds.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "### `[{}]`\n\n{}\n", section.name, section.about);
        let _ = writeln!(text, "| key | value | default | variable | what it is for |\n|---|---|---|---|---|");
        for key in (section.keys)() {
            let default = match (section.named, key.shared) {
                (false, _) => "each room's own".to_owned(),
                (true, Some(shared)) => format!("`{}`, unless `async.{shared}` is set", key.default),
                (true, None) => format!("`{}`", key.default),
            };
            let (name, kind, variable, about) = (key.name, key.kind, &key.variable, key.about);
            let _ = writeln!(text, "| `{name}` | {kind} | {default} | `{variable}` | {about} |");
        }
        text.push('\n');
    }
    text
}

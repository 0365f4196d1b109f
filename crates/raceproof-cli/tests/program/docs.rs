//! `docs/cli.md` has everything that the program has, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::program::run;
use crate::common::server::program;

fn reference() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).expect("the reference")
}

fn said(args: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a directory");
    run(&mut program(home.path(), args)).with(0).stdout
}

/// The commands that a help lists.
fn commands(args: &[&str]) -> Vec<String> {
    let help = said(args);
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let list = list.split("\n\n").next().expect("a list");
    // A line further in goes on where the one before ended.
    let entries = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    entries.filter_map(|line| line.split_ascii_whitespace().next().map(str::to_owned)).collect()
}

/// Every `--flag` of a text.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let flags = words.filter(|word| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic)));
    flags.map(str::to_owned).collect()
}

/// The flags that a command's help lists, but for those that all have.
fn flags_of(command: &[&str]) -> BTreeSet<String> {
    let mut args = command.to_vec();
    args.push("--help");
    let help = said(&args);
    let mut found = BTreeSet::new();
    for line in help.lines().filter(|line| line.trim_start().starts_with('-') && line.starts_with("  ")) {
        found.extend(flags(line.split("  ").find(|part| !part.trim().is_empty()).expect("a flag")));
    }
    found.retain(|flag| !["--help", "--color", "--version"].contains(&flag.as_str()));
    found
}

fn section(reference: &str, title: &str) -> String {
    let (_, rest) = reference.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title:?}"));
    rest.split("\n## ").next().expect("a section").to_owned()
}

#[test]
fn every_command_and_flag_is_in_the_reference() {
    let reference = reference();
    let all = commands(&["--help"]);
    assert!(all.len() >= 11, "{all:?}");
    for command in &all {
        let section = section(&reference, &format!("raceproof {command}"));
        let mut of_command = flags_of(&[command]);
        for action in commands(&[command, "--help"]) {
            assert!(section.contains(&format!("raceproof {command} {action}")), "{command} {action} is not described");
            of_command.extend(flags_of(&[command, &action]));
        }
        let described = flags(&section);
        let missing: Vec<_> = of_command.difference(&described).collect();
        assert!(missing.is_empty(), "{command}: {missing:?} are not described");
        // The first cell of a table's row describes; elsewhere other commands may be named.
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `-")?.split(" | ").next());
        let rows: String = rows.map(|cell| format!("-{cell} ")).collect();
        let gone: Vec<_> = flags(&rows).difference(&of_command).cloned().collect();
        assert!(gone.is_empty(), "{command}: {gone:?} do not exist");
    }
}

#[test]
fn every_setting_variable_and_exit_code_is_in_the_reference() {
    let reference = reference();
    let settings: Value = serde_json::from_str(&said(&["config", "show", "--json"])).expect("JSON");
    let table = section(&reference, "Settings");
    for (key, setting) in settings["settings"].as_object().expect("settings") {
        let variable = setting["variable"].as_str().expect("a variable");
        assert!(table.contains(&format!("| `{key}` | `{variable}` |")), "{key} is not described");
        if let Some(default) = setting["value"].as_str() {
            assert!(table.contains(&format!("| `{key}` | `{variable}` | `{default}` |")), "{key} is not {default}");
        }
    }
    let help = said(&["--help"]);
    let (_, codes) = help.split_once("Exit codes:\n").expect("a table");
    let table = section(&reference, "Exit codes");
    let listed = codes.lines().filter_map(|line| line.split_ascii_whitespace().next());
    let listed: Vec<_> = listed.filter(|code| code.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(listed.len() >= 8, "{listed:?}");
    for code in listed {
        let shown = code.replace('+', " + ");
        assert!(table.contains(&format!("| {shown} ")) || table.contains(&format!("| {shown},")), "{code}");
    }
    for variable in ["LOCK", "FENCE", "DEADLINE", "ELECTION", "TERM", "LOG"] {
        assert!(reference.contains(&format!("`RACEPROOF_{variable}`")), "RACEPROOF_{variable}");
    }
}

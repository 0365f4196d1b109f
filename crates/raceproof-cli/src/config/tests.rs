use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::args::OnLostArg;

fn sources(user: &str, project: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().expect("a directory");
    let files: Vec<PathBuf> = ["user.toml", "project.toml"].iter().map(|name| dir.path().join(name)).collect();
    for (path, text) in files.iter().zip([user, project]) {
        std::fs::write(path, text).expect("a file");
    }
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    (dir, Sources { files, variables })
}

fn refused(user: &str, variables: &[(&str, &str)]) -> String {
    let (dir, sources) = sources(user, "", variables);
    let error = load(&sources).expect_err("it is wrong").to_string();
    error.replace(&dir.path().display().to_string(), "DIR")
}

#[test]
fn flags_come_before_variables_before_files_before_defaults() {
    let (dir, sources) = sources(
        "server = 'http://user:1'\n[lock]\nttl = '1s'\ngrace = '2s'\non-lost = 'kill'\n",
        "server = 'http://project:1'\nlock.grace = '3s'\n",
        &[("RACEPROOF_SERVER", "http://variable:1"), ("RACEPROOF_LOCK_CLASS", "")],
    );
    let (settings, warnings) = load(&sources).expect("settings");
    assert_eq!(warnings, [""; 0]);
    assert_eq!(settings.text("server"), Some("http://variable:1"));
    assert_eq!(settings.duration("lock.ttl"), Duration::from_secs(1));
    assert_eq!(settings.duration("lock.grace"), Duration::from_secs(3));
    assert_eq!(settings.value("lock.grace").expect("a value").origin, Origin::File(dir.path().join("project.toml")));
    assert_eq!(settings.choice::<OnLostArg>("lock.on-lost"), OnLostArg::Kill);
    assert_eq!(settings.text("lock.class"), Some("durable"), "an empty variable says nothing");
    let settings = settings.flag("server", Some("http://flag:1")).flag("lock.ttl", None::<String>);
    assert_eq!(settings.text("server"), Some("http://flag:1"));
    assert_eq!(settings.duration("lock.ttl"), Duration::from_secs(1));
}

#[test]
fn lists_are_arrays_in_files_and_commas_in_variables() {
    let (_dir, from_file) = sources("[serve]\nallow-origin = ['https://a', 'https://b']\ninsecure = true\n", "", &[]);
    let (settings, _) = load(&from_file).expect("settings");
    assert_eq!(settings.list("serve.allow-origin"), ["https://a", "https://b"]);
    assert!(settings.is("serve.insecure"));
    let (_dir, from_variable) = sources("", "", &[("RACEPROOF_SERVE_ALLOW_ORIGIN", "https://a, https://b")]);
    assert_eq!(load(&from_variable).expect("settings").0.list("serve.allow-origin"), ["https://a", "https://b"]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    assert_eq!(refused("sever = 'x'", &[]), "DIR/user.toml: there is no setting \"sever\"; did you mean \"server\"?");
    assert_eq!(
        refused("[lock]\non_lost = 'term'", &[]),
        "DIR/user.toml: there is no setting \"lock.on_lost\"; did you mean \"lock.on-lost\"?"
    );
    assert_eq!(refused("zzz = 1", &[]), "DIR/user.toml: there is no setting \"zzz\"");
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    assert_eq!(refused("lock.ttl = 10", &[]), "DIR/user.toml: lock.ttl is \"10\": a unit is missing: 10s, 10ms, 10m");
    assert_eq!(
        refused("", &[("RACEPROOF_LOCK_ON_LOST", "ask")]),
        "$RACEPROOF_LOCK_ON_LOST: lock.on-lost is \"ask\": expected one of term, kill, stop, notify"
    );
    assert_eq!(
        refused("server = 'ftp://x'", &[]),
        "DIR/user.toml: server is \"ftp://x\": expected http://HOST:PORT or ws://HOST:PORT"
    );
}

#[test]
fn a_misspelt_variable_is_warned_of_and_a_strange_one_is_not() {
    let variables = [("RACEPROOF_SEVER", "x"), ("RACEPROOF_LOCK", "a,b"), ("RACEPROOF_OF_PURCHASE", "x")];
    let (_dir, sources) = sources("", "", &variables);
    let (_, warnings) = load(&sources).expect("settings");
    assert_eq!(warnings, ["$RACEPROOF_SEVER is not a setting and has no effect; did you mean $RACEPROOF_SERVER?"]);
}

#[test]
fn every_default_is_a_value() {
    for key in &KEYS {
        if let Some(default) = key.default {
            assert_eq!((key.check)(default), Ok(()), "{}", key.name);
        }
    }
}

#[test]
fn the_library_knows_the_settings_of_the_program() {
    assert_eq!(KEYS.map(|key| key.name), raceproof::config::program::KEYS);
    let variable = |name: &str| format!("RACEPROOF_{}", name.to_uppercase().replace(['.', '-'], "_"));
    for key in &KEYS {
        assert_eq!(key.variable, variable(key.name));
    }
}

#[test]
fn the_settings_of_rooms_live_in_the_same_file_and_are_checked() {
    let (_dir, sources) = sources("server = 'http://a:1'\n[service.db]\ntimeout = '1s'\n", "", &[]);
    assert_eq!(load(&sources).expect("settings").0.text("server"), Some("http://a:1"));
    assert_eq!(
        refused("[service.db]\ntimeot = '1s'", &[]),
        "DIR/user.toml: there is no setting \"service.db.timeot\"; did you mean \"service.db.timeout\"?"
    );
}

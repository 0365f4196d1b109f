//! `raceproof doctor`: whether everything that the other commands need works here.

use std::time::Duration;

use raceproof_core::guard::code;

use super::{print, server, with_client};
use crate::args::Client as ClientArgs;
use crate::config::{Origin, Settings, config_dir, state_dir};
use crate::failure::Failure;
use crate::http::{CallError, Client};
use crate::supervise::{SELF, clock};

/// What came of one check.
enum Finding {
    Good(String),
    /// It is wrong, and what to do.
    Bad(String),
    /// It is as it is.
    Note(String),
}

pub(super) fn doctor(args: &ClientArgs, settings: Settings) -> Result<u8, Failure> {
    let settings = with_client(settings, args);
    let checks = [
        ("version", Finding::Note(crate::version::LONG.into())),
        ("settings", origins(&settings)),
        ("clock", boottime()),
        ("supervision", supervision()),
        ("state", state(&settings)),
        ("server", reach(&settings)),
    ];
    let bad = checks.iter().any(|(_, finding)| matches!(finding, Finding::Bad(_)));
    for (name, finding) in checks {
        let (mark, text) = match finding {
            Finding::Good(text) => ("ok", text),
            Finding::Bad(text) => ("BAD", text),
            Finding::Note(text) => ("-", text),
        };
        print(&format!("{mark:>3}  {name:11}  {text}\n"))?;
    }
    Ok(if bad { code::FAILED } else { 0 })
}

fn origins(settings: &Settings) -> Finding {
    let set = crate::config::KEYS.iter().filter_map(|key| settings.value(key.name));
    let set = set.filter(|value| value.origin != Origin::Default).count();
    let own = config_dir().map(|dir| dir.join("config.toml").display().to_string()).unwrap_or_default();
    Finding::Note(format!("{set} differ from the defaults; read from ./raceproof.toml, {own} and RACEPROOF_*"))
}

/// The clock that counts while the machine sleeps.
fn boottime() -> Finding {
    let (first, second) = (clock::now(), clock::now());
    if second >= first && second.as_micros() > 0 {
        Finding::Good("CLOCK_BOOTTIME counts, also while this machine sleeps".into())
    } else {
        Finding::Bad("CLOCK_BOOTTIME does not work: leases cannot be counted here".into())
    }
}

/// What a watchdog needs of the kernel.
fn supervision() -> Finding {
    if let Err(error) = rustix::process::parent_process_death_signal() {
        return Finding::Bad(format!("no parent-death signal: {error}; a command could outlive its watchdog"));
    }
    if let Err(error) = rustix::process::child_subreaper() {
        return Finding::Bad(format!("no subreapers: {error}; what a command starts could get away"));
    }
    if let Err(error) = std::fs::metadata(SELF).and_then(|_| std::fs::metadata("/proc/self/stat")) {
        return Finding::Bad(format!("/proc is not there: {error}; mount it"));
    }
    Finding::Good("parent-death signals, subreapers and /proc are there".into())
}

/// Where `serve` would keep its store.
fn state(settings: &Settings) -> Finding {
    let dir = settings.text("serve.data").map(Into::into).or_else(state_dir);
    let Some(dir) = dir else {
        return Finding::Bad("no directory for state: set HOME, XDG_STATE_HOME or serve.data".into());
    };
    let existing = dir.ancestors().find(|dir| dir.exists());
    let writable = existing.is_some_and(|dir| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok());
    if writable {
        Finding::Good(format!("{} can be written", dir.display()))
    } else {
        Finding::Bad(format!("{} cannot be written: name another with --data", dir.display()))
    }
}

fn reach(settings: &Settings) -> Finding {
    let (server, token) = match server(settings) {
        Ok(found) => found,
        Err(failure) => return Finding::Bad(failure.text),
    };
    let client = Client::new(&server, token.as_deref(), Duration::from_secs(3));
    let asked = std::time::Instant::now();
    if let Err(error) = client.get_text("/readyz") {
        return Finding::Bad(Failure::call(&server, &error).text);
    }
    let took = asked.elapsed();
    // What asks for a token: readiness does not.
    match client.get_text("/v1/locks?limit=1") {
        Ok(_) => Finding::Good(format!("{server} is ready and answers in {:.1} ms", took.as_secs_f64() * 1_000.0)),
        Err(CallError::Refused(problem)) => Finding::Bad(Failure::refused(&problem).text),
        Err(error) => Finding::Bad(Failure::call(&server, &error).text),
    }
}

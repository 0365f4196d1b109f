//! What the program `raceproof` keeps in the same file and in the same environment. It is passed over here, as the
//! program passes over what is the rooms'.

/// The program's settings. A test of the program compares them with its own.
pub const KEYS: [&str; 16] = [
    "server",
    "auth-token",
    "auth-token-file",
    "color",
    "lock.ttl",
    "lock.grace",
    "lock.on-lost",
    "lock.class",
    "serve.listen",
    "serve.data",
    "serve.auth-token-file",
    "serve.allow-origin",
    "serve.allow-host",
    "serve.insecure",
    "serve.log-format",
    "serve.store",
];

/// Variables with the common prefix that are not settings: what a command under `raceproof lock` or `raceproof elect`
/// gets, what a build reads, what is logged.
pub const NOT_SETTINGS: [&str; 7] = [
    "RACEPROOF_LOCK",
    "RACEPROOF_FENCE",
    "RACEPROOF_DEADLINE",
    "RACEPROOF_ELECTION",
    "RACEPROOF_TERM",
    "RACEPROOF_COMMIT",
    "RACEPROOF_LOG",
];

/// Whether a variable is the program's.
pub(super) fn has_variable(name: &str) -> bool {
    NOT_SETTINGS.contains(&name) || KEYS.iter().any(|key| super::schema::variable(key) == name)
}

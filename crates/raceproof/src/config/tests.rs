use std::time::Duration;

use raceproof_core::resilience::breaker::{Threshold, Window};

use super::file::Config;
use super::rooms::SECTIONS;
use super::*;

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    read(text, variables).expect_err("it is wrong").to_string()
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    config.read_text(text, &Origin::Text)?;
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    config.read_variables(&variables.collect::<Vec<_>>())?;
    config.checked()
}

#[test]
fn variables_come_before_later_files_before_earlier_ones_before_defaults() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = ["user.toml", "project.toml", "none.toml"].map(|name| dir.path().join(name));
    std::fs::write(&files[0], "[service]\ntimeout = '1s'\nbackoff = '2s'\nwaiters-max = 1\n").expect("a file");
    std::fs::write(&files[1], "service.backoff = '3s'\nservice.waiters-max = 2").expect("a file");
    let variables =
        vec![("RACEPROOF_SERVICE_WAITERS_MAX".into(), "3".into()), ("RACEPROOF_SERVICE_BACKOFF".into(), String::new())];
    let config = Config::from_sources(&Sources { files: files.to_vec(), variables }).expect("settings");
    let service: ServiceConfig = config.section_of();
    assert_eq!(service.timeout, Some(Duration::from_secs(1)));
    assert_eq!(service.backoff, Some(Duration::from_secs(3)), "an empty variable says nothing");
    assert_eq!(service.waiters_max, 3);
    assert_eq!(service.backoff_max, ServiceConfig::default().backoff_max);
    let origin = |key| config.origin::<ServiceConfig>(None, key).map(ToString::to_string);
    assert_eq!(origin("timeout"), Some(files[0].display().to_string()));
    assert_eq!(origin("waiters-max"), Some("$RACEPROOF_SERVICE_WAITERS_MAX".into()));
    assert_eq!(origin("backoff-max"), None);
}

#[test]
fn an_instance_goes_before_its_section_before_async() {
    let text = "async.timeout = '9s'\n[service]\nbackoff = '1s'\n[service.db]\nbackoff = '2s'\n[service.mail]\ntimeout = 'none'";
    let config = read(text, &[]).expect("settings");
    let db: ServiceConfig = config.room("db");
    assert_eq!((db.timeout, db.backoff), (Some(Duration::from_secs(9)), Some(Duration::from_secs(2))));
    let mail: ServiceConfig = config.room("mail");
    assert_eq!((mail.timeout, mail.backoff), (None, Some(Duration::from_secs(1))));
    let unnamed: ServiceConfig = config.room("search");
    assert_eq!(unnamed, config.section_of());
    assert_eq!(config.names::<ServiceConfig>().collect::<Vec<_>>(), ["db", "mail"]);
}

#[test]
fn a_variable_can_name_an_instance() {
    let variables = [("RACEPROOF_SERVICE__MAIL_EU__TIMEOUT", "1s"), ("RACEPROOF_SERVICE__BIG_DB__TIMEOUT", "2s")];
    let config = read("[service.mail_eu]", &variables).expect("settings");
    assert_eq!(config.names::<ServiceConfig>().collect::<Vec<_>>(), ["big-db", "mail_eu"]);
    assert_eq!(config.room::<ServiceConfig>("mail_eu").timeout, Some(Duration::from_secs(1)));
    assert_eq!(config.room::<ServiceConfig>("big-db").timeout, Some(Duration::from_secs(2)));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let cases = [
        ("[service]\ntime_out = '1s'", "service.time_out", "service.timeout"),
        ("[service.db]\nback-off = '1s'", "service.db.back-off", "service.db.backoff"),
        ("[servise]\ntimeout = '1s'", "servise", "service"),
        ("sever = 'x'", "sever", "server"),
        ("[serve]\nlisten = 'x'\nallow_origin = 'x'", "serve.allow_origin", "serve.allow-origin"),
        ("[async]\ntimeot = '1s'", "async.timeot", "async.timeout"),
    ];
    for (text, key, near) in cases {
        assert_eq!(refused(text, &[]), format!("text: there is no setting {key:?}; did you mean {near:?}?"));
    }
    assert_eq!(refused("[server]\na = 1", &[]), "text: there is no setting \"server.a\"");
    assert_eq!(refused("zzz = 1", &[]), "text: there is no setting \"zzz\"");
    assert_eq!(refused("[async.db]\ntimeout = '1s'", &[]), "text: there is no setting \"async.db\"");
}

#[test]
fn a_misspelt_variable_is_refused_where_it_can_only_be_ours() {
    assert_eq!(
        refused("", &[("RACEPROOF_SERVICE_TIMEOT", "1s")]),
        "$RACEPROOF_SERVICE_TIMEOT: there is no setting \"RACEPROOF_SERVICE_TIMEOT\"; did you mean \
         \"RACEPROOF_SERVICE_TIMEOUT\"?"
    );
    let variables = [("RACEPROOF_SERVIC_TIMEOUT", "1s"), ("RACEPROOF_OF_PURCHASE", "x"), ("RACEPROOF_LOCK", "a")];
    let config = read("", &variables).expect("settings");
    assert_eq!(
        config.warnings(),
        ["$RACEPROOF_SERVIC_TIMEOUT is not a setting and has no effect; did you mean $RACEPROOF_SERVICE_TIMEOUT?"]
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    assert_eq!(
        refused("service.db.timeout = 10", &[]),
        "text: service.db.timeout is \"10\": a unit is missing: 10s, 10ms, 10m, or none"
    );
    assert_eq!(
        refused("", &[("RACEPROOF_SERVICE_WAITERS_MAX", "many")]),
        "$RACEPROOF_SERVICE_WAITERS_MAX: service.waiters-max is \"many\": expected a whole number from 0 to \
         18446744073709551615"
    );
    let said = refused("async.waiters-max = 'none'", &[]);
    assert!(said.starts_with("text: async.waiters-max is \"none\": "), "{said}");
    assert!(said.contains(".waiters-max: expected a whole number"), "it has to be one of all it stands in for: {said}");
    assert!(refused("service.timeout = [1]", &[]).contains("service.timeout is \"[1]\""));
    assert_eq!(refused("service = 1", &[]), "text: service is \"1\": expected a table: [service]");
    assert_eq!(refused("serve = 1", &[]), "text: serve is \"1\": expected a table: [serve]");
    assert!(refused("[service", &[]).starts_with("text: TOML parse error"));
}

#[test]
fn values_that_do_not_go_together_are_refused_with_their_section() {
    assert_eq!(
        refused("[service]\nbackoff-max = '1s'\n[service.db]\nbackoff = '5s'", &[]),
        "[service.db]: backoff is longer than backoff-max"
    );
}

#[test]
fn the_settings_of_the_program_are_passed_over() {
    let text =
        "server = 'http://x'\n[lock]\nttl = '10s'\nwait = '1s'\n[serve]\nlisten = '0.0.0.0:1'\nallow-origin = ['a']";
    read(text, &[("RACEPROOF_LOCK_TTL", "3s"), ("RACEPROOF_LOG", "debug")]).expect("settings");
}

#[test]
fn every_default_and_every_shared_key_is_a_value() {
    let shared = (SECTIONS[0].keys)();
    for section in SECTIONS {
        for key in (section.keys)() {
            assert_eq!((section.check)(key.name, &key.default), Ok(()), "{}.{}", section.name, key.name);
            let known = key.shared.is_none_or(|name| shared.iter().any(|shared| shared.name == name));
            assert!(known, "{}.{}: there is no {:?} in [async]", section.name, key.name, key.shared);
        }
    }
}

#[test]
fn a_breaker_opens_by_a_row_by_a_count_or_by_a_share() {
    let text = "[breaker.row]\nfailures = 3\n[breaker.count]\nwindow = '10s'\n[breaker.share]\nrate-percent = 50\n\
                [breaker.few]\nrate-percent = 50\nwindow = '20 calls'\nopen-for = '2m'";
    let config = read(text, &[]).expect("settings");
    let breaker = |name: &str| config.room::<BreakerConfig>(name);
    assert_eq!(breaker("row").threshold, Threshold::Consecutive(3));
    let window = Window::Time(Duration::from_secs(10));
    assert_eq!(breaker("count").threshold, Threshold::Failures { count: 5, window });
    let rate = |window| Threshold::Rate { percent: 50, calls_min: 10, window };
    assert_eq!(breaker("share").threshold, rate(Window::Calls(100)));
    assert_eq!(breaker("few").threshold, rate(Window::Calls(20)));
    assert_eq!(breaker("few").open_for_max, Duration::from_secs(120), "it does not grow unless that is said");
    assert_eq!(config.section_of::<BreakerConfig>(), BreakerConfig::default());
    assert_eq!(refused("breaker.rate-percent = 0", &[]), "[breaker]: rate-percent is not from 1 to 100");
    assert!(refused("breaker.window = 'ten'", &[]).ends_with("or as 100 calls, or none"));
}

#[test]
fn what_cannot_be_is_refused() {
    let cases = [
        ("breaker.probes = 0", "[breaker]: probes is 0"),
        ("breaker.open-for-max = '1s'", "[breaker]: open-for is longer than open-for-max"),
        ("retry.attempts-max = 0", "[retry]: attempts-max is 0"),
        ("retry.delay = '11s'", "[retry]: delay is longer than delay-max"),
        ("rate-limit.per = '0s'", "[rate-limit]: per is 0"),
        ("rate-limit.calls = 0", "text: rate-limit.calls is \"0\": expected a whole number from 1"),
        ("debounce.quiet = '2s'", "[debounce]: quiet is longer than wait-max"),
        ("worker.workers = 0", "text: worker.workers is \"0\": expected a whole number from 1"),
        ("worker.mailbox = 0", "[worker]: mailbox is 0"),
        ("worker.backoff = '2h'", "[worker]: backoff is longer than backoff-max"),
        ("throttle.every = '0s'", "[throttle]: every is 0"),
        ("task.tasks-max = 0", "[task]: tasks-max is 0"),
        ("task.backoff = '31s'", "[task]: backoff is longer than backoff-max"),
        ("startup.unit-attempts = 0", "[startup]: unit-attempts is 0"),
        ("startup.unit-backoff = '1m'", "[startup]: unit-backoff is longer than unit-backoff-max"),
        ("events.capacity = 0", "[events]: capacity is 0"),
        ("events.replay = 2000", "[events]: replay is more than capacity"),
    ];
    for (text, said) in cases {
        assert_eq!(refused(text, &[]), said);
    }
}

#[test]
fn every_section_by_default_is_what_its_room_is_by_default() {
    let config = Config::default();
    assert_eq!(config.section_of::<RetryConfig>(), RetryConfig::default());
    assert_eq!(config.section_of::<LimitConfig>(), LimitConfig::default());
    assert_eq!(config.section_of::<EventsConfig>(), EventsConfig::default());
    assert_eq!(config.section_of::<ServiceConfig>(), ServiceConfig::default());
    assert_eq!(config.section_of::<TaskConfig>(), TaskConfig::default());
    assert_eq!(config.section_of::<WorkerConfig>(), WorkerConfig::default());
    assert_eq!(config.section_of::<StartupConfig>(), StartupConfig::default());
    assert_eq!(config.section_of::<RecoveryConfig>(), RecoveryConfig::default());
    assert_eq!(config.section_of::<ThrottleConfig>(), ThrottleConfig::default());
    assert_eq!(config.section_of::<TimeoutConfig>(), TimeoutConfig::default());
    assert_eq!(config.section_of::<DebounceConfig>(), DebounceConfig::default());
}

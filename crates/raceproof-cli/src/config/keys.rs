//! Every setting there is.

use std::net::{SocketAddr, ToSocketAddrs as _};

use raceproof::config::duration;

use crate::args::{ClassArg, ColorArg, LogFormat, OnLostArg, StoreArg, ttl};

/// A setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in files, dotted: `serve.listen` is `listen` in the table `serve`.
    pub name: &'static str,
    /// Its variable.
    pub variable: &'static str,
    /// What it is unless somebody says so; none if that depends on the system.
    pub default: Option<&'static str>,
    /// What it is for.
    pub about: &'static str,
    /// Whether it is never printed.
    pub secret: bool,
    /// Whether it is a list.
    pub list: bool,
    /// What is wrong with a value.
    pub check: fn(&str) -> Result<(), String>,
}

const fn key(name: &'static str, variable: &'static str, default: Option<&'static str>, about: &'static str) -> Key {
    Key { name, variable, default, about, secret: false, list: false, check: any }
}

/// Every setting.
pub(crate) const KEYS: [Key; 16] = [
    Key { check: server, ..key("server", "RACEPROOF_SERVER", Some("http://127.0.0.1:7117"), "the server to talk to") },
    Key { secret: true, ..key("auth-token", "RACEPROOF_AUTH_TOKEN", None, "the token that the server asks for") },
    key("auth-token-file", "RACEPROOF_AUTH_TOKEN_FILE", None, "a file that holds the token that the server asks for"),
    Key {
        check: |text| choice::<ColorArg>(text),
        ..key("color", "RACEPROOF_COLOR", Some("auto"), "when to colour our lines: auto, always, never")
    },
    Key {
        check: |text| ttl(text).map(drop),
        ..key("lock.ttl", "RACEPROOF_LOCK_TTL", Some("10s"), "the lease of `lock` and `elect`")
    },
    Key {
        check: |text| duration(text).map(drop),
        ..key("lock.grace", "RACEPROOF_LOCK_GRACE", Some("5s"), "how long a command may take to stop")
    },
    Key {
        check: |text| choice::<OnLostArg>(text),
        ..key(
            "lock.on-lost",
            "RACEPROOF_LOCK_ON_LOST",
            Some("term"),
            "what a lost lease does: term, kill, stop, notify",
        )
    },
    Key {
        check: |text| choice::<ClassArg>(text),
        ..key("lock.class", "RACEPROOF_LOCK_CLASS", Some("durable"), "the durability class: durable, reclaim")
    },
    Key {
        check: |text| address(text).map(drop),
        ..key("serve.listen", "RACEPROOF_SERVE_LISTEN", Some("127.0.0.1:7117"), "where the server listens")
    },
    key("serve.data", "RACEPROOF_SERVE_DATA", None, "where the server keeps its store"),
    key("serve.auth-token-file", "RACEPROOF_SERVE_AUTH_TOKEN_FILE", None, "tokens that the server accepts, one a line"),
    Key {
        list: true,
        ..key("serve.allow-origin", "RACEPROOF_SERVE_ALLOW_ORIGIN", None, "origins of pages that may call the server")
    },
    Key {
        list: true,
        ..key("serve.allow-host", "RACEPROOF_SERVE_ALLOW_HOST", None, "names that a loopback server is called by")
    },
    Key {
        check: yes_or_no,
        ..key("serve.insecure", "RACEPROOF_SERVE_INSECURE", Some("false"), "accept any address without a token")
    },
    Key {
        check: |text| choice::<LogFormat>(text),
        ..key("serve.log-format", "RACEPROOF_SERVE_LOG_FORMAT", Some("text"), "how log lines look: text, json")
    },
    Key {
        check: |text| choice::<StoreArg>(text),
        ..key("serve.store", "RACEPROOF_SERVE_STORE", None, "what keeps the store: log, redb; what is there by default")
    },
];

fn any(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(()) }
}

fn server(text: &str) -> Result<(), String> {
    any(text)?;
    match text.split_once("://") {
        Some(("http" | "ws", rest)) if !rest.is_empty() => Ok(()),
        Some(_) => Err("expected http://HOST:PORT or ws://HOST:PORT".into()),
        None => Ok(()),
    }
}

/// An address to listen on: `ADDRESS:PORT`, or `NAME:PORT` of a name that has one.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let split = text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if split.is_none() {
        return Err("expected ADDRESS:PORT, such as 127.0.0.1:7117".into());
    }
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?.collect::<Vec<_>>();
    // `localhost` is the address that clients try by default, where it has several.
    let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| "the name has no address".into())
}

fn yes_or_no(text: &str) -> Result<(), String> {
    if matches!(text, "true" | "false") { Ok(()) } else { Err("expected true or false".into()) }
}

fn choice<T: clap::ValueEnum>(text: &str) -> Result<(), String> {
    if T::from_str(text, true).is_ok() {
        return Ok(());
    }
    let names = T::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
    let names: Vec<_> = names.map(|value| value.get_name().to_owned()).collect();
    Err(format!("expected one of {}", names.join(", ")))
}

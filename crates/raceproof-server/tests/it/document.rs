//! `docs/protocol.md` is true: its examples are run, and nothing that the protocol has is missing from it.

use std::collections::{BTreeMap, BTreeSet};

use raceproof_core::wire::{self, Code};
use raceproof_server::Limits;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::description::Description;
use crate::harness::{PATIENCE, Reply, Running, Socket, receive, send, start};

const DOCUMENT: &str = include_str!("../../../../docs/protocol.md");

/// One line of an example, with what continues it.
#[derive(Debug)]
enum Line {
    /// `$ curl …`
    Command(String),
    /// What a command prints.
    Output(String),
    /// `> …`: a frame to send.
    Sent(String),
    /// `< …`: a frame to receive.
    Received(String),
}

/// The examples, in order.
fn examples() -> Vec<Vec<Line>> {
    let mut examples = Vec::new();
    for fenced in DOCUMENT.split("```").skip(1).step_by(2) {
        let Some(text) = fenced.strip_prefix("console\n").or_else(|| fenced.strip_prefix("frames\n")) else { continue };
        let mut lines: Vec<Line> = Vec::new();
        for line in text.lines() {
            match (line.get(..2), lines.last_mut()) {
                (Some("$ "), _) => lines.push(Line::Command(line[2..].to_owned())),
                (Some("> "), _) => lines.push(Line::Sent(line[2..].to_owned())),
                (Some("< "), _) => lines.push(Line::Received(line[2..].to_owned())),
                (_, Some(Line::Command(command))) if command.ends_with('\\') => {
                    command.pop();
                    command.push_str(line.trim());
                }
                (_, Some(Line::Sent(frame) | Line::Received(frame))) if line.starts_with("  ") => {
                    frame.push_str(line.trim());
                }
                (_, Some(Line::Output(output))) => {
                    output.push('\n');
                    output.push_str(line);
                }
                (_, Some(_)) => lines.push(Line::Output(line.to_owned())),
                (_, None) => panic!("an example begins with {line:?}"),
            }
        }
        examples.push(lines);
    }
    examples
}

/// What `curl` would do with a command line, as far as the document uses it.
#[derive(Debug, Default)]
struct Curl {
    method: Option<String>,
    path: String,
    body: Option<String>,
    shows_head: bool,
    in_background: bool,
}

impl Curl {
    fn parse(command: &str) -> Self {
        let mut curl = Self::default();
        let mut words = words(command).into_iter();
        assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
        while let Some(word) = words.next() {
            match word.as_str() {
                "-s" => {}
                "-i" => curl.shows_head = true,
                "-X" => curl.method = words.next(),
                "-d" => curl.body = words.next(),
                "&" => curl.in_background = true,
                url => curl.path = url.strip_prefix("localhost:7117").expect("the server of the document").to_owned(),
            }
        }
        curl
    }

    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or_else(|| if self.body.is_some() { "POST" } else { "GET" })
    }

    async fn send(&self, server: &Running) -> TcpStream {
        send(server.addr, self.method(), &self.path, "", self.body.as_deref().map(str::as_bytes)).await
    }
}

/// A command line's words; only single quotes quote.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Session keys of the document, and what the server gave in their place.
#[derive(Default)]
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn put_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, real))
    }

    /// Checks that what came is what the document shows, but for session keys, ages and what is left of leases.
    fn check(&mut self, shown: &Value, came: &Value, place: &str) {
        match (shown, came) {
            (Value::Object(fields), Value::Object(found)) => {
                let names = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
                assert_eq!(names(fields), names(found), "fields of {came} in {place}");
                for (name, field) in fields {
                    match name.as_str() {
                        "age_ms" | "led_ms" | "lease_left_ms" => {
                            assert!(found[name].is_u64(), "{name} of {came} in {place}");
                        }
                        "detail" => assert_eq!(without_digits(field), without_digits(&found[name]), "{place}"),
                        _ => self.check(field, &found[name], place),
                    }
                }
            }
            (Value::Array(items), Value::Array(found)) => {
                assert_eq!(items.len(), found.len(), "{came} in {place}");
                for (item, found) in items.iter().zip(found) {
                    self.check(item, found, place);
                }
            }
            (Value::String(text), Value::String(found)) if is_session_key(text) => {
                assert!(is_session_key(found), "{found} in {place}");
                let known = self.0.insert(text.clone(), found.clone());
                assert!(known.is_none_or(|known| known == *found), "{found} in {place}");
            }
            _ => assert_eq!(shown, came, "{place}"),
        }
    }

    fn check_reply(&mut self, curl: &Curl, shown: &str, reply: &Reply, place: &str) {
        let mut body = shown;
        if curl.shows_head {
            let (head, rest) = shown.split_once("\n\n").unwrap_or((shown, ""));
            for line in head.lines() {
                assert!(reply.head.lines().any(|header| header == line), "no {line:?} in {} of {place}", reply.head);
            }
            body = rest;
        }
        match body.split_whitespace().next() {
            Some(_) => {
                let shown: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {place}"));
                self.check(&shown, &reply.json(), place);
            }
            None => assert_eq!(reply.body, "", "{place}"),
        }
    }
}

fn is_session_key(text: &str) -> bool {
    text.parse::<raceproof_core::id::SessionKey>().is_ok()
}

fn without_digits(text: &Value) -> String {
    let mut plain = text.as_str().unwrap().replace(|c: char| c.is_ascii_digit(), "0");
    while plain.contains("00") {
        plain = plain.replace("00", "0");
    }
    plain
}

#[tokio::test]
async fn every_example_is_answered_as_it_is_shown() {
    let server = start().await;
    let description = Description::of(&server).await;
    let mut keys = Keys::default();
    let mut sockets = Vec::new();
    let mut waiting = Vec::new();
    let (mut commands, mut frames) = (0, 0);
    for example in examples() {
        let mut socket: Option<Socket> = None;
        let mut lines = example.iter().peekable();
        while let Some(line) = lines.next() {
            match line {
                Line::Command(command) => {
                    commands += 1;
                    let curl = Curl::parse(&keys.put_in(command));
                    description.check_request(curl.method(), &curl.path, curl.body.as_deref());
                    let mut stream = curl.send(&server).await;
                    if curl.in_background {
                        let lock = curl.path.trim_end_matches("/acquire");
                        server.until(lock, |lock| lock["waiters_count"] == 1).await;
                        waiting.push(stream);
                        continue;
                    }
                    let shown = lines.next_if(|line| matches!(line, Line::Output(_)));
                    let Some(Line::Output(shown)) = shown else { panic!("{command} shows nothing") };
                    let reply = tokio::time::timeout(PATIENCE, receive(&mut stream)).await.expect(command);
                    description.check_reply(curl.method(), &curl.path, &reply);
                    keys.check_reply(&curl, shown, &reply, command);
                }
                Line::Sent(frame) => {
                    let frame: Value = serde_json::from_str(&keys.put_in(frame)).expect(frame);
                    if socket.is_none() {
                        socket = Some(server.socket().await);
                    }
                    let seq = socket.as_mut().unwrap().send(frame["request"].clone()).await;
                    assert_eq!(frame, json!({ "seq": seq, "request": frame["request"] }));
                }
                Line::Received(shown) => {
                    frames += 1;
                    let came = socket.as_mut().expect("a socket").receive().await;
                    keys.check(&serde_json::from_str(shown).expect(shown), &came, shown);
                }
                Line::Output(output) => panic!("{output:?} follows nothing"),
            }
        }
        sockets.extend(socket);
    }
    let there = (DOCUMENT.matches("\n$ curl").count(), DOCUMENT.matches("\n< {").count());
    assert_eq!((commands, frames), there, "an example is in no fence");
    assert!(commands > 0 && frames > 0);
    let mut cancelled = waiting.pop().expect("one example waits");
    receive(&mut cancelled).await.problem(409, "cancelled");
}

#[test]
fn every_code_is_listed_with_its_status() {
    for code in Code::ALL {
        let row = format!("| `{code}` | {} |", code.status());
        assert!(DOCUMENT.contains(&row), "no row {row:?}");
    }
    let listed =
        DOCUMENT.lines().filter(|line| line.starts_with("| `") && line.split('|').nth(2).is_some_and(is_status));
    assert_eq!(listed.count(), Code::ALL.len(), "a row for a code that there is not");
}

fn is_status(cell: &str) -> bool {
    cell.trim().parse::<u16>().is_ok_and(|status| (400..600).contains(&status))
}

#[tokio::test]
async fn every_call_has_a_section_with_its_fields() {
    let server = start().await;
    let document = server.get("/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let shown = format!("`{} {path}`", method.to_uppercase());
            assert!(DOCUMENT.matches(&shown).count() >= 1, "no {shown}");
            let content = &call["requestBody"]["content"];
            let Some(reference) = content["application/json"]["schema"]["$ref"].as_str() else { continue };
            let schema = &document["components"]["schemas"][reference.rsplit('/').next().unwrap()];
            for field in schema["properties"].as_object().unwrap().keys() {
                assert!(DOCUMENT.contains(&format!("`{field}`")), "no `{field}` of {shown}");
            }
        }
    }
    for schema in document["components"]["schemas"].as_object().unwrap().values() {
        for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            assert!(DOCUMENT.contains(&format!("`{field}`")), "no `{field}`");
        }
    }
    for call in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/v1/ws"] {
        assert!(DOCUMENT.contains(&format!("`GET {call}`")), "no `GET {call}`");
        assert_ne!(server.get(call).await.status, 404, "{call}");
    }
}

/// The names that a type of the wire knows, as its refusal of an unknown one lists them.
fn names_of<T: DeserializeOwned>(unknown: Value) -> Vec<String> {
    let Err(error) = serde_json::from_value::<T>(unknown) else { panic!("an unknown name was taken") };
    let error = error.to_string();
    let names: Vec<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(!names.is_empty(), "{error}");
    names
}

#[test]
fn every_frame_event_and_reason_is_named_with_its_fields() {
    let rows = |name: &str| DOCUMENT.lines().any(|line| line.starts_with(&format!("| `{name}` |")));
    for request in names_of::<wire::Request>(json!({ "conquer": {} })) {
        assert!(rows(&request), "no row for the request `{request}`");
    }
    for event in names_of::<wire::Event>(json!({ "conquered": {} })) {
        assert!(rows(&event), "no row for the event `{event}`");
    }
    for reason in names_of::<wire::LostReason>(json!("conquered")) {
        assert!(rows(&reason), "no row for the reason `{reason}`");
    }
    for answer in names_of::<wire::Response>(json!({ "conquered": {} })) {
        assert!(
            DOCUMENT.contains(&format!("`{answer}`:")) || DOCUMENT.contains(&format!("`{answer}`: nothing")),
            "no answer `{answer}`"
        );
    }
    let x = json!({ "x": 1 });
    let fields = [
        names_of::<wire::Open>(x.clone()),
        names_of::<wire::Resume>(x.clone()),
        names_of::<wire::Held>(x.clone()),
        names_of::<wire::Acquire>(x.clone()),
        names_of::<wire::Release>(x.clone()),
        names_of::<wire::Check>(x.clone()),
        names_of::<wire::Campaign>(x.clone()),
        names_of::<wire::Resign>(x.clone()),
        names_of::<wire::Page>(x),
        names_of::<wire::Mode>(json!("x")),
        names_of::<wire::Class>(json!("x")),
        names_of::<wire::OnDisconnect>(json!("x")),
    ];
    for name in fields.iter().flatten() {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "no `{name}`");
    }
}

#[tokio::test]
async fn every_figure_is_named() {
    let server = start().await;
    let metrics = server.get("/metrics").await.body;
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        assert!(DOCUMENT.contains(&format!("`{name}`")) || DOCUMENT.contains(&format!("`{name}{{")), "no `{name}`");
    }
}

#[test]
fn limits_are_as_they_are_listed() {
    let (limits, hub) = (Limits::default(), raceproof_core::hub::Config::default());
    let listed = DOCUMENT.split("\n## Limits").nth(1).unwrap().split("\n## ").next().unwrap().replace(',', "");
    for (what, limit) in [
        ("name of a lock", hub.name_bytes_max),
        ("request id", hub.request_bytes_max),
        ("value of a candidate", hub.value_bytes_max),
        ("names in one request", hub.names_max),
        ("lease", usize::try_from(hub.ttl_ms_min).unwrap()),
        ("lease", usize::try_from(hub.ttl_ms_max).unwrap()),
        ("lock-delay", usize::try_from(hub.lock_delay_ms_max).unwrap()),
        ("request's body", limits.body_bytes),
        ("time for a head", usize::try_from(limits.header_timeout.as_secs()).unwrap()),
        ("WebSocket message", limits.frame_bytes),
        ("frames that wait", limits.outbox_frames),
        ("a write without progress", usize::try_from(limits.write_timeout.as_secs()).unwrap()),
        ("connections", limits.connections),
        ("sessions", hub.sessions_max),
        ("waiting requests", hub.waiters_per_name_max),
        ("waiting requests", hub.waiters_per_session_max),
        ("waiting requests", hub.waiters_max),
        ("grants of a session", hub.grants_per_session_max),
        ("repetitions", hub.retries_waiting_max),
        ("elections observed", hub.observed_max),
        ("answers remembered", hub.answers_remembered_max),
    ] {
        let row = listed.lines().find(|line| line.starts_with(&format!("| {what}")));
        let row = row.unwrap_or_else(|| panic!("no row for {what}"));
        let numbers: Vec<_> = row.split(|c: char| !c.is_ascii_digit()).collect();
        assert!(numbers.contains(&limit.to_string().as_str()), "{limit} is not in {row:?}");
    }
    let pings = format!("After {} s of silence", limits.ping_interval.as_secs());
    assert!(DOCUMENT.contains(&pings), "no {pings:?}");
}

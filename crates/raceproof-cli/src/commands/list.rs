//! `raceproof locks` and `raceproof sessions`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use raceproof_core::wire::{Code, Election, ElectionPage, Lock, LockPage, Mode, SessionInfo, SessionPage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Reader, print, server, with_client};
use crate::args::Listing;
use crate::config::Settings;
use crate::failure::Failure;
use crate::http::{CallError, Client, segment};
use crate::say;

/// How often a server is asked while watching.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// How many entries one call asks for.
const PAGE: u32 = 1_000;
/// How much of a leader's value a table shows, in characters: it may have 4,096 bytes.
const VALUE_SHOWN_MAX: usize = 60;
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) fn locks(args: &Listing, settings: Settings) -> Result<u8, Failure> {
    list::<LockPage>(args, settings)
}

pub(super) fn elections(args: &Listing, settings: Settings) -> Result<u8, Failure> {
    list::<ElectionPage>(args, settings)
}

pub(super) fn sessions(args: &Listing, settings: Settings) -> Result<u8, Failure> {
    list::<SessionPage>(args, settings)
}

/// A kind of listing.
trait Page: DeserializeOwned {
    type Entry: Serialize;
    const NAME: &'static str;
    const HEAD: &'static [&'static str];

    fn split(self) -> (Vec<Self::Entry>, Option<String>);
    /// One line or several for people.
    fn rows(entry: &Self::Entry) -> Vec<Vec<String>>;
    /// What makes an entry differ from what it was: everything but ages.
    fn essence(entry: &Self::Entry) -> String;
}

fn list<P: Page>(args: &Listing, settings: Settings) -> Result<u8, Failure> {
    let (server, token) = server(&with_client(settings, &args.client))?;
    let client = Client::new(&server, token.as_deref(), Duration::from_secs(10));
    if !args.watch {
        let entries = fetch::<P>(&client, &args.prefix).map_err(|error| Failure::call(&server, &error))?;
        let shown = if args.json { as_json::<P>(1, &entries) } else { as_table::<P>(&entries) };
        print(&shown)?;
        return Ok(0);
    }
    let redraw = !args.json && std::io::stdout().is_terminal();
    let mut seen = None;
    let mut seq = 0;
    let mut gone = false;
    loop {
        let entries = match fetch::<P>(&client, &args.prefix) {
            Ok(entries) => entries,
            // A server that is started again shows what it showed: a watch goes on, as holders do.
            Err(error) if seen.is_some() && is_away(&error) => {
                if !gone {
                    say::warning("server-gone", format_args!("no server answers at {server}; trying again"));
                }
                gone = true;
                std::thread::sleep(WATCH_EVERY);
                continue;
            }
            Err(error) => return Err(Failure::call(&server, &error)),
        };
        if std::mem::take(&mut gone) {
            say::line(format_args!("{server} answers again"));
        }
        let essence: Vec<String> = entries.iter().map(P::essence).collect();
        if redraw || seen.as_ref() != Some(&essence) {
            seq += 1;
            let shown = match (args.json, redraw) {
                (true, _) => as_json::<P>(seq, &entries),
                (false, true) => format!("{CLEAR}{}", as_table::<P>(&entries)),
                (false, false) => format!("{}\n", as_table::<P>(&entries)),
            };
            if print(&shown)? == Reader::Gone {
                return Ok(0);
            }
            seen = Some(essence);
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// Whether a server that answered before may answer again.
fn is_away(error: &CallError) -> bool {
    match error {
        CallError::Unreachable(_) => true,
        CallError::Refused(problem) => problem.code == Code::Unavailable,
        CallError::NotUnderstood(_) => false,
    }
}

fn fetch<P: Page>(client: &Client, prefix: &str) -> Result<Vec<P::Entry>, CallError> {
    let mut entries = Vec::new();
    let mut path = format!("/v1/{}?limit={PAGE}&prefix={}", P::NAME, segment(prefix));
    loop {
        let (page, next) = client.get::<P>(&path)?.split();
        entries.extend(page);
        let Some(next) = next else { return Ok(entries) };
        path = format!("/v1/{}?limit={PAGE}&prefix={}&after={}", P::NAME, segment(prefix), segment(&next));
    }
}

/// The envelope of everything that is printed as JSON: additive only.
pub(super) fn envelope(seq: u64, kind: &str, fields: &Value) -> Value {
    let mut object = json!({
        "v": 1,
        "ts": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        "seq": seq,
        "type": kind,
    });
    if let (Some(object), Some(fields)) = (object.as_object_mut(), fields.as_object()) {
        object.extend(fields.clone());
    }
    object
}

fn as_json<P: Page>(seq: u64, entries: &[P::Entry]) -> String {
    format!("{}\n", envelope(seq, P::NAME, &json!({ P::NAME: entries })))
}

fn as_table<P: Page>(entries: &[P::Entry]) -> String {
    if entries.is_empty() {
        return format!("no {}\n", P::NAME);
    }
    table(P::HEAD, &entries.iter().flat_map(P::rows).collect::<Vec<_>>())
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut shown = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "{}", padded.join("  ").trim_end());
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    shown
}

/// An age or a remainder, in whole seconds from ten on.
fn span(ms: u64) -> String {
    let ms = if ms >= 10_000 { ms / 1_000 * 1_000 } else { ms };
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

/// A text that is as long as its candidate made it, in so much of a line as it may take.
fn cut(text: &str) -> String {
    let mut text = shown(text);
    if let Some((end, _)) = text.char_indices().nth(VALUE_SHOWN_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A name that cannot garble a table: control characters are escaped.
fn shown(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

impl Page for LockPage {
    type Entry = Lock;
    const NAME: &'static str = "locks";
    const HEAD: &'static [&'static str] = &["NAME", "MODE", "TOKEN", "HOLDER", "HELD FOR", "LEASE LEFT", "WAITERS"];

    fn split(self) -> (Vec<Lock>, Option<String>) {
        (self.locks, self.next.map(|next| next.to_string()))
    }

    fn rows(lock: &Lock) -> Vec<Vec<String>> {
        let waiters = lock.waiters_count.to_string();
        if lock.holders.is_empty() {
            let why = lock.delay_left_ms.map_or_else(|| "free".into(), |left| format!("closed for {}", span(left)));
            return vec![vec![shown(&lock.name), why, "-".into(), "-".into(), "-".into(), "-".into(), waiters]];
        }
        let row = |(index, holder): (usize, &raceproof_core::wire::Holder)| {
            let mode = match (lock.permits, holder.mode) {
                (Some(permits), _) => format!("{}/{permits}", holder.take.unwrap_or(1)),
                (None, Mode::Shared) => "shared".into(),
                (None, Mode::Exclusive) => "exclusive".into(),
            };
            vec![
                if index == 0 { shown(&lock.name) } else { String::new() },
                mode,
                holder.token.to_string(),
                shown(&holder.session_name),
                span(holder.age_ms),
                span(holder.lease_left_ms),
                if index == 0 { waiters.clone() } else { String::new() },
            ]
        };
        lock.holders.iter().enumerate().map(row).collect()
    }

    fn essence(lock: &Lock) -> String {
        let holders = lock.holders.iter().map(|holder| holder.token.as_u64());
        let waiters = lock.waiters.iter().map(|waiter| waiter.session.as_u64());
        let holders: Vec<u64> = holders.collect();
        let waiters: Vec<u64> = waiters.collect();
        format!("{:?} {holders:?} {} {waiters:?} {}", lock.name, lock.waiters_count, lock.delay_left_ms.is_some())
    }
}

impl Page for ElectionPage {
    type Entry = Election;
    const NAME: &'static str = "elections";
    const HEAD: &'static [&'static str] = &["NAME", "TERM", "LEADER", "LED FOR", "LEASE LEFT", "CANDIDATES", "VALUE"];

    fn split(self) -> (Vec<Election>, Option<String>) {
        (self.elections, self.next.map(|next| next.to_string()))
    }

    fn rows(election: &Election) -> Vec<Vec<String>> {
        let of_leader = |told: Option<String>| told.unwrap_or_else(|| "-".into());
        let leader = election.leader.as_ref();
        let candidates = election.candidates_count.unwrap_or(election.candidates.len() as u64);
        vec![vec![
            shown(&election.election),
            of_leader(leader.map(|leader| leader.term.to_string())),
            of_leader(leader.map(|leader| shown(&leader.session_name))),
            of_leader(election.led_ms.map(span)),
            of_leader(election.lease_left_ms.map(span)),
            candidates.to_string(),
            of_leader(leader.map(|leader| cut(&leader.value))),
        ]]
    }

    fn essence(election: &Election) -> String {
        let term = election.leader.as_ref().map(|leader| leader.term.as_u64());
        let candidates: Vec<u64> = election.candidates.iter().map(|candidate| candidate.session.as_u64()).collect();
        format!("{:?} {term:?} {:?} {candidates:?}", election.election, election.candidates_count)
    }
}

impl Page for SessionPage {
    type Entry = SessionInfo;
    const NAME: &'static str = "sessions";
    const HEAD: &'static [&'static str] = &["SESSION", "NAME", "LEASE", "LEASE LEFT", "CONNECTED", "GRANTS", "WAITS"];

    fn split(self) -> (Vec<SessionInfo>, Option<String>) {
        (self.sessions, self.next.map(|next| next.to_string()))
    }

    fn rows(session: &SessionInfo) -> Vec<Vec<String>> {
        vec![vec![
            session.session.to_string(),
            shown(&session.name),
            span(session.ttl_ms),
            span(session.lease_left_ms),
            if session.connected { "yes" } else { "no" }.into(),
            session.grants.to_string(),
            session.waits.to_string(),
        ]]
    }

    fn essence(session: &SessionInfo) -> String {
        format!("{} {} {} {}", session.session, session.connected, session.grants, session.waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_one_line_a_holder_and_shows_no_control_characters() {
        let lock: Lock = serde_json::from_value(json!({
            "name": "a\u{1b}[31m",
            "holders": [
                {"session": 1, "session_name": "host:1", "token": 7, "mode": "shared", "class": "durable", "age_ms": 192_345, "lease_left_ms": 9_500},
                {"session": 2, "session_name": "host:22", "token": 9, "mode": "shared", "class": "durable", "age_ms": 5, "lease_left_ms": 100},
            ],
            "waiters_count": 1,
            "waiters": [],
        })).expect("a lock");
        insta::assert_snapshot!(as_table::<LockPage>(&[lock]), @r"
        NAME         MODE    TOKEN  HOLDER   HELD FOR  LEASE LEFT  WAITERS
        a\u{1b}[31m  shared  7      host:1   3m 12s    9s 500ms    1
                     shared  9      host:22  5ms       100ms
        ");
        assert_eq!(as_table::<LockPage>(&[]), "no locks\n");
    }

    fn election(name: &str, value: &str) -> Election {
        serde_json::from_value(json!({
            "election": name,
            "leader": {
                "election": name, "term": 118, "value": value, "session": 3, "session_name": "host:1", "lease_ms": 10_000,
            },
            "led_ms": 192_345,
            "lease_left_ms": 9_500,
            "candidates_count": 2,
            "candidates": [
                {"session": 4, "session_name": "b", "mode": "exclusive", "priority": 0, "position": 1, "age_ms": 7},
                {"session": 5, "session_name": "c", "mode": "exclusive", "priority": 0, "position": 2, "age_ms": 3},
            ],
        })).expect("an election")
    }

    #[test]
    fn a_table_of_elections_has_one_line_each_however_long_a_value_is() {
        let orphan = Election { leader: None, led_ms: None, lease_left_ms: None, ..election("orphan", "") };
        let long = election("long", &"ä\u{1b}".repeat(2_000));
        let old: Election =
            serde_json::from_value(json!({"election": "old", "leader": null, "candidates": []})).expect("old");
        insta::assert_snapshot!(as_table::<ElectionPage>(&[election("db", "10.0.0.1:80"), long, old, orphan]), @r"
        NAME    TERM  LEADER  LED FOR  LEASE LEFT  CANDIDATES  VALUE
        db      118   host:1  3m 12s   9s 500ms    2           10.0.0.1:80
        long    118   host:1  3m 12s   9s 500ms    2           ä\u{1b}ä\u{1b}ä\u{1b}ä\u{1b}ä\u{1b}ä\u{1b}ä\u{1b}ä\u{1b}ä\u{…
        old     -     -       -        -           0           -
        orphan  -     -       -        -           2           -
        ");
        assert_eq!(as_table::<ElectionPage>(&[]), "no elections\n");
    }

    #[test]
    fn another_leader_or_candidate_is_a_change_and_time_that_passes_is_none() {
        let before = election("db", "a");
        let essence = <ElectionPage as Page>::essence;
        let later = Election { led_ms: Some(200_000), lease_left_ms: Some(9_000), ..before.clone() };
        assert_eq!(essence(&later), essence(&before));
        let mut other = before.clone();
        other.leader.as_mut().expect("it is led").term = raceproof_core::id::Token::new(119);
        let fewer =
            Election { candidates_count: Some(1), candidates: before.candidates[1..].to_vec(), ..before.clone() };
        let mut swapped = before.clone();
        swapped.candidates.reverse();
        for changed in [Election { leader: None, ..before.clone() }, other, fewer, swapped] {
            assert_ne!(essence(&changed), essence(&before), "{changed:?}");
        }
    }
}

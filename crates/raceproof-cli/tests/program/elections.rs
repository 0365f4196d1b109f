//! `elect`: E1, E2, E6; and `elections`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::common::processes::{PATIENCE, state, wait_for};
use crate::common::server::Server;

fn elect(server: &Server, value: &str, script: &str) -> crate::common::program::Running {
    server.start_program(&["elect", "primary", "--ttl", "2s", "--value", value, "--", "sh", "-c", script])
}

#[test]
fn e1_one_leads_and_the_next_follows_under_a_later_term() {
    let server = Server::start();
    let until = |file: &str| {
        format!(
            "echo $RACEPROOF_ELECTION $RACEPROOF_TERM $RACEPROOF_FENCE > {file}; while [ ! -e {file}-go ]; do sleep 0.01; done"
        )
    };
    let first = elect(&server, "one:1", &until("one"));
    let said = server.said("one");
    let mut second = elect(&server, "two:2", &until("two"));
    wait_for("a candidate", || (server.get("/v1/sessions")["sessions"].as_array()?.len() == 2).then_some(()));
    let now = server.get("/v1/elections/primary");
    assert_eq!(now["leader"]["value"], "one:1", "{now}");
    let words: Vec<_> = said.split(' ').collect();
    assert_eq!((words[0], words[1]), ("primary", words[2]));
    assert_eq!(now["leader"]["term"].as_u64(), words[1].parse().ok(), "{now}");
    assert!(!second.has_ended() && !server.file("two").exists());
    std::fs::write(server.file("one-go"), "").expect("a file");
    first.end().with(0);
    let later = server.said("two");
    let term = |said: &str| said.split(' ').nth(1).and_then(|term| term.parse::<u64>().ok()).expect("a term");
    assert!(term(&later) > term(&said));
    assert_eq!(server.get("/v1/elections/primary")["leader"]["value"], "two:2");
    std::fs::write(server.file("two-go"), "").expect("a file");
    second.end().with(0);
}

#[test]
fn e6_a_leader_whose_lease_ends_is_stopped() {
    let mut server = Server::start();
    let leader = elect(&server, "one", "echo $$ > up; exec sleep 60");
    let command: u32 = server.said("up").parse().expect("a pid");
    server.kill();
    leader.end().with(70);
    assert_eq!(state(command), None);
}

/// Waits until so many stand.
fn until_candidates(server: &Server, count: u64) {
    wait_for("candidates", || {
        (server.get("/v1/elections/primary")["candidates_count"].as_u64() == Some(count)).then_some(())
    });
}

#[test]
fn elections_are_listed_for_people_and_programs() {
    let server = Server::start();
    assert_eq!(server.run(&["elections"]).with(0).stdout, "no elections\n");
    let first = elect(&server, "one:1", "echo $RACEPROOF_TERM > up; while [ ! -e go ]; do sleep 0.01; done");
    let term = server.said("up");
    let second = elect(&server, "two:2", "true");
    until_candidates(&server, 1);
    let third = elect(&server, "three:3", "true");
    until_candidates(&server, 2);

    let table = server.run(&["elections", "prim"]).with(0).stdout;
    let cells = |row: &str| -> Vec<String> {
        row.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    let rows: Vec<_> = table.lines().map(cells).collect();
    assert_eq!(rows[0], ["NAME", "TERM", "LEADER", "LED FOR", "LEASE LEFT", "CANDIDATES", "VALUE"], "{table}");
    assert_eq!((rows.len(), rows[1][0].as_str(), &rows[1][1]), (2, "primary", &term), "{table}");
    assert!(rows[1][2].ends_with(&format!(":{}", first.pid())), "{table}");
    assert_eq!(rows[1][5..], ["2", "one:1"], "{table}");
    assert_eq!(server.run(&["elections", "other"]).with(0).stdout, "no elections\n");
    assert_eq!(server.run(&["locks"]).with(0).stdout, "no locks\n", "an election is no lock");
    let stolen = server.run(&["release", "primary", "--steal"]).with(0).stdout;
    assert!(stolen.contains("an election has this name") && stolen.contains("see raceproof elections"), "{stolen}");
    assert_eq!(server.run(&["release", "other", "--steal"]).with(0).stdout, "\"other\" was held by nobody\n");

    let listed: Value = serde_json::from_str(&server.run(&["elections", "--json"]).with(0).stdout).expect("JSON");
    assert_eq!((&listed["v"], &listed["type"], &listed["seq"]), (&1.into(), &"elections".into(), &1.into()));
    let primary = &listed["elections"][0];
    assert_eq!((&primary["election"], &primary["leader"]["value"]), (&"primary".into(), &"one:1".into()));
    let named = |index: usize| primary["candidates"][index]["session_name"].as_str().expect("a name").to_owned();
    for (index, candidate) in [&second, &third].into_iter().enumerate() {
        assert!(named(index).ends_with(&format!(":{}", candidate.pid())), "{primary}");
    }
    std::fs::write(server.file("go"), "").expect("a file");
    for running in [first, second, third] {
        running.end().with(0);
    }
}

#[test]
fn a_watch_shows_each_leader_and_candidate() {
    let server = Server::start();
    let mut watch =
        server.program(&["elections", "--watch", "--json"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(watch.stdout.take().expect("a pipe"));
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || -> Value { serde_json::from_str(&lines.recv_timeout(PATIENCE).expect("a line")).expect("JSON") };
    assert_eq!(next()["elections"], Value::Array(Vec::new()));
    let first = elect(&server, "one", "while [ ! -e one-go ]; do sleep 0.01; done");
    let led = next();
    assert_eq!((&led["seq"], &led["elections"][0]["leader"]["value"]), (&2.into(), &"one".into()));
    let second = elect(&server, "two", "while [ ! -e two-go ]; do sleep 0.01; done");
    assert_eq!(next()["elections"][0]["candidates_count"], 1);
    std::fs::write(server.file("one-go"), "").expect("a file");
    first.end().with(0);
    assert_eq!(next()["elections"][0]["leader"]["value"], "two");
    std::fs::write(server.file("two-go"), "").expect("a file");
    second.end().with(0);
    assert_eq!(next()["elections"], Value::Array(Vec::new()));
    watch.kill().expect("it is ours");
    watch.wait().expect("it ends");
}

//! `elect`: E1, E2, E6.

use crate::common::processes::{state, wait_for};
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

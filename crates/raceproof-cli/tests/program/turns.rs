//! Who runs when: L1, L3, L6.

use crate::common::processes::wait_for;
use crate::common::program::Running;
use crate::common::server::Server;

#[test]
fn l1_ten_processes_lose_no_increment() {
    let server = Server::start();
    std::fs::write(server.file("c"), "5\n").expect("a file");
    let increment = "n=$(cat c); sleep 0.05; echo $((n+1)) > c";
    let runs: Vec<Running> = (0..10).map(|_| server.lock(&["demo"], increment)).collect();
    for run in runs {
        run.end().with(0);
    }
    assert_eq!(server.said("c"), "15");
    assert_eq!(server.run(&["locks"]).stdout, "no locks\n");
}

#[test]
fn the_command_is_told_what_it_holds() {
    let server = Server::start();
    let script = "echo $RACEPROOF_LOCK; echo $RACEPROOF_FENCE; echo $RACEPROOF_DEADLINE";
    let before = crate::common::processes::boottime();
    let run = server.lock(&["a,b", "c", "--ttl", "60s"], script).end().with(0);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], "a%2Cb,c");
    assert!(lines[1].parse::<u64>().expect("a token") > 0);
    let deadline: u64 = lines[2].parse().expect("a time");
    // Counted from the sending, less a margin for drift.
    let (least, most) = (before + 55_000_000, crate::common::processes::boottime() + 60_000_000);
    assert!((least..=most).contains(&deadline), "{deadline} is not in {least}..={most}");
}

#[test]
fn l6_several_locks_are_taken_together_or_not_at_all() {
    let server = Server::start();
    let mut held = server.lock(&["b"], "echo up > up; while [ ! -e go ]; do sleep 0.01; done");
    server.said("up");
    let both = server.lock(&["a", "b"], "echo both > both");
    server.wait_for_waiters("b", 1);
    // What waits for both holds neither.
    server.lock(&["a", "--try"], "true").end().with(75);
    assert!(server.get("/v1/locks/a")["holders"].as_array().expect("holders").is_empty());
    assert!(!held.has_ended());
    std::fs::write(server.file("go"), "").expect("a file");
    held.end().with(0);
    both.end().with(0);
    assert_eq!(server.said("both"), "both");
}

#[test]
fn shared_holders_and_permits_run_together() {
    let server = Server::start();
    // Each waits to see the other: neither ends unless both hold at once.
    let meet = |own: &str, other: &str| format!("echo > {own}; while [ ! -e {other} ]; do sleep 0.01; done");
    let first = server.lock(&["r", "--shared"], &meet("s1", "s2"));
    let second = server.lock(&["r", "--shared"], &meet("s2", "s1"));
    first.end().with(0);
    second.end().with(0);

    let first = server.lock(&["p", "--permits", "2"], &meet("p1", "p3"));
    let second = server.lock(&["p", "--permits", "2"], &meet("p2", "p3"));
    server.said("p1");
    server.said("p2");
    let refused = server.lock(&["p", "--permits", "2", "--try"], "true").end().with(75);
    assert!(refused.stderr.contains("error[lock-held]"), "{}", refused.stderr);
    std::fs::write(server.file("p3"), "").expect("a file");
    first.end().with(0);
    second.end().with(0);
}

#[test]
fn one_that_holds_says_so_to_those_that_try() {
    let server = Server::start();
    let holder = server.lock(&["deploy"], "echo up > up; while [ ! -e go ]; do sleep 0.01; done");
    server.said("up");
    let refused = server.lock(&["deploy", "--try"], "true").end().with(75);
    let token = server.get("/v1/locks/deploy")["holders"][0]["token"].as_u64().expect("a token");
    assert!(refused.stderr.contains("error[lock-held]: \"deploy\" is held by "), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!(":{} for ", holder.pid())), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("(token {token})")), "{}", refused.stderr);
    server.lock(&["deploy", "--try", "-E", "0"], "false").end().with(0);
    let late = server.lock(&["deploy", "--wait", "50ms"], "true").end().with(75);
    assert!(late.stderr.contains("error[wait-timed-out]"), "{}", late.stderr);
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
}

#[test]
fn one_that_waits_is_told_whom_for_and_that_the_server_is_gone() {
    let mut server = Server::start();
    let holder =
        server.lock(&["deploy", "--ttl", "60s"], "echo $RACEPROOF_FENCE > up; while [ ! -e go ]; do sleep 0.01; done");
    let token = server.said("up");
    let said = std::fs::File::create(server.file("said")).expect("a file");
    let mut waiter = server.program(&["lock", "deploy", "--ttl", "60s", "--shell", "--", "echo", "got", ">", "got"]);
    let mut waiter = waiter.stderr(said).spawn().expect("the program starts");
    let file = server.file("said");
    let says = |text: &str| {
        wait_for(text, || std::fs::read_to_string(&file).ok().filter(|said| said.contains(text)));
    };
    says("raceproof: waiting for \"deploy\": \"deploy\" is held by ");
    says(&format!(":{} for ", holder.pid()));
    says(&format!("(token {token})"));
    server.kill();
    says("warning[server-gone]: no server answers at http://");
    server.restart();
    says(" answers again\n");
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
    assert!(waiter.wait().expect("it ends").success());
    assert_eq!(server.said("got"), "got");
}

#[test]
fn one_that_waits_for_itself_is_told_so() {
    let server = Server::start();
    let program = crate::common::program::PROGRAM;
    let inner = format!("{program} lock x -- true 2> said & echo $! > inner; wait $!");
    let outer = server.lock(&["x"], &inner);
    let inner: u32 = server.said("inner").parse().expect("a pid");
    assert!(server.said("said").ends_with(", under which this runs: it waits for itself"));
    crate::common::processes::signal(inner, rustix::process::Signal::TERM);
    outer.end().with(143);
}

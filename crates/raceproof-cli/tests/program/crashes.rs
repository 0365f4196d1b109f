//! Crashes and freezes of a server, a wrapper and a command: L1, L2, L5, L8, L9, L11.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::processes::{signal, state, wait_for, wait_gone};
use crate::common::program::Running;
use crate::common::server::Server;

/// A command that waits for the file `go`.
const UNTIL_GO: &str = "echo $RACEPROOF_FENCE > up; while [ ! -e go ]; do sleep 0.01; done";

#[track_caller]
fn signal_group_of(command: u32, number: Signal) {
    let group = Pid::from_raw(i32::try_from(command).expect("a pid")).expect("a pid");
    kill_process_group(group, number).expect("the group is there");
}

/// The lease is short: a release that a crash of the server undid ends with it.
fn token_of(server: &Server, name: &str) -> u64 {
    let run = server.lock(&[name, "--ttl", "2s"], "echo $RACEPROOF_FENCE").end().with(0);
    run.stdout.trim_end().parse().expect("a token")
}

#[test]
fn l2_tokens_grow_across_kills_of_the_server() {
    let mut server = Server::start();
    let mut last = 0;
    for name in ["a", "a", "b", "a"] {
        let token = token_of(&server, name);
        assert!(token > last, "{token} after {last}");
        last = token;
        server.kill();
        server.restart();
    }
}

#[test]
fn l5_a_holder_keeps_its_lock_through_a_crash_of_the_server() {
    let mut server = Server::start();
    let mut holder = server.lock(&["x", "--ttl", "6s"], UNTIL_GO);
    let token: u64 = server.said("up").parse().expect("a token");
    let command = holder.command();
    server.kill();
    server.restart();
    let rival = server.lock(&["x", "--ttl", "6s"], "echo $RACEPROOF_FENCE > rival");
    server.wait_for_waiters("x", 1);
    // Longer than the lease that everyone gets after a start.
    std::thread::sleep(Duration::from_secs(7));
    let holders = server.get("/v1/locks/x")["holders"].clone();
    assert_eq!(holders[0]["token"].as_u64(), Some(token), "{holders}");
    assert!(!holder.has_ended());
    assert!(state(command).is_some());
    assert!(!server.file("rival").exists());
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
    rival.end().with(0);
    assert!(server.said("rival").parse::<u64>().expect("a token") > token);
}

/// Runs a rival that says whether the first holder's command is alive at the moment it is granted.
#[track_caller]
fn rival_sees(server: &Server, command: u32) -> Running {
    let script = format!("echo $RACEPROOF_FENCE; [ -e /proc/{command} ] && echo alive || echo gone");
    server.lock(&["x", "--ttl", "2s", "--wait", "50s"], &script)
}

#[track_caller]
fn assert_succeeded(rival: Running, token: u64) {
    let run = rival.end().with(0);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(lines[0].parse::<u64>().expect("a token") > token);
    assert_eq!(lines[1], "gone", "the command outlived its lease");
}

#[test]
fn l9_a_holder_that_is_stopped_loses_its_command_and_then_its_lock() {
    let server = Server::start();
    let holder = server.lock(&["x", "--ttl", "6s"], UNTIL_GO);
    let token: u64 = server.said("up").parse().expect("a token");
    let command = holder.command();
    holder.signal(Signal::STOP);
    signal_group_of(command, Signal::STOP);
    let rival = rival_sees(&server, command);
    assert_succeeded(rival, token);
    holder.signal(Signal::CONT);
    let run = holder.end().with(70);
    assert!(run.stderr.contains("error[lease-lost]"), "{}", run.stderr);
    assert_eq!(state(command), None);
}

#[test]
fn l9_a_wrapper_that_is_stopped_does_not_save_its_command() {
    let server = Server::start();
    let holder =
        server.lock(&["x", "--ttl", "6s"], "trap '' TERM; echo $RACEPROOF_FENCE > up; while :; do sleep 0.01; done");
    let token: u64 = server.said("up").parse().expect("a token");
    let command = holder.command();
    holder.signal(Signal::STOP);
    assert_succeeded(rival_sees(&server, command), token);
    holder.signal(Signal::CONT);
    holder.end().with(70);
}

#[test]
fn l9_everything_frozen_past_the_lease_ends_once_it_thaws() {
    let server = Server::start();
    let holder = server.lock(&["x", "--ttl", "1s"], UNTIL_GO);
    let token: u64 = server.said("up").parse().expect("a token");
    let (command, watchdog) = (holder.command(), holder.watchdog());
    for pid in [holder.pid(), watchdog] {
        signal(pid, Signal::STOP);
    }
    signal_group_of(command, Signal::STOP);
    // Nothing can stop the command now: only a resource that checks tokens is safe from it.
    assert!(token_of(&server, "x") > token);
    signal_group_of(command, Signal::CONT);
    for pid in [watchdog, holder.pid()] {
        signal(pid, Signal::CONT);
    }
    holder.end().with(70);
    wait_gone(command);
}

#[test]
fn l8_a_server_that_is_frozen_past_the_lease_costs_the_command() {
    let server = Server::start();
    let holder = server.lock(&["x", "--ttl", "1s"], UNTIL_GO);
    server.said("up");
    let command = holder.command();
    signal(server.pid(), Signal::STOP);
    let run = holder.end().with(70);
    assert_eq!(state(command), None);
    signal(server.pid(), Signal::CONT);
    assert!(run.stderr.contains("error[lease-lost]"), "{}", run.stderr);
    token_of(&server, "x");
}

/// Nanoseconds of the wall clock, as `date` prints them.
fn nanos(text: &str) -> i128 {
    text.parse().expect("a number")
}

#[test]
fn l11_after_the_wrappers_kill_the_command_is_stopped_and_then_the_lock_is_free_at_once() {
    let server = Server::start();
    // It takes its time to end, and says when it did.
    let script = "trap 'sleep 0.3; date +%s%N > ended; exit 0' TERM; echo $$ > up; while :; do sleep 0.01; done";
    let holder = server.lock(&["x", "--ttl", "60s"], script);
    server.said("up");
    let command = holder.command();
    let rival = server.lock(&["x"], &format!("date +%s%N; [ -e /proc/{command} ] && echo alive || echo gone"));
    server.wait_for_waiters("x", 1);
    let watchdog = holder.watchdog();
    holder.signal(Signal::KILL);
    let run = rival.end().with(0);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[1], "gone");
    let took = nanos(lines[0]) - nanos(&server.said("ended"));
    let took = Duration::from_nanos(u64::try_from(took).expect("the rival came after the end"));
    println!("from the command's end to the next command: {:.1} ms", took.as_secs_f64() * 1e3);
    // A busy machine may be slow; the lease would have taken a minute.
    assert!(took < Duration::from_secs(2), "{took:?}");
    wait_gone(watchdog);
    holder.end().with(1_009);
}

#[test]
fn l1_a_lock_that_is_stolen_stops_its_command() {
    let server = Server::start();
    let holder = server.lock(&["x"], UNTIL_GO);
    let token = server.said("up");
    let command = holder.command();
    let taken = server.run(&["release", "x", "--steal"]).with(0);
    assert_eq!(taken.stdout, format!("took \"x\" away from its holders (tokens {token})\n"));
    let run = holder.end().with(70);
    assert!(run.stderr.contains("error[lock-lost]: \"x\" was lost: an operator took it"), "{}", run.stderr);
    assert_eq!(state(command), None);
    assert_eq!(server.run(&["release", "x", "--steal"]).with(0).stdout, "\"x\" was held by nobody\n");
}

#[test]
fn the_program_survives_a_server_that_stops_and_starts_while_it_waits() {
    let mut server = Server::start();
    let holder = server.lock(&["x", "--ttl", "6s"], UNTIL_GO);
    server.said("up");
    let waiter = server.lock(&["x", "--ttl", "6s"], "echo got > got");
    server.wait_for_waiters("x", 1);
    assert!(server.stop().success());
    server.restart();
    server.wait_for_waiters("x", 1);
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
    waiter.end().with(0);
    wait_for("the server to be idle", || (server.run(&["sessions"]).stdout == "no sessions\n").then_some(()));
}

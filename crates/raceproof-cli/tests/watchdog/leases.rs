//! What the end of a lease does: L8, L9, L11.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::common::http::answering;
use crate::common::processes::{boottime, boottime_in, signal, state, wait_for, wait_gone};
use crate::dog::{Dog, Options};

const KEY: &str = "17-0123456789abcdef0123456789abcdef";
const LONG: Duration = Duration::from_secs(60);

fn options(ttl: Duration, on_lost: &'static str) -> Options {
    Options { ttl, on_lost, ..Options::default() }
}

/// The margins of a long lease, so that a busy machine keeps them: SIGTERM a second before the end of `LEASE`, SIGKILL
/// half a second before.
fn wide(on_lost: &'static str) -> Options {
    Options { ttl: Duration::from_secs(10), grace: Duration::from_secs(1), on_lost, ..Options::default() }
}

const LEASE: Duration = Duration::from_secs(2);

#[test]
fn l9_a_command_is_gone_before_the_lease_of_a_silent_wrapper_ends() {
    // One that obeys, and one that does not.
    for script in ["sleep 60", "trap '' TERM; echo ready; while :; do sleep 0.01; done"] {
        let mut dog = Dog::waiting(wide("term"), &["sh", "-c", script]);
        let deadline = boottime_in(LEASE);
        dog.start(deadline, &[]);
        wait_gone(dog.command);
        assert!(boottime() < deadline, "{script}");
        let (ending, notices) = dog.hear_ended();
        assert_eq!(ending["cause"], "lease", "{script}");
        assert_eq!(notices[0], "stopping", "{script}");
    }
}

#[test]
fn l8_renewals_keep_a_command_alive() {
    let ttl = Duration::from_millis(300);
    let mut dog = Dog::running(options(ttl, "term"), ttl, &["sleep", "60"]);
    let started = Instant::now();
    wait_for("three leases to pass", || {
        dog.renew(boottime_in(ttl));
        (started.elapsed() > ttl * 3).then_some(())
    });
    assert!(state(dog.command).is_some());
}

#[test]
fn l9_on_lost_kill_spares_the_signal_and_stop_freezes() {
    let deadline = boottime_in(LEASE);
    let mut dog = Dog::waiting(wide("kill"), &["sh", "-c", "trap 'echo term' TERM; sleep 60"]);
    dog.start(deadline, &[]);
    let (ending, notices) = dog.hear_ended();
    assert!(boottime() < deadline);
    assert_eq!((ending, notices), (json!({"exit": {"signal": 9}, "cause": "lease"}), vec!["killing".to_owned()]));

    let deadline = boottime_in(LEASE);
    let mut dog = Dog::waiting(wide("stop"), &["sh", "-c", "setsid sleep 60 & echo $!; sleep 60"]);
    dog.start(deadline, &[]);
    let below = dog.line_pid();
    dog.hear("frozen");
    wait_for("both to be frozen", || (state(dog.command) == Some('T') && state(below) == Some('T')).then_some(()));
    assert!(boottime() < deadline);
    dog.signal("cont");
    wait_for("both to go on", || (state(dog.command) != Some('T') && state(below) != Some('T')).then_some(()));
    dog.signal("term");
    dog.signal("term");
    assert_eq!(dog.hear_ended().0["cause"], "lease");
    assert_eq!(state(below), None);
}

#[test]
fn on_lost_notify_leaves_it_running() {
    let script = "trap 'echo told' USR1; echo ready; while :; do sleep 0.01; done";
    let mut dog = Dog::running(options(LONG, "notify"), LONG, &["sh", "-c", script]);
    assert_eq!(dog.line(), "ready");
    dog.lose("stolen");
    assert_eq!(dog.hear("notified"), json!({"cause": {"lost": "stolen"}}));
    assert_eq!(dog.line(), "told");
    assert!(state(dog.command).is_some());
}

#[test]
fn a_stolen_lock_stops_the_command() {
    let mut dog = Dog::running(
        options(LONG, "term"),
        LONG,
        &["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"],
    );
    assert_eq!(dog.line(), "ready");
    dog.lose("stolen");
    assert_eq!(dog.hear_ended().0, json!({"exit": {"code": 0}, "cause": {"lost": "stolen"}}));
}

#[test]
fn l9_a_watchdog_that_was_frozen_past_the_lease_kills_first() {
    let deadline = boottime_in(LEASE);
    let mut dog = Dog::waiting(wide("term"), &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"]);
    dog.start(deadline, &[]);
    assert_eq!(dog.line(), "ready");
    signal(dog.process.id(), Signal::STOP);
    wait_for("the lease to end", || (boottime() > deadline).then_some(()));
    assert!(state(dog.command).is_some(), "nobody could stop it");
    signal(dog.process.id(), Signal::CONT);
    let (ending, notices) = dog.hear_ended();
    assert_eq!(ending["exit"], json!({"signal": 9}));
    assert_eq!(notices, ["killing"], "no SIGTERM that it could wait on");
}

#[test]
fn l8_a_watchdog_that_was_frozen_believes_the_renewals_that_wait_for_it() {
    let deadline = boottime_in(LEASE);
    let mut dog = Dog::waiting(wide("term"), &["sleep", "60"]);
    dog.start(deadline, &[]);
    signal(dog.process.id(), Signal::STOP);
    dog.renew(boottime_in(LONG));
    wait_for("the first lease to end", || (boottime() > deadline).then_some(()));
    signal(dog.process.id(), Signal::CONT);
    dog.signal("tstp");
    dog.hear("paused");
    assert_eq!(state(dog.command), Some('T'), "it was not stopped by the lease");
}

#[test]
fn l1_after_the_wrappers_death_the_session_ends_once_the_command_is_gone() {
    let script = "trap 'sleep 0.2; exit 0' TERM; setsid sh -c \"trap '' TERM; echo \\$\\$; while :; do sleep 0.01; done\" & while :; do sleep 0.01; done";
    let options = Options { grace: Duration::from_millis(500), ..options(LONG, "term") };
    let mut dog = Dog::waiting(options, &["sh", "-c", script]);
    // The server looks who is alive at the moment it is asked to end the session.
    let (alive, watched) = std::sync::mpsc::channel::<Vec<u32>>();
    let mut pids = None;
    let (server, asked) = answering(move |head| {
        let pids = pids.get_or_insert_with(|| watched.recv().expect("the pids")).clone();
        (head, pids.into_iter().filter(|pid| state(*pid).is_some()).collect::<Vec<_>>())
    });
    dog.session(&format!("http://{server}"), KEY);
    dog.start(boottime_in(LONG), &[]);
    let below = dog.line_pid();
    alive.send(vec![dog.command, below]).expect("the server");
    dog.orphan();
    let (head, alive) = asked.recv_timeout(Duration::from_secs(20)).expect("a call");
    assert!(head.starts_with(&format!("DELETE /v1/sessions/{KEY} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer secret\r\n"), "{head}");
    assert_eq!(alive, Vec::<u32>::new(), "the session was ended before the command");
    assert!(dog.process.wait().expect("an end").success());
}

#[test]
fn l4_a_waiter_whose_wrapper_dies_gives_its_place_up() {
    let (server, asked) = answering(|head| head);
    let mut dog = Dog::waiting(options(LONG, "term"), &["sleep", "60"]);
    dog.session(&format!("ws://{server}"), KEY);
    dog.orphan();
    let head = asked.recv_timeout(Duration::from_secs(20)).expect("a call");
    assert!(head.starts_with("DELETE "), "{head}");
    assert!(dog.process.wait().expect("an end").success());
}

#[test]
fn l1_a_command_dies_with_its_watchdog() {
    let mut dog = Dog::running(
        options(LONG, "term"),
        LONG,
        &["sh", "-c", "trap '' TERM INT HUP; echo ready; while :; do sleep 0.01; done"],
    );
    assert_eq!(dog.line(), "ready");
    dog.process.kill().expect("it is ours");
    wait_gone(dog.command);
}

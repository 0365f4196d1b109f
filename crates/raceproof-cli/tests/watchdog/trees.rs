//! Everything below the command: sessions of their own, orphans, whatever they left of the group.

use std::time::Duration;

use serde_json::json;

use crate::common::processes::{parent, state, wait_for};
use crate::dog::{Dog, Options};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn grandchildren_in_sessions_of_their_own_are_stopped_too() {
    // One that obeys, one whose parent is gone, one that does not obey.
    let script = "
        setsid sleep 60 & echo $!
        sh -c 'setsid sleep 60 & echo $!'
        setsid sh -c \"trap '' TERM; echo \\$\\$; while :; do sleep 0.01; done\" & sleep 60";
    let options = Options { grace: Duration::from_millis(300), ..Options::default() };
    let mut dog = Dog::running(options, LONG, &["sh", "-c", script]);
    let below = [dog.line_pid(), dog.line_pid(), dog.line_pid()];
    assert_eq!(parent(below[1]), Some(dog.process.id()), "the watchdog adopts orphans");
    dog.lose("stolen");
    let (ending, notices) = dog.hear_ended();
    assert_eq!(ending["cause"], json!({"lost": "stolen"}));
    assert_eq!(notices, ["stopping", "killing"], "one of them needed SIGKILL");
    assert_eq!(below.map(state), [None; 3]);
}

#[test]
fn what_a_command_leaves_behind_is_gone_before_the_lock_is() {
    let script = "setsid sleep 60 & echo $!; setsid sh -c 'sleep 60 & echo $!; wait' & read pid; exit 4";
    let (read, write) = std::io::pipe().expect("a pipe");
    let options = Options { stdin: Some(read.into()), ..Options::default() };
    let mut dog = Dog::running(options, LONG, &["sh", "-c", script]);
    let below = [dog.line_pid(), dog.line_pid()];
    drop(write);
    let (ending, notices) = dog.hear_ended();
    assert_eq!(ending, json!({"exit": {"code": 4}, "cause": "command"}));
    assert_eq!(notices[0], "left_behind");
    assert_eq!(below.map(state), [None; 2]);
    dog.release();
}

#[test]
fn a_tree_that_forks_while_it_is_killed_does_not_get_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("beat");
    // Each generation starts the next in a session of its own and ends.
    let script = format!(
        "cat > {0}/run <<'END'\ndate > {0}/beat\nsetsid sh {0}/run &\nsleep 0.002\nEND\nsh {0}/run; echo ready; sleep 60",
        dir.path().display()
    );
    let options = Options { on_lost: "kill", ..Options::default() };
    let mut dog = Dog::running(options, LONG, &["sh", "-c", &script]);
    assert_eq!(dog.line(), "ready");
    dog.lose("stolen");
    dog.hear_ended();
    std::fs::remove_file(&path).expect("it was written");
    // Nobody is left to write it again: the watchdog has no children, and whatever is below it would be one.
    wait_for("the watchdog to be alone", || {
        crate::common::processes::children(dog.process.id()).is_empty().then_some(())
    });
    assert!(!path.exists(), "somebody got away");
}

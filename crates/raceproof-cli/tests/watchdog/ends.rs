//! How commands end, what they are given, what reaches them.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::json;

use crate::common::processes::{boottime_in, state, wait_for};
use crate::dog::{Dog, Options};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_commands_end_is_passed_on_as_it_was() {
    let cases = [
        ("exit 0", json!({"code": 0})),
        ("exit 7", json!({"code": 7})),
        ("exit 255", json!({"code": 255})),
        ("kill -TERM $$", json!({"signal": 15})),
        ("kill -KILL $$", json!({"signal": 9})),
    ];
    for (script, exit) in cases {
        let mut dog = Dog::running(Options::default(), LONG, &["sh", "-c", script]);
        let (ending, notices) = dog.hear_ended();
        assert_eq!(ending, json!({"exit": exit, "cause": "command"}), "{script}");
        assert_eq!(notices, [""; 0], "{script}");
        dog.release();
    }
}

#[test]
fn what_cannot_be_started_has_the_shells_codes() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a name");
    for (command, code) in [("/does/not/exist", 127), ("does-not-exist", 127), (path, 126)] {
        let mut dog = Dog::running(Options::default(), LONG, &[command]);
        assert_eq!(dog.hear_ended().0["exit"], json!({"code": code}), "{command}");
        dog.release();
    }
}

#[test]
fn stdin_and_stdout_pass_byte_for_byte() {
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (read, write) = std::io::pipe().expect("a pipe");
    let options = Options { stdin: Some(read.into()), ..Options::default() };
    let mut dog = Dog::running(options, LONG, &["cat"]);
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || {
        let mut write = write;
        write.write_all(&sent).expect("the command reads");
    });
    let mut came = Vec::new();
    dog.stdout.read_to_end(&mut came).expect("the command writes");
    sender.join().expect("no panic");
    assert!(came == bytes, "{} of {} bytes", came.len(), bytes.len());
    assert_eq!(dog.hear_ended().0["exit"], json!({"code": 0}));
}

#[test]
fn a_command_that_closes_its_stdout_is_seen_to() {
    let mut dog = Dog::running(Options::default(), LONG, &["sh", "-c", "echo a; exec >&-; read nothing; sleep 60"]);
    let mut text = String::new();
    dog.stdout.read_to_string(&mut text).expect("the end of the file");
    assert_eq!(text, "a\n");
    assert_eq!(state(dog.command).map(|_| ()), Some(()), "it goes on without");
}

#[test]
fn the_environment_has_what_the_wrapper_says() {
    let mut dog = Dog::waiting(Options::default(), &["sh", "-c", "echo \"$RACEPROOF_FENCE $RACEPROOF_LOCK\""]);
    dog.start(boottime_in(LONG), &[("RACEPROOF_FENCE", "17"), ("RACEPROOF_LOCK", "a b,ü")]);
    assert_eq!(dog.line(), "17 a b,ü");
}

#[test]
fn no_signal_is_blocked_or_ignored_in_the_command() {
    let mut dog = Dog::running(Options::default(), LONG, &["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
    let masks = [dog.line(), dog.line()].map(|line| u64::from_str_radix(line[7..].trim(), 16).expect("a mask"));
    // What the test's own starter ignores is inherited; SIGPIPE (13) must not be among it.
    assert_eq!(masks[0], 0);
    assert_eq!(masks[1] & (1 << 12), 0);
}

#[test]
fn signals_reach_the_commands_group() {
    let script = "trap 'echo usr1' USR1; trap 'echo hup' HUP; trap 'echo bye; exit 3' INT
        (trap 'echo below; exit' INT; echo ready; while :; do sleep 0.01; done) &
        while :; do sleep 0.01; done";
    let mut dog = Dog::running(Options::default(), LONG, &["sh", "-c", script]);
    assert_eq!(dog.line(), "ready");
    dog.signal("usr1");
    assert_eq!(dog.line(), "usr1");
    dog.signal("hup");
    assert_eq!(dog.line(), "hup");
    dog.signal("term");
    assert_eq!(dog.hear("passed_on"), json!({"signal": "term"}));
}

#[test]
fn a_signal_that_is_passed_on_can_be_answered_in_peace() {
    let script = "trap 'echo bye; exit 3' INT; echo ready; while :; do sleep 0.01; done";
    let mut dog = Dog::running(Options::default(), LONG, &["sh", "-c", script]);
    assert_eq!(dog.line(), "ready");
    dog.signal("int");
    assert_eq!(dog.line(), "bye");
    let (ending, _) = dog.hear_ended();
    assert_eq!(ending, json!({"exit": {"code": 3}, "cause": "command"}));
}

#[test]
fn a_second_request_to_end_kills_everything() {
    let script = "trap '' TERM INT; sh -c 'echo $$; exec sleep 60' & echo $!; while :; do sleep 0.01; done";
    let mut dog = Dog::running(Options::default(), LONG, &["sh", "-c", script]);
    let below = dog.line_pid();
    dog.signal("term");
    dog.hear("passed_on");
    assert!(state(dog.command).is_some());
    dog.signal("int");
    let (ending, _) = dog.hear_ended();
    assert_eq!(ending, json!({"exit": {"signal": 9}, "cause": "forced"}));
    assert_eq!(state(below), None);
}

#[test]
fn a_suspended_command_is_reported_and_goes_on() {
    let mut dog = Dog::running(Options::default(), LONG, &["sleep", "60"]);
    dog.signal("tstp");
    dog.hear("paused");
    assert_eq!(state(dog.command), Some('T'));
    dog.signal("cont");
    dog.hear("continued");
    wait_for("the command to go on", || (state(dog.command) != Some('T')).then_some(()));
}

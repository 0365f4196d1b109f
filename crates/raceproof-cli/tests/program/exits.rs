//! Exit codes and signals.

use rustix::process::Signal;

use crate::common::processes::{signal, state};
use crate::common::program::run;
use crate::common::server::{Server, program};

#[test]
fn a_commands_own_code_is_the_programs() {
    let server = Server::start();
    for (script, code) in
        [("exit 0", 0), ("exit 3", 3), ("exit 75", 75), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
    {
        assert_eq!(server.lock(&["x"], script).end().code, code, "{script}");
    }
    server.run(&["lock", "x", "--", "/does/not/exist"]).with(127);
    let file = server.file("data-file");
    std::fs::write(&file, "").expect("a file");
    server.run(&["lock", "x", "--", file.to_str().expect("text")]).with(126);
}

#[test]
fn what_is_wrong_has_its_code_and_says_what_to_do() {
    let home = tempfile::tempdir().expect("a directory");
    let says = |args: &[&str], code: i32, said: &str| {
        let run = run(&mut program(home.path(), args)).with(code);
        assert!(run.stderr.contains(said), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    };
    let nobody = "http://127.0.0.1:1";
    says(&["lock", "x", "--server", nobody, "--", "true"], 69, "start one with `raceproof serve`");
    says(&["elect", "x", "--server", nobody, "--", "true"], 69, "error[unreachable]");
    says(&["locks", "--server", nobody], 69, "error[unreachable]");
    says(&["elections", "--server", nobody], 69, "error[unreachable]");
    says(&["release", "x", "--steal", "--server", nobody], 69, "error[unreachable]");
    says(&["lock", "x", "true"], 2, "hint: put -- before the command: raceproof lock x -- true");
    let shape = "hint: put -- before the command: raceproof lock [OPTIONS] NAME -- CMD [ARGS]...";
    says(&["lock", "x", "--try", "ls", "-l"], 2, shape);
    says(&["lock", "--wait", "1s", "x"], 2, shape);
    let typed = run(&mut program(home.path(), &["lock", "x", "ls", "-l"])).with(2).stderr;
    assert!(typed.contains("raceproof lock x -- ls -l") && !typed.contains("tip:"), "one advice is enough: {typed}");
    says(&["locks", "--server", "http://127.0.0.1:99999"], 78, "the port is not a number from 0 to 65535");
    says(&["lock", "x", "--server", "127.0.0.1:99999", "--", "true"], 78, "the port is not a number from 0 to 65535");
    let refused = run(&mut program(home.path(), &["locks", "--server", nobody])).with(69).stderr;
    assert!(refused.contains("http://127.0.0.1:1: Connection refused"), "{refused}");
    says(&["lock", "x", "--ttl", "10", "--", "true"], 2, "a unit is missing: 10s");
    says(&["lock", "x", "--ttl", "10ms", "--", "true"], 2, "a lease takes 100ms to 1day");
    says(&["lock", "x", "--try", "--wait", "1s", "--", "true"], 2, "cannot be used with");
    says(&["lock", "x", "y", "--permits", "2", "--", "true"], 2, "--permits takes one name");
    says(&["lock", "", "--", "true"], 2, "a name cannot be empty");
    says(&["release", "x"], 2, "--steal");
    says(&["lock", "x", "--server", "https://h", "--", "true"], 78, "put a proxy that speaks TLS on this machine");
    for command in [&["locks"][..], &["sessions"], &["release", "x", "--steal"], &["lock", "x", "--", "true"]] {
        let flagged = [&[command[0], "--server", "ftp://h"], &command[1..]].concat();
        says(&flagged, 78, "error[config]: \"ftp://h\" is not a server's address: the scheme is not http or ws");
        let run = run(program(home.path(), command).env("RACEPROOF_AUTH_TOKEN", "two\nlines-of-a-token")).with(78);
        assert!(run.stderr.contains("visible ASCII characters") && !run.stderr.contains("lines-of"), "{}", run.stderr);
    }
    says(&["lock", "x", "y", "x", "--", "true"], 2, "\"x\" is named twice");
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let many: Vec<&str> = ["lock"].into_iter().chain(many.iter().map(String::as_str)).chain(["--", "true"]).collect();
    says(&many, 2, "65 names are named");
    std::fs::write(home.path().join("raceproof.toml"), "sever = 'h'\n").expect("a file");
    says(&["locks"], 78, "did you mean \"server\"?");
}

#[test]
fn a_signal_reaches_the_command_and_the_lock_is_free_once_it_ended() {
    let server = Server::start();
    for (index, (number, name)) in [(Signal::TERM, "TERM"), (Signal::INT, "INT")].into_iter().enumerate() {
        let (up, go) = (format!("up{index}"), format!("go{index}"));
        let script = format!(
            "trap 'echo > heard{index}; while [ ! -e {go} ]; do sleep 0.01; done; exit 9' {name}; \
             echo > {up}; while :; do sleep 0.01; done"
        );
        let holder = server.lock(&["s"], &script);
        server.said(&up);
        holder.signal(number);
        server.said(&format!("heard{index}"));
        server.lock(&["s", "--try"], "true").end().with(75);
        std::fs::write(server.file(&go), "").expect("a file");
        let run = holder.end().with(9);
        assert!(run.stderr.contains(&format!("passed SIG{name} on to the command")), "{}", run.stderr);
        server.lock(&["s", "--try"], "true").end().with(0);
    }
}

#[test]
fn a_wait_that_is_interrupted_gives_its_place_up() {
    let server = Server::start();
    let holder = server.lock(&["s"], "while [ ! -e go ]; do sleep 0.01; done");
    holder.command();
    let waiter = server.lock(&["s"], "true");
    server.wait_for_waiters("s", 1);
    waiter.signal(Signal::INT);
    waiter.end().with(130);
    server.wait_for_waiters("s", 0);
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
}

#[test]
fn a_second_signal_kills_everything_below() {
    let server = Server::start();
    // What is below speaks once it has left the group.
    let script =
        "trap 'echo > heard' TERM; setsid sh -c 'echo $$ > below; exec sleep 60' & while :; do sleep 0.01; done";
    let holder = server.lock(&["s"], script);
    let below: u32 = server.said("below").parse().expect("a pid");
    let command = holder.command();
    holder.signal(Signal::TERM);
    server.said("heard");
    assert!(state(below).is_some(), "the first goes to the command's own group");
    holder.signal(Signal::TERM);
    let code = holder.end().code;
    assert_eq!(code, 137);
    assert_eq!([state(below), state(command)], [None; 2]);
}

#[test]
fn a_watchdog_that_is_killed_takes_the_command_along() {
    let server = Server::start();
    let holder = server.lock(&["s"], "setsid sleep 60 & echo $! > below; wait");
    let below: u32 = server.said("below").parse().expect("a pid");
    let command = holder.command();
    signal(holder.watchdog(), Signal::KILL);
    let run = holder.end().with(70);
    assert!(run.stderr.contains("error[watchdog-lost]"), "{}", run.stderr);
    assert_eq!([state(command), state(below)], [None; 2], "the lock is free before they are gone");
    server.lock(&["s", "--try"], "true").end().with(0);
}

#[test]
fn stdin_and_stdout_are_the_commands() {
    let server = Server::start();
    let script = "printf 'a\\0b\\377\\n'; printf err >&2; exit 4";
    let output = server.program(&["lock", "x", "--", "sh", "-c", script]).output().expect("the program starts");
    assert_eq!(output.stdout, b"a\0b\xff\n");
    assert_eq!(output.stderr, b"err");
    assert_eq!(output.status.code(), Some(4));
}

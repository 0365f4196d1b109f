//! What looks at a server, at the settings and at the program itself.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::common::processes::{PATIENCE, wait_for};
use crate::common::program::run;
use crate::common::server::{Server, program};

const UNTIL_GO: &str = "echo up > up; while [ ! -e go ]; do sleep 0.01; done";

#[test]
fn locks_and_sessions_are_listed_for_people_and_programs() {
    let server = Server::start();
    let holder = server.lock(&["jobs/a", "jobs/b"], UNTIL_GO);
    server.said("up");
    let table = server.run(&["locks", "jobs/"]).with(0).stdout;
    let rows: Vec<_> = table.lines().collect();
    assert!(rows[0].starts_with("NAME    MODE       TOKEN  HOLDER"), "{table}");
    assert!(rows[1].starts_with("jobs/a  exclusive") && rows[2].starts_with("jobs/b  exclusive"), "{table}");
    assert_eq!(server.run(&["locks", "other/"]).with(0).stdout, "no locks\n");

    let listed: Value = serde_json::from_str(&server.run(&["locks", "--json"]).with(0).stdout).expect("JSON");
    assert_eq!((&listed["v"], &listed["type"], &listed["seq"]), (&1.into(), &"locks".into(), &1.into()));
    assert!(listed["ts"].as_str().expect("a time").ends_with('Z'));
    assert_eq!(listed["locks"][0]["name"], "jobs/a");
    let sessions: Value = serde_json::from_str(&server.run(&["sessions", "--json"]).with(0).stdout).expect("JSON");
    assert_eq!(sessions["sessions"][0]["grants"], 1, "both locks are one grant: {sessions}");
    let shown = server.run(&["sessions"]).with(0).stdout;
    assert!(shown.contains(&format!(":{}", holder.pid())), "{shown}");
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
}

#[test]
fn a_watch_prints_every_change_and_ends_with_its_reader() {
    let server = Server::start();
    let mut watch =
        server.program(&["locks", "--watch", "--json"]).stdout(Stdio::piped()).spawn().expect("the program starts");
    let (sender, lines) = std::sync::mpsc::sync_channel(0);
    let stdout = BufReader::new(watch.stdout.take().expect("a pipe"));
    // It ends, and closes the pipe, when nobody wants another line.
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || -> Value { serde_json::from_str(&lines.recv_timeout(PATIENCE).expect("a line")).expect("JSON") };
    assert_eq!(next()["locks"].as_array().map(Vec::len), Some(0));
    let holder = server.lock(&["x"], UNTIL_GO);
    let held = next();
    assert_eq!((&held["seq"], &held["locks"][0]["name"]), (&2.into(), &"x".into()));
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
    assert_eq!(next()["locks"].as_array().map(Vec::len), Some(0));
    drop(lines);
    let holder = server.lock(&["y"], "while [ ! -e gone ]; do sleep 0.01; done");
    let ended = wait_for("the watch's end", || {
        // Another change, so that the reader finds that nobody listens.
        server.lock(&["z"], "sleep 0.6").end().with(0);
        watch.try_wait().expect("it is ours")
    });
    assert!(ended.success());
    std::fs::write(server.file("gone"), "").expect("a file");
    holder.end().with(0);
}

#[test]
fn a_watch_goes_on_when_the_server_is_started_again() {
    let mut server = Server::start();
    let mut watch = server.program(&["locks", "--watch", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let lines = |pipe: Box<dyn std::io::Read + Send>| {
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        move || lines.recv_timeout(PATIENCE).expect("a line")
    };
    let shown = lines(Box::new(watch.stdout.take().expect("a pipe")));
    let said = lines(Box::new(watch.stderr.take().expect("a pipe")));
    assert!(shown().contains("\"locks\":[]"));
    server.kill();
    let warning = said();
    assert!(warning.contains("warning[server-gone]: no server answers at"), "{warning}");
    server.restart();
    assert!(said().ends_with("answers again"));
    let holder = server.lock(&["x"], UNTIL_GO);
    assert!(shown().contains("\"name\":\"x\""));
    std::fs::write(server.file("go"), "").expect("a file");
    holder.end().with(0);
    watch.kill().expect("it is ours");
    watch.wait().expect("it ends");
}

#[test]
fn a_server_that_asks_for_a_token_gets_it_from_the_environment_or_a_file() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("token");
    std::fs::write(&file, "# ours\n0123456789abcdef-secret\n").expect("a file");
    let path = file.to_str().expect("text");
    let server = Server::start_with(&["--auth-token-file", path]);
    for args in [&["lock", "x", "--", "true"][..], &["locks"], &["release", "x", "--steal"]] {
        let refused = server.run(args).with(1);
        assert!(refused.stderr.contains("error[unauthorized]"), "{}", refused.stderr);
        assert!(refused.stderr.contains("give the token in RACEPROOF_AUTH_TOKEN"), "{}", refused.stderr);
    }
    server.run(&["lock", "x", "--auth-token-file", path, "--", "true"]).with(0);
    let holder = run(server
        .program(&["lock", "x", "--", "sh", "-c", "tr '\\0' ' ' < /proc/$PPID/cmdline"])
        .env("RACEPROOF_AUTH_TOKEN", "0123456789abcdef-secret"));
    let holder = holder.with(0);
    assert!(holder.stdout.contains("__watchdog") && !holder.stdout.contains("secret"), "{}", holder.stdout);
    // The watchdog can end the session of a server that asks, too.
    let mut killed = server.program(&["lock", "x", "--ttl", "60s", "--auth-token-file", path, "--", "sleep", "60"]);
    let killed = crate::common::program::start(&mut killed);
    killed.command();
    killed.signal(rustix::process::Signal::KILL);
    server.run(&["lock", "x", "--wait", "10s", "--auth-token-file", path, "--", "true"]).with(0);
}

#[test]
fn a_doctor_finds_what_is_wrong() {
    let mut server = Server::start();
    let well = server.run(&["doctor"]).with(0).stdout;
    assert!(well.contains(" ok  server") && well.contains("is ready and answers in"), "{well}");
    server.stop();
    let ill = server.run(&["doctor"]).with(1).stdout;
    assert!(ill.contains("BAD  server       no server answers at"), "{ill}");
}

#[test]
fn settings_say_where_they_come_from() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("raceproof.toml"), "[lock]\nttl = '3s'\n").expect("a file");
    let mut command = program(home.path(), &["config", "show", "--origin"]);
    let shown = run(command.env("RACEPROOF_AUTH_TOKEN", "swordfish")).with(0).stdout;
    assert!(shown.contains("lock.ttl              = 3s  # raceproof.toml\n"), "{shown}");
    assert!(shown.contains("auth-token            = (secret)  # $RACEPROOF_AUTH_TOKEN\n"), "{shown}");
    assert!(shown.contains("lock.grace            = 5s  # default\n"), "{shown}");
    let json = run(&mut program(home.path(), &["config", "show", "--json"])).with(0).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["settings"]["lock.ttl"]["value"], "3s");
}

#[test]
fn completions_and_manuals_are_printed_whatever_the_settings_say() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("raceproof.toml"), "broken\n").expect("a file");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&mut program(home.path(), &["completions", shell])).with(0).stdout;
        assert!(script.contains("on-lost") && script.contains("sessions") && script.contains("elections"), "{shell}");
    }
    let page = run(&mut program(home.path(), &["man"])).with(0).stdout;
    assert!(page.starts_with(".ie") && page.contains("Exit codes") && page.contains("raceproof\\-lock"), "{page}");
    for command in ["serve", "lock", "elect", "locks", "elections", "sessions", "release", "store", "config", "doctor"]
    {
        let page = run(&mut program(home.path(), &["man", command])).with(0).stdout;
        assert!(page.contains(&format!(".TH raceproof-{command} 1")), "{page}");
    }
    run(&mut program(home.path(), &["man", "nothing"])).with(2);
}

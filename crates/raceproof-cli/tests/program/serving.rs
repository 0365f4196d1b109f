//! `serve` and `store`.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::processes::{signal, wait_for};
use crate::common::program::{Running, run, start};
use crate::common::server::{Server, program};

#[test]
fn a_server_says_where_it_is_and_stops_cleanly() {
    let home = tempfile::tempdir().expect("a directory");
    let serving = start(&mut program(home.path(), &["serve", "--listen", "127.0.0.1:0"]));
    let data = home.path().join(".local/state/raceproof");
    wait_for("the store", || data.join("lock").exists().then_some(()));
    let port = wait_for("a port", || listening_port(serving.pid()));
    serving.signal(Signal::TERM);
    let stopped = serving.end().with(0);
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(stopped.stdout, format!("listening on {url}\n  data       {}\n  dashboard  {url}/\n", data.display()));
    assert!(stopped.stderr.contains("stopped"), "{}", stopped.stderr);
    run(&mut program(home.path(), &["store", "check", data.to_str().expect("text")])).with(0);
}

/// The port that a process listens on, by the kernel's table.
fn listening_port(pid: u32) -> Option<u16> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .filter_map(|fd| {
            Some(
                std::fs::read_link(fd.path())
                    .ok()?
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let listens = fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]);
        listens.then(|| u16::from_str_radix(fields[1].split_once(':')?.1, 16).ok())?
    })
}

#[test]
fn a_store_that_is_in_use_is_refused_with_the_pid() {
    let mut server = Server::start();
    let second = server.run(&["serve", "--listen", "127.0.0.1:0", "--data", "data"]).with(75);
    assert!(second.stderr.contains("error[store-in-use]"), "{}", second.stderr);
    assert!(second.stderr.contains(&format!("process {}", server.pid())), "{}", second.stderr);
    server.run(&["store", "check", "data"]).with(75);
    assert!(server.stop().success());
    let good = server.run(&["store", "check", "data"]).with(0);
    assert!(good.stdout.starts_with("data: good\n"), "{}", good.stdout);
}

#[test]
fn an_address_that_is_open_to_all_is_refused_unless_it_is_meant() {
    let home = tempfile::tempdir().expect("a directory");
    let refused = run(&mut program(home.path(), &["serve", "--listen", "0.0.0.0:0", "--data", "d"])).with(78);
    assert!(
        refused.stderr.contains("error[open-to-all]") && refused.stderr.contains("--insecure"),
        "{}",
        refused.stderr
    );
    assert_eq!(refused.stdout, "");
    let odd = run(&mut program(home.path(), &["serve", "--listen", "7117", "--data", "d"])).with(2);
    assert!(odd.stderr.contains("expected ADDRESS:PORT, such as 127.0.0.1:7117"), "{}", odd.stderr);
    let mut meant = program(home.path(), &["serve", "--listen", "0.0.0.0:0", "--data", "d", "--insecure"]);
    let meant = start(&mut meant);
    wait_for("a port", || listening_port(meant.pid()));
    meant.signal(Signal::INT);
    meant.end().with(0);
}

#[test]
fn a_taken_address_is_refused() {
    let server = Server::start();
    let second = server.run(&["serve", "--listen", &server.address, "--data", "other"]).with(1);
    assert!(
        second.stderr.contains("error[address]") && second.stderr.contains("--listen 127.0.0.1:0"),
        "{}",
        second.stderr
    );
}

#[test]
fn damage_is_found_with_its_place() {
    let mut server = Server::start();
    for _ in 0..3 {
        server.lock(&["x"], "true").end().with(0);
    }
    // A crash: no snapshot is written at the end.
    server.kill();
    let good = server.run(&["store", "check", "data"]).with(0).stdout;
    let logs = std::fs::read_dir(server.data()).expect("a store").flatten();
    let log = logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("log-")).map(|entry| entry.path());
    let log = log.min().expect("a log");
    // In a record that others follow.
    let mut file = std::fs::File::options().write(true).open(&log).expect("a log");
    file.seek(SeekFrom::Start(0x1050)).expect("a place");
    file.write_all(&[0xA5; 8]).expect("damage");
    let damaged = server.run(&["store", "check", "data"]);
    assert_eq!(damaged.code, 1, "{good}\n{}\n{}", damaged.stdout, damaged.stderr);
    let said = format!("{}{}", damaged.stdout, damaged.stderr);
    assert!(
        said.contains(log.file_name().and_then(|name| name.to_str()).expect("text")) && said.contains("byte"),
        "{said}"
    );
    let refused = server.run(&["serve", "--listen", "127.0.0.1:0", "--data", "data"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
}

#[test]
fn a_closed_stdout_or_a_hangup_does_not_stop_a_server() {
    let server = Server::start();
    signal(server.pid(), Signal::HUP);
    server.lock(&["x"], "true").end().with(0);
}

/// Starts `serve` on a free port; gives that, too.
fn serving(command: &mut Command) -> (Running, u16) {
    let serving = start(command);
    let port = wait_for("a port", || listening_port(serving.pid()));
    (serving, port)
}

fn serve(home: &Path) -> Command {
    program(home, &["serve", "--listen", "127.0.0.1:0", "--data", "data"])
}

#[test]
fn logs_for_programs_are_objects_and_so_is_the_line_that_says_where_the_server_is() {
    let home = tempfile::tempdir().expect("a directory");
    let (mut by_flag, mut by_variable) = (serve(home.path()), serve(home.path()));
    by_flag.args(["--log-format", "json"]).env("RACEPROOF_LOG", "debug");
    by_variable.env("RACEPROOF_SERVE_LOG_FORMAT", "json");
    for command in [&mut by_flag, &mut by_variable] {
        let (serving, port) = serving(command);
        serving.signal(Signal::TERM);
        let run = serving.end().with(0);
        let said: Value = serde_json::from_str(&run.stdout).expect("one object");
        let url = format!("http://127.0.0.1:{port}");
        assert_eq!((&said["v"], &said["seq"], &said["type"]), (&1.into(), &1.into(), &"listening".into()));
        assert_eq!((&said["url"], &said["data"]), (&url.as_str().into(), &"data".into()));
        assert_eq!(said["dashboard"], format!("{url}/"));
        assert!(said["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')), "{said}");
        assert!(run.stderr.contains("stopped"), "{}", run.stderr);
        for line in run.stderr.lines() {
            let logged: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(logged["level"].is_string() && logged["timestamp"].is_string(), "{line}");
        }
    }
}

/// The status of a call with these headers, which begin with `Host`.
fn status(port: u16, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    write!(stream, "GET /v1/locks HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn pages_and_hosts_are_let_in_by_flags_by_variables_and_by_the_file() {
    let plain = tempfile::tempdir().expect("a directory");
    let mut by_flag = serve(plain.path());
    by_flag.args(["--allow-origin", "https://a.example", "--allow-origin", "https://b.example"]);
    by_flag.args(["--allow-host", "hub.internal"]);
    let mut by_variable = serve(plain.path());
    by_variable.env("RACEPROOF_SERVE_ALLOW_ORIGIN", "https://a.example,https://b.example");
    by_variable.env("RACEPROOF_SERVE_ALLOW_HOST", "hub.internal");
    let home = tempfile::tempdir().expect("a directory");
    let file = "[serve]\nallow-origin = ['https://a.example', 'https://b.example']\nallow-host = ['hub.internal']\n";
    std::fs::write(home.path().join("raceproof.toml"), file).expect("a file");
    let mut by_file = serve(home.path());
    for command in [&mut by_flag, &mut by_variable, &mut by_file] {
        let (serving, port) = serving(command);
        for (headers, expected) in [
            ("Host: localhost\r\nOrigin: https://a.example\r\n", 200),
            ("Host: localhost\r\nOrigin: https://b.example\r\n", 200),
            ("Host: localhost\r\nOrigin: https://c.example\r\n", 403),
            ("Host: hub.internal\r\n", 200),
            ("Host: other.internal\r\n", 403),
        ] {
            assert_eq!(status(port, headers), expected, "{headers}");
        }
        serving.signal(Signal::TERM);
        serving.end().with(0);
    }
}

#[test]
fn a_second_signal_ends_a_server_at_once_that_waits_for_a_reader() {
    let home = tempfile::tempdir().expect("a directory");
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (serving, port) = serving(&mut serve(home.path()));
        // Who asks and does not read keeps the server from its end, for a while.
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let asked = loop {
            if let Err(error) = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") {
                break error.kind();
            }
        };
        assert_eq!(asked, ErrorKind::WouldBlock);
        serving.signal(number);
        wait_for("the first to be heard", || listening_port(serving.pid()).is_none().then_some(()));
        serving.signal(number);
        let run = serving.end().with(code);
        assert!(run.stderr.contains("stopping; again to stop at once"), "{}", run.stderr);
        assert!(!run.stderr.contains("stopped"), "{}", run.stderr);
    }
}

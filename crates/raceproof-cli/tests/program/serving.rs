//! `serve` and `store`.

use std::io::{Seek as _, SeekFrom, Write as _};

use rustix::process::Signal;

use crate::common::processes::signal;
use crate::common::program::run;
use crate::common::server::{Server, program};

#[test]
fn a_server_says_where_it_is_and_stops_cleanly() {
    let home = tempfile::tempdir().expect("a directory");
    let serving = crate::common::program::start(&mut program(home.path(), &["serve", "--listen", "127.0.0.1:0"]));
    let data = home.path().join(".local/state/raceproof");
    crate::common::processes::wait_for("the store", || data.join("lock").exists().then_some(()));
    let port = crate::common::processes::wait_for("a port", || listening_port(serving.pid()));
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
    let meant = crate::common::program::start(&mut meant);
    crate::common::processes::wait_for("a port", || listening_port(meant.pid()));
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

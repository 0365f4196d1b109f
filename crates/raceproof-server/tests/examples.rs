//! The library's examples, run against a server as their readers would.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use raceproof_server::{Server, ServerConfig, StoreKind};

/// The example's program, which a whole `cargo test` has built; else it is built here.
fn program(example: &str) -> PathBuf {
    let tests = env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(example);
    if !program.is_file() {
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--package", "raceproof", "--all-features", "--example", example]);
        assert!(build.status().unwrap().success());
    }
    program
}

/// Runs the example against a server of its own, and gives what it printed.
async fn run(example: &str) -> String {
    let mut config = ServerConfig::new(StoreKind::Memory);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(config).await.unwrap();
    let mut command = Command::new(program(example));
    command.env("RACEPROOF_SERVER", format!("http://{}", server.local_addr()));
    let running = tokio::spawn(server.run(std::future::pending()));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    running.abort();
    let (said, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{}: {said}{errors}", output.status);
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_the_fenced_file_refuses_the_frozen_holder_and_the_plain_one_does_not() {
    let said = run("fenced_file").await;
    let last =
        "in the fenced file stands the price of the next holder, in the plain one the price of the frozen holder";
    assert_eq!(said.lines().last(), Some(last), "{said}");
}

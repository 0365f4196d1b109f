//! The README's commands, run as they stand there, in an empty directory.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const README: &str = include_str!("../../../README.md");
const PROGRAM: &str = env!("CARGO_BIN_EXE_raceproof");

/// The first block of shell commands that begins with `start`.
fn block(start: &str) -> &'static str {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut blocks = blocks.filter(|block| block.starts_with(start));
    blocks.next().unwrap_or_else(|| panic!("the README has no block that begins with {start:?}"))
}

/// A server on a port of its own, killed when it is dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.join("data")).current_dir(dir);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut said = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        let url = line.trim_end().strip_prefix("listening on ").expect("its address").to_owned();
        // What it says later has somewhere to go.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        Self { process, url }
    }

    /// Runs commands as a shell does, and gives what they printed; they have to succeed.
    fn shell(&self, dir: &TempDir, commands: &str) -> String {
        let bin = Path::new(PROGRAM).parent().expect("a directory").display().to_string();
        let path = std::env::var("PATH").map_or_else(|_| bin.clone(), |path| format!("{bin}:{path}"));
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", commands]).current_dir(dir.path());
        let output = shell.env("PATH", path).env("RACEPROOF_SERVER", &self.url).output().expect("sh starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{commands}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

#[test]
fn ten_processes_lose_no_update() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path());
    assert_eq!(server.shell(&dir, block("echo 0 > c")), "10\n");
}

#[test]
fn each_command_does_what_its_comment_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path());
    for script in ["deploy.sh", "import.sh", "read.sh", "run-as-leader.sh"] {
        let path = dir.path().join(script);
        fs::write(&path, "#!/bin/sh\necho ran under $RACEPROOF_FENCE\n").expect("a script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a script");
    }
    for (before, line) in block("raceproof lock deploy -- ").lines().enumerate() {
        let said = server.shell(&dir, line);
        if line.contains(".sh") {
            assert_eq!(said, format!("ran under {}\n", before + 1), "{line}");
        }
    }
}

#[test]
fn curl_opens_a_session() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path());
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("RACEPROOF_TEST_REQUIRE").is_none(), "curl is missing");
        eprintln!("not run: curl is missing");
        return;
    }
    let call = block("curl ").replace("http://localhost:7117", &server.url).replace("localhost:7117", &server.url);
    let said = server.shell(&dir, &call);
    assert!(said.starts_with(r#"{"session":""#) && said.contains(r#""ttl_ms":10000"#), "{said}");
}

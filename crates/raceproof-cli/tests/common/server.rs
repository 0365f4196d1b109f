//! A server as people run it, which can be killed and started again over the same data.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::processes::{signal, wait_for};
use super::program::{PROGRAM, Run, Running, run, start};

/// A server process, its data, and a directory for commands to work in.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    /// `127.0.0.1:PORT`, the same through restarts.
    pub(crate) address: String,
    pub(crate) home: tempfile::TempDir,
    args: Vec<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(args: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let (process, address) = launch(home.path(), "127.0.0.1:0", &args);
        Self { process, address, home, args }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A crash.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it ends");
    }

    /// Starts again where it was.
    pub(crate) fn restart(&mut self) {
        let (process, address) = launch(self.home.path(), &self.address, &self.args);
        assert_eq!(address, self.address);
        self.process = process;
    }

    /// Stops as a service manager does.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        wait_for("the server's stop", || self.process.try_wait().expect("it is ours"))
    }

    /// The program with this server in its environment and none of the user's settings.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = program(self.home.path(), args);
        command.env("RACEPROOF_SERVER", format!("http://{}", self.address));
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        run(&mut self.program(args))
    }

    #[track_caller]
    pub(crate) fn start_program(&self, args: &[&str]) -> Running {
        start(&mut self.program(args))
    }

    /// Runs a shell script under a lock: `options` are the names and flags.
    #[track_caller]
    pub(crate) fn lock(&self, options: &[&str], script: &str) -> Running {
        let mut args = vec!["lock"];
        args.extend(options);
        args.extend(["--", "sh", "-c", script]);
        self.start_program(&args)
    }

    /// What a file in the working directory says, once it says something.
    #[track_caller]
    pub(crate) fn said(&self, file: &str) -> String {
        let path = self.home.path().join(file);
        wait_for(file, || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))).trim_end().to_owned()
    }

    pub(crate) fn file(&self, file: &str) -> PathBuf {
        self.home.path().join(file)
    }

    /// `GET path`, as JSON.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        serde_json::from_str(body).expect("JSON")
    }

    /// Waits until `count` requests wait for a lock.
    #[track_caller]
    pub(crate) fn wait_for_waiters(&self, name: &str, count: u64) {
        wait_for("waiters", || {
            (self.get(&format!("/v1/locks/{name}"))["waiters_count"].as_u64() == Some(count)).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program with a directory of its own for everything that it reads and writes by default.
pub(crate) fn program(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(home).env("HOME", home);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("RACEPROOF_") || name.starts_with("XDG_") {
            command.env_remove(&*name);
        }
    }
    command
}

fn launch(home: &Path, listen: &str, args: &[String]) -> (Child, String) {
    let log = File::options().create(true).append(true).open(home.join("server.log")).expect("a file");
    let mut process = program(home, &["serve", "--listen", listen, "--data", "data"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("text");
    let address = line.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| {
        panic!("the server does not start: {}", std::fs::read_to_string(home.join("server.log")).unwrap_or_default())
    });
    // It says more, and must not find a closed pipe.
    let address = address.to_owned();
    std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
    (process, address)
}

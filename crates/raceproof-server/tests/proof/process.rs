//! Parts that run in processes of their own: this test program, started for one of them.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, SystemTime};

use raceproof_server::{Server, StoreKind};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::support::{PATIENCE, client, config};

const PART: &str = "RACEPROOF_TEST_PART";
const SERVER: &str = "RACEPROOF_TEST_SERVER";
const DIR: &str = "RACEPROOF_TEST_DIR";

/// The lease of a part that holds something.
pub(crate) const TTL: Duration = Duration::from_millis(1_500);

/// A process of our own, killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    commands: ChildStdin,
    said: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// A server on a store in a directory; gives its address.
    pub(crate) async fn server(dir: &Path, clock: Option<&WallClock>) -> (Self, SocketAddr) {
        let mut process = Self::start("server", &[(DIR, dir.display().to_string())], clock);
        let addr = process.says("listening ").await.parse().unwrap();
        (process, addr)
    }

    /// A client that holds the lock `x`; gives its token.
    pub(crate) async fn holder(server: SocketAddr, clock: Option<&WallClock>) -> (Self, u64) {
        let mut process = Self::start("holder", &[(SERVER, server.to_string())], clock);
        let token = process.says("holds ").await.parse().unwrap();
        (process, token)
    }

    fn start(part: &str, env: &[(&str, String)], clock: Option<&WallClock>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::part", "--nocapture", "--test-threads=1"]).env(PART, part);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        if let Some(clock) = clock {
            clock.give(&mut command);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (say, said) = mpsc::unbounded_channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { commands: child.stdin.take().unwrap(), child, said }
    }

    /// Waits for a line that begins so, and gives its rest.
    pub(crate) async fn says(&mut self, beginning: &str) -> String {
        let line = async {
            loop {
                let line = self.said.recv().await.unwrap_or_else(|| panic!("ended without {beginning:?}"));
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.to_owned();
                }
            }
        };
        timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("did not say {beginning:?}"))
    }

    pub(crate) async fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.says(&format!("{command} ")).await
    }

    /// How far its wall clock is ahead of ours.
    pub(crate) async fn ahead_s(&mut self) -> i64 {
        let unix: i64 = self.ask("clock").await.parse().unwrap();
        unix - unix_now()
    }

    /// Stops it, and returns when it stands still.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::STOP);
        let end = Instant::now() + PATIENCE;
        let stat = format!("/proc/{}/stat", self.child.id());
        while !std::fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().starts_with(" T") {
            assert!(Instant::now() < end, "does not stop");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A wall clock that a test sets while processes run. Their other clocks are as they are.
pub(crate) struct WallClock {
    library: PathBuf,
    file: tempfile::NamedTempFile,
}

impl WallClock {
    /// None where libfaketime is not there; in CI that is a failure.
    pub(crate) fn new() -> Option<Self> {
        let given = std::env::var_os("RACEPROOF_TEST_FAKETIME").map(PathBuf::from);
        let library = given.or_else(installed);
        if library.is_none() {
            assert!(std::env::var_os("RACEPROOF_TEST_REQUIRE").is_none(), "libfaketime is not there");
            eprintln!("not tested, for want of libfaketime");
        }
        let clock = Self { library: library?, file: tempfile::NamedTempFile::new().unwrap() };
        clock.set(0);
        Some(clock)
    }

    /// Moves the clock to so many seconds ahead of the real one.
    pub(crate) fn set(&self, ahead_s: i64) {
        // In one step: a reader sees the old text or the new.
        let next = self.file.path().with_extension("next");
        std::fs::write(&next, format!("{ahead_s:+}\n")).unwrap();
        std::fs::rename(next, self.file.path()).unwrap();
    }

    fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", self.file.path());
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    }
}

fn installed() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").ok()?.flatten();
    places.map(|place| place.path().join("faketime/libfaketime.so.1")).find(|library| library.is_file())
}

fn unix_now() -> i64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(unix.as_secs()).unwrap()
}

/// Not a test of its own: what the processes do.
#[test]
fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match part.as_str() {
            "server" => serve().await,
            _ => hold().await,
        }
    });
    runtime.shutdown_background();
}

/// What the test says, until it ends.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (say, said) = mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
    said
}

async fn serve() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let server = Server::bind(config(StoreKind::directory(dir))).await.unwrap();
    println!("\nlistening {}", server.local_addr());
    let mut commands = commands();
    let stop = async move {
        while commands.recv().await.is_some() {
            println!("clock {}", unix_now());
        }
    };
    server.run(stop).await.unwrap();
}

async fn hold() {
    let server = std::env::var(SERVER).unwrap().parse().unwrap();
    let rp = client(server, TTL).connect().await.unwrap();
    let guard = rp.lock("x").acquire().await.unwrap();
    println!("\nholds {}", guard.token());
    let mut commands = commands();
    while let Some(command) = commands.recv().await {
        match command.as_str() {
            "clock" => println!("clock {}", unix_now()),
            "lost" => println!("lost {:?}", guard.lost_reason()),
            "release" => {
                println!("release {:?}", guard.release().await.is_ok());
                return;
            }
            other => panic!("{other}"),
        }
    }
}

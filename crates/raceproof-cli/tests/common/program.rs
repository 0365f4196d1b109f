//! The program's runs: what they print, how they end, and what is below them.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use super::processes::{children, signal, wait_for};

/// The program itself.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_raceproof");

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts the exit code and gives the run back.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// Runs to the end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Run {
    start(command).end()
}

/// Starts, with its output kept.
#[track_caller]
pub(crate) fn start(command: &mut Command) -> Running {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let stdout = kept(child.stdout.take().expect("a pipe"));
    let stderr = kept(child.stderr.take().expect("a pipe"));
    Running { child, stdout: Some(stdout), stderr: Some(stderr) }
}

fn kept(mut pipe: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its only child, which is the watchdog of `lock` and `elect`.
    #[track_caller]
    pub(crate) fn watchdog(&self) -> u32 {
        wait_for("a watchdog", || children(self.pid()).first().copied())
    }

    /// The command that the watchdog guards, once it runs.
    #[track_caller]
    pub(crate) fn command(&self) -> u32 {
        let watchdog = self.watchdog();
        wait_for("a command", || children(watchdog).first().copied())
    }

    #[track_caller]
    pub(crate) fn signal(&self, number: rustix::process::Signal) {
        signal(self.pid(), number);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    /// Waits for its end. One that does not come fails the test.
    #[track_caller]
    pub(crate) fn end(mut self) -> Run {
        let status = wait_for("the end of a run", || self.child.try_wait().expect("it is ours"));
        let code = status.code().unwrap_or_else(|| 1_000 + status.signal().expect("a signal"));
        let text = |pipe: Option<JoinHandle<String>>| pipe.expect("taken once").join().expect("a reader");
        Run { code, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind: the watchdog stops what is below it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

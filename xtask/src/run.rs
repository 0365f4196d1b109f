//! One run of this program: where it works, whether it is CI, what it started, and that all of it ends with the run.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

/// How long a child gets to end by itself after a signal that ends the run.
const GRACE: Duration = Duration::from_secs(5);

/// A run: its temporary directory and its children. Both go when it is dropped, and when a signal ends it.
pub(crate) struct Run {
    started: Arc<Mutex<Started>>,
    scratch: PathBuf,
    in_ci: bool,
}

/// What has to be undone.
struct Started {
    scratch: Option<TempDir>,
    servers: Vec<Child>,
    /// The command that is waited for: a signal is passed on to it.
    foreground: Option<Pid>,
}

impl Run {
    /// Begins a run.
    pub(crate) fn begin() -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("raceproof-").tempdir().context("no temporary directory")?;
        let path = scratch.path().to_path_buf();
        // PostgreSQL runs as another user where we are root, and its directory is in here.
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        let started = Started { scratch: Some(scratch), servers: Vec::new(), foreground: None };
        let started = Arc::new(Mutex::new(started));
        end_on_signal(Arc::clone(&started))?;
        let in_ci = env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        Ok(Self { started, scratch: path, in_ci })
    }

    /// The workspace's root directory.
    pub(crate) fn root() -> &'static Path {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        xtask.parent().unwrap_or(xtask)
    }

    /// Whether a missing component is a failure.
    pub(crate) const fn in_ci(&self) -> bool {
        self.in_ci
    }

    /// A directory that goes with the run.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Says what is done next.
    #[expect(clippy::unused_self, reason = "only a run has steps")]
    pub(crate) fn step(&self, what: &str) {
        eprintln!("xtask: {what}");
    }

    /// Keeps a server until the run ends.
    pub(crate) fn keep(&self, server: Child) {
        lock(&self.started).servers.push(server);
    }

    /// Waits for a command, passing signals on to it.
    pub(crate) fn wait(&self, mut child: Child) -> Result<ExitStatus> {
        lock(&self.started).foreground = Some(Pid::from_child(&child));
        let status = child.wait();
        lock(&self.started).foreground = None;
        Ok(status?)
    }

    /// Runs a command to its end and returns what it printed; an error if it failed.
    pub(crate) fn output(command: &mut Command) -> Result<String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = command.output().with_context(|| format!("{name} could not be started"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("{name} failed ({}): {}", output.status, said.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        lock(&self.started).end();
    }
}

impl Started {
    fn end(&mut self) {
        self.servers.drain(..).for_each(stop);
        self.scratch = None;
    }
}

/// Stops a server: by SIGINT, after which PostgreSQL leaves no shared memory behind, else by SIGKILL.
pub(crate) fn stop(mut server: Child) {
    // One that ended by itself is what was wanted.
    let _gone = kill_process(Pid::from_child(&server), Signal::INT);
    let until = Instant::now() + GRACE;
    while matches!(server.try_wait(), Ok(None)) {
        if Instant::now() > until {
            let _gone = server.kill();
            let _status = server.wait();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// After SIGINT, SIGTERM or SIGHUP: tells the command that runs, gives it a while, stops the servers and exits.
fn end_on_signal(started: Arc<Mutex<Started>>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be handled")?;
    std::thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        let foreground = lock(&started).foreground;
        if let Some(pid) = foreground {
            // From a terminal it had the signal already; a second SIGTERM does no harm.
            let _gone = kill_process(pid, Signal::TERM);
            let until = Instant::now() + GRACE;
            while lock(&started).foreground.is_some() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        lock(&started).end();
        std::process::exit(128 + signal);
    });
    Ok(())
}

fn lock(started: &Mutex<Started>) -> MutexGuard<'_, Started> {
    started.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A server process: started under a parent-death signal, measured through /proc, stopped on drop.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// A running server. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stop: Signal,
}

/// How a server is run.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<String>,
    /// Where its output goes.
    pub(crate) log: &'a Path,
    /// The user to run as, when this is run by root and the server refuses to be.
    pub(crate) user: Option<&'a str>,
    /// What stops it at once with its children.
    pub(crate) stop: Signal,
}

/// What a server has used and uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of CPU since its start, its children's included.
    pub(crate) cpu_s: f64,
    /// Resident memory. For a server of several processes, shared pages are counted once.
    pub(crate) rss_mib: f64,
    /// The greatest resident memory so far of a server of one process.
    pub(crate) peak_mib: f64,
}

impl Process {
    /// Starts a server. Call it from the main thread: the parent-death signal follows the thread that spawned.
    pub(crate) fn spawn(spec: &Spec<'_>) -> Result<Self> {
        let log = File::create(spec.log).with_context(|| format!("create {}", spec.log.display()))?;
        let death = if spec.stop == Signal::QUIT { "QUIT" } else { "KILL" };
        let mut command = Command::new("setpriv");
        if let Some(user) = spec.user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        command.args(["--pdeathsig", death, "--"]).arg(spec.program).args(&spec.args);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(dir) = spec.log.parent() {
            command.current_dir(dir);
        }
        let child = command.spawn().with_context(|| format!("start {}", spec.program.display()))?;
        Ok(Self { child, stop: spec.stop })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error if the server has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status}"),
            None => Ok(()),
        }
    }

    /// What the server and its children have used.
    pub(crate) fn usage(&self) -> Usage {
        let root = self.id();
        let children = children_of(root);
        let cpu_s = std::iter::once(root).chain(children.iter().copied()).filter_map(cpu_seconds).sum::<f64>();
        if children.is_empty() {
            let rss_mib = status_mib(root, "VmRSS:").unwrap_or_default();
            let peak_mib = status_mib(root, "VmHWM:").unwrap_or_default();
            return Usage { cpu_s, rss_mib, peak_mib };
        }
        let rss_mib = std::iter::once(root).chain(children).filter_map(pss_mib).sum();
        Usage { cpu_s, rss_mib, peak_mib: rss_mib }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, self.stop);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds of CPU that this process has used.
pub(crate) fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id()).unwrap_or_default()
}

fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold spaces; state is the first field after it, utime the 12th.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "the kernel says 100")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(ticks / per_second)
}

fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn status_mib(pid: u32, field: &str) -> Option<f64> {
    kib_field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

fn pss_mib(pid: u32) -> Option<f64> {
    kib_field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

fn kib_field(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// What a directory takes on disk, in MiB: blocks, not lengths, so that a hole costs nothing.
pub(crate) fn disk_mib(dir: &Path) -> f64 {
    fn blocks(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
        let below = if meta.is_dir() {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| blocks(&entry.path())).sum()
        } else {
            0
        };
        meta.blocks() + below
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 blocks")]
    let blocks = blocks(dir) as f64;
    blocks * 512.0 / (1024.0 * 1024.0)
}

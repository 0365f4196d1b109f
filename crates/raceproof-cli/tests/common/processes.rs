//! Looking at processes, and waiting for what they do.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes that works, also on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The state letter of a process; none if it is gone. A zombie counts as gone: it does nothing any more.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    (state != 'Z' && state != 'X').then_some(state)
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Every process whose parent is `pid`.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

/// Everything below `pid`.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let children = children(pid);
    let below = children.iter().flat_map(|child| descendants(*child));
    below.chain(children.iter().copied()).collect()
}

#[track_caller]
pub(crate) fn wait_gone(pid: u32) {
    wait_for(&format!("the end of {pid}"), || state(pid).is_none().then_some(()));
}

#[track_caller]
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("the process is there");
}

/// Microseconds on the clock of leases.
pub(crate) fn boottime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).expect("after boot") * 1_000_000
        + u64::try_from(time.tv_nsec).expect("after boot") / 1_000
}

/// `duration` from here on, on the clock of leases.
pub(crate) fn boottime_in(duration: Duration) -> u64 {
    boottime() + u64::try_from(duration.as_micros()).expect("not for ever")
}

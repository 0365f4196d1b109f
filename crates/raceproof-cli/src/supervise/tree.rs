//! Everything below this process, whatever session or group it moved to: found, signalled, reaped.
//!
//! This process is a subreaper, so what loses its parent becomes its child. "No children" from the kernel therefore
//! means that nothing below is alive, and is the only thing trusted to say so; the walk over `/proc` only finds whom
//! to signal.

use std::fs;
use std::io;

use raceproof_core::guard::Exit;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, pidfd_open, pidfd_send_signal, wait,
};

/// A process below.
#[derive(Clone, Copy, Debug)]
struct Below {
    pid: Pid,
    parent: Pid,
}

/// What a process is, from `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: i32,
    group: i32,
}

/// What was found by one round of waiting.
#[derive(Debug, Default)]
pub(crate) struct Reaped {
    /// The ends of children, in order.
    pub ends: Vec<(Pid, Exit)>,
    /// Children that stopped (true) or go on.
    pub changes: Vec<(Pid, bool)>,
    /// Whether there are children left.
    pub alive: bool,
}

/// Makes this process the parent of what loses its parent below.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(getpid()))?)
}

/// Takes every state change that waits, without blocking.
pub(crate) fn reap() -> Reaped {
    let mut reaped = Reaped { alive: true, ..Reaped::default() };
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
            Ok(Some((pid, status))) => match exit(status) {
                Some(exit) => reaped.ends.push((pid, exit)),
                None => reaped.changes.push((pid, status.stopped())),
            },
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return reaped,
            Err(_) => {
                reaped.alive = false;
                return reaped;
            }
        }
    }
}

/// How many processes are below and not dead.
pub(crate) fn count() -> u32 {
    let alive = below().into_iter().filter(|process| stat(process.pid).is_some_and(|stat| stat.state != b'Z'));
    u32::try_from(alive.count()).unwrap_or(u32::MAX)
}

/// Signals a process group.
pub(crate) fn signal_group(group: Pid, signal: Signal) {
    // It may be gone: then there is nobody to tell.
    let _ = kill_process_group(group, signal);
}

/// Signals everything below that is not in `group`.
pub(crate) fn signal_outside(group: Option<Pid>, signal: Signal) {
    let me = getpid();
    let group = group.map_or(0, Pid::as_raw_pid);
    for process in below() {
        // The descriptor pins the process, so that what is checked is what is signalled.
        let Ok(pinned) = pidfd_open(process.pid, PidfdFlags::empty()) else { continue };
        let Some(stat) = stat(process.pid) else { continue };
        let ours = stat.parent == process.parent.as_raw_pid() || stat.parent == me.as_raw_pid();
        if ours && stat.group != group {
            let _ = pidfd_send_signal(&pinned, signal);
        }
    }
}

/// SIGKILL to everything below.
pub(crate) fn kill_all() {
    signal_outside(None, Signal::KILL);
}

fn exit(status: WaitStatus) -> Option<Exit> {
    let narrow = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    if let Some(code) = status.exit_status() {
        return Some(Exit::Code(narrow(code)));
    }
    status.terminating_signal().map(|signal| Exit::Signal(narrow(signal)))
}

/// Every process below this one, parents first.
fn below() -> Vec<Below> {
    let mut found: Vec<Below> = Vec::new();
    let mut parents = vec![getpid()];
    let mut all = None;
    while let Some(parent) = parents.pop() {
        for pid in children(parent, &mut all) {
            if found.iter().all(|known| known.pid != pid) {
                found.push(Below { pid, parent });
                parents.push(pid);
            }
        }
    }
    found
}

/// The children of a process, from the kernel's list if it keeps one, else from a walk over every process.
fn children(parent: Pid, all: &mut Option<Vec<(Pid, i32)>>) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", parent.as_raw_pid());
    let Ok(tasks) = fs::read_dir(tasks) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(parse_pid)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && all.is_none() => *all = Some(everything()),
            Err(_) => {}
        }
    }
    if let Some(all) = all {
        found.extend(all.iter().filter(|(_, of)| *of == parent.as_raw_pid()).map(|(pid, _)| *pid));
    }
    found
}

fn everything() -> Vec<(Pid, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(parse_pid));
    pids.filter_map(|pid| Some((pid, stat(pid)?.parent))).collect()
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?)
}

/// `PID (NAME) STATE PPID PGRP …`; a name may hold anything, also parentheses.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some(Stat { state, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_call_itself_anything() {
        let stat = parse_stat(b"17 (a) Z 1 (b\n) S 12 13 14 0 -1").expect("a line of stat");
        assert_eq!(stat, Stat { state: b'S', parent: 12, group: 13 });
        assert_eq!(parse_stat(b"17 (a"), None);
    }

    #[test]
    fn a_walk_over_every_process_finds_what_the_kernels_list_has() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let pid = Pid::from_child(&child);
        let mut walked = Some(everything());
        walked.as_mut().expect("a walk").retain(|(of, _)| *of == pid);
        assert!(walked.expect("a walk").iter().any(|(_, parent)| *parent == getpid().as_raw_pid()));
        assert!(below().iter().any(|process| process.pid == pid));
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
}

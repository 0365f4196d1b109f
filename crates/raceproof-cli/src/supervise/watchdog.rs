//! The watchdog: parent of the command, child of the wrapper, survivor of it.
//!
//! One thread, no async runtime: it waits on its wrapper, its children and one timer, tells the guard what happened
//! and does what the guard says.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use raceproof_core::guard::{Exit, Guard, Notice, Output, Reach, Signal, code};
use raceproof_core::time::Time;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, getpid};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::link::{Came, Hello, Link, SessionAccess, ToWatchdog, ToWrapper, wait_readable};
use super::signals::{Signals, number};
use super::{SELF, STUB, clock, session, stub, tree};
use crate::say;

/// How long a watchdog waits for its first message: its wrapper sends it at once.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Guards the command that the arguments name.
pub(crate) fn run(command: Vec<OsString>) -> ExitCode {
    match prepare(command).and_then(Watchdog::guard) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error("watchdog", format_args!("the watchdog cannot work: {error}"));
            tree::kill_all();
            ExitCode::from(code::LOST)
        }
    }
}

struct Watchdog {
    guard: Guard,
    link: Link,
    signals: Signals,
    timer: OwnedFd,
    session: Option<SessionAccess>,
    command: Vec<OsString>,
    /// The command's standard input, until it was handed on.
    stdin: Option<OwnedFd>,
    start: Option<Start>,
    child: Option<Pid>,
    child_ended: bool,
    wrapper: bool,
    color: bool,
    quit: bool,
}

/// What the command is started with.
struct Start {
    env: Vec<(String, String)>,
    foreground: bool,
}

fn prepare(command: Vec<OsString>) -> io::Result<Watchdog> {
    let signals = Signals::for_watchdog()?;
    tree::adopt_orphans()?;
    let link = Link::new(io::stdin().as_fd().try_clone_to_owned()?);
    wait_readable(&link, HELLO_WITHIN)?;
    let Came::Message(ToWatchdog::Hello(Hello { config, color }), stdin) = link.receive()? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is started by `raceproof lock` only"));
    };
    say::set_color(color);
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let guard = Guard::new(config);
    let (child, start, session) = (None, None, None);
    let watchdog = Watchdog {
        guard,
        link,
        signals,
        timer,
        session,
        command,
        stdin,
        start,
        child,
        child_ended: false,
        wrapper: true,
        color,
        quit: false,
    };
    Ok(watchdog)
}

impl Watchdog {
    fn guard(mut self) -> io::Result<()> {
        while !self.quit {
            self.wait()?;
            // What the wrapper renewed before this process was held up still counts: read it before the clock.
            self.hear_wrapper()?;
            self.hear_children()?;
            self.guard.tick(clock::now());
            self.act();
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let at = self.guard.next_deadline().map_or(0, Time::as_micros);
        let seconds = i64::try_from(at / 1_000_000).unwrap_or(i64::MAX);
        let nanos = i64::try_from(at % 1_000_000).unwrap_or(0) * 1_000;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let when = Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: seconds, tv_nsec: nanos } };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &when)?;
        let mut wanted = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.timer, PollFlags::IN)];
        if self.wrapper {
            wanted.push(PollFd::new(&self.link, PollFlags::IN));
        }
        match poll(&mut wanted, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hear_wrapper(&mut self) -> io::Result<()> {
        while self.wrapper {
            // A message that cannot be read is a wrapper that cannot be trusted to renew.
            match self.link.receive::<ToWatchdog>().unwrap_or(Came::Gone) {
                Came::Nothing => break,
                Came::Message(message, _) => self.told(message),
                Came::Gone => {
                    self.wrapper = false;
                    self.guard.wrapper_gone(clock::now());
                }
            }
            self.act();
        }
        Ok(())
    }

    fn told(&mut self, message: ToWatchdog) {
        let now = clock::now();
        match message {
            ToWatchdog::Hello(_) => {}
            ToWatchdog::Session(access) => self.session = Some(access),
            ToWatchdog::Start { deadline, env, foreground } => {
                self.start = Some(Start { env, foreground });
                self.guard.start(now, deadline);
            }
            ToWatchdog::Lease { deadline } => self.guard.renewed(now, deadline),
            ToWatchdog::Lost { reason } => self.guard.lost(now, reason),
            ToWatchdog::Signal { signal } => self.guard.signal(now, signal),
            ToWatchdog::Released => self.guard.released(),
        }
    }

    fn hear_children(&mut self) -> io::Result<()> {
        let mut came = false;
        while self.signals.next()?.is_some() {
            came = true;
        }
        if came {
            self.reap();
        }
        Ok(())
    }

    fn reap(&mut self) {
        let reaped = tree::reap();
        let ours = |pid: &Pid| self.child == Some(*pid);
        let exit = reaped.ends.iter().find(|(pid, _)| ours(pid)).map(|(_, exit)| *exit);
        for (_, stopped) in reaped.changes.iter().filter(|(pid, _)| ours(pid)) {
            if *stopped { self.guard.paused() } else { self.guard.continued() }
        }
        self.child_ended |= exit.is_some();
        // While the command lives, so does the tree: no need to walk it.
        let below = match (reaped.alive, self.child_ended) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => tree::count().max(1),
        };
        if self.child.is_some() {
            self.guard.reaped(clock::now(), exit, below);
        }
    }

    fn act(&mut self) {
        while let Some(output) = self.guard.poll_output() {
            match output {
                Output::Spawn => self.spawn(),
                Output::Send { to, signal } => self.send(to, signal),
                Output::Kill => {
                    tree::kill_all();
                    self.reap();
                }
                Output::Tell(notice) => self.tell(notice),
                Output::EndSession => {
                    let ok = self.session.as_ref().is_none_or(session::end);
                    self.guard.session_ended(clock::now(), ok);
                }
                Output::Quit => self.quit = true,
                _ => {}
            }
        }
    }

    fn spawn(&mut self) {
        let Start { env, foreground } = self.start.take().unwrap_or(Start { env: Vec::new(), foreground: false });
        let mut stub = Command::new(SELF);
        stub.arg0("raceproof").arg(STUB).arg(getpid().as_raw_pid().to_string());
        stub.arg(if foreground { stub::FOREGROUND } else { stub::BACKGROUND });
        stub.arg(if self.color { "color" } else { "plain" }).args(&self.command);
        stub.envs(env).process_group(0);
        stub.stdin(self.stdin.take().map_or_else(Stdio::null, Stdio::from));
        match stub.spawn() {
            Ok(child) => {
                let pid = Pid::from_child(&child);
                self.child = Some(pid);
                self.say(&ToWrapper::Started { pid: child.id() });
            }
            Err(error) => {
                say::error("not-started", format_args!("no process can be started: {error}"));
                self.child_ended = true;
                self.guard.reaped(clock::now(), Some(Exit::Code(code::NOT_EXECUTABLE)), 0);
            }
        }
        // The command's ends of its pipes are its own: whoever reads them sees it close them.
        if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    }

    fn send(&self, to: Reach, signal: Signal) {
        let group = self.child.filter(|_| !self.child_ended);
        if let Some(group) = group {
            tree::signal_group(group, number(signal));
        }
        if to == Reach::Tree {
            tree::signal_outside(group, number(signal));
        }
    }

    fn tell(&mut self, notice: Notice) {
        if self.wrapper {
            self.say(&ToWrapper::Notice(notice));
        } else {
            say::notice(&notice);
        }
    }

    fn say(&self, message: &ToWrapper) {
        // A wrapper that is gone is noticed where it is read from.
        let _ = self.link.send(message, None);
    }
}

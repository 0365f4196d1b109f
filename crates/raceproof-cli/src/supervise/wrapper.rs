//! The wrapper: holds and renews, passes news to the watchdog, and gives back once everything below is gone.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::guard::{Config, Ending, Exit, Guard, Notice, Output, Signal};
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;
use rustix::process::{Pid, getpid};

use super::ears::{Ears, Heard};
use super::link::{Hello, Link, SessionAccess, ToWatchdog, ToWrapper};
use super::signals::Signals;
use super::terminal::Terminal;
use super::{SELF, WATCHDOG, clock, tree};
use crate::say;

/// What a wrapper holds while the command runs.
pub(crate) trait Holding {
    /// When the lease ends, as far as is known.
    fn deadline(&self) -> Time;
    /// Waits for news of it. Cancel safe.
    fn changed(&mut self) -> impl Future<Output = Change>;
}

/// The sessions that a wait uses, one after another.
pub(crate) trait Sessions {
    /// Waits for one that was not given yet. Cancel safe.
    fn next(&mut self) -> impl Future<Output = SessionAccess>;
}

/// News of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// It ends later than before.
    Renewed(Time),
    /// It is lost.
    Lost(LostReason),
}

/// Why a wait was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interrupted {
    /// A signal asked to end.
    Signal(Signal),
    /// The watchdog is gone.
    Unwatched,
}

/// A wrapper with its watchdog, before and while it holds.
#[derive(Debug)]
pub(crate) struct Wrapper {
    config: Config,
    link: Arc<Link>,
    ears: Ears,
    terminal: Option<Terminal>,
    command: Option<Pid>,
    /// How the command ended, if this process got to reap it.
    exit: Option<Exit>,
    paused: bool,
    lost: bool,
}

impl Wrapper {
    /// Starts the watchdog for a command. To be called in a runtime, with signals that were blocked before it.
    pub(crate) fn start(config: Config, command: &[OsString], signals: Signals) -> io::Result<Self> {
        tree::adopt_orphans()?;
        let terminal = Terminal::of_stdin();
        let (ours, theirs) = Link::pair()?;
        let mut watchdog = Command::new(SELF);
        // A group of its own: what kills this process's group leaves it to do its work.
        watchdog.arg0("raceproof").arg(WATCHDOG).args(command).stdin(Stdio::from(theirs)).process_group(0);
        let child = watchdog.spawn()?;
        drop(child);
        ours.send(&ToWatchdog::Hello(Hello { config, color: say::color() }), Some(io::stdin().as_fd()))?;
        step_back_from_pipes();
        let link = Arc::new(ours);
        let ears = Ears::open(Arc::clone(&link), signals)?;
        Ok(Self { config, link, ears, terminal, command: None, exit: None, paused: false, lost: false })
    }

    /// Tells the watchdog which session to end if this process dies.
    pub(crate) fn session(&self, access: SessionAccess) {
        self.say(&ToWatchdog::Session(access));
    }

    /// Waits for something else than the command, and meanwhile tells the watchdog which session to end.
    pub(crate) async fn until<F: Future>(
        &mut self,
        wanted: F,
        sessions: &mut impl Sessions,
    ) -> Result<F::Output, Interrupted> {
        let mut wanted = std::pin::pin!(wanted);
        loop {
            tokio::select! {
                biased;
                output = &mut wanted => return Ok(output),
                access = sessions.next() => self.session(access),
                heard = self.ears.next() => match heard {
                    Heard::Child => self.reap(),
                    Heard::Signal(Signal::Tstp) => stop_self(),
                    Heard::Signal(signal) if signal.ends() => return Err(Interrupted::Signal(signal)),
                    Heard::Gone => return Err(Interrupted::Unwatched),
                    Heard::Signal(_) | Heard::Message(_) => {}
                },
            }
        }
    }

    /// Runs the command under what is held, until everything below is gone.
    pub(crate) async fn run(&mut self, holding: &mut impl Holding, env: Vec<(String, String)>) -> Ending {
        let foreground = self.terminal.as_ref().is_some_and(Terminal::is_ours);
        self.say(&ToWatchdog::Start { deadline: holding.deadline(), env, foreground });
        let ending = loop {
            tokio::select! {
                biased;
                heard = self.ears.next() => match heard {
                    Heard::Message(ToWrapper::Started { pid }) => self.command = i32::try_from(pid).ok().and_then(Pid::from_raw),
                    Heard::Message(ToWrapper::Notice(Notice::Ended(ending))) => break ending,
                    Heard::Message(ToWrapper::Notice(notice)) => self.noticed(notice),
                    Heard::Signal(signal) => self.pass_on(signal),
                    Heard::Child => self.reap(),
                    Heard::Gone => break self.sweep().await,
                },
                change = holding.changed(), if !self.lost => match change {
                    Change::Renewed(deadline) => self.say(&ToWatchdog::Lease { deadline }),
                    Change::Lost(reason) => {
                        self.lost = true;
                        self.say(&ToWatchdog::Lost { reason });
                    }
                },
            }
        };
        self.take_terminal_back();
        if let (Some(terminal), Some(Exit::Signal(_)) | None) = (&self.terminal, ending.exit) {
            terminal.restore_modes();
        }
        ending
    }

    /// Tells the watchdog that it has nothing to end.
    pub(crate) fn released(&self) {
        self.say(&ToWatchdog::Released);
    }

    fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Paused => {
                self.paused = true;
                self.take_terminal_back();
            }
            Notice::Continued => self.paused = false,
            _ => {}
        }
        say::notice(&notice);
    }

    fn pass_on(&mut self, signal: Signal) {
        let go_on = matches!(signal, Signal::Tstp | Signal::Cont);
        if self.paused && go_on {
            // Ctrl-Z on a suspended command, `fg`, or `kill -CONT`: it goes on where it was.
            self.paused = false;
            if let (Some(terminal), Some(command)) = (self.terminal.as_ref().filter(|it| it.is_ours()), self.command) {
                terminal.lend(command);
            }
            self.say(&ToWatchdog::Signal { signal: Signal::Cont });
        } else {
            self.say(&ToWatchdog::Signal { signal });
        }
    }

    /// The watchdog is gone. The command died with it; what it leaves comes to this process, which kills it.
    async fn sweep(&mut self) -> Ending {
        let mut guard = Guard::unwatched(self.config, clock::now());
        loop {
            while let Some(output) = guard.poll_output() {
                match output {
                    Output::Kill => {
                        tree::kill_all();
                        let alive = self.reap_all();
                        let below = if alive { tree::count().max(1) } else { 0 };
                        guard.reaped(clock::now(), self.exit, below);
                    }
                    Output::Tell(Notice::Ended(ending)) => return ending,
                    Output::Tell(notice) => say::notice(&notice),
                    _ => {}
                }
            }
            let wait = guard.next_deadline().map_or(Duration::ZERO, |at| at.since(clock::now()));
            tokio::time::sleep(wait).await;
            guard.tick(clock::now());
        }
    }

    fn reap(&mut self) {
        self.reap_all();
    }

    fn reap_all(&mut self) -> bool {
        let reaped = tree::reap();
        let ours = reaped.ends.iter().find(|(pid, _)| Some(*pid) == self.command);
        if let Some((_, exit)) = ours {
            self.exit.get_or_insert(*exit);
        }
        reaped.alive
    }

    fn take_terminal_back(&self) {
        if let (Some(terminal), Some(command)) = (&self.terminal, self.command) {
            terminal.take_back(command);
        }
    }

    fn say(&self, message: &ToWatchdog) {
        // A watchdog that is gone is noticed where it is read from.
        let _ = self.link.send(message, None);
    }
}

/// Ctrl-Z while nothing is held yet: this process stops like any other.
fn stop_self() {
    let _ = rustix::process::kill_process(getpid(), rustix::process::Signal::STOP);
}

/// The command's standard input and output are the command's: whoever is at the other end sees it close them.
fn step_back_from_pipes() {
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

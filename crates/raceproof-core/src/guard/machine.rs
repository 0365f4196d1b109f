//! The machine itself.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Cause, Config, Ending, Exit, Notice, OnLost, Output, Reach, Signal};
use crate::time::Time;
use crate::wire::LostReason;

/// How soon a tree that survived SIGKILL gets it again; then in steps of doubling up to [`KILL_AGAIN_MAX`].
const KILL_AGAIN_MIN: Duration = Duration::from_millis(2);
const KILL_AGAIN_MAX: Duration = Duration::from_millis(200);
/// After this long SIGKILL has failed in a way that people should know of.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(1);
/// How soon a session that could not be ended is tried again.
const END_AGAIN: Duration = Duration::from_millis(50);

/// Decides for one command under one lease.
#[derive(Debug)]
pub struct Guard {
    config: Config,
    /// When the lease can end at the earliest.
    deadline: Time,
    /// No renewal counts any more.
    lost: bool,
    /// Who renews, and who releases at the end.
    wrapper: bool,
    paused: bool,
    /// Requests to end that were passed on.
    asked: u32,
    exit: Option<Exit>,
    /// What is alive below, as of the last report.
    below: u32,
    stage: Stage,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// No command yet.
    Idle,
    Running,
    /// Left alive after the loss, frozen or told.
    Abandoned {
        cause: Cause,
        frozen: bool,
    },
    /// Told to stop.
    Stopping {
        cause: Cause,
        since: Time,
    },
    /// Killed until nothing is left.
    Killing {
        cause: Cause,
        since: Time,
        again_at: Time,
        again: Duration,
        said: bool,
    },
    /// Nothing is left: the wrapper releases.
    Ended,
    /// Nothing is left and nobody else ends the session.
    EndingSession {
        give_up_at: Time,
        again_at: Option<Time>,
    },
    Over,
}

impl Guard {
    /// A guard without a command, whose wrapper is alive.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            deadline: Time::ZERO,
            lost: false,
            wrapper: true,
            paused: false,
            asked: 0,
            exit: None,
            below: 0,
            stage: Stage::Idle,
            outputs: VecDeque::new(),
        }
    }

    /// A guard that takes over from a watchdog that is gone: everything below is killed, and nothing else is done. The
    /// caller still holds the lease and gives it back afterwards.
    #[must_use]
    pub fn unwatched(config: Config, now: Time) -> Self {
        let mut guard = Self::new(config);
        guard.lost = true;
        guard.below = 1;
        guard.kill(now, Cause::Unwatched);
        guard
    }

    /// The lock is held until `deadline` at least: the command may run. A lease that is as good as over starts
    /// nothing.
    pub fn start(&mut self, now: Time, deadline: Time) {
        if !matches!(self.stage, Stage::Idle) {
            return;
        }
        self.deadline = deadline;
        if now >= self.term_at() {
            self.stage = Stage::Ended;
            self.tell(Notice::Ended(Ending { exit: None, cause: Cause::Lease }));
            return;
        }
        self.below = 1;
        self.stage = Stage::Running;
        self.push(Output::Spawn);
    }

    /// The lease was renewed until `deadline`, counted from when the renewal was sent.
    pub fn renewed(&mut self, now: Time, deadline: Time) {
        if !self.lost {
            self.deadline = self.deadline.max(deadline);
        }
        self.tick(now);
    }

    /// The lock is lost.
    pub fn lost(&mut self, now: Time, reason: LostReason) {
        self.lost = true;
        if matches!(self.stage, Stage::Running) {
            self.give_up(now, Cause::Lost(reason));
        }
        self.tick(now);
    }

    /// The process that renews the lease is gone.
    pub fn wrapper_gone(&mut self, now: Time) {
        self.wrapper = false;
        self.lost = true;
        match self.stage {
            Stage::Idle | Stage::Ended => self.end_session(now),
            Stage::Running => self.give_up(now, Cause::Orphaned),
            _ => {}
        }
        self.tick(now);
    }

    /// A signal came for the command. A second one that asks to end, or one during the stop, kills.
    pub fn signal(&mut self, now: Time, signal: Signal) {
        let again = signal.ends() && !matches!(signal, Signal::Hup);
        match self.stage {
            Stage::Running if again && self.asked > 0 => self.kill(now, Cause::Forced),
            Stage::Running => {
                self.send(Reach::Group, signal);
                if signal.ends() && self.paused {
                    self.send(Reach::Group, Signal::Cont);
                }
                if again {
                    self.asked += 1;
                    self.tell(Notice::PassedOn { signal });
                }
            }
            Stage::Abandoned { cause, frozen } if again && (frozen || self.asked > 0) => self.kill(now, cause),
            Stage::Abandoned { frozen, .. } => {
                self.asked += u32::from(again);
                // The whole tree was frozen, so the whole tree goes on.
                let thaw = frozen && signal == Signal::Cont;
                self.send(if thaw { Reach::Tree } else { Reach::Group }, signal);
            }
            Stage::Stopping { cause, .. } if again => self.kill(now, cause),
            _ => {}
        }
    }

    /// The command was stopped by a signal that is not ours.
    pub fn paused(&mut self) {
        if !self.paused && matches!(self.stage, Stage::Running | Stage::Stopping { .. }) {
            self.paused = true;
            self.tell(Notice::Paused);
        }
    }

    /// The command goes on.
    pub fn continued(&mut self) {
        if self.paused {
            self.paused = false;
            self.tell(Notice::Continued);
        }
    }

    /// Processes were reaped: the command itself if `exit` says so, and `below` are left alive.
    pub fn reaped(&mut self, now: Time, exit: Option<Exit>, below: u32) {
        self.below = below;
        self.exit = self.exit.or(exit);
        // Whoever takes over from a watchdog may never have known the command.
        let known = self.exit.is_some() || matches!(self.stage, Stage::Killing { cause: Cause::Unwatched, .. });
        match self.stage {
            Stage::Running | Stage::Abandoned { .. } | Stage::Stopping { .. } | Stage::Killing { .. }
                if below == 0 && known =>
            {
                self.ended(now);
            }
            Stage::Running if exit.is_some() => {
                self.tell(Notice::LeftBehind { count: below });
                self.stage = Stage::Stopping { cause: Cause::Command, since: now };
                self.send(Reach::Tree, Signal::Term);
                self.send(Reach::Tree, Signal::Cont);
                self.tick(now);
            }
            _ => {}
        }
    }

    /// The wrapper released what it held: there is nothing to end.
    pub fn released(&mut self) {
        if matches!(self.stage, Stage::Idle | Stage::Ended) {
            self.quit();
        }
    }

    /// What came of [`Output::EndSession`].
    pub fn session_ended(&mut self, now: Time, ok: bool) {
        let Stage::EndingSession { give_up_at, .. } = self.stage else { return };
        if ok {
            self.quit();
        } else if now >= give_up_at {
            self.tell(Notice::SessionLeft);
            self.quit();
        } else {
            self.stage = Stage::EndingSession { give_up_at, again_at: Some(now + END_AGAIN) };
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Time) {
        match self.stage {
            Stage::Running if now >= self.act_at() => self.give_up(now, Cause::Lease),
            Stage::Stopping { cause, since } if now >= self.kill_at(since) => self.kill(now, cause),
            Stage::Killing { cause, since, again_at, again, said } if now >= again_at => {
                let late = now.since(since) >= UNKILLABLE_AFTER;
                if late && !said {
                    self.tell(Notice::Unkillable { count: self.below });
                }
                let again = (again * 2).min(KILL_AGAIN_MAX);
                self.stage = Stage::Killing { cause, since, again_at: now + again, again, said: said || late };
                self.push(Output::Kill);
            }
            Stage::EndingSession { give_up_at, again_at: Some(again_at) } if now >= again_at => {
                self.stage = Stage::EndingSession { give_up_at, again_at: None };
                self.push(Output::EndSession);
            }
            _ => {}
        }
        // A machine that slept past everything at once must not wait for another tick to kill.
        if let Stage::Stopping { cause, since } = self.stage
            && now >= self.kill_at(since)
        {
            self.kill(now, cause);
        }
    }

    /// When to call [`Guard::tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Running => Some(self.act_at()),
            Stage::Stopping { since, .. } => Some(self.kill_at(since)),
            Stage::Killing { again_at, .. } => Some(again_at),
            Stage::EndingSession { again_at, .. } => again_at,
            Stage::Idle | Stage::Abandoned { .. } | Stage::Ended | Stage::Over => None,
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the command is told to stop.
    fn term_at(&self) -> Time {
        self.deadline.saturating_sub(self.config.stop_budget())
    }

    /// When the command must be gone, as far as the lease goes.
    fn last_moment(&self) -> Time {
        self.deadline.saturating_sub(self.config.kill_margin())
    }

    /// When something has to be done about a lease that was not renewed.
    fn act_at(&self) -> Time {
        match self.config.on_lost {
            OnLost::Term | OnLost::Notify => self.term_at(),
            OnLost::Kill | OnLost::Stop => self.last_moment(),
        }
    }

    fn kill_at(&self, since: Time) -> Time {
        (since + self.config.grace).min(self.last_moment())
    }

    /// The lease is lost or about to end.
    fn give_up(&mut self, now: Time, cause: Cause) {
        self.lost = true;
        match self.config.on_lost {
            OnLost::Term => self.stop(now, cause),
            OnLost::Kill => self.kill(now, cause),
            OnLost::Stop => {
                self.stage = Stage::Abandoned { cause, frozen: true };
                self.send(Reach::Tree, Signal::Stop);
                self.tell(Notice::Frozen { cause });
            }
            OnLost::Notify => {
                self.stage = Stage::Abandoned { cause, frozen: false };
                self.send(Reach::Group, Signal::Usr1);
                self.tell(Notice::Notified { cause });
            }
        }
    }

    fn stop(&mut self, now: Time, cause: Cause) {
        let kill_at = self.kill_at(now);
        if now >= kill_at {
            self.kill(now, cause);
            return;
        }
        self.stage = Stage::Stopping { cause, since: now };
        self.send(Reach::Tree, Signal::Term);
        // A stopped process acts on SIGTERM only when it goes on.
        self.send(Reach::Tree, Signal::Cont);
        self.tell(Notice::Stopping { cause, kill_in: kill_at.since(now) });
    }

    fn kill(&mut self, now: Time, cause: Cause) {
        let (again, again_at) = (KILL_AGAIN_MIN, now + KILL_AGAIN_MIN);
        self.stage = Stage::Killing { cause, since: now, again_at, again, said: false };
        // First the deed, then the word: the word may block.
        self.push(Output::Kill);
        self.tell(Notice::Killing { cause });
    }

    fn ended(&mut self, now: Time) {
        let cause = match self.stage {
            Stage::Abandoned { cause, .. } | Stage::Stopping { cause, .. } | Stage::Killing { cause, .. } => cause,
            _ => Cause::Command,
        };
        self.stage = Stage::Ended;
        self.tell(Notice::Ended(Ending { exit: self.exit, cause }));
        if !self.wrapper {
            self.end_session(now);
        }
    }

    fn end_session(&mut self, now: Time) {
        // Past the lease the server ends it by itself; without a lease yet, nothing is held for longer than one.
        let give_up_at = self.deadline.max(now + self.config.ttl);
        self.stage = Stage::EndingSession { give_up_at, again_at: None };
        self.push(Output::EndSession);
    }

    fn quit(&mut self) {
        self.stage = Stage::Over;
        self.push(Output::Quit);
    }

    fn send(&mut self, to: Reach, signal: Signal) {
        self.push(Output::Send { to, signal });
    }

    fn tell(&mut self, notice: Notice) {
        self.push(Output::Tell(notice));
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

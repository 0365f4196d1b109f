//! What is done to the processes, at random.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::clients::{Clients, Tree};
use crate::common::processes::{state, wait_for};
use crate::common::server::Server;
use crate::resource::Resource;

/// What can be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Strike {
    ServerKilled,
    ServerFrozen,
    WrapperKilled,
    WrapperFrozen,
    WatchdogKilled,
    EverythingFrozen,
}

impl Strike {
    /// Each with how often it comes; those at watchdogs come last.
    const ALL: [(Self, u32); 6] = [
        (Self::ServerKilled, 8),
        (Self::ServerFrozen, 4),
        (Self::WrapperKilled, 26),
        (Self::WrapperFrozen, 27),
        (Self::WatchdogKilled, 10),
        (Self::EverythingFrozen, 25),
    ];

    const fn spares_watchdogs(self) -> bool {
        !matches!(self, Self::WatchdogKilled | Self::EverythingFrozen)
    }
}

/// Kills and freezes.
#[derive(Debug)]
pub(crate) struct Havoc {
    rng: fastrand::Rng,
    ttl: Duration,
    /// What there is to choose from.
    strikes: Vec<(Strike, u32)>,
    /// What is still to come once, before chance alone decides.
    due: Vec<Strike>,
    /// Who is frozen until when.
    frozen: Vec<(Instant, u32)>,
    server_thaws: Option<Instant>,
    pub(crate) done: Vec<Strike>,
}

/// A process that is gone is not our concern.
fn tell(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    let _ = kill_process(pid, signal);
}

impl Havoc {
    /// With or without strikes at watchdogs.
    pub(crate) fn new(seed: u64, ttl: Duration, watchdogs: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let strikes: Vec<_> =
            Strike::ALL.into_iter().filter(|(strike, _)| watchdogs || strike.spares_watchdogs()).collect();
        let mut due: Vec<_> = strikes.iter().map(|(strike, _)| *strike).collect();
        rng.shuffle(&mut due);
        Self { rng, ttl, strikes, due, frozen: Vec::new(), server_thaws: None, done: Vec::new() }
    }

    /// Rages for a while, and leaves everybody running.
    pub(crate) fn rage(&mut self, length: Duration, server: &mut Server, clients: &Clients) {
        let end = Instant::now() + length;
        let mut next = Instant::now();
        while Instant::now() < end {
            self.thaw(server, Instant::now());
            if Instant::now() >= next {
                self.strike(server, clients);
                next = Instant::now() + Duration::from_millis(self.rng.u64(100..600));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.thaw(server, Instant::now() + self.ttl * 10);
    }

    fn thaw(&mut self, server: &Server, now: Instant) {
        if self.server_thaws.is_some_and(|at| at <= now) {
            self.server_thaws = None;
            tell(server.pid(), Signal::CONT);
        }
        self.frozen.retain(|(at, pid)| {
            if *at <= now {
                tell(*pid, Signal::CONT);
            }
            *at > now
        });
    }

    fn strike(&mut self, server: &mut Server, clients: &Clients) {
        let strike = self.due.last().copied().unwrap_or_else(|| self.any());
        let struck = match strike {
            Strike::ServerKilled | Strike::ServerFrozen if self.server_thaws.is_some() => false,
            Strike::ServerKilled => self.kill_server(server),
            Strike::ServerFrozen => {
                tell(server.pid(), Signal::STOP);
                self.server_thaws = Some(Instant::now() + self.past_the_lease());
                true
            }
            Strike::WrapperKilled => self.at_a_client(clients, |_, tree| tell(tree.wrapper, Signal::KILL)),
            Strike::WrapperFrozen => self.at_a_client(clients, |havoc, tree| {
                let until = Instant::now() + havoc.past_the_lease();
                havoc.freeze(until, tree.wrapper);
            }),
            Strike::WatchdogKilled => self.at_a_client(clients, |_, tree| {
                if let Some(watchdog) = tree.watchdog {
                    tell(watchdog, Signal::KILL);
                }
            }),
            Strike::EverythingFrozen => self.at_a_client(clients, |havoc, tree| {
                let until = Instant::now() + havoc.past_the_lease();
                havoc.freeze(until + Duration::from_millis(100), tree.wrapper);
                // The command wakes first: what it writes is too late.
                if let Some(pid) = tree.watchdog {
                    havoc.freeze(until + Duration::from_millis(50), pid);
                }
                if let Some(pid) = tree.command {
                    havoc.freeze(until, pid);
                }
            }),
        };
        if struck {
            self.done.push(strike);
            self.due.retain(|due| *due != strike);
        }
    }

    /// One by chance.
    fn any(&mut self) -> Strike {
        let mut left = self.rng.u32(..self.strikes.iter().map(|(_, weight)| weight).sum::<u32>());
        let found = self.strikes.iter().find(|(_, weight)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        found.expect("less than the sum").0
    }

    /// What was to happen and did not: a run without it proves less than it says.
    pub(crate) fn missing(&self) -> &[Strike] {
        &self.due
    }

    fn kill_server(&mut self, server: &mut Server) -> bool {
        server.kill();
        std::thread::sleep(Duration::from_millis(self.rng.u64(0..300)));
        server.restart();
        true
    }

    fn past_the_lease(&mut self) -> Duration {
        self.ttl.mul_f64(1.1 + self.rng.f64() * 0.5)
    }

    fn freeze(&mut self, until: Instant, pid: u32) {
        tell(pid, Signal::STOP);
        self.frozen.push((until, pid));
    }

    /// Picks a client, mostly one whose command runs; says whether there was one.
    fn at_a_client(&mut self, clients: &Clients, act: impl FnOnce(&mut Self, Tree)) -> bool {
        clients.with_trees(|trees| {
            // Who is frozen is left alone, so that it is seen what comes of it.
            let free = |tree: &&Tree| self.frozen.iter().all(|(_, pid)| *pid != tree.wrapper);
            let free: Vec<Tree> = trees.iter().filter(free).copied().collect();
            let holders: Vec<Tree> = free.iter().copied().filter(|tree| tree.command.is_some()).collect();
            let from = if holders.is_empty() || self.rng.u32(0..4) == 0 { &free } else { &holders };
            let Some(tree) = self.rng.choice(from).copied() else { return false };
            act(self, tree);
            true
        })
    }
}

/// Freezes a holder with its watchdog between its read and its write until another has written, and then lets its
/// write arrive before its watchdog wakes.
#[track_caller]
pub(crate) fn force_a_stale_write(clients: &Clients, resource: &Resource) {
    let (token, tree) = wait_for("a holder to freeze in the middle", || {
        let token = resource.history().open?;
        clients.with_trees(|trees| {
            let tree = *trees.iter().find(|tree| tree.command.is_some_and(|command| holds(command, token)))?;
            let all = [Some(tree.wrapper), tree.watchdog, tree.command];
            all.into_iter().flatten().for_each(|pid| tell(pid, Signal::STOP));
            // It may have been about to write.
            let stopped = || tree.command.is_some_and(|command| state(command) == Some('T'));
            wait_for("the freeze", || (stopped() || !exists(tree.command)).then_some(()));
            std::thread::sleep(Duration::from_millis(20));
            if resource.history().open == Some(token) && exists(tree.command) {
                return Some((token, tree));
            }
            all.into_iter().flatten().for_each(|pid| tell(pid, Signal::CONT));
            None
        })
    });
    wait_for("another to write", || resource.history().taken.iter().any(|other| *other > token).then_some(()));
    tell(tree.command.expect("it was frozen"), Signal::CONT);
    wait_for("the stale write", || {
        let history = resource.history();
        (history.refused.contains(&token) || history.taken.contains(&token)).then_some(())
    });
    for pid in [tree.watchdog, Some(tree.wrapper)].into_iter().flatten() {
        tell(pid, Signal::CONT);
    }
}

fn exists(pid: Option<u32>) -> bool {
    pid.is_some_and(|pid| state(pid).is_some())
}

/// Whether this process was started under this token.
fn holds(pid: u32, token: u64) -> bool {
    let variable = format!("RACEPROOF_FENCE={token}");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

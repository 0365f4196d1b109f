//! `raceproof lock` and `raceproof elect`: a command under a lease.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use raceproof::{AcquireError, CampaignError, ConnectError, Guard, Leadership, Leases, Raceproof};
use raceproof_core::client::Failure as ClientFailure;
use raceproof_core::guard::{Cause, Config, Ending, Signal, code};
use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{Class, Code, LostReason, Problem};

use super::{server, with_client};
use crate::args::{ClassArg, Elect, Guarded, Lock, OnLostArg};
use crate::config::Settings;
use crate::failure::Failure;
use crate::say;
use crate::supervise::link::SessionAccess;
use crate::supervise::signals::{self, Signals};
use crate::supervise::wrapper::{Change, Holding, Interrupted, Sessions, Wrapper};

/// How long the end of the session may take before it is left to the watchdog.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// After so long people are told that they wait.
const SAY_WAITING_AFTER: Duration = Duration::from_secs(1);

/// What to hold.
enum Job {
    Lock { names: Vec<String>, shared: bool, permits: Option<u32>, patience: Patience, class: Class, refused: u8 },
    Elect { name: String, value: String },
}

/// How long to wait for it.
enum Patience {
    None,
    Some(Duration),
    Endless,
}

pub(super) fn lock(args: Lock, settings: Settings) -> Result<u8, Failure> {
    let patience = match (args.try_once, args.wait) {
        (true, _) => Patience::None,
        (false, Some(wait)) => Patience::Some(wait),
        (false, None) => Patience::Endless,
    };
    let class = args.class.unwrap_or_else(|| settings.choice::<ClassArg>("lock.class")).into();
    let Lock { names, shared, permits, conflict_exit_code: refused, .. } = args;
    if permits.is_some() && names.len() > 1 {
        return Err(Failure::new("usage", code::USAGE, "--permits takes one name"));
    }
    guard(Job::Lock { names, shared, permits, patience, class, refused }, args.guarded, settings)
}

pub(super) fn elect(args: Elect, settings: Settings) -> Result<u8, Failure> {
    let value = args.value.unwrap_or_else(own_name);
    guard(Job::Elect { name: args.name, value }, args.guarded, settings)
}

/// Who this is, for people.
fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

fn guard(job: Job, args: Guarded, settings: Settings) -> Result<u8, Failure> {
    let config = Config {
        ttl: args.ttl.unwrap_or_else(|| settings.duration("lock.ttl")),
        grace: args.grace.unwrap_or_else(|| settings.duration("lock.grace")),
        on_lost: args.on_lost.unwrap_or_else(|| settings.choice::<OnLostArg>("lock.on-lost")).into(),
    };
    let (server, token) = server(&with_client(settings, &args.client))?;
    // Before the runtime has threads, which are to block them too.
    let signals = Signals::for_wrapper().map_err(|error| Failure::system("signals cannot be blocked", error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::system("the runtime cannot start", error))?;
    runtime.block_on(async {
        let wrapper = Wrapper::start(config, &args.command, signals);
        let wrapper = wrapper.map_err(|error| Failure::system("the watchdog cannot start", error))?;
        Session { wrapper, config, server, token, job }.run().await
    })
}

/// One run.
struct Session {
    wrapper: Wrapper,
    config: Config,
    server: String,
    token: Option<String>,
    job: Job,
}

impl Session {
    async fn run(mut self) -> Result<u8, Failure> {
        let rp = match self.wrapper.until(self.connect(), &mut NoSessions).await {
            Ok(connected) => connected.map_err(|error| self.not_connected(&error))?,
            Err(interrupted) => return given_up(interrupted),
        };
        let mut sessions = OwnSessions { rp: rp.clone(), leases: rp.leases(), access: self.access(), told: None };
        let wanted = self.job.hold(&rp);
        let held = match self.wrapper.until(wanted, &mut sessions).await {
            Ok(held) => held,
            Err(interrupted) => {
                self.close(&rp).await;
                return given_up(interrupted);
            }
        };
        let mut held = match held {
            Ok(held) => held,
            Err(failure) => {
                self.close(&rp).await;
                return Err(failure);
            }
        };
        if let Some(access) = sessions.current() {
            self.wrapper.session(access);
        }
        let env = self.job.env(&held);
        let ending = self.wrapper.run(&mut held, env).await;
        self.close(&rp).await;
        drop(held);
        self.report(ending);
        Ok(ending.exit_code())
    }

    fn connect(&self) -> impl Future<Output = Result<Raceproof, ConnectError>> + use<> {
        let mut builder = Raceproof::builder(&self.server).name(own_name()).ttl(self.config.ttl);
        if let Some(token) = &self.token {
            builder = builder.auth_token(token);
        }
        builder.connect()
    }

    /// How to end a session; its key is not known yet.
    fn access(&self) -> (String, Option<String>) {
        (self.server.clone(), self.token.clone())
    }

    /// Ends the session and with it what it holds. If that does not work at once, the watchdog goes on trying.
    async fn close(&mut self, rp: &Raceproof) {
        let closed = tokio::time::timeout(CLOSE_WITHIN, rp.close()).await;
        if matches!(closed, Ok(Ok(()))) {
            self.wrapper.released();
        }
    }

    fn not_connected(&self, error: &ConnectError) -> Failure {
        match error {
            ConnectError::Url { .. } => Failure::new("config", code::CONFIG, error.to_string()),
            ConnectError::Failed(ClientFailure::Unreachable(detail)) => Failure::unreachable(&self.server, detail),
            ConnectError::Failed(failure) => self.failed(failure),
            _ => Failure::unreachable(&self.server, error),
        }
    }

    fn failed(&self, failure: &ClientFailure) -> Failure {
        client_failed(&self.server, failure)
    }

    fn report(&self, ending: Ending) {
        let what = self.job.shown();
        match ending.cause {
            Cause::Lease if ending.exit.is_none() => {
                say::error("lease-lost", format_args!("the lease of {what} was over before the command could start"));
            }
            Cause::Lease => {
                say::error(
                    "lease-lost",
                    format_args!(
                        "{what} could not be renewed in time; the command was stopped before the lease could end"
                    ),
                );
            }
            Cause::Lost(reason) => say::error("lock-lost", format_args!("{what} was lost: {}", lost(reason))),
            Cause::Unwatched => {
                say::error(
                    "watchdog-lost",
                    format_args!("the watchdog was killed, and the command with it; {what} is free"),
                );
            }
            _ => {}
        }
    }
}

impl Job {
    fn shown(&self) -> String {
        match self {
            Self::Lock { names, .. } => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
            Self::Elect { name, .. } => format!("the election {name:?}"),
        }
    }

    /// Waits until it holds.
    fn hold(&self, rp: &Raceproof) -> impl Future<Output = Result<Held, Failure>> + use<> {
        let leases = rp.leases();
        let shown = self.shown();
        let taking: Pin<Box<dyn Future<Output = Result<Owned, Failure>>>> = match self {
            Self::Lock { names, shared, permits, patience, class, refused } => {
                let (refused, shown) = (*refused, shown.clone());
                let taking = acquire(rp, names, *shared, *permits, *class, patience);
                Box::pin(async move {
                    let guard = taking.await.map_err(|error| not_acquired(&shown, &error, refused))?;
                    Ok(Owned::Lock(guard))
                })
            }
            Self::Elect { name, value } => {
                let (election, value) = (rp.election(name.as_str()), value.clone());
                Box::pin(async move {
                    let leadership = campaign(&election, &value).await.map_err(|error| not_elected(&error))?;
                    Ok(Owned::Leadership(leadership))
                })
            }
        };
        async move {
            let mut taking = taking;
            let owned = tokio::select! {
                biased;
                owned = &mut taking => owned?,
                () = tokio::time::sleep(SAY_WAITING_AFTER) => {
                    say::line(format_args!("waiting for {shown}"));
                    taking.await?
                }
            };
            Ok(Held::new(owned, leases))
        }
    }

    /// What the command is told.
    fn env(&self, held: &Held) -> Vec<(String, String)> {
        let token = held.owned.token().to_string();
        let deadline = held.deadline().as_micros().to_string();
        let mut env = match self {
            Self::Lock { names, .. } => vec![("RACEPROOF_LOCK", joined(names))],
            Self::Elect { name, .. } => vec![("RACEPROOF_ELECTION", name.clone()), ("RACEPROOF_TERM", token.clone())],
        };
        env.extend([("RACEPROOF_FENCE", token), ("RACEPROOF_DEADLINE", deadline)]);
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Names in one line: a comma in a name is `%2C`, a `%` is `%25`.
fn joined(names: &[String]) -> String {
    let escaped = names.iter().map(|name| name.replace('%', "%25").replace(',', "%2C"));
    escaped.collect::<Vec<_>>().join(",")
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Guard, AcquireError>>>>;

fn acquire(
    rp: &Raceproof,
    names: &[String],
    shared: bool,
    permits: Option<u32>,
    class: Class,
    patience: &Patience,
) -> Acquiring {
    if let (Some(permits), Some(name)) = (permits, names.first()) {
        let mut semaphore = rp.semaphore(name.as_str(), permits).class(class);
        return match patience {
            Patience::None => Box::pin(async move { semaphore.try_acquire().await }),
            Patience::Some(wait) => {
                semaphore = semaphore.wait(*wait);
                Box::pin(async move { semaphore.acquire().await })
            }
            Patience::Endless => Box::pin(async move { semaphore.acquire().await }),
        };
    }
    let mut lock = rp.lock_all(names.iter().map(String::as_str)).class(class);
    if shared {
        lock = lock.shared();
    }
    match patience {
        Patience::None => Box::pin(async move { lock.try_acquire().await }),
        Patience::Some(wait) => {
            lock = lock.wait(*wait);
            Box::pin(async move { lock.acquire().await })
        }
        Patience::Endless => Box::pin(async move { lock.acquire().await }),
    }
}

/// A candidacy ends with its session; a candidate that has not led yet stands again.
async fn campaign(election: &raceproof::Election, value: &str) -> Result<Leadership, CampaignError> {
    loop {
        match election.campaign(value).await {
            Err(CampaignError::Lost(_) | CampaignError::Unclaimed) => {}
            other => return other,
        }
    }
}

/// A guard or a leadership.
enum Owned {
    Lock(Guard),
    Leadership(Leadership),
}

impl Owned {
    fn token(&self) -> Token {
        match self {
            Self::Lock(guard) => guard.token(),
            Self::Leadership(leadership) => leadership.term(),
        }
    }
}

/// What is held, and the news of it.
struct Held {
    owned: Owned,
    session: SessionId,
    leases: Leases,
    lost: Pin<Box<dyn Future<Output = LostReason> + Send>>,
}

impl Held {
    fn new(owned: Owned, leases: Leases) -> Self {
        let (session, lost): (_, Pin<Box<dyn Future<Output = LostReason> + Send>>) = match &owned {
            Owned::Lock(guard) => (guard.session(), Box::pin(guard.lost())),
            Owned::Leadership(leadership) => (leadership.leader().session, Box::pin(leadership.lost())),
        };
        Self { owned, session, leases, lost }
    }
}

impl Holding for Held {
    fn deadline(&self) -> Time {
        match &self.owned {
            Owned::Lock(guard) => guard.deadline(),
            Owned::Leadership(leadership) => leadership.deadline(),
        }
    }

    async fn changed(&mut self) -> Change {
        loop {
            tokio::select! {
                biased;
                reason = &mut self.lost => return Change::Lost(reason),
                change = self.leases.changed() => match change {
                    Some(Some(lease)) if lease.session == self.session => return Change::Renewed(lease.deadline),
                    // Another session, or none: then this one is lost, which is said above.
                    Some(_) => {}
                    None => return Change::Lost(LostReason::Ended),
                },
            }
        }
    }
}

/// No session yet.
struct NoSessions;

impl Sessions for NoSessions {
    async fn next(&mut self) -> SessionAccess {
        pending().await
    }
}

/// The client's sessions: one that is lost while it waits is followed by another.
struct OwnSessions {
    rp: Raceproof,
    leases: Leases,
    access: (String, Option<String>),
    told: Option<SessionId>,
}

impl OwnSessions {
    fn current(&self) -> Option<SessionAccess> {
        let (server, auth_token) = self.access.clone();
        Some(SessionAccess { server, auth_token, key: self.rp.session_key()? })
    }
}

impl Sessions for OwnSessions {
    async fn next(&mut self) -> SessionAccess {
        loop {
            if let Some(access) = self.current().filter(|access| self.told != Some(access.key.id)) {
                self.told = Some(access.key.id);
                return access;
            }
            if self.leases.changed().await.is_none() {
                return pending().await;
            }
        }
    }
}

fn given_up(interrupted: Interrupted) -> Result<u8, Failure> {
    match interrupted {
        Interrupted::Signal(signal) => Ok(code::SIGNAL_BASE + number(signal)),
        Interrupted::Unwatched => {
            Err(Failure::new("watchdog-lost", code::LOST, "the watchdog was killed before the command could start"))
        }
    }
}

fn number(signal: Signal) -> u8 {
    u8::try_from(signals::number(signal).as_raw()).unwrap_or_default()
}

fn not_acquired(shown: &str, error: &AcquireError, refused: u8) -> Failure {
    match error {
        AcquireError::Held(problem) => Failure::new(
            "lock-held",
            refused,
            format!("{}; wait with --wait, or see raceproof locks", holders(shown, problem)),
        ),
        AcquireError::TimedOut(problem) => {
            Failure::new("wait-timed-out", refused, format!("{}; the wait is over", holders(shown, problem)))
        }
        AcquireError::Deadlock(problem) => Failure::new("deadlock", refused, problem.detail.clone()),
        AcquireError::Refused(problem) if problem.code == Code::TooManyWaiters => {
            Failure::new("too-many-waiters", refused, problem.detail.clone())
        }
        AcquireError::Refused(problem) => Failure::refused(problem),
        AcquireError::Lost(_) | AcquireError::Unclaimed => Failure::new("not-acquired", refused, error.to_string()),
        AcquireError::Unreachable => Failure::new("unreachable", code::UNREACHABLE, error.to_string()),
        AcquireError::Failed(failure) => client_failed("the server", failure),
        _ => Failure::new("internal", code::LOST, error.to_string()),
    }
}

fn not_elected(error: &CampaignError) -> Failure {
    match error {
        CampaignError::Led(problem) | CampaignError::TimedOut(problem) => {
            Failure::new("not-elected", code::NOT_ACQUIRED, problem.detail.clone())
        }
        CampaignError::Refused(problem) => Failure::refused(problem),
        CampaignError::Unreachable => Failure::new("unreachable", code::UNREACHABLE, error.to_string()),
        CampaignError::Failed(failure) => client_failed("the server", failure),
        _ => Failure::new("internal", code::LOST, error.to_string()),
    }
}

fn client_failed(server: &str, failure: &ClientFailure) -> Failure {
    match failure {
        ClientFailure::Unreachable(detail) => Failure::unreachable(server, detail),
        ClientFailure::Refused(problem) => Failure::refused(problem),
        ClientFailure::Unauthorized(detail) => Failure::refused(&Problem::new(Code::Unauthorized, detail.clone())),
        other => Failure::new("protocol", code::UNREACHABLE, format!("{server}: {other}")),
    }
}

/// `"deploy" is held by host7:4121 for 3m 12s (token 118)`.
fn holders(shown: &str, problem: &Problem) -> String {
    let held = problem.holders.iter().map(|holder| {
        let age = humantime::format_duration(Duration::from_secs(holder.age_ms / 1_000));
        format!("{} for {age} (token {})", holder.session_name, holder.token)
    });
    let held: Vec<_> = held.collect();
    // Without holders the server's own sentence says why: others wait before, or it is closed for a while.
    if held.is_empty() { problem.detail.clone() } else { format!("{shown} is held by {}", held.join(", ")) }
}

fn lost(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Expired => "its lease ended",
        LostReason::Stolen => "an operator took it",
        LostReason::Unknown => "the server was restarted and does not know it",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_names_fit_one_variable() {
        let names = ["a,b", "c%2Cd", "e f"].map(str::to_owned);
        assert_eq!(joined(&names), "a%2Cb,c%252Cd,e f");
    }

    #[test]
    fn a_refusal_names_its_holders() {
        let holder = serde_json::from_value(serde_json::json!({
            "session": 1, "session_name": "host7:4121", "token": 118, "mode": "exclusive", "class": "durable",
            "age_ms": 192_999, "lease_left_ms": 1,
        }));
        let problem = Problem::new(Code::LockHeld, "held").with_holders(vec![holder.expect("a holder")]);
        let failure = not_acquired("\"deploy\"", &AcquireError::Held(Box::new(problem)), 75);
        assert_eq!(
            failure.text,
            "\"deploy\" is held by host7:4121 for 3m 12s (token 118); wait with --wait, or see raceproof locks"
        );
        assert_eq!((failure.code.as_str(), failure.exit), ("lock-held", 75));
    }
}

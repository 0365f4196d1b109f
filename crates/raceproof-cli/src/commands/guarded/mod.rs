//! `raceproof lock` and `raceproof elect`: a command under a lease.

mod connection;
mod failures;
mod held;
mod job;

use std::ffi::OsString;
use std::future::Future;
use std::time::Duration;

use raceproof::{ConnectError, Raceproof};
use raceproof_core::client::Failure as ClientFailure;
use raceproof_core::guard::{Cause, Config, Ending, Signal, code};

use self::failures::{client_failed, lost};
use self::held::{NoSessions, OwnSessions};
use self::job::{Job, Patience};
use super::{server, with_client};
use crate::args::{ClassArg, Elect, Guarded, Lock, OnLostArg};
use crate::config::Settings;
use crate::failure::Failure;
use crate::say;
use crate::supervise::signals::{self, Signals};
use crate::supervise::wrapper::{Interrupted, Wrapper};

/// As many as a server takes in one request.
const NAMES_MAX: usize = 64;
/// How long the end of the session may take before it is left to the watchdog.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

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
    if let Some(twice) =
        names.iter().enumerate().find_map(|(at, name)| names.iter().take(at).find(|other| *other == name))
    {
        return Err(Failure::new("usage", code::USAGE, format!("{twice:?} is named twice")));
    }
    if names.len() > NAMES_MAX {
        let detail = format!("{} names are named, and a lock is of {NAMES_MAX} at most", names.len());
        return Err(Failure::new("usage", code::USAGE, detail));
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
    let command = if args.shell { shell(&args.command) } else { args.command };
    let (server, token) = server(&with_client(settings, &args.client))?;
    // Before the runtime has threads, which are to block them too.
    let signals = Signals::for_wrapper().map_err(|error| Failure::system("signals cannot be blocked", error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::system("the runtime cannot start", error))?;
    runtime.block_on(async {
        let wrapper = Wrapper::start(config, &command, signals);
        let wrapper = wrapper.map_err(|error| Failure::system("the watchdog cannot start", error))?;
        Session { wrapper, config, server, token, job }.run().await
    })
}

/// `sh -c` of what was said, as if it had been typed.
fn shell(words: &[OsString]) -> Vec<OsString> {
    vec!["sh".into(), "-c".into(), words.join(" ".as_ref())]
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
        tokio::spawn(connection::report(rp.connection_states(), self.server.clone()));
        let mut sessions = OwnSessions::new(&rp, self.access());
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

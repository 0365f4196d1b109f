//! `lock` and `elect`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use raceproof::config::duration;
use raceproof_core::guard::{OnLost, code};
use raceproof_core::wire::Class;

use super::Client;

pub(super) const LOCK_HELP: &str = "\
Waits until it has every lock that is named, runs the command, and gives the locks back once the command and \
everything it started is gone. Without --try or --wait it waits for ever.

The command is stopped before the lease can end: when it cannot be renewed, when the lock is taken away, when \
this process is frozen or killed. It gets SIGTERM, then SIGKILL after --grace; SIGTERM comes at most a quarter of \
the lease before its end, SIGKILL a twentieth. SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed \
on to it; a second SIGINT or SIGTERM kills it and everything below it.

The command's environment gets
  RACEPROOF_LOCK      the names, separated by commas (a comma in a name is written %2C, a % is %25)
  RACEPROOF_FENCE     the fencing token: a decimal number that grows with every grant
  RACEPROOF_DEADLINE  when the lease ends unless renewed, as of the start: µs of CLOCK_BOOTTIME";

const LOCK_EXAMPLES: &str = "\
Examples:
  raceproof lock deploy -- ./deploy.sh staging
  raceproof lock nightly --try -E 0 -- ./backup      # one at a time, the others skip
  raceproof lock db --permits 8 -- ./import          # eight at a time
  raceproof lock a b -- ./move a b                   # both or none
  raceproof lock report --wait 30s -- sh -c 'psql -v fence=$RACEPROOF_FENCE -f report.sql'";

pub(super) const ELECT_HELP: &str = "\
Stands for election, waits until it leads, runs the command, and steps down once the command and everything it \
started is gone. The command is stopped before the term can end, as under `raceproof lock`.

The command's environment gets
  RACEPROOF_ELECTION  the election
  RACEPROOF_TERM      the term: a fencing token that grows with every leader
  RACEPROOF_FENCE     the same number, for what checks tokens
  RACEPROOF_DEADLINE  when the lease ends unless renewed, as of the start: µs of CLOCK_BOOTTIME";

const ELECT_EXAMPLES: &str = "\
Examples:
  raceproof elect primary --value \"$(hostname):8080\" -- ./serve
  raceproof elections                                # who leads, and how many stand behind it";

/// Runs a command while holding locks.
#[derive(Debug, Args)]
#[command(
    override_usage = "raceproof lock [OPTIONS] NAME... -- CMD [ARGS]...",
    after_help = LOCK_EXAMPLES,
    after_long_help = format!("{LOCK_EXAMPLES}\n\n{}", super::EXIT_CODES)
)]
pub(crate) struct Lock {
    /// The locks: all are taken, or none
    #[arg(required = true, value_name = "NAME", value_parser = name)]
    pub names: Vec<String>,
    /// Hold together with others that hold it shared
    #[arg(long)]
    pub shared: bool,
    /// Hold one of N permits; all who use the lock must name the same N
    #[arg(long, value_name = "N", conflicts_with = "shared", value_parser = clap::value_parser!(u32).range(1..))]
    pub permits: Option<u32>,
    /// Do not wait
    #[arg(long = "try", conflicts_with = "wait")]
    pub try_once: bool,
    /// Wait at most this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
    /// `durable` (on the server's disk first) or `reclaim` (faster) [default: durable]
    #[arg(long, value_enum, hide_possible_values = true)]
    pub class: Option<ClassArg>,
    /// Exit with this code when the lock was not got
    #[arg(short = 'E', long = "conflict-exit-code", value_name = "CODE", default_value_t = code::NOT_ACQUIRED)]
    pub conflict_exit_code: u8,
    #[command(flatten)]
    pub guarded: Guarded,
}

/// Runs a command while leading.
#[derive(Debug, Args)]
#[command(
    override_usage = "raceproof elect [OPTIONS] NAME -- CMD [ARGS]...",
    after_help = ELECT_EXAMPLES,
    after_long_help = format!("{ELECT_EXAMPLES}\n\n{}", super::EXIT_CODES)
)]
pub(crate) struct Elect {
    /// The election
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: String,
    /// What observers are told about this candidate once it leads [default: host:pid]
    #[arg(long)]
    pub value: Option<String>,
    #[command(flatten)]
    pub guarded: Guarded,
}

/// What commands under a lease have in common.
#[derive(Debug, Args)]
pub(crate) struct Guarded {
    /// The lease, 100ms to 1day: a holder that dies frees the lock within it [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = ttl)]
    pub ttl: Option<Duration>,
    /// How long the command may take to stop, where the lease allows it [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub grace: Option<Duration>,
    /// What a lost lease does to the command: term, kill, stop or notify [default: term]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        long_help = "What a lost lease does to the command [default: term]\n\
            term:   SIGTERM, then SIGKILL after the grace, before the lease can end\n\
            kill:   SIGKILL, as late as is safe\n\
            stop:   SIGSTOP, as late as is safe, for an operator to look at it\n\
            notify: SIGUSR1, and it is left running: only a resource that checks tokens is safe from it"
    )]
    pub on_lost: Option<OnLostArg>,
    /// Run the command as a line of `sh`
    #[arg(long)]
    pub shell: bool,
    #[command(flatten)]
    pub client: Client,
    /// The command, run without a shell
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// A durability class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ClassArg {
    /// On the server's disk before the holder hears of it
    Durable,
    /// Not waited for; safe as well
    Reclaim,
}

impl From<ClassArg> for Class {
    fn from(class: ClassArg) -> Self {
        match class {
            ClassArg::Durable => Self::Durable,
            ClassArg::Reclaim => Self::Reclaim,
        }
    }
}

/// What a lost lease does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OnLostArg {
    /// SIGTERM, grace, SIGKILL
    Term,
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
    /// SIGUSR1
    Notify,
}

impl From<OnLostArg> for OnLost {
    fn from(on_lost: OnLostArg) -> Self {
        match on_lost {
            OnLostArg::Term => Self::Term,
            OnLostArg::Kill => Self::Kill,
            OnLostArg::Stop => Self::Stop,
            OnLostArg::Notify => Self::Notify,
        }
    }
}

pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if ttl < Duration::from_millis(100) || ttl > Duration::from_secs(86_400) {
        return Err("a lease takes 100ms to 1day".into());
    }
    Ok(ttl)
}

pub(crate) fn name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a name cannot be empty".into()),
        1..=256 => Ok(text.to_owned()),
        length => Err(format!("a name has at most 256 bytes, this one has {length}")),
    }
}

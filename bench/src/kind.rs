//! Which systems are compared, and what each is called.

use std::fmt;

use clap::ValueEnum;

/// A way to lock: a server and how it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// Raceproof, class `durable`.
    Durable,
    /// Raceproof, class `reclaim`.
    Reclaim,
    /// etcd's Lock RPC.
    Etcd,
    /// Redis: a script with a fence, every write on disk before its answer.
    Redis,
    /// PostgreSQL: a row with an expiry.
    PgLease,
    /// PostgreSQL: `pg_advisory_lock`.
    PgAdvisory,
    /// ZooKeeper: the recipe of ephemeral sequential nodes.
    Zookeeper,
    /// Raceproof `durable` by bare frames, without the library: what the library costs.
    RawDurable,
    /// Raceproof `reclaim` by bare frames.
    RawReclaim,
}

/// A server program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Family {
    Raceproof,
    Etcd,
    Redis,
    Postgres,
    Zookeeper,
}

impl Kind {
    /// What is compared when nothing else is asked for.
    pub(crate) const DEFAULT: [Self; 7] =
        [Self::Durable, Self::Reclaim, Self::Etcd, Self::Redis, Self::PgLease, Self::PgAdvisory, Self::Zookeeper];

    pub(crate) const fn family(self) -> Family {
        match self {
            Self::Durable | Self::Reclaim | Self::RawDurable | Self::RawReclaim => Family::Raceproof,
            Self::Etcd => Family::Etcd,
            Self::Redis => Family::Redis,
            Self::PgLease | Self::PgAdvisory => Family::Postgres,
            Self::Zookeeper => Family::Zookeeper,
        }
    }

    /// As it is written on the command line and in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Reclaim => "reclaim",
            Self::Etcd => "etcd",
            Self::Redis => "redis",
            Self::PgLease => "pg-lease",
            Self::PgAdvisory => "pg-advisory",
            Self::Zookeeper => "zookeeper",
            Self::RawDurable => "raw-durable",
            Self::RawReclaim => "raw-reclaim",
        }
    }

    /// Whether a holder that dies or falls silent loses its lock by a lease; an advisory lock ends with its
    /// connection alone.
    pub(crate) const fn has_lease(self) -> bool {
        !matches!(self, Self::PgAdvisory)
    }

    /// Whether a client can be had that takes a lease and then leaves it alone. ZooKeeper's library always renews.
    pub(crate) const fn can_stop_renewing(self) -> bool {
        self.has_lease() && !matches!(self, Self::Zookeeper)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

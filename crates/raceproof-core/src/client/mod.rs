//! The client's own machine: connects, opens or resumes a session, renews its lease, keeps track of what is held and
//! waited for, and says at once what is lost.
//!
//! It owns the decisions of a client: when to connect again, what to send again, until when a grant may be believed
//! in, which answer is stale. Its shell owns the socket, the clock and the futures. It refuses to hold on: a session
//! whose lease ran out on the client's clock is given up for good, whatever the hub says later.
//!
//! - L4: a wait that its owner gave up is cancelled at the hub; a grant that crosses the cancel, or that is not claimed
//!   in time, is given back.
//! - L8: the lease is counted from when the answered renewal was *sent*, less [`drift_margin`]. An answer counts for
//!   the request it names on the connection it came by, and for nothing else.
//! - L11: a broken connection is made again and the session resumed with all that is believed to be held; with
//!   [`OnDisconnect::End`](crate::wire::OnDisconnect) everything is lost with the connection.
//! - L12: what has no answer is sent again under its first id, in the first order. A release is sent until it is
//!   answered or the lease is over.
//! - E3: observers are subscribed again and see terms only go up. E6: a candidate whose session ends is told so. E7: a
//!   leadership is given up here before the hub hears of it.
//!
//! The caller reports every event with the time, then drains [`Client::poll_output`], then waits until
//! [`Client::next_deadline`] at the longest.

mod answer;
mod backoff;
mod config;
mod connection;
mod error;
mod lease;
mod mutation;
mod observe;
mod op;
mod ops;
mod session;
mod timers;

use std::collections::{BTreeMap, VecDeque};

pub use config::{Config, drift_margin};
pub use error::{Failure, OpError, Refused, RefusedReason};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use observe::ObserverId;
pub use op::{OpId, Outcome, Query};

use self::backoff::Backoff;
use self::connection::{InFlight, Link};
use self::lease::Session;
#[cfg(not(feature = "mutations"))]
use self::mutation::Mutation;
use self::observe::Observers;
use self::op::{Belief, Op};
use self::timers::Timers;
use crate::id::{SessionId, SessionKey, Token};
use crate::time::Time;
use crate::wire::{ClientFrame, LostReason};

/// One attempt to connect and, if it succeeds, the connection. What comes from an older one is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(u64);

/// Where the client stands with its hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// There is no connection; the next attempt is planned.
    Disconnected,
    /// A connection is being made, or its session opened.
    Connecting,
    /// Requests are answered.
    Connected,
    /// A connection is being made for a session that was opened before.
    Resuming,
    /// The client gave up for good: see [`Client::failure`].
    Failed,
    /// The client was closed.
    Closed,
}

/// What the shell has to do or to pass on.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Make a connection, and report it under this generation.
    Connect {
        /// What to report it under.
        generation: Generation,
    },
    /// Send a frame, unless the connection is gone.
    Send {
        /// The connection.
        generation: Generation,
        /// The frame.
        frame: ClientFrame,
    },
    /// Send a WebSocket ping, or whatever makes the hub's side answer.
    Ping {
        /// The connection.
        generation: Generation,
    },
    /// Close the connection, or stop making it. Reports about it are ignored from here on.
    Disconnect {
        /// The connection.
        generation: Generation,
    },
    /// The operation has a result: see [`Client::claim`].
    Complete {
        /// The operation.
        op: OpId,
    },
    /// A claimed grant or leadership is not valid any more, and its owner did not ask for that.
    Lost {
        /// The grant's token, or the term.
        token: Token,
        /// Why.
        reason: LostReason,
    },
    /// A session has a deadline, or a later one than before.
    Lease {
        /// The session.
        session: SessionId,
        /// Until when what it holds is valid, unless renewed.
        deadline: Time,
    },
    /// A session is given up, and everything it held is lost.
    SessionOver {
        /// The session.
        session: SessionId,
        /// Why.
        reason: LostReason,
    },
    /// The connection's state changed.
    State(ConnectionState),
    /// There is news of an election: see [`Client::observed`].
    Observed {
        /// Who wants to know.
        observer: ObserverId,
    },
}

/// The machine. See the [module](self).
#[derive(Debug)]
pub struct Client {
    config: Config,
    backoff: Backoff,
    link: Link,
    announced: ConnectionState,
    generation: Generation,
    /// The last frame's number on the present connection.
    seq: u64,
    in_flight: BTreeMap<u64, InFlight>,
    session: Option<Session>,
    beliefs: BTreeMap<Token, Belief>,
    ops: BTreeMap<OpId, Op>,
    ops_started: u64,
    /// Operations that the hub put off are sent again at this time.
    resend_at: Option<Time>,
    timers: Timers,
    observers: Observers,
    outputs: VecDeque<Output>,
    /// The last failure to connect, or the one that ended it all.
    failure: Option<Failure>,
    closing: bool,
    /// When the hub was heard last on the present connection, and whether it was pinged since.
    heard: Time,
    pinged: bool,
}

impl Client {
    /// A client that wants to connect. Equal seeds give equal pauses between attempts.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let backoff = Backoff::new(seed, config.backoff_min, config.backoff_max);
        let mut client = Self {
            config,
            backoff,
            link: Link::Idle { retry_at: now },
            announced: ConnectionState::Disconnected,
            generation: Generation(0),
            seq: 0,
            in_flight: BTreeMap::new(),
            session: None,
            beliefs: BTreeMap::new(),
            ops: BTreeMap::new(),
            ops_started: 0,
            resend_at: None,
            timers: Timers::default(),
            observers: Observers::default(),
            outputs: VecDeque::new(),
            failure: None,
            closing: false,
            heard: now,
            pinged: false,
        };
        client.tick(now);
        client
    }

    /// The next thing to do. To be called until there is none after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the client was told to be like.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The connection's state.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        match (&self.link, &self.failure) {
            (Link::Over, Some(_)) if !self.closing => ConnectionState::Failed,
            (Link::Over, _) => ConnectionState::Closed,
            (Link::Idle { .. }, _) => ConnectionState::Disconnected,
            (Link::Bound { .. }, _) => ConnectionState::Connected,
            _ if self.session.is_some() => ConnectionState::Resuming,
            _ => ConnectionState::Connecting,
        }
    }

    /// Why the last attempt to connect failed, until one succeeds; or why the client gave up.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The session, while it is not given up.
    #[must_use]
    pub fn session(&self) -> Option<SessionKey> {
        self.session.as_ref().map(|session| session.key)
    }

    /// Until when what the session holds is valid, unless it is renewed (L8).
    #[must_use]
    pub fn lease_deadline(&self) -> Option<Time> {
        self.session.as_ref().map(|session| session.deadline)
    }

    /// The tokens and terms that are believed in, claimed or not.
    pub fn held(&self) -> impl Iterator<Item = Token> {
        self.beliefs.keys().copied()
    }

    /// How many operations are remembered: under way, or answered and not claimed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.ops.len()
    }

    /// Says what changed in the connection's state. Ends every input.
    fn announce(&mut self) {
        let state = self.state();
        if state != self.announced {
            self.announced = state;
            self.outputs.push_back(Output::State(state));
        }
    }
}

#[cfg(test)]
mod tests;

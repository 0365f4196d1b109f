//! A server's life: bind, run, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use raceproof::store::{LoadError, OpenError, Storage, WriteError};
use raceproof_core::hub::{DecodeError, Hub, RestoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower_service::Service;

use crate::clock::Clock;
use crate::config::{Limits, ServerConfig};
use crate::heard::{Heard, Requests};
use crate::http::{App, router};
use crate::journal::{self, Journal};
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::sequencer::{Outcome, Phase, Sequencer};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Anybody on the network could take and steal locks.
    #[error("refusing to listen on {listen} without credentials")]
    OpenToAll {
        /// The address.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be opened: in use by another server, damaged, of a later version, not writable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A record of the store is not what this version writes.
    #[error("the store holds something else than records of this version: {0}")]
    Decode(#[from] DecodeError),
    /// The store's records do not make a hub.
    #[error("the store's records do not fit together: {0}")]
    Restore(#[from] RestoreError),
    /// The system refused something else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StartError {
    /// What a person can do about it, as a sentence; `None` where the message says it all.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::OpenToAll { .. } => Some(
                "give --auth-token-file, listen on 127.0.0.1, or say --insecure if the network itself keeps others out",
            ),
            Self::Bind { .. } => Some("another server may be listening there; --listen 127.0.0.1:0 takes a free port"),
            Self::Open(error) => error.advice(),
            Self::Load(error) => error.advice(),
            _ => None,
        }
    }
}

/// Why a server that ran has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The store failed. Clients were told; nothing that was promised is lost, and nothing more was promised.
    #[error("the store failed: {detail}")]
    StoreFailed {
        /// What the store said.
        detail: String,
    },
    /// The sequencer ended in a way it must not. A bug.
    #[error("the sequencer broke off")]
    SequencerBroke,
}

/// A server that has its address and its store, and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    sequencer: Sequencer,
    app: App,
}

impl Server {
    /// Opens the store, replays it, and takes the address.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives back the address and the store.
    pub async fn bind(config: ServerConfig) -> Result<Self, StartError> {
        Self::prepare(config, journal::open).await
    }

    /// Like [`Self::bind`], over a store that the caller made; `config.store` is not looked at.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives back the address and the store.
    pub async fn bind_on(storage: Box<dyn Storage>, config: ServerConfig) -> Result<Self, StartError> {
        Self::prepare(config, |config, clock, metrics| journal::open_on(storage, config, clock, metrics)).await
    }

    async fn prepare(
        config: ServerConfig,
        open: impl FnOnce(&ServerConfig, Clock, &Arc<Metrics>) -> Result<(Hub, Journal), StartError>,
    ) -> Result<Self, StartError> {
        if !config.listen.ip().is_loopback() && config.auth.is_none() && !config.insecure {
            return Err(StartError::OpenToAll { listen: config.listen });
        }
        raise_descriptor_limit();
        let listen = config.listen;
        let bind = |source| StartError::Bind { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let local_addr = listener.local_addr()?;
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::new());
        let (hub, journal) = open(&config, clock, &metrics)?;
        Ok(Self::assemble(config, listener, local_addr, clock, hub, journal, metrics))
    }

    fn assemble(
        config: ServerConfig,
        listener: TcpListener,
        local_addr: SocketAddr,
        clock: Clock,
        hub: Hub,
        journal: Journal,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (phase, phases) = watch::channel(Phase::Ready);
        let origins = Origins::new(&config.allowed_origins, &config.allowed_hosts, local_addr.ip());
        let sequencer = Sequencer::new(hub, clock, journal, Arc::clone(&metrics), phase);
        let app = App {
            link: sequencer.link(),
            limits: Arc::new(config.limits),
            metrics,
            phase: phases,
            auth: config.auth.map(Arc::new),
            origins: Arc::new(origins),
        };
        Self { listener, local_addr, sequencer, app }
    }

    /// The address, with the port that was taken if port 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` resolves, then stops: tells connected clients, writes what is under way, and closes
    /// the store. Sessions and grants outlive this.
    ///
    /// # Errors
    /// [`RunError::StoreFailed`] when the store failed: everybody was told, and nothing more is promised.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future is a crash of the server. The store takes it, as it takes a power cut.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { listener, sequencer, app, .. } = self;
        let limits = Arc::clone(&app.limits);
        let stop = CancellationToken::new();
        let doors = Doors::new(app);
        let _watching = pays_to_watch().then(|| AbortOnDropHandle::new(tokio::spawn(sequencer.watch())));
        let mut sequencer = tokio::spawn(sequencer.run(stop.clone()));
        let accepting = tokio::spawn(doors.clone().accept(listener));

        let ended = tokio::select! {
            ended = &mut sequencer => Some(ended),
            () = shutdown => None,
        };
        doors.closing.cancel();
        let ended = match ended {
            Some(ended) => ended,
            None => {
                stop.cancel();
                sequencer.await
            }
        };
        let _cancelled = accepting.await;
        doors.connections.close();
        if tokio::time::timeout(limits.drain_timeout, doors.connections.wait()).await.is_err() {
            tracing::warn!(left = doors.connections.len(), "some connections were cut off");
        }
        doors.cut.cancel();
        match ended {
            Ok(Outcome::Stopped) => Ok(()),
            Ok(Outcome::StoreFailed(detail)) => Err(RunError::StoreFailed { detail }),
            Err(_panicked) => Err(RunError::SequencerBroke),
        }
    }
}

/// Where connections come in.
#[derive(Clone)]
struct Doors {
    app: App,
    router: Router,
    connections: TaskTracker,
    places: Arc<Semaphore>,
    /// No more requests are taken.
    closing: CancellationToken,
    /// What is left is cut off.
    cut: CancellationToken,
}

/// A connection's place among those that the server takes; a WebSocket keeps it after its upgrade.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    _seat: Arc<Seat>,
    pub(crate) connections: TaskTracker,
    pub(crate) cut: CancellationToken,
}

#[derive(Debug)]
struct Seat {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.disconnected();
    }
}

impl Doors {
    fn new(app: App) -> Self {
        Self {
            router: router(app.clone()),
            places: Arc::new(Semaphore::new(app.limits.connections)),
            app,
            connections: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let next = async {
                // Beyond the limit, connections wait in the listen queue.
                let permit = Arc::clone(&self.places).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = self.closing.cancelled() => return,
            };
            let Ok(permit) = permit else { return };
            match accepted {
                Ok((stream, _)) => self.serve(stream, permit),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely: give others time to close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // Answers are written whole; holding them back for more would only delay them.
        let _no_matter = stream.set_nodelay(true);
        let metrics = Arc::clone(&self.app.metrics);
        metrics.connected();
        let place = Place {
            _seat: Arc::new(Seat { _permit: permit, metrics }),
            connections: self.connections.clone(),
            cut: self.cut.clone(),
        };
        let closing = self.closing.clone();
        let cut = self.cut.clone();
        let router = self.router.clone();
        let limits = Arc::clone(&self.app.limits);
        self.connections.spawn(async move {
            let requests = Requests::new();
            let stream = TokioIo::new(Heard::new(stream, requests.clone()));
            let asked = requests.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(place.clone());
                asked.asked();
                let (answer, asked) = (router.clone().call(request), asked.clone());
                async move {
                    let answer = answer.await;
                    asked.answered();
                    answer
                }
            });
            let connection = http(&limits).serve_connection(stream, service).with_upgrades();
            tokio::pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = requests.overdue(limits.header_timeout, limits.write_timeout) => return,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = cut.cancelled() => return,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Counted from the answer before: a head that has begun has less, see `heard`.
    http.timer(TokioTimer::new()).header_read_timeout(limits.keep_alive).max_buf_size(16 * 1_024).keep_alive(true);
    http
}

/// The listener is well; only the connection that was about to be accepted is not.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Each client is a descriptor, and the usual limit is a thousand.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Whether the thread that serves may look at its sockets again before it sleeps: if it is the only one of its runtime,
/// and not the only processor that clients have.
fn pays_to_watch() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
        && std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1)
}

/// The runtime that a server is fastest on: one thread for connections and the sequencer, so that a request crosses
/// no thread on its way to the hub and back. The store writes on a thread of its own.
///
/// # Errors
/// When the system refuses what a runtime needs.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(crate::calm::before_park).build()
}

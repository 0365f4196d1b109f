//! The task that owns a client's socket: it connects when the machine says so, carries frames both ways, and calls the
//! machine when its time has come.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use raceproof_core::client::{Failure, Generation};
use raceproof_core::time::Time;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::socket::{Incoming, Socket};
use super::url::Address;
use super::{Shared, Work};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);
/// How long to sleep when nothing is due: what comes wakes the driver.
const NOTHING_DUE: Duration = Duration::from_secs(86_400);

type Connecting = Pin<Box<dyn Future<Output = Result<Socket, Failure>> + Send>>;

enum Transport {
    None,
    Connecting(Generation, Connecting),
    Up(Generation, Box<Socket>),
}

enum Happened {
    Connected(Generation, Result<Box<Socket>, Failure>),
    Came(Generation, Incoming),
    Woken,
}

pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: Address,
    pub(crate) token: Option<HeaderValue>,
}

impl Driver {
    pub(crate) async fn run(self) {
        let mut transport = Transport::None;
        let mut alarm = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let work = self.shared.take_work();
            let deadline = work.deadline;
            let over = work.over;
            self.apply(work, &mut transport);
            if over {
                return;
            }
            self.arm(alarm.as_mut(), deadline);
            match self.wait(&mut transport, alarm.as_mut()).await {
                Happened::Connected(generation, Ok(socket)) => {
                    transport = Transport::Up(generation, socket);
                    self.shared.with(|state, now| state.client.connected(now, generation));
                }
                Happened::Connected(generation, Err(failure)) => {
                    transport = Transport::None;
                    tracing::debug!(%failure, "no connection");
                    self.shared.with(|state, now| state.client.connect_failed(now, generation, failure));
                }
                Happened::Came(generation, incoming) => self.came(generation, incoming, &mut transport),
                Happened::Woken => self.shared.with(|state, now| state.client.tick(now)),
            }
        }
    }

    fn apply(&self, work: Work, transport: &mut Transport) {
        if work.disconnect
            && let Transport::Up(_, socket) = std::mem::replace(transport, Transport::None)
        {
            tokio::spawn(async move { tokio::time::timeout(GOODBYE, socket.close()).await });
        }
        if let Some(generation) = work.connect {
            let connecting = Socket::connect(self.address.clone(), self.token.clone());
            *transport = Transport::Connecting(generation, Box::pin(connecting));
        }
        if let Transport::Up(_, socket) = transport {
            for frame in work.frames {
                socket.send(frame.to_json());
            }
            if work.ping {
                socket.ping();
            }
        }
    }

    /// Sees to it that the alarm rings at the deadline or before. One that rings early costs an idle turn; setting it
    /// anew for every deadline that moved back costs more.
    fn arm(&self, alarm: Pin<&mut Sleep>, deadline: Option<Time>) {
        let left = deadline.map_or(NOTHING_DUE, |at| at.since(crate::clock::now()));
        let at = Instant::now() + left;
        if alarm.is_elapsed() || at < alarm.deadline() {
            alarm.reset(at);
        }
    }

    async fn wait(&self, transport: &mut Transport, alarm: Pin<&mut Sleep>) -> Happened {
        let event = poll_fn(|cx| match transport {
            Transport::None => Poll::Pending,
            Transport::Connecting(generation, connecting) => {
                let socket = |result: Result<Socket, Failure>| result.map(Box::new);
                connecting.as_mut().poll(cx).map(|result| Happened::Connected(*generation, socket(result)))
            }
            Transport::Up(generation, socket) => {
                socket.poll_next(cx).map(|incoming| Happened::Came(*generation, incoming))
            }
        });
        // What came first: after a stall the answers that wait in the socket are news, and silence is not.
        tokio::select! {
            biased;
            happened = event => happened,
            () = self.shared.wake.notified() => Happened::Woken,
            () = alarm => Happened::Woken,
        }
    }

    fn came(&self, generation: Generation, incoming: Incoming, transport: &mut Transport) {
        self.shared.with(|state, now| match incoming {
            Incoming::Text(text) => state.client.received_text(now, generation, &text),
            Incoming::Sign => state.client.heard(now, generation),
            Incoming::Stray(what) => state.client.protocol_error(now, generation, what),
            Incoming::Closed => {
                *transport = Transport::None;
                state.client.disconnected(now, generation);
            }
        });
    }
}

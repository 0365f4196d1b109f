//! Hand-driven, with a fake clock: a client and whatever its hub says.

mod election;
mod forged;
mod grants;
mod lease;
mod reconnect;

use std::time::Duration;

use super::*;
use crate::id::{Epoch, RequestId};
use crate::wire::{
    Acquire, ClientFrame, Code, Event, Grant, Mode, Problem, Request, Response, ServerFrame, WAIT_MS_FOREVER,
};

const START: Time = Time::from_millis(1_000_000);
const TTL: Duration = Duration::from_secs(10);
const KEY: SessionKey = SessionKey { id: SessionId::new(7), secret: 99 };

/// A client, the time, and everything it put out.
struct Rig {
    client: Client,
    now: Time,
    generation: Generation,
    sent: VecDeque<ClientFrame>,
    /// What it put out besides frames and connections.
    said: Vec<Output>,
    connects: u32,
    disconnects: u32,
}

impl Rig {
    fn new(config: Config) -> Self {
        let mut rig = Self {
            client: Client::new(config, 1, START),
            now: START,
            generation: Generation(0),
            sent: VecDeque::new(),
            said: Vec::new(),
            connects: 0,
            disconnects: 0,
        };
        rig.drain();
        rig
    }

    /// Connected, with the session `KEY` opened without delay.
    fn open() -> Self {
        Self::open_with(Config::default())
    }

    fn open_with(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.connect();
        rig.answer_next(opened());
        rig.said.clear();
        rig
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect { generation } => {
                    self.generation = generation;
                    self.connects += 1;
                    self.sent.clear();
                }
                Output::Send { generation, frame } => {
                    assert_eq!(generation, self.generation, "sent on another connection");
                    self.sent.push_back(frame);
                }
                Output::Disconnect { .. } => {
                    self.disconnects += 1;
                    self.sent.clear();
                }
                other => self.said.push(other),
            }
        }
    }

    fn connect(&mut self) {
        self.client.connected(self.now, self.generation);
        self.drain();
    }

    fn disconnect(&mut self) {
        self.client.disconnected(self.now, self.generation);
        self.drain();
    }

    /// Lets time pass, stopping at each deadline as a shell does.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.client.next_deadline().filter(|at| *at <= until) {
            assert!(at > self.now || self.client.next_deadline() == Some(at));
            self.now = self.now.max(at);
            self.client.tick(self.now);
            self.drain();
            if self.client.next_deadline() == Some(at) {
                panic!("a deadline that is due stays due");
            }
        }
        self.now = until;
        self.client.tick(self.now);
        self.drain();
    }

    /// The next frame that was sent, with its time forgotten.
    fn next(&mut self) -> ClientFrame {
        self.sent.pop_front().expect("nothing was sent")
    }

    /// The next frame of a kind, passing over others.
    fn next_where(&mut self, wanted: impl Fn(&Request) -> bool) -> ClientFrame {
        loop {
            let frame = self.next();
            if wanted(&frame.request) {
                return frame;
            }
        }
    }

    fn answer(&mut self, re: u64, result: Result<Response, Problem>) {
        let frame = ServerFrame::Answer { seq: 1, re, result: result.map(Box::new).map_err(Box::new) };
        self.client.received(self.now, self.generation, frame);
        self.drain();
    }

    fn answer_next(&mut self, response: Response) {
        let re = self.next().seq;
        self.answer(re, Ok(response));
    }

    fn push(&mut self, event: Event) {
        self.client.received(self.now, self.generation, ServerFrame::Push { seq: 1, event });
        self.drain();
    }

    fn acquire(&mut self, name: &str, wait_ms: u64) -> OpId {
        let op = self.client.acquire(self.now, acquire(name, wait_ms)).unwrap();
        self.drain();
        op
    }

    /// Acquired and claimed.
    fn hold(&mut self, name: &str, token: u64) -> Token {
        let op = self.acquire(name, WAIT_MS_FOREVER);
        let frame = self.next_where(|request| matches!(request, Request::Acquire(_)));
        self.answer(frame.seq, Ok(granted(name, token)));
        assert!(matches!(self.claim(op), Some(Ok(Outcome::Granted { .. }))));
        self.said.clear();
        Token::new(token)
    }

    fn claim(&mut self, op: OpId) -> Option<Result<Outcome, OpError>> {
        let result = self.client.claim(self.now, op);
        self.drain();
        result
    }

    fn cancel(&mut self, op: OpId) {
        self.client.cancel(self.now, op);
        self.drain();
    }

    fn lost(&self) -> Vec<(Token, LostReason)> {
        let lost = |output: &Output| match output {
            Output::Lost { token, reason } => Some((*token, *reason)),
            _ => None,
        };
        self.said.iter().filter_map(lost).collect()
    }

    fn held(&self) -> Vec<Token> {
        self.client.held().collect()
    }

    /// Breaks the connection, makes it again, and resumes with what the hub says it holds.
    fn resume(&mut self, held: &[Token]) -> crate::wire::Resume {
        self.disconnect();
        self.pass(Duration::ZERO);
        self.connect();
        let frame = self.next();
        let Request::Resume(resume) = frame.request else { panic!("{:?}", frame.request) };
        self.answer(frame.seq, Ok(resumed(held)));
        resume
    }
}

fn acquire(name: &str, wait_ms: u64) -> Acquire {
    Acquire { wait_ms, ..Acquire::one(name) }
}

fn opened() -> Response {
    Response::Opened { session: KEY, ttl_ms: 10_000, epoch: Epoch::new(1) }
}

fn resumed(held: &[Token]) -> Response {
    Response::Resumed { ttl_ms: 10_000, epoch: Epoch::new(1), held: held.to_vec(), lost: Vec::new() }
}

fn granted(name: &str, token: u64) -> Response {
    let token = Token::new(token);
    Response::Granted(Grant { token, names: vec![name.into()], mode: Mode::Exclusive, lease_ms: 10_000 })
}

fn problem(code: Code) -> Problem {
    Problem::new(code, "as the test says")
}

fn request_of(frame: &ClientFrame) -> Option<&RequestId> {
    match &frame.request {
        Request::Acquire(acquire) => acquire.request.as_ref(),
        Request::Campaign(campaign) => campaign.request.as_ref(),
        _ => None,
    }
}

fn releases(frame: &ClientFrame, token: Token) -> bool {
    matches!(&frame.request, Request::Release(release) if release.token == token)
}

#[test]
fn l11_the_first_connection_opens_a_session() {
    let mut rig = Rig::new(Config::default());
    assert_eq!((rig.connects, rig.client.state()), (1, ConnectionState::Connecting));
    rig.connect();
    let Request::Open(open) = rig.next().request else { panic!("no session is opened") };
    assert_eq!((&*open.name, open.ttl_ms), ("client", 10_000));
    assert_eq!(rig.client.state(), ConnectionState::Connecting, "requests are not answered yet");
}

#[test]
fn what_is_asked_before_the_session_is_open_goes_out_once_it_is() {
    let mut rig = Rig::new(Config::default());
    rig.acquire("a", WAIT_MS_FOREVER);
    rig.connect();
    assert!(matches!(rig.next().request, Request::Open(_)));
    assert!(rig.sent.is_empty());
    rig.answer(1, Ok(opened()));
    assert!(matches!(rig.next().request, Request::Acquire(_)));
    assert_eq!(rig.client.state(), ConnectionState::Connected);
}

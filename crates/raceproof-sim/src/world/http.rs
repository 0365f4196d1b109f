//! A client that speaks plain HTTP, as a script with curl would, written without the core's client machine: it keeps
//! its own lease, tries again under the same request id, asks twice at once, and closes what it has given up.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use raceproof_core::id::{RequestId, SessionKey, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{Code, LostReason, OnDisconnect, Open, Problem, Request, Response, WAIT_MS_FOREVER};

use super::asks::{Got, Purpose};
use super::clock::{Instant, MS};
use super::fact::{Fact, Loss};
use super::net::{LinkId, Message};
use super::node::Speaker;
use super::{Event, World};

/// What a call is for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Open,
    Keepalive,
    Cancel,
    Ask(Purpose),
}

#[derive(Debug)]
struct Call {
    what: What,
    request: Rc<Request>,
    session: Option<SessionKey>,
    /// Connections that carry it, with the time at which it was sent.
    links: Vec<(LinkId, Option<Time>)>,
    result: Option<Got>,
    try_at: Instant,
    tries: u32,
}

/// The client.
#[derive(Debug)]
pub(super) struct HttpClient {
    ttl_ms: u64,
    key: Option<SessionKey>,
    deadline: Time,
    keepalive_at: Time,
    calls: BTreeMap<u64, Call>,
    calls_made: u64,
    ending: bool,
}

/// What is left of a lease for the drift between two clocks.
fn margin(ttl: Duration) -> Duration {
    ttl / 50 + Duration::from_millis(2)
}

impl HttpClient {
    pub(super) const fn new(ttl_ms: u64) -> Self {
        Self {
            ttl_ms,
            key: None,
            deadline: Time::ZERO,
            keepalive_at: Time::MAX,
            calls: BTreeMap::new(),
            calls_made: 0,
            ending: false,
        }
    }

    fn call(&mut self, what: What, request: Request) -> u64 {
        self.calls_made += 1;
        let session = self.key;
        let request = Rc::new(request);
        let call = Call { what, request, session, links: Vec::new(), result: None, try_at: 0, tries: 0 };
        self.calls.insert(self.calls_made, call);
        self.calls_made
    }

    fn call_of(&self, link: LinkId) -> Option<u64> {
        let carries = |call: &&Call| call.links.iter().any(|(of, _)| *of == link);
        self.calls.iter().find(|(_, call)| carries(call)).map(|(id, _)| *id)
    }
}

impl World {
    fn http(&mut self, client: usize) -> Option<&mut HttpClient> {
        match self.nodes.get_mut(client).map(|node| &mut node.speaker) {
            Some(Speaker::Http(http)) => Some(http),
            _ => None,
        }
    }

    pub(super) fn http_begins(&mut self, client: usize) {
        let Some(http) = self.http(client) else { return };
        let open = Open { name: "http".into(), ttl_ms: http.ttl_ms, on_disconnect: OnDisconnect::Keep };
        let call = http.call(What::Open, Request::Open(open));
        self.http_try_in(client, call, 0);
    }

    fn http_try_in(&mut self, client: usize, call: u64, delay: u64) {
        let at = self.now + delay;
        if let Some(call) = self.http(client).and_then(|http| http.calls.get_mut(&call)) {
            call.try_at = at;
        }
        if let Some(node) = self.nodes.get(client) {
            let life = node.life;
            self.at(at, Event::HttpTry { client, life, call });
        }
    }

    /// Makes a connection for a call. One that has had no answer for long is made again.
    pub(super) fn http_try(&mut self, client: usize, life: u32, id: u64) {
        let now = self.now;
        if self.nodes.get(client).is_none_or(|node| node.life != life) {
            return;
        }
        let Some(call) = self.http(client).and_then(|http| http.calls.get_mut(&id)) else { return };
        if call.result.is_some() || call.try_at > now {
            return;
        }
        call.tries += 1;
        let stale: Vec<_> = std::mem::take(&mut call.links);
        let patience = match &*call.request {
            Request::Acquire(acquire) => acquire.wait_ms,
            Request::Campaign(campaign) => campaign.wait_ms,
            _ => 0,
        };
        let patience = if patience >= WAIT_MS_FOREVER { 2_000 * MS } else { patience * MS + 500 * MS };
        let twice = !matches!(call.what, What::Open);
        for (link, _) in stale {
            self.hang_up(link);
        }
        self.http_dial(client, id);
        if twice && self.rng.chance(self.plan.twice) {
            self.http_dial(client, id);
        }
        self.http_try_in(client, id, patience);
    }

    fn http_dial(&mut self, client: usize, id: u64) {
        let link = self.dial(client, true);
        if let Some(call) = self.http(client).and_then(|http| http.calls.get_mut(&id)) {
            call.links.push((link, None));
        }
    }

    pub(super) fn http_ask(&mut self, client: usize, purpose: Purpose, mut request: Request) -> Option<u64> {
        let http = self.http(client)?;
        http.key?;
        let id = RequestId::new(format!("h{}", http.calls_made + 1));
        match &mut request {
            Request::Acquire(acquire) => acquire.request = Some(id),
            Request::Campaign(campaign) => campaign.request = Some(id),
            _ => {}
        }
        let call = http.call(What::Ask(purpose), request);
        self.http_try_in(client, call, 0);
        Some(call)
    }

    pub(super) fn http_result(&mut self, client: usize, call: u64) -> Option<Got> {
        // A task that slept looks at the clock before it believes in what came meanwhile.
        self.http_tick(client);
        let http = self.http(client)?;
        http.calls.get(&call)?.result.as_ref()?;
        http.calls.remove(&call)?.result
    }

    /// Closes the connections of a call that nobody waits for, and sees to it that nothing is held by it.
    pub(super) fn http_give_up(&mut self, client: usize, id: u64) {
        let Some(call) = self.http(client).and_then(|http| http.calls.remove(&id)) else { return };
        for (link, _) in call.links {
            self.hang_up(link);
        }
        let request = match &*call.request {
            Request::Acquire(acquire) => acquire.request.clone(),
            Request::Campaign(campaign) => campaign.request.clone(),
            _ => None,
        };
        let Some(http) = self.http(client).filter(|http| http.key == call.session) else { return };
        if let Some(request) = request {
            let cancel = http.call(What::Cancel, Request::Cancel { request });
            self.http_try_in(client, cancel, 0);
        }
    }

    pub(super) fn http_receives(&mut self, client: usize, link: LinkId, message: Message) {
        self.http_tick(client);
        let now = self.local(client);
        let Some(http) = self.http(client) else { return };
        let Some(id) = http.call_of(link) else {
            self.hang_up(link);
            return;
        };
        match message {
            Message::Accepted => {
                let Some(call) = http.calls.get_mut(&id) else { return };
                for (of, sent) in &mut call.links {
                    if *of == link {
                        *sent = Some(now);
                    }
                }
                let (session, request) = (call.session, call.request.clone());
                self.trace.line(self.now, format_args!("client {client}: calls {id} {request:?}"));
                self.send(link, true, Message::Request { seq: 1, session, request });
            }
            Message::Answer { result, .. } => self.http_answered(client, id, link, result),
            Message::Refused | Message::Close => self.http_lost(client, link),
            _ => {}
        }
    }

    /// A connection went before its answer.
    pub(super) fn http_lost(&mut self, client: usize, link: LinkId) {
        let Some(http) = self.http(client) else { return };
        let Some(id) = http.call_of(link) else { return };
        let Some(call) = http.calls.get_mut(&id) else { return };
        call.links.retain(|(of, _)| *of != link);
        if call.links.is_empty() && call.result.is_none() {
            let delay = self.rng.range(MS, 30 * MS);
            self.http_try_in(client, id, delay);
        }
    }

    fn http_answered(&mut self, client: usize, id: u64, link: LinkId, answer: Result<Box<Response>, Box<Problem>>) {
        let Some(call) = self.http(client).and_then(|http| http.calls.get_mut(&id)) else { return };
        let sent = call.links.iter().find(|(of, _)| *of == link).and_then(|(_, sent)| *sent);
        let (what, tries) = (call.what.clone(), call.tries);
        match answer.map(|response| *response) {
            Err(problem) if problem.code == Code::SessionUnknown => self.http_over(client, LostReason::Unknown),
            Err(problem) if matches!(problem.code, Code::Unavailable | Code::StoreFailed) => {
                // Not an answer: it is asked again later.
                call.links.retain(|(of, _)| *of != link);
                if call.links.is_empty() {
                    let delay = self.rng.range(10 * MS, 100 * MS);
                    self.http_try_in(client, id, delay);
                }
            }
            Ok(Response::Opened { session, ttl_ms, .. }) => self.http_opened(client, id, session, ttl_ms, sent),
            Ok(Response::Renewed { ttl_ms }) => {
                self.http_forget(client, id);
                self.http_renewed(client, ttl_ms, sent);
            }
            answer => {
                let Some(key) = call.session else { return };
                let got = match answer {
                    Ok(Response::Granted(grant)) => Got::Held { token: grant.token, session: key.id },
                    Ok(Response::Elected(leader)) => Got::Held { token: leader.term, session: key.id },
                    Ok(Response::Released {} | Response::Cancelled {} | Response::Ended {}) => Got::Done,
                    Ok(response) => Got::Answer(Box::new(response)),
                    // An earlier copy may have done it.
                    Err(problem) if problem.code == Code::NotHolder && tries > 1 => Got::Failed(problem.detail),
                    Err(problem) => Got::Refused(problem.code),
                };
                self.http_got(client, id, what, got);
            }
        }
    }

    fn http_got(&mut self, client: usize, id: u64, what: What, got: Got) {
        match what {
            What::Ask(Purpose::Flow(flow)) => {
                let Some(call) = self.http(client).and_then(|http| http.calls.get_mut(&id)) else { return };
                let links = std::mem::take(&mut call.links);
                // Another copy may reach a hub that has forgotten the refusal, and be granted.
                let cancel = match (&*call.request, &got) {
                    (Request::Acquire(acquire), Got::Refused(_)) => acquire.request.clone(),
                    (Request::Campaign(campaign), Got::Refused(_)) => campaign.request.clone(),
                    _ => None,
                };
                if let Some(request) = cancel.filter(|_| links.len() > 1 || call.tries > 1)
                    && let Some(http) = self.http(client)
                {
                    let cancel = http.call(What::Cancel, Request::Cancel { request });
                    self.http_try_in(client, cancel, 0);
                }
                let Some(call) = self.http(client).and_then(|http| http.calls.get_mut(&id)) else { return };
                if call.result.is_none() {
                    call.result = Some(got);
                    self.result_is_ready(client, flow);
                }
                for (link, _) in links {
                    self.hang_up(link);
                }
            }
            What::Ask(purpose) => {
                self.http_forget(client, id);
                self.aside_done(client, &purpose, got);
            }
            _ => self.http_forget(client, id),
        }
    }

    fn http_forget(&mut self, client: usize, id: u64) {
        let Some(call) = self.http(client).and_then(|http| http.calls.remove(&id)) else { return };
        for (link, _) in call.links {
            self.hang_up(link);
        }
    }

    fn http_opened(&mut self, client: usize, id: u64, key: SessionKey, ttl_ms: u64, sent: Option<Time>) {
        self.http_forget(client, id);
        let Some(http) = self.http(client) else { return };
        if http.key.is_none() {
            http.key = Some(key);
            http.deadline = Time::ZERO;
            self.http_renewed(client, ttl_ms, sent);
            let now = self.local(client);
            if let Some(http) = self.http(client) {
                http.keepalive_at = now + Duration::from_millis(ttl_ms) / 3;
            }
            self.http_tick(client);
        }
    }

    fn http_renewed(&mut self, client: usize, ttl_ms: u64, sent: Option<Time>) {
        let (Some(sent), now) = (sent, self.now) else { return };
        let ttl = Duration::from_millis(ttl_ms);
        let Some(http) = self.http(client) else { return };
        let Some(key) = http.key else { return };
        http.deadline = http.deadline.max((sent + ttl).saturating_sub(margin(ttl)));
        let deadline = http.deadline;
        let until = self.nodes.get(client).map_or(now, |node| node.clock.when(deadline));
        self.judge.see(&Fact::Lease { client, session: key.id, until });
        self.http_plan(client);
    }

    fn http_plan(&mut self, client: usize) {
        let now = self.now;
        let Some(http) = self.http(client).filter(|http| http.key.is_some()) else { return };
        let due = http.deadline.min(http.keepalive_at);
        let Some(node) = self.nodes.get_mut(client) else { return };
        node.turn += 1;
        node.tick_at = node.clock.when(due).max(now);
        let (turn, at) = (node.turn, node.tick_at);
        self.at(at, Event::ClientTick { client, turn });
    }

    /// Looks at the lease: over, or to be renewed.
    pub(super) fn http_tick(&mut self, client: usize) {
        let now = self.local(client);
        let Some(http) = self.http(client).filter(|http| http.key.is_some()) else { return };
        if http.deadline <= now {
            self.http_over(client, LostReason::Expired);
            return;
        }
        if http.keepalive_at <= now {
            http.keepalive_at = now + Duration::from_millis(http.ttl_ms) / 3;
            let call = http.call(What::Keepalive, Request::Keepalive {});
            self.http_try_in(client, call, 0);
            self.http_plan(client);
        }
    }

    /// The session is over: everything that it held is lost, everything asked has failed.
    fn http_over(&mut self, client: usize, reason: LostReason) {
        let Some(http) = self.http(client) else { return };
        if http.key.take().is_none() {
            return;
        }
        http.keepalive_at = Time::MAX;
        let calls = std::mem::take(&mut http.calls);
        let ending = http.ending;
        let mut waiting = Vec::new();
        for (id, mut call) in calls {
            for (link, _) in std::mem::take(&mut call.links) {
                self.hang_up(link);
            }
            if let What::Ask(Purpose::Flow(flow)) = call.what {
                waiting.push(flow);
                call.result = Some(Got::Failed(format!("the session is over: {reason:?}")));
                if let Some(http) = self.http(client) {
                    http.calls.insert(id, call);
                }
            }
        }
        for token in self.tokens_held(client) {
            self.flow_loses(client, token, Loss::Told(reason));
        }
        for flow in waiting {
            self.result_is_ready(client, flow);
        }
        if ending {
            self.client_closed(client);
        } else {
            self.http_begins(client);
        }
    }

    fn tokens_held(&self, client: usize) -> Vec<Token> {
        let flows = self.nodes.get(client).map(|node| node.flows.iter()).into_iter().flatten();
        flows.flat_map(|flow| flow.held.iter().map(|holding| holding.token)).collect()
    }

    /// Ends the session.
    pub(super) fn http_close(&mut self, client: usize) {
        let Some(http) = self.http(client) else { return };
        http.ending = true;
        if http.key.is_none() {
            http.calls.clear();
            self.client_closed(client);
            return;
        }
        let call = http.call(What::Ask(Purpose::Close), Request::End {});
        self.http_try_in(client, call, 0);
    }
}

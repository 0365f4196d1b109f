//! Dialling, sending, arriving, breaking.

use std::collections::VecDeque;

use raceproof_core::hub::ConnKind;

use super::clock::MS;
use super::net::{Link, LinkId, Message, Pipe};
use super::{Event, World};
use crate::report::Happening;
use crate::world::fact::Fact;

impl World {
    pub(super) fn delay(&mut self) -> u64 {
        let usual = self.rng.range(self.plan.delay / 4, self.plan.delay);
        if self.rng.chance(if self.calm { 0 } else { self.plan.slow }) { usual * self.rng.range(2, 20) } else { usual }
    }

    /// A client begins to connect.
    pub(super) fn dial(&mut self, client: usize, http: bool) -> LinkId {
        let id = self.links.len();
        let pipe = || Pipe { queue: VecDeque::new(), last: 0, cut: false };
        let (up, down) = (pipe(), pipe());
        let lag = if self.rng.chance(self.plan.stray) { self.rng.range(20 * MS, 1_500 * MS) } else { 0 };
        self.links.push(Link { client, http, up, down, hub_open: false, client_open: true, run: 0, lag });
        let delay = self.delay();
        self.after(delay, Event::Dialled(id));
        id
    }

    /// The attempt reaches the hub's machine, whose kernel answers for it also while the hub is stopped.
    pub(super) fn dialled(&mut self, id: LinkId) {
        let run = self.hub.run;
        let is_up = self.hub.is_up();
        let Some(link) = self.links.get_mut(id) else { return };
        if !link.client_open {
            return;
        }
        if is_up {
            link.run = run;
            link.hub_open = true;
            self.send(id, true, Message::Hello);
            self.send(id, false, Message::Accepted);
        } else {
            self.send(id, false, Message::Refused);
        }
    }

    /// Puts something on a link.
    pub(super) fn send(&mut self, id: LinkId, up: bool, message: Message) {
        let (delay, now) = (self.delay(), self.now);
        let (run, is_up) = (self.hub.run, self.hub.is_up());
        let calm = self.calm;
        let Some(link) = self.links.get_mut(id) else { return };
        let delay = if up && !calm { delay + link.lag } else { delay };
        let stale = link.run != run && is_up;
        let pipe = link.pipe(up);
        if pipe.cut {
            if up && stale {
                // Another process has the port: it resets what it does not know.
                self.after(delay, Event::CutSeen { link: id, by_hub: false });
            }
            return;
        }
        // What is said at the kernel's level, before the connection exists, takes no time behind the connection.
        let at = if matches!(message, Message::Hello) { now } else { (now + delay).max(pipe.last) };
        pipe.last = at;
        pipe.queue.push_back((at, message));
        self.at(at, Event::Arrive { link: id, up });
    }

    /// What is due on a pipe arrives.
    pub(super) fn arrive(&mut self, id: LinkId, up: bool) {
        let now = self.now;
        while let Some(link) = self.links.get_mut(id) {
            let pipe = link.pipe(up);
            if pipe.queue.front().is_none_or(|(at, _)| *at > now) {
                break;
            }
            let Some((_, message)) = pipe.queue.pop_front() else { break };
            if up { self.hub_receives(id, message) } else { self.client_receives(id, message) }
        }
    }

    fn hub_receives(&mut self, id: LinkId, message: Message) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (client, http) = (link.client, link.http);
        if !link.hub_open || link.run != self.hub.run {
            return;
        }
        match message {
            Message::Hello => {
                let kind = if http { ConnKind::Request } else { ConnKind::Socket };
                self.judge.see(&Fact::Connected { link: id, client, http });
                self.trace.line(self.now, format_args!("hub: link {id} from client {client} ({kind:?})"));
                self.hub_input(super::hub::Input::Other, |hub, now| hub.connect(now, Link::conn(id), kind));
            }
            Message::Request { seq, session, request } => self.hub_asked(id, seq, session, &request),
            Message::Ping => self.send(id, false, Message::Pong),
            Message::Close => {
                link.hub_open = false;
                link.down.cut = true;
                self.hub_loses(id);
            }
            _ => {}
        }
    }

    /// The hub learns that a link is gone.
    pub(super) fn hub_loses(&mut self, id: LinkId) {
        self.trace.line(self.now, format_args!("hub: link {id} is gone"));
        self.judge.see(&Fact::Disconnected { link: id });
        self.hub_input(super::hub::Input::Other, |hub, now| hub.disconnect(now, Link::conn(id)));
        // What an HTTP request leaves behind that went before its answer, before its caller can say anything else.
        if self.links.get(id).is_some_and(|link| link.http) {
            self.look_at_hub();
        }
    }

    fn client_receives(&mut self, id: LinkId, message: Message) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !link.client_open {
            return;
        }
        let (client, http) = (link.client, link.http);
        if matches!(message, Message::Close | Message::Refused) {
            link.client_open = false;
            link.up.cut = true;
        }
        if http { self.http_receives(client, id, message) } else { self.machine_receives(client, id, message) }
    }

    /// A client closes a link.
    pub(super) fn hang_up(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.client_open {
            link.client_open = false;
            link.down.cut = true;
            self.send(id, true, Message::Close);
        }
    }

    /// A connection breaks: what is on it is lost, and its ends learn of it in time, late, or when they next look.
    pub(super) fn cut(&mut self, id: LinkId) {
        let arrives = self.plan.stray > 0 && !self.calm && self.hub.is_up() && self.rng.chance(500);
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else { return };
        // What the client has said may be behind the break already, and come out late.
        let said = if arrives { link.up.last.saturating_sub(now) } else { 0 };
        for up in [true, false] {
            let pipe = link.pipe(up);
            pipe.cut = true;
            if !up || said == 0 {
                pipe.queue.clear();
            }
        }
        self.trace.line(self.now, format_args!("link {id} breaks"));
        self.count(Happening::Broken);
        for by_hub in [true, false] {
            let late = self.rng.chance(self.plan.half_open);
            let delay = if late { self.rng.range(100 * MS, 4_000 * MS) } else { self.rng.range(0, 5 * MS) };
            let delay = if by_hub { delay.max(said + 1) } else { delay };
            self.after(delay, Event::CutSeen { link: id, by_hub });
        }
    }

    pub(super) fn cut_seen(&mut self, id: LinkId, by_hub: bool) {
        let run = self.hub.run;
        let is_up = self.hub.is_up();
        let Some(link) = self.links.get_mut(id) else { return };
        let client = link.client;
        let http = link.http;
        if by_hub {
            if std::mem::take(&mut link.hub_open) && link.run == run && is_up {
                self.hub_loses(id);
            }
            return;
        }
        if std::mem::take(&mut link.client_open) {
            self.trace.line(self.now, format_args!("client {client}: link {id} is gone"));
            if http { self.http_lost(client, id) } else { self.machine_lost(client, id) }
        }
    }

    /// Every open link of a client, or of all.
    pub(super) fn open_links(&self, client: Option<usize>) -> Vec<LinkId> {
        let open = self.links.iter().enumerate().filter(|(_, link)| link.client_open || link.hub_open);
        open.filter(|(_, link)| client.is_none_or(|client| link.client == client)).map(|(id, _)| id).collect()
    }
}

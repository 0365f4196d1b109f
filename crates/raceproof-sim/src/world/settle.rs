//! The end of a run: nothing fails any more, everything under way must come to an end, and nothing may be left.

use raceproof_core::wire::{Request, Response};

use super::clock::{MS, SECOND};
use super::fact::Fact;
use super::flows::At;
use super::node::Speaker;
use super::{Event, World};

/// How long everything may take to end: leases of crashed clients, lock-delays, waits for holders from before a crash,
/// connections whose end nobody sees for long.
const PATIENCE: u64 = 30 * SECOND;

impl World {
    /// Nothing fails any more: who is stopped goes on, who is cut off is reached, whatever is down comes up.
    pub(super) fn becomes_calm(&mut self) {
        self.calm = true;
        self.trace.line(self.now, format_args!("nothing fails any more"));
        let run = self.hub.run;
        if self.hub.is_stalled() {
            self.hub_goes_on(run);
        }
        if !self.hub.is_up() {
            self.start_hub();
        }
        for client in 0..self.nodes.len() {
            let Some(life) = self.nodes.get(client).map(|node| node.life) else { continue };
            self.client_goes_on(client, life);
            self.healed(client, true, true);
            if let Some(node) = self.nodes.get_mut(client)
                && node.is_dead()
            {
                node.closed = true;
            }
        }
        self.after(PATIENCE, Event::Overdue);
        self.after(MS, Event::Look);
    }

    /// A client whose tasks have all ended ends its session.
    pub(super) fn maybe_close(&mut self, client: usize) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        if node.closing || !node.flows.iter().all(|flow| matches!(flow.at, At::Done)) {
            return;
        }
        node.closing = true;
        match node.speaker {
            Speaker::Machine(_) => self.machine_close(client),
            Speaker::Http(_) => self.http_close(client),
            Speaker::Dead => self.client_closed(client),
        }
    }

    pub(super) fn client_closed(&mut self, client: usize) {
        if let Some(node) = self.nodes.get_mut(client) {
            node.closed = true;
        }
    }

    /// Looks at the hub's lists, and at the end whether all has ended.
    pub(super) fn look(&mut self) {
        if self.hub.is_up() && !self.hub.is_stalled() {
            self.look_at_hub();
        }
        if self.calm && self.has_ended() {
            let table = self.table();
            let snapshot_bytes = self.hub.snapshot_bytes();
            self.judge.see(&Fact::Settled { table: &table, snapshot_bytes });
            self.over = true;
            return;
        }
        let next = if self.calm { 20 * MS } else { self.rng.range(5 * MS, 60 * MS) };
        self.after(next, Event::Look);
    }

    /// Shows the hub's own lists to the judge.
    pub(super) fn look_at_hub(&mut self) {
        if self.hub.waits_for_nothing() {
            self.judge.complain("liveness", "answers wait for a record that the hub has not written".into());
        }
        let table = self.table();
        self.judge.see(&Fact::Listed(&table));
        for name in self.judge.elections() {
            if let Some(Response::Election(election)) = self.ask_aside(Request::Election { name }) {
                self.judge.see(&Fact::Led(&election));
            }
        }
    }

    fn has_ended(&self) -> bool {
        let Some(stats) = self.hub.stats() else { return false };
        let idle = stats.sessions == 0 && stats.grants == 0 && stats.waits == 0 && stats.names == 0;
        idle && self.nodes.iter().all(|node| node.closed)
    }

    /// Too much time has passed: somebody waits for ever, or something is left over.
    pub(super) fn overdue(&mut self) {
        self.over = true;
        let stats = self.hub.stats();
        let flows: Vec<String> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| !node.closed)
            .map(|(client, node)| {
                let flows: Vec<_> = node.flows.iter().map(|flow| &flow.at).collect();
                format!("client {client} (closing {}): {flows:?}", node.closing)
            })
            .collect();
        let table = self.table();
        self.judge
            .complain("liveness", format!("something never ends: {flows:?}; hub: {stats:?}; table: {:?}", table.locks));
    }

    /// What the hub would answer to a look, at once and without anybody noticing.
    pub(super) fn ask_aside(&mut self, request: Request) -> Option<Response> {
        let now = self.hub.clock.read(self.now);
        self.hub_mut()?.peek(now, &request)
    }
}

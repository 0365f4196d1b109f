//! Which part of the world an event concerns, and what waits while that part stands still.

use super::{Event, World};

impl World {
    /// Keeps an event for later if whom it concerns is stopped or cut off; gives it back otherwise.
    pub(super) fn put_off(&mut self, event: Event) -> Option<Event> {
        let (to_hub, client, up) = match &event {
            Event::Dialled(link) => (false, self.client_of(*link), Some(true)),
            Event::Arrive { link, up } => (*up, self.client_of(*link), Some(*up)),
            Event::CutSeen { link, by_hub } => (*by_hub, self.client_of(*link), None),
            Event::HubTick { .. }
            | Event::Flushed { .. }
            | Event::FlushLazily { .. }
            | Event::SnapshotWritten { .. } => (true, None, None),
            Event::ClientTick { client, .. } | Event::HttpTry { client, .. } | Event::FlowStep { client, .. } => {
                (false, Some(*client), None)
            }
            _ => return Some(event),
        };
        let to_client = up != Some(true) && !to_hub;
        if to_hub && self.hub.is_stalled() {
            self.hub.waiting.push(event);
            return None;
        }
        let Some(node) = client.and_then(|client| self.nodes.get_mut(client)) else { return Some(event) };
        let cut_off = match up {
            Some(true) => node.cut_off_up,
            Some(false) => node.cut_off_down,
            None => false,
        };
        if cut_off {
            node.in_transit.push(event);
            return None;
        }
        if to_client && node.is_frozen() {
            node.waiting.push(event);
            return None;
        }
        Some(event)
    }

    fn client_of(&self, link: usize) -> Option<usize> {
        self.links.get(link).map(|link| link.client)
    }

    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Dialled(link) => self.dialled(link),
            Event::Arrive { link, up } => self.arrive(link, up),
            Event::CutSeen { link, by_hub } => self.cut_seen(link, by_hub),
            Event::HubTick { turn } => self.hub_tick(turn),
            Event::Flushed { run } => self.disk_flushed(run),
            Event::FlushLazily { run } => self.flush_lazily(run),
            Event::SnapshotWritten { run } => self.snapshot_written(run),
            Event::HubStart { run } => self.hub_starts(run),
            Event::HubGoesOn { run } => self.hub_goes_on(run),
            Event::ClientTick { client, turn } => self.client_tick(client, turn),
            Event::ClientGoesOn { client, life } => self.client_goes_on(client, life),
            Event::ClientStart { client, life } => self.client_starts(client, life),
            Event::Healed { client, up, down } => self.healed(client, up, down),
            Event::HttpTry { client, life, call } => self.http_try(client, life, call),
            Event::FlowStep { client, life, flow, turn } => self.flow_step(client, life, flow, turn),
            Event::ResourceReached { index } => self.resource_reached(index),
            Event::Fault { index } => self.fault(index),
            Event::Look => self.look(),
            Event::Calm => self.becomes_calm(),
            Event::Overdue => self.overdue(),
        }
    }
}

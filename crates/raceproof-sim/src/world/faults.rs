//! The faults of a plan, made to happen.

use std::rc::Rc;

use raceproof_core::wire::Request;

use super::clock::MS;
use super::plan::Fault;
use super::{Event, World};
use crate::report::Happening;

impl World {
    pub(super) fn fault(&mut self, index: usize) {
        let Some((_, fault)) = self.plan.faults.get(index).cloned() else { return };
        if self.calm {
            return;
        }
        match fault {
            Fault::HubCrash { down, kept } => {
                self.kill_hub(down, kept);
            }
            Fault::HubStall { length } => self.stall_hub(length),
            Fault::Snapshot => {
                if !self.hub.is_stalled() {
                    self.begin_snapshot();
                }
            }
            Fault::DiskFails { down } => self.fail_disk(down),
            Fault::Drain => {
                if !self.hub.is_stalled() {
                    self.count(Happening::Drained);
                    self.hub_input(super::hub::Input::Other, raceproof_core::hub::Hub::drain);
                }
            }
            Fault::WallClockJumps(by) => {
                let unix_ms = (1_700_000_000_000 + self.now / MS).saturating_add_signed(by);
                let now = self.hub.clock.read(self.now);
                if let Some(hub) = self.hub_mut() {
                    hub.set_wall_clock(now, unix_ms);
                    self.count(Happening::WallClockJumped);
                }
            }
            Fault::Break { client, one } => {
                let mut links = self.open_links(Some(client));
                if one {
                    self.rng.shuffle(&mut links);
                    links.truncate(1);
                }
                for link in links {
                    self.cut(link);
                }
            }
            Fault::Partition { client, up, down, length } => self.partition(client, up, down, length),
            Fault::Freeze { client, length } => self.freeze(client, length),
            Fault::Crash { client, down } => self.kill_client(client, down),
            Fault::Steal { name } => self.operator_steals(name),
        }
    }

    fn stall_hub(&mut self, length: u64) {
        if !self.hub.is_up() || self.hub.is_stalled() {
            return;
        }
        self.trace.line(self.now, format_args!("hub: is stopped for {} ms", length / MS));
        self.count(Happening::Stalled);
        self.hub.stalled = Some(self.now);
        let run = self.hub.run;
        self.after(length, Event::HubGoesOn { run });
    }

    /// An operator's request, from a connection of its own.
    fn operator_steals(&mut self, name: usize) {
        if !self.hub.is_up() || self.hub.is_stalled() {
            return;
        }
        let link = self.links.len();
        self.dial(usize::MAX, true);
        let run = self.hub.run;
        if let Some(link) = self.links.get_mut(link) {
            link.run = run;
            link.hub_open = true;
            link.client_open = false;
        }
        self.count(Happening::Stolen);
        self.send(link, true, super::net::Message::Hello);
        let request = Rc::new(Request::Steal { name: format!("n{name}").into() });
        self.send(link, true, super::net::Message::Request { seq: 1, session: None, request });
    }
}

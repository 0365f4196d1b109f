//! What the locks protect: for each name one resource that remembers the highest token it was shown and refuses lower
//! ones, and one that does not look at tokens. Each holds a number that holders read and write back one greater.

use raceproof_core::id::Token;
use raceproof_core::wire::{Mode, Request};

use super::clock::MS;
use super::{Event, World};
use crate::report::Happening;

/// One way to or from a resource.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    client: usize,
    life: u32,
    name: usize,
    token: Token,
    /// Writes one more than this; reads without.
    read: [Option<u64>; 2],
}

#[derive(Clone, Debug, Default)]
struct Resource {
    highest: Token,
    fenced: u64,
    unfenced: u64,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Resources {
    of: Vec<Resource>,
}

impl Resources {
    pub(super) fn new(names: usize) -> Self {
        Self { of: vec![Resource::default(); names] }
    }
}

impl World {
    /// A holder reads (at the beginning) or writes what it has read.
    pub(super) fn touch_resources(&mut self, client: usize, token: Token, request: &Request, begin: bool) {
        let Request::Acquire(acquire) = request else { return };
        let [name] = acquire.names.as_slice() else { return };
        if acquire.permits.is_some() || acquire.mode != Mode::Exclusive {
            return;
        }
        let Some(name) = name.strip_prefix('n').and_then(|digits| digits.parse().ok()) else { return };
        let Some(node) = self.nodes.get(client) else { return };
        let life = node.life;
        let holding = node.flows.iter().flat_map(|flow| &flow.held).find(|holding| holding.token == token);
        let Some(read) = holding.map(|holding| holding.read) else { return };
        if !begin && read == [None; 2] {
            return;
        }
        let read = if begin { [None; 2] } else { read };
        // It writes back once what it has read.
        let flows = self.nodes.get_mut(client).into_iter().flat_map(|node| &mut node.flows);
        for holding in flows.flat_map(|flow| &mut flow.held).filter(|holding| holding.token == token) {
            holding.read = [None; 2];
        }
        let index = self.writes.len();
        self.writes.push(Write { client, life, name, token, read });
        let delay = if self.rng.chance(50) { self.rng.range(0, 400 * MS) } else { self.rng.range(0, 2 * MS) };
        self.after(delay, Event::ResourceReached { index });
    }

    pub(super) fn resource_reached(&mut self, index: usize) {
        let Some(write) = self.writes.get(index).cloned() else { return };
        let Some(resource) = self.resources.of.get_mut(write.name) else { return };
        let accepted = write.token >= resource.highest;
        let mut lost = false;
        if accepted {
            resource.highest = write.token;
            if let [Some(read), _] = write.read {
                lost = resource.fenced != read;
                resource.fenced = read + 1;
            }
        }
        if let [_, Some(read)] = write.read {
            if resource.unfenced != read {
                self.judge.report_mut().count(Happening::LostUnfenced);
            }
            resource.unfenced = read + 1;
        }
        let seen = [accepted.then_some(resource.fenced), Some(resource.unfenced)];
        self.trace.line(self.now, format_args!("resource n{}: {write:?} accepted: {accepted}", write.name));
        if write.read != [None; 2] {
            self.count(Happening::Wrote);
        }
        if !accepted {
            self.count(Happening::FencedOff);
            self.judge.fenced_off(write.token);
        }
        if lost {
            self.judge
                .complain("l9_fence", format!("token {} wrote over an increment of n{}", write.token, write.name));
        }
        // The answer to a read: what the holder will write back. It takes no time, which makes its race the harder.
        let Some(node) = self.nodes.get_mut(write.client).filter(|node| node.life == write.life) else { return };
        for holding in node.flows.iter_mut().flat_map(|flow| &mut flow.held) {
            if holding.token == write.token {
                holding.read = seen;
            }
        }
    }
}

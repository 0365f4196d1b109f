//! Finding a cycle of waiters at the moment it would close (L6).
//!
//! Every edge that a new wait adds touches the new wait, so a cycle that it closes passes through it: the newcomer is
//! the one that is refused, and nobody else is. Which waits can still come to an end is found by reduction (the
//! graph-reduction test for deadlock of Holt, 1972): whoever does not wait will finish and give back what it holds; a
//! wait that could be served then will finish too; and so on. This covers shared locks and semaphores, where a waiter
//! needs only some of the holders to leave. Whatever remains is stuck.
//!
//! A flow with several waits at once is taken to go on as soon as one of them is served (as in a `select!`), so that
//! no alarm is false.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::Load;
use super::{Flow, Grant, Key, LockTable, Wait, WaitId};

/// One step of a cycle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// Who waits.
    pub flow: Flow,
    /// For what.
    pub key: Key,
}

/// One flow on the way of a search, with the ways that are still to be tried from it.
struct Step {
    flow: Flow,
    ways: Vec<(Key, Flow)>,
}

impl LockTable {
    /// The cycle that `id`, which has just been put in its queues, closes; itself first. `None` if it closes none.
    #[must_use]
    pub fn deadlock(&self, id: WaitId) -> Option<Vec<Blocked>> {
        let wait = self.waits.get(&id)?;
        let flow = wait.flow()?;
        if !self.can_be_waited_for(wait, &flow) {
            return None;
        }
        let stuck = self.stuck(wait, &flow);
        if stuck.contains(&flow) { self.cycle(wait, flow, &stuck) } else { None }
    }

    /// Most requests come from a flow that holds nothing, and come last: nobody waits for them, so no cycle closes.
    fn can_be_waited_for(&self, wait: &Wait, flow: &Flow) -> bool {
        let used = self.flows.get(flow);
        let is_last = |key| self.entries.get(key).and_then(|entry| entry.queue.last()) == Some(&wait.ticket);
        used.is_some_and(|used| used.grants > 0 || used.waits.len() > 1) || !wait.keys.iter().all(is_last)
    }

    /// The flows reachable from `wait` that can never go on.
    fn stuck(&self, wait: &Wait, flow: &Flow) -> BTreeSet<Flow> {
        let (mut stuck, keys) = self.reachable(wait, flow);
        loop {
            let before = stuck.len();
            let mut admitted = BTreeMap::new();
            for key in &keys {
                self.reduce(key, &mut stuck, &mut admitted);
            }
            if stuck.len() == before {
                return stuck;
            }
        }
    }

    /// Every waiting flow that `wait` may depend on, itself included, and every name they wait for.
    fn reachable(&self, wait: &Wait, flow: &Flow) -> (BTreeSet<Flow>, BTreeSet<Key>) {
        let mut flows = BTreeSet::from([flow.clone()]);
        let mut keys = BTreeSet::new();
        let mut open: Vec<Key> = self.waits_of(flow).chain([wait]).flat_map(|wait| wait.keys.clone()).collect();
        while let Some(key) = open.pop() {
            if !keys.insert(key.clone()) {
                continue;
            }
            let holders = self.holders(&key).filter_map(Grant::flow);
            for other in holders.chain(self.waiters(&key).filter_map(Wait::flow)) {
                if !flows.contains(&other) && self.waits_of(&other).next().is_some() {
                    open.extend(self.waits_of(&other).flat_map(|wait| wait.keys.iter().cloned()));
                    flows.insert(other);
                }
            }
        }
        (flows, keys)
    }

    fn waits_of(&self, flow: &Flow) -> impl Iterator<Item = &Wait> {
        let waits = self.flows.get(flow).map(|used| used.waits.as_slice()).unwrap_or_default();
        waits.iter().filter_map(|id| self.waits.get(id))
    }

    /// Walks one queue and takes out of `stuck` every flow with a wait that would be served if all that are not stuck
    /// finished.
    fn reduce(&self, key: &Key, stuck: &mut BTreeSet<Flow>, admitted: &mut BTreeMap<WaitId, usize>) {
        let mut load = Load::default();
        for grant in self.holders(key) {
            if grant.flow().is_some_and(|flow| stuck.contains(&flow)) {
                load.add(grant.claim);
            }
        }
        for wait in self.waiters(key) {
            let Some(flow) = wait.flow().filter(|flow| stuck.contains(flow)) else { continue };
            if load.admits(wait.claim) {
                let names = admitted.entry(wait.ticket.id()).or_default();
                *names += 1;
                if *names == wait.keys.len() {
                    stuck.remove(&flow);
                    continue;
                }
            }
            load.add(wait.claim);
        }
    }

    /// A way from `wait` through stuck flows back to its own, depth first with a stack of its own, because a chain of
    /// waiters can be long.
    fn cycle(&self, wait: &Wait, home: Flow, stuck: &BTreeSet<Flow>) -> Option<Vec<Blocked>> {
        let mut seen = BTreeSet::new();
        let mut path = Vec::new();
        let mut steps = vec![Step { ways: self.blockers(wait, stuck), flow: home.clone() }];
        while let Some(step) = steps.last_mut() {
            let Some((key, to)) = step.ways.pop() else {
                steps.pop();
                path.pop();
                continue;
            };
            let from = step.flow.clone();
            path.push(Blocked { flow: from, key });
            if to == home {
                return Some(path);
            }
            if seen.insert(to.clone()) {
                let ways = self.waits_of(&to).flat_map(|wait| self.blockers(wait, stuck)).collect();
                steps.push(Step { flow: to, ways });
            } else {
                path.pop();
            }
        }
        None
    }

    /// The stuck flows that stand in the way of `wait`, each with the name where they do.
    fn blockers(&self, wait: &Wait, stuck: &BTreeSet<Flow>) -> Vec<(Key, Flow)> {
        let mut blockers = Vec::new();
        for key in &wait.keys {
            let before = self.waiters(key).take_while(|other| other.ticket < wait.ticket);
            let before = before.filter(|other| other.claim.conflicts(wait.claim)).filter_map(Wait::flow);
            let holders = self.holders(key).filter(|grant| grant.claim.conflicts(wait.claim)).filter_map(Grant::flow);
            // Holders last: the search takes from the end, and a cycle through holders reads best.
            let here = before.chain(holders).filter(|flow| stuck.contains(flow));
            blockers.extend(here.map(|flow| (key.clone(), flow)));
        }
        blockers
    }
}

//! Three runs, and what has to hold in each.

use std::time::{Duration, SystemTime};

use crate::clients::{Clients, Outcomes};
use crate::common::server::Server;
use crate::havoc::{Havoc, Strike, force_a_stale_write};
use crate::resource::Resource;

/// What a run of `raceproof lock` may end with here: the command's 0 and 3, no server, lease lost, a command or a wrapper
/// that was killed.
const CODES: [i32; 7] = [0, 3, 69, 70, 137, 143, 1_009];

fn seed() -> u64 {
    let given = std::env::var("CHAOS_SEED").ok().map(|text| text.parse().expect("a seed"));
    let seed = given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    });
    println!("CHAOS_SEED={seed}");
    seed
}

struct Scene {
    server: Server,
    resource: Resource,
    clients: Clients,
    havoc: Havoc,
}

impl Scene {
    fn start(ttl: Duration, checks: bool, watchdogs: bool) -> Self {
        let seed = seed();
        let server = Server::start();
        let resource = Resource::start(server.home.path(), checks);
        let clients = Clients::start(&server, &resource, ttl, seed);
        Self { server, resource, clients, havoc: Havoc::new(seed, ttl, watchdogs) }
    }

    fn rage(&mut self, length: Duration) {
        self.havoc.rage(length, &mut self.server, &self.clients);
    }

    /// Rages until everything there is has struck at least once, and then by chance alone.
    fn rage_fully(&mut self) {
        self.rage(Duration::from_secs(12));
        // A busy machine needs longer for it.
        for _ in 0..30 {
            if !self.havoc.missing().is_empty() {
                self.rage(Duration::from_secs(1));
            }
        }
        assert_eq!(self.havoc.missing(), [], "did not happen: this proves nothing");
    }

    /// Stops, and asserts what holds whatever the resource does.
    fn finish(self) -> (Server, Resource, Outcomes) {
        self.resource.hurry();
        let outcomes = self.clients.finish();
        let history = self.resource.history();
        println!("havoc: {:?}", tally(&self.havoc.done));
        println!(
            "{} increments, {} refused, {} stale, {} lost; exit codes {:?}",
            history.taken.len(),
            history.refused.len(),
            history.stale.len(),
            history.lost.len(),
            outcomes.codes
        );
        let strange: Vec<_> = outcomes.codes.keys().filter(|code| !CODES.contains(code)).collect();
        assert!(strange.is_empty(), "strange exit codes: {strange:?}");
        assert_eq!(history.repeated(), 0, "a token was given twice");
        let unheard = outcomes.acknowledged.iter().filter(|token| !history.taken.contains(token)).count();
        assert_eq!(unheard, 0, "acknowledged and not taken");
        drop(history);
        (self.server, self.resource, outcomes)
    }
}

fn tally(done: &[Strike]) -> std::collections::BTreeMap<Strike, usize> {
    let mut tally = std::collections::BTreeMap::new();
    for what in done {
        *tally.entry(*what).or_default() += 1;
    }
    tally
}

#[track_caller]
fn assert_intact(resource: &Resource, outcomes: &Outcomes, at_least: usize) {
    assert!(outcomes.codes.contains_key(&1_009), "no wrapper was seen killed: this proves nothing");
    let history = resource.history();
    assert_eq!(history.stale, [0; 0], "stale writes were taken");
    assert_eq!(history.lost, [0; 0], "increments were lost");
    assert_eq!(resource.counter(), history.taken.len() as u64);
    assert!(history.taken.is_sorted(), "tokens must grow: {:?}", history.taken);
    assert!(history.taken.len() >= at_least, "only {} increments: the clients are stuck", history.taken.len());
}

pub(crate) fn a_resource_that_checks_tokens() {
    let mut scene = Scene::start(Duration::from_secs(1), true, true);
    force_a_stale_write(&scene.clients, &scene.resource);
    scene.rage_fully();
    let (_server, resource, outcomes) = scene.finish();
    assert!(!resource.history().refused.is_empty(), "the stale write was to be refused");
    assert_intact(&resource, &outcomes, 3);
}

pub(crate) fn a_resource_that_checks_no_tokens() {
    let mut scene = Scene::start(Duration::from_secs(1), false, true);
    force_a_stale_write(&scene.clients, &scene.resource);
    scene.rage(Duration::from_secs(3));
    let (_server, resource, _) = scene.finish();
    let history = resource.history();
    assert!(!history.stale.is_empty(), "the stale write was to arrive: this proves nothing");
    assert!(!history.lost.is_empty(), "the stale write was to destroy an increment: this proves nothing");
    assert!(resource.counter() < history.taken.len() as u64);
}

pub(crate) fn watchdogs_alone() {
    let mut scene = Scene::start(Duration::from_secs(2), false, false);
    scene.rage_fully();
    let (_server, resource, outcomes) = scene.finish();
    assert_intact(&resource, &outcomes, 3);
}

//! A server that is killed and started again on its store. L13: a holder that lives through it keeps its lock, in either
//! class of durability, also if the disk never heard of it; L2: no token comes twice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use raceproof::{Class, Guard, Raceproof, Token};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::process::Process;
use crate::proxy::{Proxy, Way};
use crate::support::{PATIENCE, call, client};

const LEASE: Duration = Duration::from_secs(100);
const CLASSES: [(&str, Class); 2] = [("durable", Class::Durable), ("reclaim", Class::Reclaim)];

/// A server that is killed now and then, a holder, and a rival that is always back first.
struct World<'d> {
    dir: &'d Path,
    process: Process,
    server: SocketAddr,
    /// The holder's way.
    slow: Proxy,
    /// The rival's.
    fast: Proxy,
    holder: Raceproof,
    rival: Raceproof,
}

impl<'d> World<'d> {
    async fn new(dir: &'d Path) -> Self {
        let (process, server) = Process::server(dir, None).await;
        let (slow, fast) = (Proxy::start(server).await, Proxy::start(server).await);
        let holder = client(slow.addr, LEASE).name("holder").connect().await.unwrap();
        let rival = client(fast.addr, LEASE).name("rival").connect().await.unwrap();
        Self { dir, process, server, slow, fast, holder, rival }
    }

    /// Starts the server again; the holder does not reach it yet.
    async fn restart(&mut self) {
        self.process.kill();
        self.slow.cut(Way::Up);
        self.slow.cut(Way::Down);
        (self.process, self.server) = Process::server(self.dir, None).await;
        self.slow.lead_to(self.server);
        self.fast.lead_to(self.server);
    }

    fn rival_waits(&self, name: &str, class: Class) -> JoinHandle<Guard> {
        let lock = self.rival.lock(name).class(class).wait(PATIENCE * 4);
        tokio::spawn(async move { lock.acquire().await.unwrap() })
    }

    /// Returns when the server knows that the rival waits; says whether it knows a holder.
    async fn queued(&self, name: &str, rival: &JoinHandle<Guard>) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(!rival.is_finished(), "{name} was granted while a holder believed");
            let (_, lock) = call(self.server, "GET", &format!("/v1/locks/{name}"), None).await;
            if lock["waiters_count"] == 1 {
                return lock["holders"].as_array().is_some_and(|holders| !holders.is_empty());
            }
            assert!(Instant::now() < end, "the rival does not ask again: {lock}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn still_held(&self, name: &str, guard: &Guard) {
        assert!(guard.is_valid(), "{name}: {:?}", guard.lost_reason());
        let (_, lock) = call(self.server, "GET", &format!("/v1/locks/{name}"), None).await;
        assert_eq!(lock["holders"][0]["token"], guard.token().as_u64(), "{lock}");
    }
}

/// Tokens in the order in which they were handed out.
#[derive(Default)]
struct Tokens(BTreeSet<Token>);

impl Tokens {
    fn next(&mut self, token: Token) {
        assert!(self.0.last().is_none_or(|last| *last < token), "{token} after {:?}", self.0);
        self.0.insert(token);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l13_a_holder_keeps_its_locks_of_both_classes_through_kills_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    let mut tokens = Tokens::default();
    let (mut guards, mut waits) = (Vec::new(), Vec::new());
    for (name, class) in CLASSES {
        guards.push(world.holder.lock(name).class(class).acquire().await.unwrap());
        tokens.next(guards.last().unwrap().token());
        waits.push(world.rival_waits(name, class));
        assert!(world.queued(name, waits.last().unwrap()).await, "{name} has no holder");
    }
    for kill in 0..5 {
        world.restart().await;
        // Both were on disk when they were told of (the first of the class `reclaim` of a run is), so the server has to
        // know them before their holder is back: a holder that brings them back would hide that they were lost.
        for ((name, _), wait) in CLASSES.iter().zip(&waits) {
            assert!(world.queued(name, wait).await, "the server has lost {name} in kill {kill}");
        }
        // Nothing is granted, not even what nobody ever held, until everybody is back who may hold something.
        let names = CLASSES.map(|(name, class)| (format!("other-{name}-{kill}"), class));
        let others: Vec<_> = names.iter().map(|(name, class)| world.rival_waits(name, *class)).collect();
        for ((name, _), other) in names.iter().zip(&others) {
            assert!(!world.queued(name, other).await, "nobody holds {name}");
        }
        world.slow.heal();
        for other in others {
            let other = timeout(PATIENCE, other).await.unwrap().unwrap();
            tokens.next(other.token());
            other.release().await.unwrap();
        }
        for (guard, (name, _)) in guards.iter().zip(CLASSES) {
            world.still_held(name, guard).await;
        }
    }
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    for (guard, wait) in guards.into_iter().zip(waits) {
        guard.release().await.unwrap();
        let next = timeout(PATIENCE, wait).await.unwrap().unwrap();
        tokens.next(next.token());
        next.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l13_a_grant_that_the_disk_never_heard_of_is_its_holders_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    let mut tokens = Tokens::default();
    let mut unknown = 0;
    // The kill comes within the 5 ms that such a record may take: not every time on a busy machine.
    for round in 0..20 {
        let name = format!("fresh-{round}");
        let guard = world.holder.lock(name.as_str()).class(Class::Reclaim).wait(PATIENCE).acquire().await.unwrap();
        world.restart().await;
        tokens.next(guard.token());
        let rival = world.rival_waits(&name, Class::Reclaim);
        if !world.queued(&name, &rival).await {
            unknown += 1;
        }
        world.slow.heal();
        // Both are back when something else is granted to each.
        for rp in [&world.holder, &world.rival] {
            let other = timeout(PATIENCE, rp.lock("other").wait(PATIENCE).acquire()).await.unwrap().unwrap();
            tokens.next(other.token());
            other.release().await.unwrap();
        }
        world.still_held(&name, &guard).await;
        assert!(!rival.is_finished());
        guard.release().await.unwrap();
        let next = timeout(PATIENCE, rival).await.unwrap().unwrap();
        tokens.next(next.token());
        next.release().await.unwrap();
        if unknown == 3 {
            return;
        }
    }
    panic!("the server was not killed before its writes often enough: {unknown} of 20");
}

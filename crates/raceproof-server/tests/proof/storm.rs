//! Everything at once: clients behind bad networks, of a server that is killed, started again and stopped at random.
//! L1: no two clients believe in the same lock at one time; L2: tokens increase in the order in which they are held;
//! afterwards everybody is served.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use raceproof::{Class, Raceproof, Time, Token, clock};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::process::Process;
use crate::proxy::{Proxy, Way};
use crate::support::{PATIENCE, client};

const CLIENTS: u64 = 6;
const LEASE: Duration = Duration::from_millis(600);
const STORM: Duration = Duration::from_secs(12);
const LOCKS: [(&str, Class); 4] = [
    ("durable-1", Class::Durable),
    ("durable-2", Class::Durable),
    ("reclaim-1", Class::Reclaim),
    ("reclaim-2", Class::Reclaim),
];

/// A time in which a client believed that it held a lock: from the grant to the last time that it looked.
#[derive(Clone, Copy, Debug)]
struct Belief {
    lock: &'static str,
    client: u64,
    token: Token,
    from: Time,
    to: Time,
    lost: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_nobody_believes_in_what_another_holds_whatever_breaks() {
    let seed = std::env::var("RACEPROOF_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("RACEPROOF_TEST_SEED={seed}, which sets what breaks and about when");
    let dir = tempfile::tempdir().unwrap();
    let (process, server) = Process::server(dir.path(), None).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut proxies = Vec::new();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let proxy = Proxy::start(server).await;
        let rp = client(proxy.addr, LEASE).name(format!("client-{number}")).connect().await.unwrap();
        clients.spawn(work(rp, proxy.clone(), number, Rng::with_seed(seed ^ number), Arc::clone(&over)));
        proxies.push(proxy);
    }
    let (process, kills) = weather(process, dir.path(), &proxies, &mut Rng::with_seed(seed)).await;
    over.store(true, Ordering::SeqCst);

    let mut beliefs = Vec::new();
    while let Some(done) = timeout(PATIENCE * 2, clients.join_next()).await.expect("everybody is served afterwards") {
        beliefs.extend(done.unwrap());
    }
    drop(process);
    let lost = beliefs.iter().filter(|belief| belief.lost).count();
    eprintln!("{} grants, {lost} lost, {kills} kills", beliefs.len());
    assert!(beliefs.len() > 10 && lost > 0 && kills >= 3, "{} grants, {lost} lost, {kills} kills", beliefs.len());
    for (lock, _) in LOCKS {
        judge(beliefs.iter().filter(|belief| belief.lock == lock));
    }
}

/// In the order of their tokens, one must have stopped believing before the next began.
fn judge<'a>(beliefs: impl Iterator<Item = &'a Belief>) {
    let mut by_token = BTreeMap::new();
    for belief in beliefs {
        let twice = by_token.insert(belief.token, belief);
        assert!(twice.is_none(), "one token for {twice:?} and {belief:?}");
    }
    for (earlier, later) in by_token.values().zip(by_token.values().skip(1)) {
        let who = (earlier.client, later.client);
        assert!(earlier.to <= later.from, "of clients {who:?}, {earlier:?} overlaps {later:?}");
    }
}

/// Takes locks until the storm is over, now and then with its network cut, and then each of them once more.
async fn work(rp: Raceproof, proxy: Proxy, client: u64, mut rng: Rng, over: Arc<AtomicBool>) -> Vec<Belief> {
    let mut beliefs = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let (lock, class) = LOCKS[rng.usize(..LOCKS.len())];
        let Ok(guard) = rp.lock(lock).class(class).wait(Duration::from_secs(2)).acquire().await else { continue };
        let from = clock::now();
        if !guard.is_valid() {
            continue;
        }
        let mut to = from;
        let alone = beliefs.is_empty() || rng.u8(..6) == 0;
        if alone {
            proxy.cut(Way::Up);
            proxy.cut(Way::Down);
        }
        let hold = if alone { LEASE * 3 } else { Duration::from_millis(rng.u64(..30)) };
        loop {
            // The clock first: what is valid afterwards was valid then.
            let now = clock::now();
            if !guard.is_valid() {
                break;
            }
            to = now;
            if to.since(from) >= hold {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let lost = !guard.is_valid();
        if alone {
            proxy.heal();
        }
        beliefs.push(Belief { lock, client, token: guard.token(), from, to, lost });
        let _lost = guard.release().await;
    }
    for (lock, class) in LOCKS {
        let guard = rp.lock(lock).class(class).wait(PATIENCE).acquire().await.unwrap();
        guard.release().await.unwrap();
    }
    beliefs
}

/// Breaks one thing after the other, and mends them all in the end.
async fn weather(mut process: Process, dir: &Path, proxies: &[Proxy], rng: &mut Rng) -> (Process, usize) {
    let mut kills = 0;
    let end = Instant::now() + STORM;
    let mut kill_at = Instant::now() + STORM / 6;
    while Instant::now() < end {
        let proxy = &proxies[rng.usize(..proxies.len())];
        match rng.u8(..32) {
            _ if Instant::now() > kill_at => {
                kill_at += STORM / 3;
                process.kill();
                kills += 1;
                let (next, server) = Process::server(dir, None).await;
                process = next;
                proxies.iter().for_each(|proxy| proxy.lead_to(server));
            }
            0..2 => {
                process.freeze().await;
                sleep(Duration::from_millis(rng.u64(..1_000))).await;
                process.thaw();
            }
            2..8 => proxy.cut(if rng.bool() { Way::Up } else { Way::Down }),
            8..20 => proxy.heal(),
            20..26 => proxy.delay(if rng.bool() { Way::Up } else { Way::Down }, Duration::from_millis(rng.u64(..40))),
            _ => proxy.break_all(),
        }
        sleep(Duration::from_millis(rng.u64(10..100))).await;
    }
    for proxy in proxies {
        proxy.heal();
        proxy.delay(Way::Up, Duration::ZERO);
        proxy.delay(Way::Down, Duration::ZERO);
    }
    (process, kills)
}

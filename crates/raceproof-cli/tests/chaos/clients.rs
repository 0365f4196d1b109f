//! Eight clients, each running one `raceproof lock` after another.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::processes::children;
use crate::common::program::{Running, start};
use crate::common::server::{Server, program};
use crate::increment::ARGUMENT;
use crate::resource::Resource;

const CLIENTS: usize = 8;
/// Longer than it takes eight of them to finish one after another.
const FINISH_WITHIN: Duration = Duration::from_secs(40);

/// What the clients' runs came to.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// How often each exit code came; 1009 is a wrapper that was killed.
    pub(crate) codes: BTreeMap<i32, usize>,
    /// The tokens whose writes were acknowledged.
    pub(crate) acknowledged: Vec<u64>,
}

/// One run's processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) wrapper: u32,
    pub(crate) watchdog: Option<u32>,
    pub(crate) command: Option<u32>,
}

/// The clients at work.
#[derive(Debug)]
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    home: PathBuf,
    resource: String,
    ttl_ms: u32,
    stop: AtomicBool,
    /// Runs are reaped under this lock only, so that whoever has it can signal them.
    running: Mutex<BTreeMap<usize, Running>>,
    outcomes: Mutex<Outcomes>,
}

impl Clients {
    pub(crate) fn start(server: &Server, resource: &Resource, ttl: Duration, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            server: format!("http://{}", server.address),
            home: server.home.path().to_owned(),
            resource: resource.address.to_string(),
            ttl_ms: u32::try_from(ttl.as_millis()).expect("seconds"),
            stop: AtomicBool::new(false),
            running: Mutex::default(),
            outcomes: Mutex::default(),
        });
        let threads = (0..CLIENTS).map(|index| {
            let shared = Arc::clone(&shared);
            let rng = fastrand::Rng::with_seed(seed.wrapping_add(index as u64));
            std::thread::spawn(move || shared.work(index, rng))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Calls `act` with the processes of every run, none of which is reaped meanwhile.
    pub(crate) fn with_trees<T>(&self, act: impl FnOnce(&[Tree]) -> T) -> T {
        let running = self.shared.running();
        let trees: Vec<Tree> = running.values().map(|run| tree(run.pid())).collect();
        act(&trees)
    }

    /// Lets every client finish what it is at.
    pub(crate) fn finish(self) -> Outcomes {
        self.shared.stop.store(true, Ordering::Relaxed);
        let give_up = Instant::now() + FINISH_WITHIN;
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            assert!(Instant::now() < give_up, "clients do not finish: {:?}", self.shared.running().values());
            std::thread::sleep(Duration::from_millis(5));
        }
        for thread in self.threads {
            thread.join().expect("a client");
        }
        std::mem::take(&mut self.shared.outcomes.lock().expect("nobody panics with it"))
    }
}

fn tree(wrapper: u32) -> Tree {
    let watchdog = children(wrapper).first().copied();
    let command = watchdog.and_then(|watchdog| children(watchdog).first().copied());
    Tree { wrapper, watchdog, command }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<usize, Running>> {
        self.running.lock().expect("nobody panics with it")
    }

    fn work(&self, index: usize, mut rng: fastrand::Rng) {
        let exe = std::env::current_exe().expect("this file");
        let exe = exe.to_str().expect("text");
        while !self.stop.load(Ordering::Relaxed) {
            // Some are quick; some can finish after the loss of their wrapper, if they are let; some can finish after
            // the end of their lease.
            let pause = match rng.u32(0..5) {
                0 => self.ttl_ms * 3 / 2,
                1..3 => rng.u32(self.ttl_ms / 20..self.ttl_ms * 6 / 10),
                _ => rng.u32(5..80),
            };
            let pause = pause.to_string();
            let command = ["--", exe, ARGUMENT, &self.resource, &pause];
            let ttl = format!("{}ms", self.ttl_ms);
            let mut args = vec!["lock", "counter", "--ttl", &ttl];
            args.extend(command);
            let run = start(program(&self.home, &args).env("RACEPROOF_SERVER", &self.server));
            self.running().insert(index, run);
            while !self.running().get_mut(&index).expect("it was put there").has_ended() {
                std::thread::sleep(Duration::from_millis(2));
            }
            let run = self.running().remove(&index).expect("it was put there").end();
            let mut outcomes = self.outcomes.lock().expect("nobody panics with it");
            *outcomes.codes.entry(run.code).or_default() += 1;
            outcomes.acknowledged.extend(run.stdout.lines().map(|line| line.parse::<u64>().expect("a token")));
            if run.code == 69 {
                // The server is down: its clients come back as people do, not in a busy loop.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

//! What a seed decides before the run begins: how many clients there are, how bad the network and the disk are, and
//! which faults come when. Each run has some kinds of faults and lacks others, so that rare combinations come up and
//! no fault hides behind another.

use super::clock::{DRIFT_PPM_MAX, Instant, MS};
use super::rng::Rng;

/// A client, as a seed decides it.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// It speaks plain HTTP and keeps its lease itself, instead of running the core's client machine.
    pub http: bool,
    /// Its lease.
    pub ttl_ms: u64,
    /// The end of its connection ends its session.
    pub end_on_disconnect: bool,
    /// How many tasks use it.
    pub flows: usize,
    /// How far its clock is off.
    pub drift_ppm: i64,
    /// It does not look at its lease before it writes to a resource.
    pub careless: bool,
}

/// A fault.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The hub is killed and comes back after a while. Of the records that were not flushed, this share is kept.
    HubCrash {
        /// How long it is away.
        down: u64,
        /// Of 255.
        kept: u8,
    },
    /// The hub is stopped and goes on after a while.
    HubStall {
        /// For how long.
        length: u64,
    },
    /// The hub writes a snapshot.
    Snapshot,
    /// The hub's disk fails; it is restarted after a while.
    DiskFails {
        /// How long it is away.
        down: u64,
    },
    /// The hub says that it is about to stop.
    Drain,
    /// The hub's wall clock jumps by this many milliseconds.
    WallClockJumps(i64),
    /// A client's connections break, all or one of them.
    Break {
        /// The client.
        client: usize,
        /// One alone.
        one: bool,
    },
    /// Nothing gets through between a client and the hub, in one direction or both.
    Partition {
        /// The client.
        client: usize,
        /// Nothing from it.
        up: bool,
        /// Nothing to it.
        down: bool,
        /// For how long.
        length: u64,
    },
    /// A client is stopped and goes on after a while.
    Freeze {
        /// The client.
        client: usize,
        /// For how long.
        length: u64,
    },
    /// A client is killed and comes back as another after a while.
    Crash {
        /// The client.
        client: usize,
        /// How long it is away.
        down: u64,
    },
    /// An operator takes a lock away.
    Steal {
        /// The index of its name.
        name: usize,
    },
}

/// Everything that a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// The faults, with their times.
    pub faults: Vec<(Instant, Fault)>,
    /// When nothing else is begun and nothing fails any more.
    pub work_until: Instant,
    /// The usual longest delay of a message.
    pub delay: u64,
    /// The chance that a message takes up to twenty times as long.
    pub slow: u32,
    /// The chance that what a client says on a connection takes long to arrive.
    pub stray: u32,
    /// The chance that the end of a connection stays unseen for long, for each of its ends.
    pub half_open: u32,
    /// The chance that an HTTP request is sent twice.
    pub twice: u32,
    /// The longest time that a flush takes.
    pub flush: u64,
    /// How long records that nobody waits for stay unflushed. No promise may rest on it.
    pub lazy: u64,
    /// The hub crashes at these operations of its disk, with that share of unflushed records kept.
    pub disk_crashes: Vec<(u32, u8)>,
    /// The chance that the hub crashes when it begins, and when it has written, a snapshot.
    pub snapshot_crash: u32,
    /// How far the hub's clock is off.
    pub hub_drift_ppm: i64,
    /// How many names there are for locks.
    pub names: usize,
    /// How many tokens the hub sets aside at a time.
    pub token_block: u64,
    /// The chance that a wait is for the class `reclaim`.
    pub reclaim: u32,
    /// The chance that a request names several locks.
    pub several: u32,
    /// The chance that a holder asks for more.
    pub nested: u32,
    /// The chance that a wait is given up early.
    pub cancel: u32,
    /// The chance that a task looks at its result late.
    pub late: u32,
    /// The chance that a task stands for election instead of taking a lock.
    pub campaign: u32,
    /// The chance of a lock-delay.
    pub lock_delay: u32,
    /// The chance that a request has a priority.
    pub priority: u32,
    /// The longest time that something is held.
    pub hold: u64,
    /// Every so often a frame is written as JSON and read again; 0 for never.
    pub json_every: u32,
}

impl Plan {
    /// What `seed` decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let work_until = rng.range(300, 2_500) * MS;
        let lease_kind = rng.below(3);
        let clients: Vec<_> = (0..rng.range(1, 5)).map(|_| client(&mut rng, lease_kind)).collect();
        let names = rng.pick(&[1, 1, 2, 3, 5]);
        let mut plan = Self {
            seed,
            faults: Vec::new(),
            work_until,
            delay: rng.pick(&[200, 1_000, 5_000, 20_000]),
            slow: rng.pick(&[0, 0, 20, 100]),
            stray: 0,
            half_open: rng.pick(&[0, 200, 600]),
            twice: rng.pick(&[0, 100, 400]),
            flush: rng.pick(&[100, 1_000, 8_000]),
            lazy: rng.pick(&[5, 5, 50, 500]) * MS,
            disk_crashes: Vec::new(),
            snapshot_crash: rng.pick(&[0, 0, 0, 300]),
            hub_drift_ppm: drift(&mut rng),
            names,
            token_block: rng.pick(&[2, 4, 16, 1 << 20]),
            reclaim: rng.pick(&[0, 500, 1_000]),
            several: rng.pick(&[0, 100, 400]),
            nested: rng.pick(&[0, 0, 100, 400]),
            cancel: rng.pick(&[0, 50, 300]),
            late: rng.pick(&[0, 20, 150]),
            campaign: rng.pick(&[0, 0, 100, 400]),
            lock_delay: rng.pick(&[0, 0, 100, 500]),
            priority: rng.pick(&[0, 0, 300]),
            hold: rng.pick(&[1, 20, 100, 400]) * MS,
            json_every: if rng.chance(60) { 7 } else { 0 },
            clients,
        };
        plan.faults(&mut rng);
        if rng.chance(80) {
            plan.forgets(&mut rng);
        }
        if rng.chance(80) {
            plan.falters(&mut rng);
        }
        plan.stray = rng.pick(&[0, 0, 0, 100]);
        if rng.chance(80) {
            plan.strays(&mut rng);
        }
        plan
    }

    /// Clients that lose their connections again and again, and whose words on those that they gave up come late.
    fn strays(&mut self, rng: &mut Rng) {
        (self.stray, self.names, self.hold, self.work_until) = (500, 1, 400 * MS, 2_500 * MS);
        (self.several, self.campaign, self.flush) = (0, 0, 100);
        for client in &mut self.clients {
            (client.http, client.ttl_ms) = (false, rng.range(1_500, 3_000));
        }
        for _ in 0..rng.range(2, 4) {
            let (at, client) = (rng.range(20 * MS, self.work_until), rng.index(self.clients.len()));
            for at in [at, at + rng.range(10 * MS, 300 * MS)] {
                self.faults.push((at, Fault::Break { client, one: false }));
            }
        }
    }

    /// A hub that stands still for a moment, again and again, while a dead client's lease runs.
    fn falters(&mut self, rng: &mut Rng) {
        for _ in 0..rng.range(3, 10) {
            let at = rng.range(20 * MS, self.work_until);
            self.faults.push((at, Fault::HubStall { length: rng.range(10, 150) * MS }));
        }
        let client = rng.index(self.clients.len());
        let at = rng.range(20 * MS, self.work_until);
        self.faults.push((at, Fault::Crash { client, down: self.work_until }));
    }

    /// A hub that comes back at once and has forgotten what it granted lately, while its holders hold on.
    fn forgets(&mut self, rng: &mut Rng) {
        (self.reclaim, self.lazy, self.hold) = (1_000, 500 * MS, 400 * MS);
        (self.names, self.several, self.campaign) = (1, 0, 0);
        for _ in 0..=rng.below(4) {
            let at = rng.range(20 * MS, self.work_until);
            self.faults.push((at, Fault::HubCrash { down: rng.range(0, 5) * MS, kept: 0 }));
        }
    }

    fn faults(&mut self, rng: &mut Rng) {
        // Some runs are calm, so that what is wrong without any fault is found there.
        if rng.chance(100) {
            return;
        }
        for kind in 0..11 {
            if !rng.chance(350) {
                continue;
            }
            for _ in 0..=rng.below(3) {
                let at = rng.range(5 * MS, self.work_until);
                if let Some(fault) = self.fault(rng, kind) {
                    self.faults.push((at, fault));
                }
            }
        }
        if rng.chance(250) {
            for _ in 0..=rng.below(3) {
                let at = u32::try_from(rng.range(1, 120)).unwrap_or(1);
                self.disk_crashes.push((at, kept(rng)));
            }
        }
    }

    fn fault(&self, rng: &mut Rng, kind: u64) -> Option<Fault> {
        let client = rng.index(self.clients.len());
        let ttl = self.clients.get(client)?.ttl_ms * MS;
        let around_lease = |rng: &mut Rng| rng.range(ttl / 10, ttl * 2);
        Some(match kind {
            0 => Fault::HubCrash { down: rng.range(0, 2) * rng.range(1, 400) * MS, kept: kept(rng) },
            1 => Fault::HubStall { length: around_lease(rng).min(3_000 * MS) },
            2 => Fault::Snapshot,
            3 if rng.chance(200) => Fault::DiskFails { down: rng.range(1, 200) * MS },
            4 if rng.chance(300) => Fault::Drain,
            4 => Fault::WallClockJumps(if rng.chance(500) { 3_600_000 } else { -3_600_000 }),
            5 => Fault::Break { client, one: false },
            6 => {
                let (up, down) = rng.pick(&[(true, true), (true, false), (false, true)]);
                Fault::Partition { client, up, down, length: around_lease(rng) }
            }
            7 => Fault::Freeze { client, length: around_lease(rng) },
            8 => Fault::Crash { client, down: rng.range(1, 300) * MS },
            9 if rng.chance(300) => Fault::Steal { name: rng.index(self.names) },
            10 => Fault::Break { client, one: true },
            _ => return None,
        })
    }
}

fn client(rng: &mut Rng, lease_kind: u64) -> ClientPlan {
    let ttl_ms = match lease_kind {
        0 => rng.range(100, 200),
        1 => rng.range(100, 1_000),
        _ => rng.range(300, 3_000),
    };
    let http = rng.chance(300);
    ClientPlan {
        http,
        ttl_ms,
        end_on_disconnect: !http && rng.chance(150),
        flows: rng.pick(&[1, 2, 3]),
        drift_ppm: drift(rng),
        careless: rng.chance(300),
    }
}

fn drift(rng: &mut Rng) -> i64 {
    rng.pick(&[0, 0, DRIFT_PPM_MAX, -DRIFT_PPM_MAX, 100, -3_000])
}

fn kept(rng: &mut Rng) -> u8 {
    rng.pick(&[0, 0, 128, 255])
}

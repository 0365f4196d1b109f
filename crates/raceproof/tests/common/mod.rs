//! What tests of the store on a simulated and on a real disk have in common.

use raceproof::store::{LogStore, Storage};
use raceproof_core::id::Lsn;

/// Opens a store's log, and has everything made that it holds ready.
pub(crate) fn load_and_prepare(store: &mut LogStore) {
    store.load().unwrap();
    while let Some(job) = store.take_job() {
        job.run().unwrap();
    }
}

/// Appends and flushes `count` records behind the last one, does the jobs that this brings about, and takes a snapshot
/// whenever one is wanted. Gives the number of snapshots.
pub(crate) fn go_on(
    store: &mut LogStore,
    count: u64,
    record: impl Fn(u64) -> Vec<u8>,
    snapshot: impl Fn(u64) -> Vec<u8>,
) -> u64 {
    let last = store.stats().last_lsn.as_u64();
    let mut snapshots = 0;
    for number in last + 1..=last + count {
        store.append(Lsn::new(number), &record(number)).unwrap();
        store.flush().unwrap();
        while let Some(job) = store.take_job() {
            // On a full disk it finds no space, and the log goes on without.
            let _ = job.run();
        }
        if store.stats().snapshot_wanted {
            store.install_snapshot(Lsn::new(number), &snapshot(number)).unwrap();
            snapshots += 1;
        }
    }
    snapshots
}

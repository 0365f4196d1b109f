//! Files that were changed, cut or exchanged behind the store's back: refused, or reported, and never read as records.

use raceproof::store::disk::SimDisk;
use raceproof::store::{LoadError, Loaded, OpenError, Storage};

use super::{Told, lsn, open, record, snapshot, verify};

/// A store with 40 records over several segments; the last 3 are of one flush. Ended as a process is by a signal.
pub(super) fn filled() -> (SimDisk, Told) {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    for number in 1..=40 {
        store.append(lsn(number), &record(number)).unwrap();
        if number <= 37 {
            store.flush().unwrap();
        }
    }
    store.flush().unwrap();
    drop(store);
    disk.restart_process();
    (disk, Told { durable: 40, appended: 40, snapshot: 0 })
}

pub(super) fn used_files(disk: &SimDisk) -> Vec<(String, usize)> {
    use raceproof::store::disk::Disk;
    let mut files = Vec::new();
    for name in disk.list().unwrap() {
        let used = disk.read(&name).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        files.push((name, used));
    }
    files
}

fn copy(disk: &SimDisk) -> SimDisk {
    use raceproof::store::disk::Disk;
    let copy = SimDisk::new();
    for name in disk.list().unwrap() {
        let file = copy.open(&name).unwrap();
        file.write_at(&disk.read(&name).unwrap(), 0).unwrap();
    }
    copy
}

/// What loading a damaged copy of a store with 40 records came to.
pub(super) fn load_damaged(disk: &SimDisk, name: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Result<Loaded, OpenError> {
    let disk = copy(disk);
    disk.tamper(name, damage);
    let mut store = open(&disk)?;
    Ok(store.load()?)
}

#[test]
fn l2_any_changed_byte_of_a_store_that_was_closed_is_refused() {
    let (disk, told) = filled();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    store.install_snapshot(lsn(10), &snapshot(10)).unwrap();
    store.close().unwrap();
    drop(store);
    let mut refused = 0;
    for (name, used) in used_files(&disk) {
        for at in 0..used {
            // What a segment's header block has behind the header is not read.
            if name.starts_with("log-") && (48..4096).contains(&at) {
                continue;
            }
            match load_damaged(&disk, &name, |bytes| bytes[at] ^= 0x20) {
                Err(error) => {
                    assert!(error.to_string().contains(&name), "{name} byte {at}: {error}");
                    refused += 1;
                }
                // The mark at the very end proves something only while it is whole.
                Ok(loaded) => {
                    verify(&loaded, &told);
                    assert!(loaded.torn.is_some_and(|torn| torn.after == lsn(40)), "{name} byte {at} went unnoticed");
                }
            }
        }
    }
    assert!(refused > 5000, "{refused}");
}

#[test]
fn l2_after_a_crash_a_changed_byte_costs_at_most_records_of_the_last_flush_and_is_reported() {
    let (disk, _) = filled();
    let mut cut = 0;
    for (name, used) in used_files(&disk).into_iter().filter(|(name, _)| name.starts_with("log-")) {
        for at in 4096..used {
            if let Ok(loaded) = load_damaged(&disk, &name, |bytes| bytes[at] ^= 0x20) {
                let torn = loaded.torn.as_ref().expect("damage is reported, if only as a torn tail");
                assert_eq!(torn.after, loaded.last_lsn());
                verify(&loaded, &Told { durable: 37, appended: 40, snapshot: 0 });
                cut += 1;
            }
        }
    }
    // Record 40 is long and mostly its own sectors; a changed byte in a frame with no empty sector is not a tear.
    assert_eq!(cut, 0);
}

#[test]
fn damage_is_reported_with_its_file_and_place() {
    let (disk, _) = filled();
    let error = load_damaged(&disk, "log-0000000000000001", |bytes| bytes[4096 + 30] ^= 1).unwrap_err();
    let OpenError::Load(LoadError::Corrupt { path, offset, detail }) = &error else { panic!("{error}") };
    assert!(path.ends_with("log-0000000000000001"));
    assert_eq!(*offset, 4096);
    assert!(detail.contains("record 1 is bad"), "{detail}");
    assert!(error.advice().unwrap().contains("raceproof store check"));
}

#[test]
fn zeroed_sectors_in_the_middle_are_damage_and_at_the_end_a_torn_tail() {
    let (disk, told) = filled();
    let (name, used) =
        used_files(&disk).into_iter().rfind(|(name, used)| name.starts_with("log-") && *used > 4096).unwrap();
    let first = load_damaged(&disk, &name, |bytes| bytes[4096..4608].fill(0));
    assert!(matches!(first, Err(OpenError::Load(LoadError::Corrupt { .. }))), "{first:?}");
    // The last sector of the last record never arrived.
    let from = (used - 1) / 512 * 512;
    let loaded = load_damaged(&disk, &name, |bytes| bytes[from..].fill(0)).unwrap();
    assert_eq!(loaded.last_lsn(), lsn(39));
    assert!(loaded.torn.is_some());
    verify(&loaded, &Told { durable: 37, ..told });
}

#[test]
fn a_missing_or_foreign_file_is_refused() {
    use raceproof::store::disk::Disk;
    let (disk, _) = filled();
    for number in [1, 2] {
        let disk = copy(&disk);
        let name = format!("log-{number:016x}");
        disk.remove(&name).unwrap();
        let error = open(&disk).unwrap().load().unwrap_err();
        assert!(matches!(&error, LoadError::Missing { path, .. } if path.ends_with(&name)), "{error}");
    }
    let (other, _) = filled();
    let segment = other.read("log-0000000000000002").unwrap();
    let error = load_damaged(&disk, "log-0000000000000002", |bytes| *bytes = segment).unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
    disk.remove("raceproof-store").unwrap();
    assert!(matches!(open(&disk), Err(OpenError::NoIdentity { .. })));
}

#[test]
fn a_newer_format_is_refused_in_every_file() {
    let (disk, _) = filled();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    store.install_snapshot(lsn(10), b"x").unwrap();
    drop(store);
    for name in ["log-0000000000000002", "snapshot-000000000000000a"] {
        let error = load_damaged(&disk, name, |bytes| bytes[8] = 2).unwrap_err();
        assert!(
            matches!(error, OpenError::Load(LoadError::NewerFormat { found: 2, supported: 1, .. })),
            "{name}: {error}"
        );
    }
    let error = load_damaged(&disk, "raceproof-store", |bytes| {
        let at = bytes.windows(8).position(|text| text == b"format 1").unwrap();
        bytes[at + 7] = b'7';
    });
    assert!(matches!(error, Err(OpenError::Load(LoadError::NewerFormat { found: 7, .. }))), "{error:?}");
}

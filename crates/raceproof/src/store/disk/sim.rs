//! A disk in memory that loses power.
//!
//! What it does to data is the worst that a disk may do whose sectors of 512 bytes are each written whole or not at
//! all: of what was not synced, any subset of sectors arrives, in any order. Names are as on a journalling file
//! system: after a crash, some prefix of the changes since the last directory sync.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

use super::{Disk, DiskFile};

const SECTOR: u64 = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

/// What goes wrong at the step that [`SimDisk::fail_at`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimFault {
    /// The power goes: this and everything later fails until [`SimDisk::restart`].
    PowerLoss,
    /// The step fails with an I/O error. A write is then a short one: some of its sectors are written. A sync that
    /// fails also forgets what it should have written, as Linux does.
    Io,
    /// The step fails for lack of space; a write is a short one.
    Full,
}

#[derive(Debug, Default)]
struct Inner {
    /// What a running process sees.
    names: BTreeMap<String, u64>,
    /// What a directory sync made durable.
    names_durable: BTreeMap<String, u64>,
    /// States of `names` since then, oldest first.
    names_between: Vec<BTreeMap<String, u64>>,
    files: BTreeMap<u64, SimData>,
    files_made: u64,
    steps: u64,
    fault: Option<(u64, SimFault)>,
    dead: bool,
    capacity: Option<u64>,
    run: u64,
}

#[derive(Debug, Default)]
struct SimData {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written since the last sync.
    dirty: BTreeSet<u64>,
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    run: u64,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the sum of all file sizes, from here on.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Makes the `step`th step from here, counted from 0, go wrong. Steps are all calls that change something.
    pub fn fail_at(&self, step: u64, fault: SimFault) {
        let mut inner = self.lock();
        inner.fault = Some((inner.steps + step, fault));
    }

    /// How many steps were made since the disk was.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Whether a [`SimFault::PowerLoss`] has happened.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The power comes back. What was not synced is there or not, by `rng`. Files that are still open are dead.
    pub fn restart(&self, rng: &mut Rng) {
        let mut inner = self.lock();
        let mut states = std::mem::take(&mut inner.names_between);
        let kept = rng.usize(0..=states.len());
        if kept > 0 {
            inner.names_durable = states.swap_remove(kept - 1);
        }
        inner.names = inner.names_durable.clone();
        let named: BTreeSet<u64> = inner.names.values().copied().collect();
        inner.files.retain(|id, _| named.contains(id));
        for file in inner.files.values_mut() {
            file.lose_power(rng);
        }
        inner.dead = false;
        inner.fault = None;
        inner.run += 1;
    }

    /// The process ends and another begins; the disk goes on as if nothing happened. Files that are still open are
    /// dead.
    pub fn restart_process(&self) {
        let mut inner = self.lock();
        inner.dead = false;
        inner.fault = None;
        inner.run += 1;
    }

    /// Changes bytes of a file behind everybody's back, for good.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let id = *inner.names.get(name).expect("the test names a file that is there");
        let file = inner.files.get_mut(&id).expect("every name has a file");
        change(&mut file.content);
        file.durable = file.content.clone();
        file.dirty.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts a step and makes it fail if it is the one.
    fn step(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the power is off"));
        }
        let step = self.steps;
        self.steps += 1;
        match self.fault {
            Some((at, fault)) if at == step => {
                self.dead = fault == SimFault::PowerLoss;
                Err(match fault {
                    SimFault::PowerLoss => io::Error::other("the power went off"),
                    SimFault::Io => io::Error::other("injected I/O error"),
                    SimFault::Full => io::ErrorKind::StorageFull.into(),
                })
            }
            _ => Ok(()),
        }
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<String, u64>)) {
        change(&mut self.names);
        self.names_between.push(self.names.clone());
    }

    fn fits(&self, growth: u64) -> io::Result<()> {
        let used: u64 =
            self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.content.len() as u64).sum();
        match self.capacity {
            Some(capacity) if growth > 0 && used + growth > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl SimData {
    fn resize(&mut self, bytes: u64) {
        let before = self.content.len() as u64;
        self.content.resize(index(bytes), 0);
        self.dirty.extend(before.min(bytes) / SECTOR..before.max(bytes).div_ceil(SECTOR));
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        if end > self.content.len() as u64 {
            self.resize(end);
        }
        if let Some(target) = self.content.get_mut(index(offset)..index(end)) {
            target.copy_from_slice(bytes);
        }
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }

    fn keep(&mut self, sector: u64) {
        let from = index(sector * SECTOR);
        let to = index((sector + 1) * SECTOR).min(self.content.len()).min(self.durable.len());
        if let (Some(source), Some(target)) = (self.content.get(from..to), self.durable.get_mut(from..to)) {
            target.copy_from_slice(source);
        }
    }

    fn lose_power(&mut self, rng: &mut Rng) {
        if self.durable.len() != self.content.len() && !self.dirty.is_empty() && rng.bool() {
            self.durable.resize(self.content.len(), 0);
        }
        // All, none, and anything between are each worth seeing often.
        let chance = match rng.u8(0..4) {
            0 => 0.0,
            1 => 1.0,
            _ => rng.f64(),
        };
        for sector in std::mem::take(&mut self.dirty) {
            if rng.f64() < chance {
                self.keep(sector);
            }
        }
        self.content = self.durable.clone();
    }
}

/// What a write that fails half way has written. Systems copy whole pages, so it ends between two sectors.
fn short(bytes: &[u8], offset: u64, luck: u64) -> &[u8] {
    let end = offset + luck.wrapping_mul(7919) % (bytes.len() as u64 + 1);
    let kept = (end / SECTOR * SECTOR).saturating_sub(offset);
    bytes.get(..index(kept)).unwrap_or_default()
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files of a test fit into memory")
}

impl Disk for SimDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/sim").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let inner = self.lock();
        let id = inner.id(name)?;
        Ok(inner.files.get(&id).map(|file| file.content.clone()).unwrap_or_default())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let inner = self.lock();
        let id = inner.id(name)?;
        Ok(inner.files.get(&id).map_or(0, |file| file.content.len() as u64))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        let id = match inner.id(name) {
            Ok(id) => id,
            Err(_) => {
                inner.step()?;
                let id = inner.files_made;
                inner.files_made += 1;
                inner.files.insert(id, SimData::default());
                inner.change_names(|names| {
                    names.insert(name.to_owned(), id);
                });
                id
            }
        };
        Ok(Box::new(SimFile { disk: self.clone(), id, run: inner.run }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        let id = inner.id(from)?;
        inner.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), id);
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.id(name)?;
        inner.change_names(|names| {
            names.remove(name);
        });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.names_durable = inner.names.clone();
        inner.names_between.clear();
        Ok(())
    }
}

impl SimFile {
    fn with(&self, act: impl FnOnce(&mut Inner) -> io::Result<()>) -> io::Result<()> {
        let mut inner = self.disk.lock();
        if inner.run != self.run {
            return Err(io::Error::other("a file of a process that ended"));
        }
        act(&mut inner)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|inner| {
            let size = inner.files.get(&self.id).map_or(0, |file| file.content.len() as u64);
            let growth = (offset + bytes.len() as u64).saturating_sub(size);
            let dead_before = inner.dead;
            let step = inner.step();
            let cut_short = step.is_err() && !inner.dead;
            let outcome = step.and_then(|()| inner.fits(growth));
            let steps = inner.steps;
            let Some(file) = inner.files.get_mut(&self.id) else { return outcome };
            // A write during which the power goes is one of those of which anything may arrive.
            if outcome.is_ok() || inner.dead && !dead_before {
                file.write(bytes, offset);
            } else if cut_short {
                file.write(short(bytes, offset, steps), offset);
            }
            outcome
        })
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.with(|inner| {
            let size = inner.files.get(&self.id).map_or(0, |file| file.content.len() as u64);
            inner.step()?;
            inner.fits(bytes.saturating_sub(size))?;
            if let Some(file) = inner.files.get_mut(&self.id) {
                file.resize(bytes);
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inner| {
            let outcome = inner.step();
            let dead = inner.dead;
            if let Some(file) = inner.files.get_mut(&self.id) {
                match &outcome {
                    Ok(()) => file.sync(),
                    // Pages whose write failed are marked clean: later syncs skip them, reads still show them.
                    Err(_) if !dead => {
                        file.durable.resize(file.content.len(), 0);
                        file.dirty.clear();
                    }
                    Err(_) => {}
                }
            }
            outcome
        })
    }
}

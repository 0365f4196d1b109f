//! What must hold in every run, one file per group of promises. Each is judged in true time, on what an outsider can
//! see of the hub and of the clients' programs.

mod elections;
mod l10_release;
mod l11_sessions;
mod l12_retry;
mod l13_classes;
mod l1_exclusion;
mod l2_tokens;
mod l3_fifo;
mod l4_claims;
mod l5_leases;
mod l6_multi;
mod l7_memory;
mod l8_holder;
mod ledger;
mod lock_delay;
mod taking;
mod views;

use std::fmt::Debug;

pub use ledger::Ledger;
pub use taking::{Claim, Taking};
pub use views::{Asked, Grant, Link, Pending, Session};

use crate::world::fact::Fact;

/// Something that must hold.
pub trait Invariant: Debug {
    /// Its name: that of its file.
    fn name(&self) -> &'static str;

    /// Judges a fact. The ledger knows everything before it.
    ///
    /// # Errors
    /// Says what was violated.
    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String>;
}

/// All of them.
#[must_use]
pub fn all(hub_drift_ppm: i64) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(l1_exclusion::Exclusion),
        Box::<l2_tokens::Tokens>::default(),
        Box::<l3_fifo::Fifo>::default(),
        Box::<l4_claims::Claims>::default(),
        Box::new(l5_leases::Leases::new(hub_drift_ppm)),
        Box::<l6_multi::Multi>::default(),
        Box::new(l7_memory::Memory),
        Box::new(l8_holder::Holder::new(hub_drift_ppm)),
        Box::<l10_release::Release>::default(),
        Box::<l11_sessions::Sessions>::default(),
        Box::<l12_retry::Retry>::default(),
        Box::new(l13_classes::Classes),
        Box::<elections::Elections>::default(),
        Box::new(lock_delay::LockDelay::new(hub_drift_ppm)),
    ]
}

/// The names of all invariants, and of what the world notices by itself.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let by_themselves = ["l9_fence", "liveness", "restore", "history"];
    all(0).iter().map(|invariant| invariant.name()).chain(by_themselves).collect()
}

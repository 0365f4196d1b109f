//! Known bugs, put back one at a time: each is noticed within a few seeds, by the invariant that is there for it. An
//! invariant that no bug can violate would prove nothing.

use raceproof_core::client::Mutation as InClient;
use raceproof_core::hub::Mutation as InHub;
use raceproof_sim::mutation::Mutation;
use raceproof_sim::runner::{Task, run_many};
use raceproof_sim::world::Options;

/// Seeds that a bug has to show within. Most show within a hundred; two take an accident of several parts.
const SEEDS: u64 = 2_000;

/// Every bug, with the invariant that alone must notice it.
const BUGS: &[(Mutation, &str)] = &[
    (Mutation::Hub(InHub::GrantBeforeFlush), "l2_tokens"),
    (Mutation::Hub(InHub::GrantBeforeFlush), "l13_classes"),
    (Mutation::Hub(InHub::TokenRestarts), "l2_tokens"),
    (Mutation::Hub(InHub::TokenRestarts), "elections"),
    (Mutation::Hub(InHub::ReleaseByName), "l1_exclusion"),
    (Mutation::Hub(InHub::ReleaseByName), "l9_fence"),
    (Mutation::Hub(InHub::EntryDroppedWhileWaited), "liveness"),
    (Mutation::Hub(InHub::CancelledKeepsPlace), "l4_claims"),
    (Mutation::Hub(InHub::NoGrace), "l5_leases"),
    (Mutation::Hub(InHub::NoGrace), "history"),
    (Mutation::Hub(InHub::SharedStarvesExclusive), "l3_fifo"),
    (Mutation::Hub(InHub::RetryIsForgotten), "l12_retry"),
    (Mutation::Hub(InHub::PartialGrant), "l1_exclusion"),
    (Mutation::Hub(InHub::PartialGrant), "history"),
    (Mutation::Hub(InHub::GateSkipped), "l1_exclusion"),
    (Mutation::Hub(InHub::ReclaimUnmarked), "l2_tokens"),
    (Mutation::Hub(InHub::EndedSessionServed), "l4_claims"),
    (Mutation::Hub(InHub::DeadlockIgnored), "liveness"),
    (Mutation::Hub(InHub::DeadlockImagined), "l6_multi"),
    (Mutation::Hub(InHub::ExpiryLate), "l5_leases"),
    (Mutation::Hub(InHub::EntryLeft), "l7_memory"),
    (Mutation::Hub(InHub::WakeAll), "l10_release"),
    (Mutation::Hub(InHub::SuccessorIgnored), "elections"),
    (Mutation::Hub(InHub::StallUnspared), "l5_leases"),
    (Mutation::Hub(InHub::StallChargedAgain), "l5_leases"),
    (Mutation::Hub(InHub::StallGracedAgain), "l5_leases"),
    (Mutation::Hub(InHub::StaleResume), "l1_exclusion"),
    (Mutation::Hub(InHub::LockDelayIgnored), "lock_delay"),
    (Mutation::Hub(InHub::TransferKeepsLead), "elections"),
    (Mutation::Hub(InHub::UndeliveredKept), "l4_claims"),
    (Mutation::Hub(InHub::CandidateForgotten), "l5_leases"),
    (Mutation::Hub(InHub::FreeRefused), "history"),
    (Mutation::Hub(InHub::TryBarges), "l3_fifo"),
    (Mutation::Hub(InHub::UnclaimedKept), "l4_claims"),
    (Mutation::Hub(InHub::ConnectionEndsAll), "l5_leases"),
    (Mutation::Hub(InHub::ConnectionEndsNone), "l11_sessions"),
    (Mutation::Hub(InHub::ReclaimForgotten), "l13_classes"),
    (Mutation::Hub(InHub::ReclaimForgotten), "l1_exclusion"),
    (Mutation::Hub(InHub::ReclaimRefused), "l13_classes"),
    (Mutation::Hub(InHub::LeaderUntold), "elections"),
    (Mutation::Client(InClient::LeaseFromReceipt), "l8_holder"),
    (Mutation::Client(InClient::NoDriftMargin), "l8_holder"),
    (Mutation::Client(InClient::LateLoss), "l8_holder"),
    (Mutation::Client(InClient::CancelUnsent), "liveness"),
    (Mutation::Client(InClient::HeldUnreported), "l1_exclusion"),
    (Mutation::Client(InClient::CandidateGoesOn), "elections"),
    (Mutation::Client(InClient::ClaimUnlooked), "l8_holder"),
];

#[test]
fn every_known_bug_is_noticed_by_its_invariant() {
    let mut unnoticed = Vec::new();
    for (mutation, invariant) in BUGS {
        let options = Options { mutation: Some(*mutation), only: Some(invariant), ..Options::default() };
        let summary = run_many(&Task { from: 0, seeds: SEEDS, length: None, jobs: 2, options });
        match &summary.failed {
            Some((seed, violated)) => {
                assert_eq!(violated.invariant, *invariant);
                println!("{:24} {invariant:14} seed {seed}", mutation.name());
            }
            None => unnoticed.push((mutation.name(), invariant)),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed within {SEEDS} seeds: {unnoticed:?}");
}

#[test]
fn every_bug_and_every_invariant_is_tried() {
    for mutation in Mutation::all() {
        assert!(BUGS.iter().any(|(bug, _)| *bug == mutation), "{} is not put back", mutation.name());
    }
    // A hub that does not start has no invariant to itself: it is what several bugs end in.
    for invariant in raceproof_sim::invariants::names().into_iter().filter(|name| *name != "restore") {
        assert!(BUGS.iter().any(|(_, by)| *by == invariant), "nothing shows that {invariant} notices anything");
    }
}

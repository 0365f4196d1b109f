//! Random sequences of calls against a plain model of what may be held: the way that grants without the machine is the
//! same as the machine's.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{assert_empty, poll_once};
use crate::{AcquireError, Guard, Raceproof};

#[derive(Clone, Debug)]
enum Step {
    /// Tries a set of names (a bit each), shared or not.
    Try {
        names: u8,
        shared: bool,
    },
    /// Gives back the grant that is this far down the list.
    Drop {
        which: usize,
    },
    /// Waits for a moment for a name, then gives up.
    GiveUp {
        name: u8,
    },
    /// Looks at every lock.
    List,
    Steal {
        name: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..8, any::<bool>()).prop_map(|(names, shared)| Step::Try { names, shared }),
        4 => (0_u8..3).prop_map(|name| Step::Try { names: 1 << name, shared: false }),
        4 => any::<usize>().prop_map(|which| Step::Drop { which }),
        2 => (0_u8..3).prop_map(|name| Step::GiveUp { name }),
        1 => Just(Step::List),
        1 => (0_u8..3).prop_map(|name| Step::Steal { name }),
    ]
}

struct Held {
    guard: Guard,
    names: u8,
    shared: bool,
    stolen: bool,
}

fn names_of(bits: u8) -> Vec<String> {
    (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| bit.to_string()).collect()
}

async fn run(steps: Vec<Step>) {
    let rp = Raceproof::local();
    let mut held: Vec<Held> = Vec::new();
    let mut last = 0;
    for step in steps {
        match step {
            Step::Try { names, shared } => {
                let in_the_way =
                    held.iter().any(|other| !other.stolen && other.names & names != 0 && !(other.shared && shared));
                let lock = match names_of(names).as_slice() {
                    [name] => rp.lock(name.as_str()),
                    several => rp.lock_all(several.iter().map(String::as_str)),
                };
                let lock = if shared { lock.shared() } else { lock };
                match lock.detached().try_acquire().await {
                    Ok(guard) => {
                        assert!(!in_the_way, "granted beside others");
                        assert!(guard.token().as_u64() > last);
                        last = guard.token().as_u64();
                        held.push(Held { guard, names, shared, stolen: false });
                    }
                    Err(AcquireError::Held(_)) => assert!(in_the_way, "refused a free lock"),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Drop { which } => {
                if !held.is_empty() {
                    let Held { guard, stolen, .. } = held.swap_remove(which % held.len());
                    assert_eq!(guard.is_valid(), !stolen);
                    assert_eq!(guard.release().await.is_err(), stolen);
                }
            }
            Step::GiveUp { name } => {
                let lock = rp.lock(name.to_string()).detached();
                let mut wait = Box::pin(lock.acquire());
                let free = !held.iter().any(|other| !other.stolen && other.names & (1 << name) != 0);
                assert_eq!(poll_once(&mut wait).is_ready(), free);
            }
            Step::List => {
                let page = rp.locks(raceproof_core::wire::Page::default()).await.unwrap();
                let shown: BTreeMap<_, _> =
                    page.locks.iter().map(|lock| (lock.name.to_string(), lock.holders.len())).collect();
                let mut expected = BTreeMap::new();
                for other in held.iter().filter(|other| !other.stolen) {
                    for name in names_of(other.names) {
                        *expected.entry(name).or_insert(0) += 1;
                    }
                }
                assert_eq!(shown, expected);
            }
            Step::Steal { name } => {
                let stolen = rp.steal(name.to_string()).await.unwrap();
                for other in &mut held {
                    other.stolen |= stolen.contains(&other.guard.token());
                    assert!(other.stolen || other.names & (1 << name) == 0);
                }
            }
        }
    }
    drop(held);
    assert_empty(&rp);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn l1_l2_l6_l7_every_sequence_of_calls_agrees_with_the_model(steps in prop::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

//! Random graphs, and whatever may happen to them, against the rules.

use proptest::prelude::*;

use super::*;

/// Services whose dependencies come before them in the list.
fn graphs() -> impl Strategy<Value = Vec<Vec<bool>>> {
    proptest::collection::vec(proptest::collection::vec(proptest::bool::ANY, 6), 1..7)
}

fn build(graph: &[Vec<bool>]) -> Vec<Spec> {
    let name = |place: usize| format!("s{place}");
    let after = |place: usize| (0..place).filter(|on| graph[place][*on]).map(|on| name(on).into()).collect();
    let spec = |place| Spec {
        after: after(place),
        attempts: 1 + u32::from(graph[place][5]),
        start_timeout: Some(10 * SECOND),
        drains: graph[place][4],
        stops_unfinished: graph[place][3],
        ..Spec::new(name(place))
    };
    (0..graph.len()).map(spec).collect()
}

/// Nothing runs out of order, whatever has happened.
fn in_order(driver: &Driver, specs: &[Spec]) {
    let state = |name: &str| driver.state(name);
    for (name, what) in driver.running.values() {
        let spec = specs.iter().find(|spec| *spec.name == **name).unwrap();
        let up = |state| matches!(state, State::Ready | State::Unhealthy | State::Draining);
        let mut dependents = specs.iter().filter(|other| other.after.contains(&spec.name));
        match what {
            What::Start => {
                assert!(spec.after.iter().all(|on| up(state(on))), "{name} starts too early");
                let twice = |(_, other, what): &(StepId, String, What)| other == name && *what == What::Start;
                assert!(!driver.leaving.iter().flatten().any(twice), "{name} starts twice");
            }
            What::Stop => assert!(
                dependents
                    .all(|other| !up(state(&other.name))
                        && !matches!(state(&other.name), State::Starting | State::Stopping)),
                "{name} stops too early"
            ),
            What::Check | What::Drain => {}
        }
    }
}

proptest! {
    #[test]
    fn v4_y4_whatever_fails_or_hangs_everything_is_in_order_and_ends(
        graph in graphs(),
        inputs in proptest::collection::vec((0_u8..13, 0_usize..8), 0..60),
    ) {
        let specs = build(&graph);
        let mut driver = Driver::new(specs.clone()).leaves_slowly();
        let mut started = Vec::new();
        in_order(&driver, &specs);
        for (input, which) in inputs {
            let step = driver.running.keys().nth(which).copied();
            match (input, step) {
                (0..=5, Some(step)) => {
                    started.extend(driver.running.remove(&step));
                    driver.machine.done(driver.now, step, Ok(()));
                }
                (6, Some(step)) => {
                    driver.running.remove(&step);
                    driver.machine.done(driver.now, step, Err("no".into()));
                }
                (7, _) => driver.wait(7 * SECOND),
                (8, _) => driver.wait(SECOND / 10),
                (9, _) if which == 0 => driver.shutdown(),
                (10, _) if which == 0 => driver.machine.give_up(driver.now),
                (11..=12, _) if driver.leaving.as_ref().is_some_and(|leaving| !leaving.is_empty()) => {
                    let left = driver.left((input == 11).then_some(Ok(())));
                    started.extend((input == 11).then_some(left));
                }
                _ => {}
            }
            driver.drain();
            in_order(&driver, &specs);
        }
        // From here on everything hangs: the deadlines end it.
        driver.shutdown();
        while let Some(deadline) = driver.machine.next_deadline() {
            let wait = deadline.since(driver.now);
            driver.wait(wait);
            in_order(&driver, &specs);
        }
        prop_assert!(driver.over && driver.running.is_empty());
        let report = driver.machine.report();
        let last = driver.machine.statuses().all(|status| matches!(
            status.state,
            State::Failed | State::Blocked | State::NotStarted | State::Stopped | State::Stuck | State::Unreached
        ));
        prop_assert!(last, "{report}");
        // Also what ended although it was dropped.
        for (name, _) in started.iter().filter(|(_, what)| *what == What::Start) {
            let state = driver.state(name);
            let told = matches!(state, State::Stopped | State::Stuck | State::Unreached);
            prop_assert!(told, "{name} was started and is {state}: {report}");
        }
    }
}

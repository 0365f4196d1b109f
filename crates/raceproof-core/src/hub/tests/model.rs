//! Random inputs: what the log says is what the hub knows, and the table's sums are right.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Acquire { client: usize, names: Vec<usize>, shared: bool, wait: bool, class: Class, request: u8, priority: u8 },
    Release { client: usize },
    Cancel { client: usize, request: u8 },
    Steal { name: usize },
    Campaign { client: usize },
    Pass { millis: u64 },
    Reconnect { client: usize },
    Renew { client: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..4_usize;
    let names = proptest::collection::btree_set(0..4_usize, 1..3).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        6 => (client.clone(), names, any::<bool>(), any::<bool>(), any::<bool>(), 0..20_u8, 0..2_u8).prop_map(
            |(client, names, shared, wait, durable, request, priority)| Step::Acquire {
                client, names, shared, wait,
                class: if durable { Class::Durable } else { Class::Reclaim },
                request, priority,
            }
        ),
        5 => client.clone().prop_map(|client| Step::Release { client }),
        1 => (client.clone(), 0..20_u8).prop_map(|(client, request)| Step::Cancel { client, request }),
        1 => (0..4_usize).prop_map(|name| Step::Steal { name }),
        1 => client.clone().prop_map(|client| Step::Campaign { client }),
        2 => (0..400_u64).prop_map(|millis| Step::Pass { millis }),
        1 => client.clone().prop_map(|client| Step::Reconnect { client }),
        3 => client.prop_map(|client| Step::Renew { client }),
    ]
}

const NAMES: [&str; 4] = ["w", "x", "y", "z"];

fn run(bench: &mut Bench, clients: &mut [Client], step: Step) {
    match step {
        Step::Acquire { client, names, shared, wait, class, request, priority } => {
            let names: Vec<_> = names.into_iter().map(|name| NAMES[name]).collect();
            let acquire = Acquire {
                mode: if shared { Mode::Shared } else { Mode::Exclusive },
                wait_ms: if wait { 300 } else { 0 },
                request: Some(RequestId::new(request.to_string())),
                class,
                priority,
                lock_delay_ms: if priority > 0 { 50 } else { 0 },
                ..locks(&names)
            };
            bench.acquire(clients[client], acquire);
        }
        Step::Release { client } => {
            let id = clients[client].key.id;
            let held = bench.hub.table.grants().find(|grant| grant.session == id);
            if let Some((name, token)) = held.map(|grant| (grant.keys[0].name.clone(), grant.token)) {
                bench.send(clients[client].conn, None, Request::Release(Release { name, token }));
            }
        }
        Step::Cancel { client, request } => {
            let request = RequestId::new(request.to_string());
            bench.send(clients[client].conn, None, Request::Cancel { request });
        }
        Step::Steal { name } => {
            let conn = bench.connect(ConnKind::Request);
            bench.send(conn, None, Request::Steal { name: NAMES[name].into() });
            bench.disconnect(conn);
        }
        Step::Campaign { client } => {
            let campaign = Campaign { election: "e".into(), request: None, value: "".into(), wait_ms: 100 };
            bench.send(clients[client].conn, None, Request::Campaign(campaign));
        }
        Step::Pass { millis } => bench.pass(millis),
        Step::Reconnect { client } => {
            bench.disconnect(clients[client].conn);
            let conn = bench.connect(ConnKind::Socket);
            let resume = Resume { session: clients[client].key, attempt: 0, held: vec![], pending: vec![] };
            if bench.ask(conn, Request::Resume(resume)).is_ok() {
                clients[client].conn = conn;
            } else {
                clients[client] = bench.client_with("again", 700, OnDisconnect::Keep);
            }
        }
        Step::Renew { client } => {
            bench.send(clients[client].conn, None, Request::Keepalive {});
        }
    }
}

fn check(bench: &Bench) {
    let grants: Vec<_> = bench.hub.table.grants().collect();
    for (i, one) in grants.iter().enumerate() {
        for other in &grants[i + 1..] {
            let share = one.keys.iter().any(|key| other.keys.contains(key));
            assert!(!share || one.claim.goes_with(other.claim), "{one:?} and {other:?}");
        }
        assert!(bench.hub.sessions.contains_key(&one.session));
    }
    for key in bench.hub.table.keys_waited_for() {
        let first = bench.hub.table.waiters(&key).next().expect("somebody waits");
        let blocked = bench.hub.recovery.is_some()
            || first.keys.iter().any(|key| {
                bench.hub.table.closed_until(key).is_some()
                    || bench.hub.table.holders(key).next().is_some()
                    || bench.hub.table.waiters(key).next().is_some_and(|other| other.ticket < first.ticket)
            });
        assert!(blocked, "{first:?} waits for nothing");
    }
}

/// A snapshot without what is not in the log: how far tokens were set aside, and that a start with nobody to await is settled.
fn comparable(hub: &Hub) -> Snapshot {
    let mut snapshot = hub.snapshot();
    snapshot.epoch = Epoch::new(0);
    snapshot.token_last = Token::new(0);
    snapshot.ceiling = Token::new(0);
    snapshot.reclaim = false;
    snapshot.delays.iter_mut().for_each(|(_, millis)| *millis = 0);
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_log_amounts_to_what_the_hub_knows(steps in proptest::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let mut clients: Vec<_> = (0..4).map(|n| bench.client_with(&n.to_string(), 700, OnDisconnect::Keep)).collect();
        for step in steps {
            run(&mut bench, &mut clients, step);
            check(&bench);
        }
        bench.flush();
        let restored = Hub::restore(Config::default(), None, bench.log.clone(), bench.now).expect("a log of our own");
        prop_assert_eq!(comparable(&restored), comparable(&bench.hub));
    }
}

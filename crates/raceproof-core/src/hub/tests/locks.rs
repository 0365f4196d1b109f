use super::*;

#[test]
fn l1_a_second_holder_waits_and_is_told_when_it_is_its_turn() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    assert!(bench.waits(waiting));
    bench.release(a, "x", token).expect("held");
    assert!(bench.granted(waiting).token > token);
}

#[test]
fn l1_try_is_refused_with_the_holder_named() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("host:1"), bench.client("host:2"));
    let token = bench.take(a, "x");
    let asked = bench.acquire(b, Acquire { wait_ms: 0, ..lock("x") });
    let problem = bench.refused(asked);
    assert_eq!(problem.code, Code::LockHeld);
    assert_eq!(problem.holders.iter().map(|holder| holder.token).collect::<Vec<_>>(), [token]);
    assert!(problem.detail.contains("host:1"), "{}", problem.detail);
}

#[test]
fn l1_shared_holders_share_and_keep_an_exclusive_one_out() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let shared = || Acquire { mode: Mode::Shared, ..lock("x") };
    let first = bench.acquire(a, shared());
    let second = bench.acquire(b, shared());
    let (first, second) = (bench.granted(first).token, bench.granted(second).token);
    let writer = bench.acquire(c, lock("x"));
    bench.release(a, "x", first).expect("held");
    assert!(bench.waits(writer));
    bench.release(b, "x", second).expect("held");
    assert!(bench.granted(writer).token > second);
}

#[test]
fn l1_a_semaphore_gives_as_many_permits_as_it_has() {
    let mut bench = Bench::new();
    let client = bench.client("a");
    let two = |take| Acquire { permits: Some(3), take, ..lock("x") };
    let first = bench.acquire(client, two(2));
    let first = bench.granted(first).token;
    let big = bench.acquire(client, Acquire { owner: Some("t2".into()), ..two(2) });
    let small = bench.acquire(client, Acquire { owner: Some("t3".into()), ..two(1) });
    assert!(bench.waits(big) && bench.waits(small), "the small one would delay the big one");
    bench.release(client, "x", first).expect("held");
    bench.granted(big);
    bench.granted(small);
}

#[test]
fn a_lock_in_use_is_not_taken_as_another_kind() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let asked = bench.acquire(a, Acquire { permits: Some(3), ..lock("x") });
    let token = bench.granted(asked).token;
    for other in [lock("x"), Acquire { permits: Some(4), ..lock("x") }, Acquire { mode: Mode::Shared, ..lock("x") }] {
        let asked = bench.acquire(b, other);
        assert_eq!(bench.refused(asked).code, Code::PermitsMismatch);
    }
    bench.release(a, "x", token).expect("held");
    bench.take(b, "x");
}

#[test]
fn l3_waiters_are_served_in_the_order_they_came() {
    let mut bench = Bench::new();
    let holder = bench.client("holder");
    let mut token = bench.take(holder, "x");
    let clients: Vec<_> = (0..64).map(|n| bench.client(&n.to_string())).collect();
    let asked: Vec<_> = clients.iter().map(|client| bench.acquire(*client, lock("x"))).collect();
    let mut last = holder;
    for (client, asked) in clients.into_iter().zip(asked) {
        bench.release(last, "x", token).expect("held");
        token = bench.granted(asked).token;
        last = client;
    }
}

#[test]
fn l3_a_waiting_writer_is_not_starved_by_readers() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let shared = || Acquire { mode: Mode::Shared, ..lock("x") };
    let reader = bench.acquire(a, shared());
    let reader = bench.granted(reader).token;
    let writer = bench.acquire(b, lock("x"));
    let late = bench.acquire(c, shared());
    assert!(bench.waits(late), "the late reader would overtake the writer");
    let attempt = bench.acquire(c, Acquire { wait_ms: 0, ..shared() });
    assert_eq!(bench.refused(attempt).code, Code::LockHeld);
    bench.release(a, "x", reader).expect("held");
    let writer = bench.granted(writer).token;
    bench.release(b, "x", writer).expect("held");
    bench.granted(late);
}

#[test]
fn l3_a_higher_priority_is_served_first_and_equals_in_order() {
    let mut bench = Bench::new();
    let holder = bench.client("holder");
    let token = bench.take(holder, "x");
    let clients: Vec<_> = (0..4).map(|n| bench.client(&n.to_string())).collect();
    let priorities = [0, 5, 0, 5];
    let asked: Vec<_> = clients
        .iter()
        .zip(priorities)
        .map(|(client, priority)| bench.acquire(*client, Acquire { priority, ..lock("x") }))
        .collect();
    bench.release(holder, "x", token).expect("held");
    for turn in [1, 3, 0, 2] {
        let token = bench.granted(asked[turn]).token;
        bench.release(clients[turn], "x", token).expect("held");
    }
}

#[test]
fn l6_several_names_are_taken_all_or_none() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let token = bench.take(a, "y");
    let both = bench.acquire(b, locks(&["x", "y"]));
    assert_eq!(bench.look("x"), (vec![], 1), "x alone is not taken");
    let behind = bench.acquire(c, lock("x"));
    assert!(bench.waits(behind), "it came later, and would delay the first");
    bench.release(a, "y", token).expect("held");
    let grant = bench.granted(both);
    assert_eq!((bench.look("x"), bench.look("y")), ((vec![grant.token], 1), (vec![grant.token], 0)));
    bench.release(b, "y", grant.token).expect("held");
    bench.granted(behind);
}

#[test]
fn l6_a_cycle_of_two_three_and_many_refuses_exactly_the_one_that_closes_it() {
    for n in [2, 3, 20] {
        let mut bench = Bench::new();
        let clients: Vec<_> = (0..n).map(|i| bench.client(&format!("c{i}"))).collect();
        for (i, client) in clients.iter().enumerate() {
            bench.take(*client, &format!("l{i}"));
        }
        let asked: Vec<_> = (0..n).map(|i| bench.acquire(clients[i], lock(&format!("l{}", (i + 1) % n)))).collect();
        let (last, others) = asked.split_last().expect("some");
        assert!(others.iter().all(|asked| bench.waits(*asked)), "no alarm before the cycle closes");
        let problem = bench.refused(*last);
        assert_eq!(problem.code, Code::Deadlock);
        let names: Vec<_> = problem.cycle.iter().map(|step| step.session_name.to_string()).collect();
        assert_eq!(names.len(), n, "{names:?}");
        assert_eq!(names[0], format!("c{}", n - 1));
        assert!(problem.cycle.iter().all(|step| step.waits_for.starts_with('l')));
    }
}

#[test]
fn l6_a_flow_that_waits_for_itself_is_told() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.take(a, "x");
    let again = bench.acquire(a, lock("x"));
    let problem = bench.refused(again);
    assert_eq!((problem.code, problem.cycle.len()), (Code::Deadlock, 1));
    let other_flow = bench.acquire(a, Acquire { owner: Some("t2".into()), ..lock("x") });
    assert!(bench.waits(other_flow), "another task of the session may wait for the first");
}

#[test]
fn l6_converging_waits_are_not_a_cycle() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (0..8).map(|i| bench.client(&format!("c{i}"))).collect();
    for (i, client) in clients.iter().enumerate() {
        bench.take(*client, &format!("own{i}"));
    }
    let goal = bench.take(clients[0], "goal");
    let asked: Vec<_> = clients[1..].iter().map(|client| bench.acquire(*client, lock("goal"))).collect();
    assert!(asked.iter().all(|asked| bench.waits(*asked)));
    let chain = bench.acquire(clients[1], Acquire { owner: Some("t2".into()), ..lock("own0") });
    assert!(bench.waits(chain));
    bench.release(clients[0], "goal", goal).expect("held");
    bench.granted(asked[0]);
}

#[test]
fn l6_a_semaphore_is_a_deadlock_only_when_every_holder_is_blocked() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let permit = || Acquire { permits: Some(2), ..lock("sem") };
    let first = bench.acquire(a, permit());
    let second = bench.acquire(b, permit());
    bench.granted(first);
    bench.granted(second);
    bench.take(c, "x");
    let blocked = bench.acquire(a, lock("x"));
    assert!(bench.waits(blocked));
    let fine = bench.acquire(c, Acquire { request: Some(RequestId::new("r")), ..permit() });
    assert!(bench.waits(fine), "b will give its permit back");
    bench.ask(c.conn, Request::Cancel { request: RequestId::new("r") }).expect("cancelled");
    let blocked = bench.acquire(b, lock("x"));
    assert!(bench.waits(blocked));
    let all_blocked = bench.acquire(c, permit());
    assert_eq!(bench.refused(all_blocked).code, Code::Deadlock, "nobody is left to give one back");
}

#[test]
fn l7_nothing_is_left_of_an_unused_name() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    for n in 0..1_000 {
        let name = n.to_string();
        let token = bench.take(a, &name);
        let waiting = bench.acquire(b, Acquire { wait_ms: 50, ..lock(&name) });
        if n % 100 == 0 {
            bench.pass(60);
            bench.refused(waiting);
            bench.keepalive(a);
            bench.keepalive(b);
            bench.release(a, &name, token).expect("held");
        } else {
            bench.release(a, &name, token).expect("held");
            let token = bench.granted(waiting).token;
            bench.release(b, &name, token).expect("held");
        }
    }
    let stats = bench.hub.stats();
    assert_eq!((stats.names, stats.grants, stats.waits, stats.held), (0, 0, 0, 0));
    assert_eq!(bench.hub.snapshot().grants, []);
}

#[test]
fn l10_a_release_wakes_exactly_the_waiter_it_grants_in_one_record() {
    let mut bench = Bench::new();
    let holder = bench.client("holder");
    let token = bench.take(holder, "x");
    let asked: Vec<_> = (0..1_000)
        .map(|n| {
            let client = bench.client(&n.to_string());
            bench.acquire(client, lock("x"))
        })
        .collect();
    let records = bench.log.len();
    bench.release(holder, "x", token).expect("held");
    assert_eq!(bench.log.len(), records + 1, "release and grant are one record");
    assert_eq!(asked.iter().filter(|asked| !bench.waits(**asked)).count(), 1);
    bench.granted(asked[0]);
}

#[test]
fn a_stolen_lock_is_lost_and_goes_to_the_next() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    let operator = bench.connect(ConnKind::Request);
    let stolen = bench.ask(operator, Request::Steal { name: "x".into() }).expect("stolen");
    assert_eq!(stolen, Response::Stolen { tokens: vec![token] });
    assert!(bench.granted(waiting).token > token);
    let lost = Event::Lost { token, names: vec!["x".into()], reason: crate::wire::LostReason::Stolen };
    assert_eq!(bench.events.pop_front(), Some((a.conn, lost)));
    assert_eq!(bench.release(a, "x", token).expect_err("stolen").code, Code::NotHolder);
}

#[test]
fn a_theft_is_told_after_the_grant_that_it_ends() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.slow_disk = true;
    let asked = bench.acquire(a, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    bench.send(a.conn, None, Request::Steal { name: "x".into() });
    assert!(bench.waits(asked) && bench.events.is_empty(), "a loss before its grant would be a loss of nothing");
    bench.flush();
    let token = bench.granted(asked).token;
    assert!(matches!(bench.events.pop_front(), Some((_, Event::Lost { token: lost, .. })) if lost == token));
    bench.slow_disk = false;
    let again = bench.acquire(a, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    assert_eq!(bench.refused(again).code, Code::Unclaimed, "a retry must not believe in what was stolen");
}

#[test]
fn a_release_needs_the_right_token_and_session() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    assert_eq!(bench.release(b, "x", token).expect_err("another's").code, Code::NotHolder);
    assert_eq!(bench.release(a, "x", token.next()).expect_err("another token").code, Code::NotHolder);
    assert_eq!(bench.release(a, "y", token).expect_err("another name").code, Code::NotHolder);
    bench.release(a, "x", token).expect("held");
    bench.release(a, "x", token).expect("a retry is answered as the first time");
}

#[test]
fn why_names_the_holder_and_the_place_in_the_queue() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    bench.take(a, "x");
    bench.acquire(b, lock("x"));
    bench.acquire(c, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    bench.pass(30);
    match bench.ask(c.conn, Request::Why { request: RequestId::new("r") }).expect("it waits") {
        Response::Waiting(waiting) => {
            assert_eq!(waiting.age_ms, 30);
            let lock = &waiting.blocked_by[0];
            assert_eq!((lock.holders[0].session_name.as_ref(), lock.waiters_count), ("a", 2));
            assert_eq!((lock.waiters[1].position, lock.waiters[1].session), (2, c.key.id));
        }
        other => panic!("{other:?}"),
    }
    let code = bench.ask(a.conn, Request::Why { request: RequestId::new("r") }).expect_err("not its own").code;
    assert_eq!(code, Code::NotWaiting);
}

#[test]
fn listings_are_paged_in_name_order() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    for name in ["b/2", "a/1", "b/1", "b/3", "c"] {
        bench.take(a, name);
    }
    let mut page = |after: Option<&str>| {
        let page = crate::wire::Page { prefix: "b/".into(), after: after.map(Into::into), limit: 2 };
        match bench.ask(a.conn, Request::Locks(page)).expect("a page") {
            Response::Locks(page) => {
                (page.locks.iter().map(|lock| lock.name.to_string()).collect::<Vec<_>>(), page.next)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page(None), (vec!["b/1".to_owned(), "b/2".to_owned()], Some("b/2".into())));
    assert_eq!(page(Some("b/2")), (vec!["b/3".to_owned()], None));
}

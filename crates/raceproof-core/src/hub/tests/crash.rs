use super::*;

fn reclaim(name: &str) -> Acquire {
    Acquire { class: Class::Reclaim, ..lock(name) }
}

impl Bench {
    /// Takes a name in the class `reclaim` that the disk never hears of, after one that it does: the log has to say
    /// first that there are such grants.
    fn take_unwritten(&mut self, client: Client, name: &str) -> Token {
        let asked = self.acquire(client, reclaim("first"));
        self.granted(asked);
        self.slow_disk = true;
        let asked = self.acquire(client, reclaim(name));
        let token = self.granted(asked).token;
        self.slow_disk = false;
        token
    }

    /// A new connection for a session that says that it holds `x`; what it keeps, and what it has lost.
    fn bring_back(&mut self, client: Client, token: Token) -> (Client, Vec<Token>, Vec<Token>) {
        let (client, resumed) = self.resume(client, vec![held(token, "x", Class::Reclaim)], &[]);
        let Response::Resumed { held, lost, .. } = resumed else { panic!("{resumed:?}") };
        (client, held, lost)
    }
}

#[test]
fn l2_tokens_increase_across_a_crash() {
    let mut bench = Bench::new();
    let mut last = Token::new(0);
    for _ in 0..20 {
        let a = bench.client("a");
        for name in ["x", "y"] {
            let token = bench.take(a, name);
            assert!(token > last, "{token} after {last}");
            last = token;
        }
        let asked = bench.acquire(a, Acquire { class: Class::Reclaim, ..lock("z") });
        let token = bench.granted(asked).token;
        assert!(token > last, "{token} after {last}");
        last = token;
        bench.ask(a.conn, Request::End {}).expect("ended");
        bench.flush();
        bench.crash();
    }
    assert!(last < Token::MAX);
}

#[test]
fn l2_l13_a_reclaim_token_that_never_reached_the_disk_is_not_given_again() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let token = bench.take_unwritten(a, "x");
    bench.crash();
    bench.pass(1_010);
    let b = bench.client("b");
    assert!(bench.take(b, "x") > token);
}

#[test]
fn l2_l13_a_recovery_that_settled_leaves_its_tokens_used() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let token = bench.take_unwritten(a, "x");
    bench.crash();
    bench.pass(1_010);
    bench.flush();
    bench.crash();
    let b = bench.client("b");
    assert!(bench.take(b, "x") > token, "the second start knows nothing of the first one's grants but the block");
}

#[test]
fn l4_l13_what_an_http_session_gave_back_stays_given_back() {
    let mut bench = Bench::new();
    let conn = bench.connect(ConnKind::Request);
    let open = Open { name: "curl".into(), ttl_ms: 10_000, on_disconnect: OnDisconnect::Keep };
    let Ok(Response::Opened { session, .. }) = bench.ask(conn, Request::Open(open)) else { panic!("not opened") };
    let call = |bench: &mut Bench, request: Request| {
        let conn = bench.connect(ConnKind::Request);
        bench.send(conn, Some(session), request)
    };
    let acquire = |id: &str, name: &str| Request::Acquire(Acquire { request: Some(RequestId::new(id)), ..lock(name) });
    let asked = call(&mut bench, acquire("r", "x"));
    let token = bench.granted(asked).token;
    let asked = call(&mut bench, acquire("s", "y"));
    bench.granted(asked);
    bench.slow_disk = true;
    let hasty = bench.connect(ConnKind::Request);
    bench.send(hasty, Some(session), acquire("u", "w"));
    bench.disconnect(hasty);
    let given_up = call(&mut bench, Request::Cancel { request: RequestId::new("u") });
    assert!(bench.waits(given_up), "nor that it closed its connection");
    let release = call(&mut bench, Request::Release(Release { name: "x".into(), token }));
    let cancel = call(&mut bench, Request::Cancel { request: RequestId::new("s") });
    assert!(bench.waits(release) && bench.waits(cancel), "a session over HTTP cannot repeat it after a crash");
    bench.flush();
    assert_eq!(bench.answer(release), Some(Ok(Response::Released {})));
    assert_eq!(bench.answer(cancel), Some(Ok(Response::Cancelled {})));
    bench.crash();
    assert_eq!(bench.look("x"), (vec![], 0));
    assert_eq!(bench.look("y"), (vec![], 0));
    assert_eq!(bench.look("w"), (vec![], 0));
}

#[test]
fn l4_l13_nobody_is_told_of_a_theft_that_a_crash_can_undo() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let token = bench.take(a, "x");
    bench.slow_disk = true;
    let operator = bench.connect(ConnKind::Request);
    bench.send(operator, None, Request::Steal { name: "x".into() });
    let call = |bench: &mut Bench, request: Request| {
        let conn = bench.connect(ConnKind::Request);
        bench.send(conn, Some(a.key), request)
    };
    let check = call(&mut bench, Request::Check(crate::wire::Check { name: "x".into(), token }));
    let release = call(&mut bench, Request::Release(Release { name: "x".into(), token }));
    assert!(bench.waits(check) && bench.waits(release), "it would not give back what comes back");
    bench.flush();
    assert_eq!(bench.answer(check), Some(Ok(Response::Checked { valid: false, newest: None })));
    assert_eq!(bench.refused(release).code, Code::NotHolder);
    bench.crash();
    assert_eq!(bench.look("x"), (vec![], 0));
}

#[test]
fn l1_l12_after_a_crash_a_retry_is_not_told_of_a_grant_that_was_given_back_untold() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let named = || Request::Acquire(Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    bench.slow_disk = true;
    let conn = bench.connect(ConnKind::Request);
    bench.send(conn, Some(a.key), named());
    bench.disconnect(conn);
    bench.flush();
    bench.slow_disk = false;
    bench.crash();
    let conn = bench.connect(ConnKind::Request);
    let again = bench.send(conn, Some(a.key), named());
    assert_eq!(bench.refused(again).code, Code::Unclaimed);
    assert_eq!(bench.look("x"), (vec![], 0));
}

#[test]
fn l13_a_durable_grant_is_told_only_once_it_is_on_disk() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.slow_disk = true;
    let asked = bench.acquire(a, lock("x"));
    assert!(bench.waits(asked));
    bench.flush();
    bench.granted(asked);
}

#[test]
fn l13_a_reclaim_grant_waits_for_no_flush_after_the_first() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.slow_disk = true;
    let first = bench.acquire(a, reclaim("first"));
    assert!(bench.waits(first), "the log has to say first that there are such grants");
    bench.flush();
    bench.granted(first);
    let wishes = bench.flush_wishes;
    for n in 0..1_000 {
        let name = n.to_string();
        let asked = bench.acquire(a, reclaim(&name));
        let token = bench.granted(asked).token;
        bench.release(a, &name, token).expect("held");
    }
    assert_eq!(bench.flush_wishes, wishes);
}

#[test]
fn l13_over_http_a_reclaim_grant_waits_like_a_durable_one() {
    let mut bench = Bench::new();
    let conn = bench.connect(ConnKind::Request);
    let open = Open { name: "curl".into(), ttl_ms: 10_000, on_disconnect: OnDisconnect::Keep };
    let Ok(Response::Opened { session, .. }) = bench.ask(conn, Request::Open(open)) else { panic!() };
    bench.slow_disk = true;
    let conn = bench.connect(ConnKind::Request);
    let asked = bench.send(conn, Some(session), Request::Acquire(Acquire { class: Class::Reclaim, ..lock("x") }));
    assert!(bench.waits(asked));
    bench.flush();
    bench.granted(asked);
}

#[test]
fn l13_after_a_crash_nothing_is_granted_until_reclaimers_came_back_or_ran_out() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client_with("b", 1_000, OnDisconnect::Keep);
    let token = bench.take_unwritten(a, "x");
    bench.crash();

    let (b, _) = bench.resume(b, vec![], &[]);
    let attempt = bench.acquire(b, Acquire { wait_ms: 0, ..lock("x") });
    assert_eq!(bench.refused(attempt).code, Code::Unavailable);
    let waiting = bench.acquire(b, lock("x"));
    let (a, kept, lost) = bench.bring_back(a, token);
    assert_eq!((kept, lost), (vec![token], vec![]), "taken up again");
    assert!(bench.waits(waiting), "a holds it");
    bench.release(a, "x", token).expect("held");
    assert!(bench.granted(waiting).token > token);
}

#[test]
fn l13_the_greater_token_is_right() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let asked = bench.acquire(a, reclaim("x"));
    let old = bench.granted(asked).token;
    bench.slow_disk = true;
    bench.release(a, "x", old).expect("held");
    let asked = bench.acquire(b, reclaim("x"));
    let token = bench.granted(asked).token;
    bench.slow_disk = false;
    bench.crash();
    assert_eq!(bench.look("x").0, [old], "the release was lost");
    assert_eq!(bench.bring_back(b, token).1, [token]);
    assert_eq!(bench.look("x").0, [token]);
    let (_, resumed) = bench.resume(a, vec![], &[]);
    let Response::Resumed { held: kept, .. } = resumed else { panic!() };
    assert_eq!(kept, []);
}

#[test]
fn l13_what_was_stolen_is_not_brought_back() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let asked = bench.acquire(a, reclaim("x"));
    let token = bench.granted(asked).token;
    let operator = bench.connect(ConnKind::Request);
    bench.ask(operator, Request::Steal { name: "x".into() }).expect("stolen");
    bench.slow_disk = true;
    let asked = bench.acquire(b, reclaim("x"));
    let newer = bench.granted(asked).token;
    bench.slow_disk = false;
    bench.crash();
    let (_, kept, lost) = bench.bring_back(a, token);
    assert_eq!((kept, lost), (vec![], vec![token]));
    assert_eq!(bench.bring_back(b, newer).1, [newer]);
}

/// What takes a lock from its holder, who does not know and would bring it back after a crash, is on disk before the
/// next one has it.
fn waits_for_the_disk(ends: impl FnOnce(&mut Bench, Client)) {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let asked = bench.acquire(a, reclaim("x"));
    bench.granted(asked);
    let waiting = bench.acquire(b, reclaim("x"));
    bench.slow_disk = true;
    ends(&mut bench, a);
    assert!(bench.waits(waiting));
    bench.flush();
    bench.granted(waiting);
}

#[test]
fn l13_a_grant_after_a_theft_waits_until_the_theft_is_on_disk() {
    waits_for_the_disk(|bench, _| {
        let operator = bench.connect(ConnKind::Request);
        bench.send(operator, None, Request::Steal { name: "x".into() });
    });
}

#[test]
fn l13_a_grant_after_a_session_was_ended_from_elsewhere_waits_until_that_is_on_disk() {
    waits_for_the_disk(|bench, holder| {
        let elsewhere = bench.connect(ConnKind::Request);
        bench.send(elsewhere, Some(holder.key), Request::End {});
    });
}

#[test]
fn a_crash_during_recovery_recovers_again() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take_unwritten(a, "x");
    bench.crash();
    bench.flush();
    bench.crash();
    let (b, _) = bench.resume(b, vec![], &[]);
    let waiting = bench.acquire(b, lock("x"));
    assert!(bench.waits(waiting));
    assert_eq!(bench.bring_back(a, token).1, [token]);
    assert!(bench.waits(waiting));
    assert_eq!(bench.look("x").0, [token]);
}

#[test]
fn a_store_that_failed_promises_nothing() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.slow_disk = true;
    let asked = bench.acquire(a, lock("x"));
    bench.hub.store_failed(bench.now, "no space left on device");
    bench.drain();
    assert_eq!(bench.refused(asked).code, Code::StoreFailed);
    let later = bench.acquire(a, lock("y"));
    assert_eq!(bench.refused(later).code, Code::StoreFailed);
}

#[test]
fn records_with_a_gap_are_refused() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.take(a, "x");
    bench.take(a, "y");
    bench.log.remove(1);
    let error = Hub::restore(Config::default(), None, bench.log.clone(), bench.now).expect_err("a gap");
    assert!(matches!(error, RestoreError::Gap { .. }), "{error}");
}

#[test]
fn a_snapshot_and_the_records_behind_it_are_the_same_as_all_records() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    bench.take(b, "y");
    let at = bench.hub.lsn();
    let snapshot = Snapshot::from_bytes(&bench.hub.snapshot().to_bytes()).expect("a snapshot");
    bench.release(a, "x", token).expect("held");
    bench.take(b, "x");
    bench.flush();
    let behind = bench.log.iter().filter(|(lsn, _)| *lsn > at).cloned();
    let short = Hub::restore(Config::default(), Some((at, snapshot)), behind, bench.now).expect("a store");
    let long = Hub::restore(Config::default(), None, bench.log.clone(), bench.now).expect("a store");
    assert_eq!(short.snapshot(), long.snapshot());
    assert_eq!(short.lsn(), long.lsn());
}

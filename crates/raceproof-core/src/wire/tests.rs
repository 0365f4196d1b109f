use super::*;
use crate::id::{SessionId, SessionKey, Token};

#[test]
fn frames_survive_a_round_trip() {
    let text = r#"{"seq":3,"request":{"acquire":{"request":"r1","names":["a","b"],"wait_ms":250,"class":"reclaim"}}}"#;
    let frame = ClientFrame::from_json(text).expect("a frame");
    assert_eq!(ClientFrame::from_json(&frame.to_json()).expect("a frame"), frame);

    let grant = Grant { token: Token::new(17), names: vec!["a".into()], mode: Mode::Exclusive, lease_ms: 10_000 };
    let answer = ServerFrame::Answer { seq: 1, re: 3, result: Ok(Box::new(Response::Granted(grant))) };
    let text = answer.to_json();
    assert_eq!(
        text,
        r#"{"seq":1,"re":3,"ok":{"granted":{"token":17,"names":["a"],"mode":"exclusive","lease_ms":10000}}}"#
    );
    assert_eq!(ServerFrame::from_json(&text).expect("a frame"), answer);
}

#[test]
fn elections_are_listed_as_they_are_documented() {
    let text = r#"{"seq":4,"request":{"elections":{"prefix":"db/","after":"db/1","limit":2}}}"#;
    let frame = ClientFrame::from_json(text).expect("a frame");
    assert_eq!(frame.to_json(), text);
    let all = ClientFrame::from_json(r#"{"seq":5,"request":{"elections":{}}}"#).expect("a frame");
    assert_eq!(all.request, Request::Elections(Page::default()));

    let leader = Leader {
        election: "db/2".into(),
        term: Token::new(17),
        value: "10.0.0.1:80".into(),
        session: SessionId::new(3),
        session_name: "a:1".into(),
        lease_ms: 10_000,
    };
    let led = Election {
        election: "db/2".into(),
        leader: Some(leader),
        led_ms: Some(50),
        lease_left_ms: Some(9_950),
        candidates_count: Some(0),
        candidates: Vec::new(),
    };
    let page = ElectionPage { elections: vec![led], next: Some("db/2".into()) };
    let answer = ServerFrame::Answer { seq: 1, re: 4, result: Ok(Box::new(Response::Elections(page))) };
    let text = answer.to_json();
    assert_eq!(
        text,
        concat!(
            r#"{"seq":1,"re":4,"ok":{"elections":{"elections":[{"election":"db/2","leader":{"election":"db/2","term":17,"#,
            r#""value":"10.0.0.1:80","session":3,"session_name":"a:1","lease_ms":10000},"led_ms":50,"#,
            r#""lease_left_ms":9950,"candidates_count":0,"candidates":[]}],"next":"db/2"}}}"#
        )
    );
    assert_eq!(ServerFrame::from_json(&text).expect("a frame"), answer);
    // As a server says it that counts neither, and as an event has it.
    let plain = Election { election: "e".into(), ..Election::default() };
    assert_eq!(serde_json::to_string(&plain).expect("json"), r#"{"election":"e","leader":null,"candidates":[]}"#);
}

#[test]
fn a_renewal_is_read_as_json_is_however_it_is_written() {
    let written = ClientFrame { seq: 17, request: Request::Keepalive {} }.to_json();
    assert_eq!(written, r#"{"seq":17,"request":{"keepalive":{}}}"#);
    for seq in [
        "0",
        "1",
        "9",
        "18446744073709551615",
        "18446744073709551616",
        "01",
        "00",
        "",
        "+1",
        "-1",
        "1.0",
        "1 ",
        " 1",
        "1e2",
        "x",
    ] {
        for end in ["}", "} ", "}}", ",\"x\":1}", ""] {
            let text = format!(r#"{{"seq":{seq},"request":{{"keepalive":{{}}}}{end}"#);
            let (read, plainly) = (ClientFrame::from_json(&text), serde_json::from_str::<ClientFrame>(&text));
            assert_eq!(read.ok(), plainly.ok(), "{text}");
        }
    }
}

#[test]
fn a_frame_with_both_answer_and_event_is_refused() {
    let text = r#"{"seq":1,"re":1,"ok":{"ended":{}},"event":{"draining":{}}}"#;
    assert!(ServerFrame::from_json(text).is_err());
    assert!(ServerFrame::from_json(r#"{"seq":1}"#).is_err());
}

#[test]
fn unknown_fields_and_requests_are_refused() {
    assert!(ClientFrame::from_json(r#"{"seq":1,"request":{"acquire":{"names":["a"],"wait":1}}}"#).is_err());
    assert!(ClientFrame::from_json(r#"{"seq":1,"request":{"conquer":{}}}"#).is_err());
    for (kind, fields) in [
        ("keepalive", ""),
        ("end", ""),
        ("cancel", r#""request":"r""#),
        ("steal", r#""name":"a""#),
        ("why", r#""request":"r""#),
        ("observe", r#""election":"e""#),
        ("unobserve", r#""election":"e""#),
        ("lock", r#""name":"a""#),
        ("election", r#""name":"e""#),
    ] {
        let frame =
            |fields: &str| ClientFrame::from_json(&format!(r#"{{"seq":1,"request":{{"{kind}":{{{fields}}}}}}}"#));
        frame(fields).expect(kind);
        let separator = if fields.is_empty() { "" } else { "," };
        assert!(frame(&format!(r#"{fields}{separator}"x":1"#)).is_err(), "{kind} takes a field that it does not have");
    }
}

#[test]
fn a_session_key_is_exact_and_hides_its_secret() {
    let key = SessionKey { id: SessionId::new(17), secret: 0xab };
    assert_eq!(key.to_string(), "17-000000000000000000000000000000ab");
    assert_eq!(key.to_string().parse::<SessionKey>().expect("a key"), key);
    assert!(!format!("{key:?}").contains("ab"));
    for bad in ["", "17", "17-ab", "+7-000000000000000000000000000000ab", "x-000000000000000000000000000000ab"] {
        assert!(bad.parse::<SessionKey>().is_err(), "{bad}");
    }
}

#[test]
fn codes_are_distinct_and_have_client_or_server_statuses() {
    let mut seen = std::collections::BTreeSet::new();
    for code in Code::ALL {
        assert!(seen.insert(code.as_str()), "{code} twice");
        assert!((400..=503).contains(&code.status()), "{code}");
        let json = serde_json::to_string(code).expect("json");
        assert_eq!(json, format!("\"{code}\""));
    }
}

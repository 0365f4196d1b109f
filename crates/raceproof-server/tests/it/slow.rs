//! Clients that read slowly, or not at all: they cost what they are owed, for a while, and nobody else's time.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Running, Socket, start, start_with};

/// Takes 1,000 locks with long names, so that a page of them has half a megabyte.
async fn hold_much(server: &Running) -> Socket {
    let mut holder = server.socket().await;
    holder.session("holder").await;
    for part in 0..20 {
        let names: Vec<_> = (0..50).map(|i| format!("{part}-{i}-{}", "n".repeat(240))).collect();
        let granted = holder.ask(json!({ "acquire": { "names": names } })).await;
        assert!(granted["ok"]["granted"].is_object(), "{granted}");
    }
    holder
}

async fn figure(server: &Running, name: &str) -> u64 {
    let figures = server.get("/metrics").await.body;
    let figure = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    figure.unwrap_or_else(|| panic!("no {name}: {figures}")).parse().unwrap()
}

#[tokio::test]
async fn an_http_client_that_does_not_read_its_answers_loses_its_connection() {
    let server = start_with(|config| config.limits.write_timeout = Duration::from_millis(300)).await;
    let holder = hold_much(&server).await;
    for end in ["", "Connection: close\r\n"] {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        // More than both sockets hold.
        let ask = |end| format!("GET /v1/locks?limit=1000 HTTP/1.1\r\nHost: localhost\r\n{end}\r\n");
        let asked = ask("").repeat(30) + &ask(end);
        stream.write_all(asked.as_bytes()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        // Whoever asks and the holder.
        server.until_figure("raceproof_connections 2").await;
        drop(stream);
    }
    holder.close().await;
}

#[tokio::test]
async fn few_requests_for_long_lists_are_answered_one_at_a_time() {
    const ASKED: u64 = 100;
    let server = start().await;
    let _holder = hold_much(&server).await;
    let before = figure(&server, "raceproof_requests_total{kind=\"other\"}").await;
    let mut stream = server.socket().await.into_stream();
    for seq in 1..=ASKED {
        let asked = json!({ "seq": seq, "request": { "locks": { "limit": 1_000 } } });
        stream.feed(Message::text(asked.to_string())).await.unwrap();
    }
    stream.flush().await.unwrap();
    // The sockets hold some of the answers, and the server one or two.
    let looked = async || figure(&server, "raceproof_requests_total{kind=\"other\"}").await - before;
    while looked().await == 0 {}
    for _ in 0..50 {
        let looked = looked().await;
        assert!(looked < ASKED / 2, "{looked} answers lie about");
    }
    for seq in 1..=ASKED {
        let Some(Ok(Message::Text(page))) = stream.next().await else { panic!("no answer {seq}") };
        assert!(page.starts_with(&format!("{{\"seq\":{seq},\"re\":{seq},\"ok\":{{\"locks\"")), "{seq}");
    }
}

/// Is elected in every election, and resigns, several times; many at a time.
async fn lead_all(leader: &mut Socket, elections: usize, rounds: usize) {
    const AT_A_TIME: usize = 100;
    let value = "v".repeat(4_000);
    for first in (0..rounds).flat_map(|_| (0..elections).step_by(AT_A_TIME)) {
        let names: Vec<_> = (first..first + AT_A_TIME).map(|number| format!("e{number}")).collect();
        for name in &names {
            leader.send(json!({ "campaign": { "election": name, "value": value } })).await;
        }
        let mut terms = Vec::new();
        for _ in &names {
            terms.push(leader.receive().await["ok"]["elected"]["term"].clone());
        }
        for (name, term) in names.iter().zip(terms) {
            leader.send(json!({ "resign": { "election": name, "term": term } })).await;
        }
        for _ in &names {
            assert_eq!(leader.receive().await["ok"], json!({ "released": {} }));
        }
    }
}

#[tokio::test]
async fn whoever_reads_slowly_but_goes_on_reading_is_served_to_the_end() {
    const ELECTIONS: usize = 1_000;
    const ROUNDS: usize = 4;
    let server = start_with(|config| {
        config.limits.outbox_frames = 100_000;
        config.limits.write_timeout = Duration::from_secs(2);
    })
    .await;
    let (mut reader, mut leader) = (server.socket().await, server.socket().await);
    leader.session("leader").await;
    for election in 0..ELECTIONS {
        reader.ask(json!({ "observe": { "election": format!("e{election}") } })).await;
    }
    // What the sockets do not hold takes several times as long as a write may make no progress.
    let reading = async {
        for event in 0..ELECTIONS * ROUNDS * 2 {
            assert!(reader.receive().await["event"]["leader"].is_object());
            if event % 200 == 0 && event < 6_000 {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    };
    tokio::join!(lead_all(&mut leader, ELECTIONS, ROUNDS), reading);
}

//! Nothing that is sent takes the server down, and each offence has its close code.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{PATIENCE, Running, start, start_with};

/// A WebSocket whose bytes are the test's own.
async fn raw_socket(server: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: raceproof.v1\r\n\r\n",
        server.addr
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    assert!(answer.contains("sec-websocket-protocol: raceproof.v1"), "{answer}");
    stream
}

/// Sends bytes, reads until the server hangs up, gives the code of the close frame.
async fn close_code(mut stream: TcpStream, bytes: &[u8]) -> u16 {
    let _hung_up_early = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server hangs up");
    assert!(answer.len() >= 4 && answer[0] == 0x88, "no close frame: {answer:?}");
    u16::from_be_bytes([answer[2], answer[3]])
}

async fn assert_alive(server: &Running) {
    let mut socket = server.socket().await;
    socket.session("witness").await;
    socket.close().await;
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn broken_frames_are_closed_with_their_code() {
    let server = start_with(|config| config.limits.frame_bytes = 4_096).await;
    let masked = |head: u8, payload: &[u8]| {
        let mut frame = vec![head, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    };
    for (what, bytes, code) in [
        ("bad UTF-8", masked(0x81, &[0xc3, 0x28]), 1_007),
        ("a surrogate in UTF-8", masked(0x81, &[0xed, 0xa0, 0x80]), 1_007),
        ("binary", masked(0x82, b"{}"), 1_003),
        ("unmasked", b"\x81\x02{}".to_vec(), 1_002),
        ("reserved bits", masked(0xf1, b"{}"), 1_002),
        ("a reserved opcode", masked(0x83, b"{}"), 1_002),
        ("a continuation of nothing", masked(0x80, b"{}"), 1_002),
        ("a fragmented ping", masked(0x09, b""), 1_002),
        ("a long ping", [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[b' '; 126]].concat(), 1_002),
        ("a message within a message", [masked(0x01, b"{"), masked(0x81, b"{}")].concat(), 1_002),
        ("a binary one within a message", [masked(0x01, b"{"), masked(0x82, b"{}")].concat(), 1_002),
        ("an oversize frame", [&[0x81, 0xfe, 0x10, 0x01, 0, 0, 0, 0][..], &[b' '; 4_097]].concat(), 1_009),
        ("an announced exabyte", [&[0x81, 0xff][..], &[0x0f; 8], &[0; 4]].concat(), 1_009),
        ("a negative length", [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat(), 1_009),
        ("not JSON", masked(0x81, b"hello"), 4_400),
        ("no number", masked(0x81, b"{\"request\":{}}"), 4_400),
        ("a number that is none", masked(0x81, b"{\"seq\":-1}"), 4_400),
        ("empty", masked(0x81, b""), 4_400),
    ] {
        let got = close_code(raw_socket(&server).await, &bytes).await;
        assert_eq!(got, code, "{what}");
    }
    // A message in too many pieces is as large as a frame.
    let piece = |head: u8| [&[head, 0xfe, 0x08, 0x00, 0, 0, 0, 0][..], &[b' '; 2_048]].concat();
    let pieces = [piece(0x01), piece(0x00), piece(0x00)].concat();
    assert_eq!(close_code(raw_socket(&server).await, &pieces).await, 1_009);
    assert_alive(&server).await;
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_and_a_close_with_its_code() {
    let server = start().await;
    for (sent, answered) in [
        (&b"\x89\x83\0\0\0\0now\x88\x82\0\0\0\0\x03\xe8"[..], &b"\x8a\x03now\x88\x02\x03\xe8"[..]),
        (b"\x8a\x80\0\0\0\0\x88\x80\0\0\0\0", b"\x88\x00"),
    ] {
        let mut stream = raw_socket(&server).await;
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server hangs up").unwrap();
        assert_eq!(answer, answered);
    }
}

#[tokio::test]
async fn what_was_asked_before_an_offence_is_answered_before_the_close() {
    let server = start().await;
    let mut stream = raw_socket(&server).await;
    let asked = br#"{"seq":1,"request":{"locks":{}}}"#;
    let mut frames = vec![0x81, 0x80 | u8::try_from(asked.len()).unwrap(), 0, 0, 0, 0];
    frames.extend_from_slice(asked);
    frames.extend_from_slice(b"\x82\x80\0\0\0\0");
    stream.write_all(&frames).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server hangs up").unwrap();
    let (said, close) = answer.split_at(2 + usize::from(answer[1]));
    assert_eq!(String::from_utf8_lossy(&said[2..]), r#"{"seq":1,"re":1,"ok":{"locks":{"locks":[]}}}"#);
    assert_eq!(close[..4], [0x88, 10, 3, 0xeb], "{answer:?}");
}

#[tokio::test]
async fn deep_and_huge_json_is_refused_without_harm() {
    let server = start().await;
    let mut socket = server.socket().await;
    let deep = format!("{{\"seq\":1,\"request\":{}", "[".repeat(60_000));
    socket.send_raw(Message::text(deep)).await;
    assert_eq!(socket.closed().await, Some((4_400, "bad_frame".to_owned())));
    let mut socket = server.socket().await;
    let names: Vec<_> = (0..5_000).map(|i| format!("n{i}")).collect();
    let answer = socket.ask(json!({ "acquire": { "names": names } })).await;
    assert_eq!(answer["problem"]["code"], "session_unknown");
    assert_alive(&server).await;
}

#[tokio::test]
async fn a_flood_of_frames_is_answered_in_order_and_held_back_by_the_socket() {
    let server = start().await;
    let mut socket = server.socket().await;
    socket.session("flood").await;
    let frames = 20_000_u64;
    let (mut sink, mut stream) = futures_util::StreamExt::split(socket.into_stream());
    let writing = tokio::spawn(async move {
        for seq in 2..frames + 2 {
            let sent = format!("{{\"seq\":{seq},\"request\":{{\"keepalive\":{{}}}}}}");
            futures_util::SinkExt::feed(&mut sink, Message::text(sent)).await.unwrap();
        }
        futures_util::SinkExt::flush(&mut sink).await.unwrap();
    });
    for seq in 2..frames + 2 {
        let Some(Ok(Message::Text(text))) = futures_util::StreamExt::next(&mut stream).await else {
            panic!("the socket closed at {seq}")
        };
        let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&frame["seq"], &frame["re"]), (&json!(seq), &json!(seq)));
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn broken_http_is_hung_up_on() {
    let server = start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &[b'A'; 100_000],
    ] {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let _hung_up_early = stream.write_all(bytes).await;
        let _half_closed = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the server hangs up");
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 ") && !answer.contains(" 201 "), "{answer}");
    }
    assert_alive(&server).await;
}

//! Hand-driven, with a fake clock.

use super::*;

#[test]
fn l11_the_first_connection_opens_a_session() {
    let mut client = Client::new(Config::default(), 1, Time::ZERO);
    let Some(Output::Connect { generation }) = client.poll_output() else { panic!("no attempt to connect") };
    assert_eq!(client.poll_output(), Some(Output::State(ConnectionState::Connecting)));
    client.connected(Time::from_millis(1), generation);
    let Some(Output::Send { frame, .. }) = client.poll_output() else { panic!("nothing sent") };
    assert!(matches!(frame.request, crate::wire::Request::Open(_)));
}

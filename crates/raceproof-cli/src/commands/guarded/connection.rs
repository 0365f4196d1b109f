//! News of the connection: people are told when the server is gone for more than a moment, and when it is back.

use std::time::Duration;

use raceproof::ConnectionState;
use tokio::sync::watch::Receiver;

use crate::say;

/// An absence that is not worth a word: a restart of the server.
const MOMENT: Duration = Duration::from_secs(1);

/// Says what becomes of the connection, until the client is closed.
pub(super) async fn report(mut states: Receiver<ConnectionState>, server: String) {
    let over = |state: &ConnectionState| matches!(state, ConnectionState::Failed | ConnectionState::Closed);
    let there = move |state: &ConnectionState| *state == ConnectionState::Connected || over(state);
    loop {
        // The error says that the client is gone.
        let Ok(state) = states.wait_for(|state| *state != ConnectionState::Connected).await.map(|state| *state) else {
            return;
        };
        if over(&state) {
            return;
        }
        if tokio::time::timeout(MOMENT, states.wait_for(there)).await.is_ok() {
            continue;
        }
        say::warning(
            "server-gone",
            format_args!("no server answers at {server}; trying again, what is held is kept while its lease lasts"),
        );
        match states.wait_for(there).await.map(|state| *state) {
            Ok(ConnectionState::Connected) => say::line(format_args!("{server} answers again")),
            _ => return,
        }
    }
}

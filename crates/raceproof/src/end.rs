//! The end of a session by somebody else than its client.

use std::future::poll_fn;
use std::time::Duration;

use raceproof_core::client::Failure;
use raceproof_core::id::SessionKey;
use raceproof_core::wire::{ClientFrame, Code, Problem, Request, Resume, ServerFrame};

use crate::builder::bearer;
use crate::client::socket::{Incoming, Socket};
use crate::client::url::Address;
use crate::error::ConnectError;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Later than every connection of the session's owner.
const LAST: u64 = (1 << 53) - 1;

/// Ends a session by its key, from any process: for a watchdog whose client is frozen or dead. Everything that the
/// session held is free when this returns; it may have been already.
///
/// # Errors
/// When the server cannot be reached within 5 s, or refuses. What the session held is then free when its lease ends.
///
/// # Cancel safety
/// Once polled, the session may end also if the future is dropped. Calling it again does no harm.
pub async fn end_session(url: &str, auth_token: Option<&str>, session: SessionKey) -> Result<(), ConnectError> {
    let address = Address::parse(url)?;
    let token = auth_token.map(bearer).transpose()?;
    let end = async {
        let mut socket = Socket::connect(address, token).await?;
        // A resumption with nothing held, then the end, without waiting for the answer between.
        let resume = Request::Resume(Resume { session, attempt: LAST, held: Vec::new(), pending: Vec::new() });
        socket.send(ClientFrame { seq: 1, request: resume }.to_json());
        socket.send(ClientFrame { seq: 2, request: Request::End {} }.to_json());
        let ended = answered(&mut socket).await;
        socket.close().await;
        ended
    };
    match tokio::time::timeout(TIMEOUT, end).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(ConnectError::Failed(Failure::Unreachable("it did not answer in time".into()))),
    }
}

async fn answered(socket: &mut Socket) -> Result<(), Failure> {
    loop {
        let text = match poll_fn(|cx| socket.poll_next(cx)).await {
            Incoming::Text(text) => text,
            Incoming::Sign => continue,
            Incoming::Stray(what) => return Err(Failure::Protocol(what.to_owned())),
            Incoming::Closed => return Err(Failure::Unreachable("the connection closed".into())),
        };
        match ServerFrame::from_json(&text) {
            Ok(ServerFrame::Answer { re: 1 | 2, result: Err(problem), .. }) => return settled(problem),
            Ok(ServerFrame::Answer { re: 2, result: Ok(_), .. }) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Failure::Protocol(error.to_string())),
        }
    }
}

/// A session that is not known has ended.
fn settled(problem: Box<Problem>) -> Result<(), Failure> {
    if problem.code == Code::SessionUnknown { Ok(()) } else { Err(Failure::Refused(problem)) }
}

//! `raceproof release NAME --steal`: an operator takes a lock away.

use std::time::Duration;

use raceproof_core::id::Token;
use raceproof_core::wire::Election;
use serde::Deserialize;

use super::{print, server, with_client};
use crate::args::Release;
use crate::config::Settings;
use crate::failure::Failure;
use crate::http::{Client, segment};

/// What the server answers.
#[derive(Deserialize)]
struct Stolen {
    tokens: Vec<Token>,
}

pub(super) fn release(args: &Release, settings: Settings) -> Result<u8, Failure> {
    let (server, token) = server(&with_client(settings, &args.client))?;
    let client = Client::new(&server, token.as_deref(), Duration::from_secs(10));
    let path = format!("/v1/locks/{}/steal", segment(&args.name));
    let stolen: Stolen = client.post(&path, "{}").map_err(|error| Failure::call(&server, &error))?;
    let tokens: Vec<String> = stolen.tokens.iter().map(Token::to_string).collect();
    let said = if tokens.is_empty() {
        format!("{:?} was held by nobody{}\n", args.name, mistaken(&client, &args.name))
    } else {
        format!("took {:?} away from its holders (tokens {})\n", args.name, tokens.join(", "))
    };
    print(&said)?;
    Ok(0)
}

/// What was probably meant, when there is no lock of this name.
fn mistaken(client: &Client, name: &str) -> &'static str {
    let election = client.get::<Election>(&format!("/v1/elections/{}", segment(name)));
    if election.is_ok_and(|election| election.leader.is_some()) {
        "; an election has this name, and is led until its leader's command ends: see raceproof elections"
    } else {
        ""
    }
}

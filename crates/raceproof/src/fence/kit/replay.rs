//! The holders, in the order in which they come.

use std::sync::Arc;

use raceproof_core::id::Token;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Check, Report, Resource, Verdict};

/// How often writers race.
const RACES: u64 = 25;
/// How many race at once, each with a token of its own.
const RACERS: u64 = 8;
/// How often each of them writes.
const WRITES: u64 = 3;

type Seen = Result<(), String>;

/// A resource, and what it has to contain.
pub(super) struct Replay<R> {
    resource: Arc<R>,
    newest: Token,
    /// The value that was accepted last.
    standing: Option<String>,
    writes: u64,
}

impl<R: Resource> Replay<R> {
    pub(super) fn new(resource: R, from: Token) -> Self {
        // 0 is no token, and the first holder's is one above this.
        let newest = Token::new(from.as_u64().saturating_sub(1));
        Self { resource: Arc::new(resource), newest, standing: None, writes: 0 }
    }

    pub(super) async fn run(mut self) -> Report {
        let mut report = Report::new();
        report.add(Check::NewerIsAccepted, self.newer().await);
        report.add(Check::EqualIsAccepted, self.accepted(self.newest).await);
        let stale = Token::new(self.newest.as_u64() - 1);
        report.add(Check::StaleIsRefused, self.refused(stale).await);
        report.add(Check::StaleLeavesNoTrace, self.stands().await);
        report.add(Check::ComparesAsNumbers, self.numbers().await);
        let reopened = self.reopen().await;
        report.add(
            Check::RemembersAcrossReopen,
            match &reopened {
                Ok(()) => self.refused(Token::new(self.newest.as_u64() - 1)).await,
                Err(seen) => Err(seen.clone()),
            },
        );
        report.add(
            Check::NewestGoesOnAfterReopen,
            match reopened {
                Ok(()) => self.accepted(self.newest).await,
                Err(seen) => Err(seen),
            },
        );
        report.add(Check::NewestWinsRaces, self.races().await);
        report.add(Check::ComparesInFull, self.full_range().await);
        report
    }

    async fn newer(&mut self) -> Seen {
        for _ in 0..3 {
            self.accepted(self.newest.next()).await?;
        }
        Ok(())
    }

    /// One digit more: as texts, "10" is before "9".
    async fn numbers(&mut self) -> Seen {
        let mut power = 10;
        while power <= self.newest.as_u64() {
            power *= 10;
        }
        if power > Token::MAX.as_u64() {
            return Ok(());
        }
        self.overtake(Token::new(power), Token::new(power - 1)).await
    }

    /// Numbers that only differ beyond what 32 bits, and then what 24, tell apart.
    async fn full_range(&mut self) -> Seen {
        for half in [1 << 31, 1 << 32] {
            let boundary = (self.newest.as_u64() / half + 1) * half;
            if boundary < Token::MAX.as_u64() {
                self.overtake(Token::new(boundary + 1), Token::new(boundary - 1)).await?;
            }
        }
        self.overtake(Token::MAX, Token::new(Token::MAX.as_u64() - 1)).await
    }

    async fn overtake(&mut self, newer: Token, stale: Token) -> Seen {
        self.accepted(newer).await?;
        self.refused(stale).await?;
        self.stands().await
    }

    /// Writes, has to be let through, and reads it back.
    async fn accepted(&mut self, token: Token) -> Seen {
        self.newest = token.max(self.newest);
        let value = self.value(token);
        match self.resource.write(token, &value).await {
            Ok(Verdict::Accepted) => self.standing = Some(value),
            Ok(Verdict::Refused) => return Err(format!("token {token} was refused, and it is the newest")),
            Err(error) => return Err(format!("the write with token {token} failed: {error}")),
        }
        self.stands().await
    }

    /// Writes, and has to be refused.
    async fn refused(&mut self, token: Token) -> Seen {
        let value = self.value(token);
        match self.resource.write(token, &value).await {
            Ok(Verdict::Refused) => Ok(()),
            Ok(Verdict::Accepted) => Err(format!("token {token} was accepted after token {}", self.newest)),
            Err(error) => Err(format!("the write with token {token} failed, but not as stale: {error}")),
        }
    }

    /// Reads what was accepted last.
    async fn stands(&self) -> Seen {
        match self.resource.read().await {
            Ok(value) if value == self.standing => Ok(()),
            Ok(value) => Err(format!("{value:?} is there, but {:?} was accepted last", self.standing)),
            Err(error) => Err(format!("it could not be read: {error}")),
        }
    }

    async fn reopen(&mut self) -> Seen {
        let Some(resource) = Arc::get_mut(&mut self.resource) else {
            return Err("a writer is still under way".to_owned());
        };
        resource.reopen().await.map_err(|error| format!("it could not be opened anew: {error}"))
    }

    async fn races(&mut self) -> Seen {
        for race in 0..RACES {
            self.race(race).await?;
        }
        Ok(())
    }

    async fn race(&mut self, race: u64) -> Seen {
        let first = self.newest.next();
        let start = Arc::new(Barrier::new(usize::try_from(RACERS).unwrap_or(1)));
        let mut writers = JoinSet::new();
        for racer in 0..RACERS {
            // Another one is spawned first each time.
            let token = Token::new(first.as_u64() + (racer + race) % RACERS);
            let (resource, start) = (Arc::clone(&self.resource), Arc::clone(&start));
            writers.spawn(async move {
                start.wait().await;
                write_some(&*resource, token).await
            });
        }
        let newest = Token::new(first.as_u64() + RACERS - 1);
        self.newest = newest;
        self.standing = Some(racing_value(newest, WRITES - 1));
        while let Some(writer) = writers.join_next().await {
            let (token, accepted) = writer.map_err(|panic| format!("a writer panicked: {panic}"))??;
            if token == newest && accepted < WRITES {
                return Err(format!("token {token} was refused, and it is the newest"));
            }
        }
        self.stands().await.map_err(|seen| format!("after a race of tokens {first} to {newest}: {seen}"))
    }

    fn value(&mut self, token: Token) -> String {
        self.writes += 1;
        format!("write {} with token {token}", self.writes)
    }
}

async fn write_some<R: Resource>(resource: &R, token: Token) -> Result<(Token, u64), String> {
    let mut accepted = 0;
    for write in 0..WRITES {
        match resource.write(token, &racing_value(token, write)).await {
            Ok(Verdict::Accepted) => accepted += 1,
            Ok(Verdict::Refused) => {}
            Err(error) => return Err(format!("a racing write with token {token} failed: {error}")),
        }
    }
    Ok((token, accepted))
}

fn racing_value(token: Token, write: u64) -> String {
    format!("racing write {write} with token {token}")
}

//! What a command is to hold, and taking it.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use raceproof::{AcquireError, CampaignError, Guard, Leadership, Raceproof};
use raceproof_core::id::Token;
use raceproof_core::wire::Class;

use super::failures::{holders, not_acquired, not_elected};
use super::held::{Held, Owned};
use crate::failure::Failure;
use crate::say;
use crate::supervise::wrapper::Holding as _;

/// After so long people are told that they wait.
const SAY_WAITING_AFTER: Duration = Duration::from_secs(1);
/// How long the question may take who it is that they wait for.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// What to hold.
#[derive(Clone)]
pub(super) enum Job {
    Lock { names: Vec<String>, shared: bool, permits: Option<u32>, patience: Patience, class: Class, refused: u8 },
    Elect { name: String, value: String },
}

/// How long to wait for it.
#[derive(Clone)]
pub(super) enum Patience {
    None,
    Some(Duration),
    Endless,
}

impl Job {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Lock { names, .. } => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
            Self::Elect { name, .. } => format!("the election {name:?}"),
        }
    }

    /// Waits until it holds.
    pub(super) fn hold(&self, rp: &Raceproof) -> impl Future<Output = Result<Held, Failure>> + use<> {
        let leases = rp.leases();
        let shown = self.shown();
        let taking: Pin<Box<dyn Future<Output = Result<Owned, Failure>>>> = match self {
            Self::Lock { names, shared, permits, patience, class, refused } => {
                let refused = *refused;
                let taking = acquire(rp, names, *shared, *permits, *class, patience);
                Box::pin(async move {
                    let guard = taking.await.map_err(|error| not_acquired(&shown, &error, refused))?;
                    Ok(Owned::Lock(guard))
                })
            }
            Self::Elect { name, value } => {
                let (election, value) = (rp.election(name.as_str()), value.clone());
                Box::pin(async move {
                    let leadership = campaign(&election, &value).await.map_err(|error| not_elected(&error))?;
                    Ok(Owned::Leadership(leadership))
                })
            }
        };
        let asking = self.clone().standing(rp.clone());
        async move {
            let mut taking = taking;
            let waiting = async {
                tokio::time::sleep(SAY_WAITING_AFTER).await;
                say::line(asking.await);
                pending().await
            };
            let owned = tokio::select! {
                biased;
                owned = &mut taking => owned?,
                never = waiting => never,
            };
            Ok(Held::new(owned, leases))
        }
    }

    /// `waiting for "deploy", held by host7:4121 for 3m 12s (token 118)`.
    async fn standing(self, rp: Raceproof) -> String {
        let shown = self.shown();
        match self {
            Self::Lock { names, .. } => {
                for name in names {
                    // Who has it is good to know, and not worth waiting for.
                    let asked = tokio::time::timeout(ASK_WITHIN, rp.lock_info(name.as_str())).await;
                    if let Ok(Ok(lock)) = asked
                        && !lock.holders.is_empty()
                    {
                        let waiting = format!("waiting for {shown}: {name:?} is held by {}", holders(&lock.holders));
                        let own = own_token().is_some_and(|own| lock.holders.iter().any(|holder| holder.token == own));
                        return if own {
                            format!("{waiting}, under which this runs: it waits for itself")
                        } else {
                            waiting
                        };
                    }
                }
            }
            Self::Elect { name, .. } => {
                let asked = tokio::time::timeout(ASK_WITHIN, rp.election_info(name.as_str())).await;
                if let Ok(Ok(election)) = asked
                    && let Some(leader) = election.leader
                {
                    let (value, by) = (leader.value, leader.session_name);
                    return format!("waiting for {shown}: {value:?} leads ({by}, term {})", leader.term);
                }
            }
        }
        format!("waiting for {shown}")
    }

    /// What the command is told.
    pub(super) fn env(&self, held: &Held) -> Vec<(String, String)> {
        let token = held.owned.token().to_string();
        let deadline = held.deadline().as_micros().to_string();
        let mut env = match self {
            Self::Lock { names, .. } => vec![("RACEPROOF_LOCK", joined(names))],
            Self::Elect { name, .. } => vec![("RACEPROOF_ELECTION", name.clone()), ("RACEPROOF_TERM", token.clone())],
        };
        env.extend([("RACEPROOF_FENCE", token), ("RACEPROOF_DEADLINE", deadline)]);
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The token that this process runs under, if it is a command of `raceproof lock` itself.
fn own_token() -> Option<Token> {
    std::env::var("RACEPROOF_FENCE").ok()?.parse().ok()
}

/// Names in one line: a comma in a name is `%2C`, a `%` is `%25`.
fn joined(names: &[String]) -> String {
    let escaped = names.iter().map(|name| name.replace('%', "%25").replace(',', "%2C"));
    escaped.collect::<Vec<_>>().join(",")
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Guard, AcquireError>>>>;

fn acquire(
    rp: &Raceproof,
    names: &[String],
    shared: bool,
    permits: Option<u32>,
    class: Class,
    patience: &Patience,
) -> Acquiring {
    if let (Some(permits), Some(name)) = (permits, names.first()) {
        let mut semaphore = rp.semaphore(name.as_str(), permits).class(class);
        return match patience {
            Patience::None => Box::pin(async move { semaphore.try_acquire().await }),
            Patience::Some(wait) => {
                semaphore = semaphore.wait(*wait);
                Box::pin(async move { semaphore.acquire().await })
            }
            Patience::Endless => Box::pin(async move { semaphore.acquire().await }),
        };
    }
    let mut lock = rp.lock_all(names.iter().map(String::as_str)).class(class);
    if shared {
        lock = lock.shared();
    }
    match patience {
        Patience::None => Box::pin(async move { lock.try_acquire().await }),
        Patience::Some(wait) => {
            lock = lock.wait(*wait);
            Box::pin(async move { lock.acquire().await })
        }
        Patience::Endless => Box::pin(async move { lock.acquire().await }),
    }
}

/// A candidacy ends with its session; a candidate that has not led yet stands again.
async fn campaign(election: &raceproof::Election, value: &str) -> Result<Leadership, CampaignError> {
    loop {
        match election.campaign(value).await {
            Err(CampaignError::Lost(_) | CampaignError::Unclaimed) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_names_fit_one_variable() {
        let names = ["a,b", "c%2Cd", "e f"].map(str::to_owned);
        assert_eq!(joined(&names), "a%2Cb,c%252Cd,e f");
    }
}

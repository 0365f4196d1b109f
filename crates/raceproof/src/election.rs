//! Elections: standing, leading, stepping down, handing over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "client")]
use raceproof_core::client::Client;
use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{Campaign, Code, Election as ElectionState, Leader, LostReason, WAIT_MS_FOREVER};

#[cfg(feature = "client")]
use crate::client::{Claimed, held::ServerHeld};
use crate::coordinator::Coordinator;
use crate::error::{CampaignError, QueryError, ReleaseError, TransferError};
use crate::handle::Raceproof;
use crate::held::Held;
use crate::lock::millis;
use crate::observer::{ObserveError, Observer};

/// An election by name.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rp = raceproof::Raceproof::local();
/// let election = rp.election("primary");
/// let mut observer = election.observe()?;
/// assert!(observer.next().await?.leader.is_none());
///
/// let leadership = election.campaign("10.0.0.7:5432").await?;
/// let leader = observer.next().await?.leader.expect("a leader");
/// assert_eq!(leader.term, leadership.term());
/// assert_eq!(&*leader.value, "10.0.0.7:5432");
/// leadership.resign().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `campaign` or `observe`"]
pub struct Election {
    rp: Raceproof,
    name: Arc<str>,
    wait_ms: u64,
}

impl Election {
    pub(crate) const fn new(rp: Raceproof, name: Arc<str>) -> Self {
        Self { rp, name, wait_ms: WAIT_MS_FOREVER }
    }

    /// How long [`Election::campaign`] stands. For ever by default; zero tries once.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait_ms = millis(wait);
        self
    }

    /// Stands for election until elected. Observers are told `value`, at most 4,096 bytes, once it leads.
    ///
    /// # Errors
    /// See [`CampaignError`]; a candidate whose session ends is told so, and stands no more (E6).
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future withdraws; a leadership that is already on its way is given up.
    pub async fn campaign(&self, value: impl Into<Arc<str>>) -> Result<Leadership, CampaignError> {
        let campaign =
            Campaign { election: Arc::clone(&self.name), request: None, value: value.into(), wait_ms: self.wait_ms };
        let (leader, held) = match &self.rp.coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => {
                let submit =
                    |client: &mut Client, now| client.campaign(now, campaign).map_err(|refused| refused.reason);
                match owner.0.start(submit)?.await? {
                    Claimed::Elected { leader, cell } => {
                        let held = ServerHeld::new(Arc::clone(owner), leader.term, Vec::new(), cell);
                        (leader, Held::Server(Box::new(held)))
                    }
                    _ => return Err(CampaignError::Closed),
                }
            }
            Coordinator::Local(local) => {
                let (leader, held) = local.campaign(campaign).await?;
                (leader, Held::Local(held))
            }
        };
        Ok(Leadership { rp: self.rp.clone(), leader, held })
    }

    /// Observes: the leader as it is, then every change.
    ///
    /// # Errors
    /// When the client takes no more observers, or is closed.
    pub fn observe(&self) -> Result<Observer, ObserveError> {
        Observer::start(&self.rp.coordinator, Arc::clone(&self.name))
    }

    /// Who leads and who stands.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn info(&self) -> Result<ElectionState, QueryError> {
        self.rp.election_info(Arc::clone(&self.name)).await
    }
}

/// A leadership. Dropping it resigns in the background.
///
/// It is valid as a [`Guard`](crate::Guard) is, and its term is a fencing token: stamp it on what the leader sends, and
/// have receivers drop what carries an older term than the newest they have seen.
#[derive(Debug)]
#[must_use = "dropping a leadership resigns"]
pub struct Leadership {
    rp: Raceproof,
    leader: Leader,
    held: Held,
}

impl Leadership {
    /// The term: greater than every one before it (E2). It stays the same after the loss.
    #[must_use]
    pub const fn term(&self) -> Token {
        self.leader.term
    }

    /// The leadership as observers see it.
    #[must_use]
    pub const fn leader(&self) -> &Leader {
        &self.leader
    }

    /// Whether it still leads, by the clock as it is at this moment.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.held.is_valid()
    }

    /// Until when it leads, on the clock of `raceproof::clock::now`, unless the lease is renewed.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.held.deadline()
    }

    /// Why it leads no more; none while it does, as far as was heard.
    #[must_use]
    pub fn lost_reason(&self) -> Option<LostReason> {
        self.held.lost_reason()
    }

    /// Resolves when it leads no more, resignation included. Independent of the leadership's own life.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn lost(&self) -> impl Future<Output = LostReason> + Send + use<> {
        self.held.lost()
    }

    /// Has `hook` run once when the leadership ends: when it resigns, is dropped or handed over, before the
    /// coordinator hears of it and so before a successor starts (E7); when it is lost, as soon as that is known, which
    /// for a lease that runs out is before the coordinator lets it go. At once if it is over.
    ///
    /// The hook runs on whichever thread finds out, and must not block.
    pub fn on_loss(&self, hook: impl FnOnce(LostReason) + Send + 'static) {
        self.held.on_loss(Box::new(hook));
    }

    /// Steps down and waits until the coordinator has confirmed it.
    ///
    /// # Errors
    /// When it was lost before, so that another may have led meanwhile.
    ///
    /// # Cancel safety
    /// It resigns also if the future is dropped, polled or not.
    pub async fn resign(self) -> Result<(), ReleaseError> {
        let Self { held, .. } = self;
        held.release(None).await
    }

    /// Hands over to a candidate, by its session (E7).
    ///
    /// # Errors
    /// [`TransferError::NotCandidate`] gives the leadership back when that session does not stand.
    ///
    /// # Cancel safety
    /// Dropped before the candidate is known to stand, the leadership resigns; dropped after, it is handed over.
    pub async fn transfer(self, to: SessionId) -> Result<(), TransferError> {
        /// So many candidates are listed; beyond them the coordinator has to be trusted to know.
        const LISTED: usize = 100;
        match self.rp.election_info(Arc::clone(&self.leader.election)).await {
            Ok(state) => {
                let stands = state.candidates.iter().any(|candidate| candidate.session == to);
                if !stands && state.candidates.len() < LISTED {
                    return Err(TransferError::NotCandidate(self));
                }
            }
            Err(error) => return Err(TransferError::NotAsked(self, error)),
        }
        let Self { held, .. } = self;
        match held.release(Some(to)).await {
            Ok(()) => Ok(()),
            Err(ReleaseError::Refused(problem)) if problem.code == Code::NotCandidate => {
                Err(TransferError::SuccessorGone)
            }
            Err(error) => Err(TransferError::Release(error)),
        }
    }
}

//! L8: the holder stops believing first. The lease that a holder counts ends before the lease that the hub counts,
//! whatever their clocks do within the margin; and nobody is handed a grant that is over by its own clock.

use super::{Invariant, Ledger};
use crate::world::fact::Fact;

#[derive(Debug)]
pub(super) struct Holder {
    hub_drift_ppm: i64,
}

impl Holder {
    pub(super) const fn new(hub_drift_ppm: i64) -> Self {
        Self { hub_drift_ppm }
    }
}

impl Invariant for Holder {
    fn name(&self) -> &'static str {
        "l8_holder"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Lease { session: id, until, .. } => {
                let Some(session) = ledger.sessions.get(&id.as_u64()) else {
                    return Err(format!("a lease of session {id}, which the hub never opened"));
                };
                let rate = u64::try_from(1_000_000 + self.hub_drift_ppm).unwrap_or(1_000_000);
                let hub_until = session.renewed + session.ttl * 1_000_000 / rate;
                if *until > hub_until {
                    return Err(format!("session {id} is believed in until {until}, the hub counts to {hub_until}"));
                }
                Ok(())
            }
            Fact::Believes { session: id, token, .. } => {
                let session = ledger.sessions.get(&id.as_u64());
                if session.is_none_or(|session| session.believed_until <= ledger.at) {
                    return Err(format!("token {token} was handed over when the lease of session {id} was over"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

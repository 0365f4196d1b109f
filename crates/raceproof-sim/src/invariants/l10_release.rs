//! L10: a release wakes exactly the waiters it grants, and is one record with them. Nobody is answered who has not
//! asked, and nobody twice.

use raceproof_core::wire::{Event, Request, Response};

use super::{Invariant, Ledger};
use crate::world::fact::Fact;
use crate::world::net::LinkId;

#[derive(Debug, Default)]
pub(super) struct Release {
    /// The release that is being handled.
    handled: Option<(LinkId, u64)>,
}

impl Invariant for Release {
    fn name(&self) -> &'static str {
        "l10_release"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Asked { link, seq, request, .. } => {
                let is_release = matches!(***request, Request::Release(_) | Request::Resign(_));
                self.handled = is_release.then_some((*link, *seq));
            }
            Fact::HubDown => self.handled = None,
            Fact::Answered { link, seq, result } => {
                if ledger.links.contains_key(link) && !ledger.pending.contains_key(&(*link, *seq)) {
                    return Err(format!("an answer to nothing that was asked: link {link} number {seq}: {result:?}"));
                }
                let granted = matches!(result.as_deref(), Ok(Response::Granted(_) | Response::Elected(_)));
                if self.handled.is_some_and(|handled| handled != (*link, *seq)) && !granted {
                    return Err(format!("a release made the hub answer a request that it does not grant: {result:?}"));
                }
            }
            Fact::Pushed { event, .. } if self.handled.is_some() && !matches!(event, Event::Leader(_)) => {
                return Err(format!("a release made the hub push {event:?}"));
            }
            Fact::Handled { appends, .. } => {
                self.handled = None;
                if *appends > 1 {
                    return Err(format!("one input made {appends} records"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

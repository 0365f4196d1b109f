//! What is asked for, checked against the limits before anything is decided.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;

use super::Hub;
use crate::id::RequestId;
use crate::lock::{Claim, Key, Terms};
use crate::wire::{Acquire, Code, Mode, Problem};

/// A request for locks or for the lead, checked.
pub(super) struct Want {
    pub(super) keys: Vec<Key>,
    pub(super) claim: Claim,
    pub(super) terms: Terms,
    pub(super) rank: u16,
    pub(super) wait_ms: u64,
}

impl Want {
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(&self.keys, self.claim)
    }
}

/// Tells apart requests for different things under one id.
pub(super) fn fingerprint(keys: &[Key], claim: Claim) -> u64 {
    let mut hasher = FxHasher::default();
    (keys, claim).hash(&mut hasher);
    hasher.finish()
}

impl Hub {
    pub(super) fn checked(&self, acquire: Acquire) -> Result<Want, Problem> {
        let max = self.config.names_max;
        if acquire.names.is_empty() || acquire.names.len() > max {
            let detail = format!("a request takes 1 to {max} names; this one has {}", acquire.names.len());
            return Err(Problem::new(Code::BadRequest, detail));
        }
        let mut seen = BTreeSet::new();
        for name in &acquire.names {
            self.check_name(name)?;
            if !seen.insert(name) {
                return Err(Problem::new(Code::BadRequest, format!("{name:?} is named twice")));
            }
        }
        for text in [acquire.request.as_ref().map(RequestId::as_str), acquire.owner.as_deref()].into_iter().flatten() {
            self.check_short(text)?;
        }
        if acquire.lock_delay_ms > self.config.lock_delay_ms_max {
            let max = self.config.lock_delay_ms_max;
            let detail = format!("a lock-delay lasts at most {max} ms; {} was asked for", acquire.lock_delay_ms);
            return Err(Problem::new(Code::BadRequest, detail));
        }
        let claim = claim_of(acquire.mode, acquire.permits, acquire.take)?;
        let terms = Terms {
            class: acquire.class,
            lock_delay_ms: acquire.lock_delay_ms,
            request: acquire.request,
            value: Arc::from(""),
            owner: acquire.owner,
            flows: true,
        };
        let keys = acquire.names.into_iter().map(Key::lock).collect();
        Ok(Want { keys, claim, terms, rank: u16::from(acquire.priority), wait_ms: acquire.wait_ms })
    }

    pub(super) fn check_name(&self, name: &str) -> Result<(), Problem> {
        let max = self.config.name_bytes_max;
        if name.is_empty() || name.len() > max {
            let detail = format!("a name has 1 to {max} bytes; this one has {}", name.len());
            return Err(Problem::new(Code::NameInvalid, detail));
        }
        Ok(())
    }

    pub(super) fn check_short(&self, text: &str) -> Result<(), Problem> {
        let max = self.config.request_bytes_max;
        if text.is_empty() || text.len() > max {
            let detail = format!("a request id or an owner has 1 to {max} bytes; this one has {}", text.len());
            return Err(Problem::new(Code::BadRequest, detail));
        }
        Ok(())
    }
}

pub(super) fn claim_of(mode: Mode, permits: Option<u32>, take: u32) -> Result<Claim, Problem> {
    let refuse = |detail: String| Err(Problem::new(Code::BadRequest, detail));
    match (mode, permits) {
        (Mode::Shared, Some(_)) => refuse("a semaphore has no shared mode; leave out `mode` or `permits`".into()),
        (_, Some(of)) if take == 0 || take > of => {
            refuse(format!("a semaphore of {of} permits gives 1 to {of} at a time; {take} were asked for"))
        }
        (_, None) if take != 1 => refuse("`take` goes with `permits`".into()),
        (Mode::Exclusive, Some(of)) => Ok(Claim::Permits { of, take }),
        (Mode::Exclusive, None) => Ok(Claim::Exclusive),
        (Mode::Shared, None) => Ok(Claim::Shared),
    }
}

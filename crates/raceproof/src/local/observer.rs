//! Observers of this process's elections.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use raceproof_core::client::OpError;
use raceproof_core::local::ObserverId;
use raceproof_core::wire::Election;

use super::Local;

#[derive(Debug)]
pub(crate) struct LocalObserver {
    local: Arc<Local>,
    id: ObserverId,
}

impl LocalObserver {
    pub(crate) fn start(local: Arc<Local>, election: Arc<str>) -> Result<Self, OpError> {
        let id = local.with(|slow, now| slow.machine.observe(now, election))?;
        Ok(Self { local, id })
    }

    pub(crate) async fn next(&self) -> Result<Election, OpError> {
        poll_fn(|cx| {
            self.local.with(|slow, _| match slow.machine.observed(self.id) {
                Some(news) => Poll::Ready(news),
                None => {
                    let before = slow.observers.insert(self.id, cx.waker().clone());
                    slow.spent.extend(before);
                    Poll::Pending
                }
            })
        })
        .await
    }
}

impl Drop for LocalObserver {
    fn drop(&mut self) {
        self.local.with(|slow, now| {
            let waker = slow.observers.remove(&self.id);
            slow.spent.extend(waker);
            slow.machine.unobserve(now, self.id);
        });
    }
}

//! Observers of elections: each walks the terms in order and skips what it is too slow for (E3).

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Local, Output};
use crate::client::OpError;
use crate::hub::ConnKind;
use crate::id::ConnId;
use crate::time::Time;
use crate::wire::{Election, Problem, Request, Response};

/// How many changes wait for a slow observer before the oldest is passed over.
const NEWS_MAX: usize = 16;

/// Names an observer within its coordinator; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObserverId(u64);

type News = Result<Election, OpError>;

#[derive(Debug, Default)]
pub(super) struct Watch {
    news: VecDeque<News>,
}

impl Local {
    /// Observes an election: the leader as it is, then every change.
    ///
    /// # Errors
    /// When the coordinator was closed.
    pub fn observe(&mut self, now: Time, election: Arc<str>) -> Result<ObserverId, OpError> {
        if self.closed {
            return Err(OpError::Closed);
        }
        let conn = self.connect(now, ConnKind::Socket);
        let id = ObserverId(conn.as_u64());
        self.watches.insert(id, Watch::default());
        self.send(now, conn, Request::Observe { election });
        self.drain(now);
        Ok(id)
    }

    /// The next news for an observer. After an error there is none.
    pub fn observed(&mut self, observer: ObserverId) -> Option<News> {
        self.watches.get_mut(&observer)?.news.pop_front()
    }

    /// The observer is gone.
    pub fn unobserve(&mut self, now: Time, observer: ObserverId) {
        if self.watches.remove(&observer).is_some() {
            self.hub.disconnect(now, ConnId::new(observer.0));
            self.drain(now);
        }
    }

    pub(super) fn watch_answered(&mut self, conn: ConnId, result: Result<Box<Response>, Box<Problem>>) {
        match result.map(|response| *response) {
            Ok(Response::Observing(election)) => self.tell(conn, Ok(election)),
            Err(problem) => self.tell(conn, Err(OpError::Refused(problem))),
            Ok(_) => {}
        }
    }

    pub(super) fn watch_changed(&mut self, conn: ConnId, election: Election) {
        self.tell(conn, Ok(election));
    }

    pub(super) fn end_watches(&mut self) {
        let observers: Vec<_> = self.watches.keys().map(|id| ConnId::new(id.0)).collect();
        for conn in observers {
            self.tell(conn, Err(OpError::Closed));
        }
    }

    fn tell(&mut self, conn: ConnId, news: News) {
        let observer = ObserverId(conn.as_u64());
        let Some(watch) = self.watches.get_mut(&observer) else { return };
        if watch.news.len() >= NEWS_MAX {
            watch.news.pop_front();
        }
        watch.news.push_back(news);
        self.outputs.push_back(Output::Observed { observer });
    }
}

//! One file per room; each says what it measures beside whom, and what it wants of it.

mod cache;
mod cancelled;
mod events;
mod lock;
mod resilience;
mod service;
mod storage;
mod values;
mod worker;

use crate::frame::Room;

pub(crate) fn all() -> Vec<Room> {
    vec![cache::room(), events::room(), lock::room(), resilience::room(), service::room(), worker::room()]
}

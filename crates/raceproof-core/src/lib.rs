//! The decisions of Raceproof, without I/O: no clock, no thread, no socket, no file, no randomness of its own.
//!
//! A machine takes the time with every input, changes its state and queues outputs. Its caller drains them after each
//! input, then waits until the machine's next deadline. The same machines run behind Tokio, in a server, in a browser
//! tab and in a simulator.
//!
//! - [`hub`]: sessions, locks, elections, and what must be on disk before anyone hears of it.
//! - [`lock`]: the table of holders and queues that the hub rests on.
//! - [`session`]: leases, and the memory of answers.
//! - [`client`]: connecting, keeping a lease alive, resuming, and knowing when it is lost.
//! - [`local`]: the hub in its callers' own process, without leases, log or connections.
//! - [`guard`]: when a command that runs under a lock is stopped.
//! - [`events`]: a bus within one process: who has read how far, and who is waited for.
//! - [`fence`]: which tokens a resource refuses.
//! - [`cache`]: who loads what is missing, and which loads still count.
//! - [`service`]: one value that many want, made once and cleaned up once.
//! - [`resilience`]: breakers, retries, and what else keeps one failure from becoming many.
//! - [`overlap`]: what happens to a start while another runs.
//! - [`task`]: background tasks with names, restarts and an end.
//! - [`startup`]: services that depend on each other, their order and the way back.
//! - [`worker`]: requests in a mailbox, and the workers that take them.
//! - [`wire`]: the messages between a client and a hub.
//! - [`id`], [`time`]: numbers that must not be mixed up.

pub mod cache;
pub mod client;
pub mod events;
pub mod fence;
pub mod guard;
pub mod hub;
pub mod id;
pub mod local;
pub mod lock;
pub mod overlap;
pub mod resilience;
pub mod service;
pub mod session;
pub mod startup;
pub mod task;
pub mod time;
pub mod wire;
pub mod worker;

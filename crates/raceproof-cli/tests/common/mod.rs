//! What the tests of real processes share.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod http;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod server;

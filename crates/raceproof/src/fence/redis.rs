//! A fence in Redis: a key beside the data's key, compared and advanced in the script that writes.
//!
//! Owns: the scripts, their keys, and reading their refusal. Refuses: a stale token (L9), and numbers that no hub
//! grants. A script is one step for Redis, and what it wrote is replicated as one.
//!
//! A script takes `KEYS[1]`, the fence's key, then the data's keys, and `ARGV[1]`, the token in decimal, then the rest.
//! A stale token is an error reply, which no client takes for success: its code is [`STALE`], its text the newest token.
//! The texts never change while a program runs, so that `EVALSHA` finds them.
//!
//! In a cluster all keys of a script have to be in one slot: [`fence_key`] names a fence in the slot of its data. Give
//! the fence's key no expiry, and let `maxmemory-policy` evict none that has none: a fence that is gone admits anybody.

use super::{Stale, Token};

/// The code of the error reply to a stale token.
pub const STALE: &str = "RACEPROOF_STALE";

macro_rules! guard {
    ($body:expr) => {
        concat!(
            r"if not string.match(ARGV[1], '^%d+$') then return redis.error_reply('RACEPROOF_TOKEN not a fencing token') end
local token = tonumber(ARGV[1])
if token < 1 or token > 9007199254740991 then return redis.error_reply('RACEPROOF_TOKEN not a fencing token') end
local newest = redis.call('GET', KEYS[1])
if newest and tonumber(newest) > token then return redis.error_reply('RACEPROOF_STALE ' .. newest) end
if not newest or tonumber(newest) < token then redis.call('SET', KEYS[1], string.format('%.0f', token)) end
",
            $body
        )
    };
}

/// Sets a string: `KEYS` are the fence and the data, `ARGV` the token and the value. Answers `OK`.
pub const SET: &str = guard!("return redis.call('SET', KEYS[2], ARGV[2])\n");

/// Admits a token and writes nothing: `KEYS[1]` is the fence, `ARGV[1]` the token. Answers `OK`. A holder that reads
/// before it writes runs this before it reads.
pub const CLAIM: &str = guard!("return redis.status_reply('OK')\n");

/// A script of your own that runs under the fence: `body` is Lua, reads its keys from `KEYS[2]` on and its arguments
/// from `ARGV[2]` on, and returns the answer.
///
/// ```
/// let script = raceproof::fence::redis::guarded("return redis.call('INCRBY', KEYS[2], ARGV[2])");
/// assert!(script.ends_with("ARGV[2])"));
/// ```
#[must_use]
pub fn guarded(body: &str) -> String {
    format!("{}{body}", guard!(""))
}

/// The key of the fence for the data at `key`, in the same cluster slot. `None` for a key that has a `}` and no hash
/// tag: nothing else can be in its slot by name.
///
/// ```
/// use raceproof::fence::redis::fence_key;
/// assert_eq!(fence_key("orders").as_deref(), Some("{orders}:fence"));
/// assert_eq!(fence_key("{shop}:orders").as_deref(), Some("{shop}:orders:fence"));
/// assert_eq!(fence_key("odd}").as_deref(), None);
/// ```
#[must_use]
pub fn fence_key(key: &str) -> Option<String> {
    if has_hash_tag(key) {
        return Some(format!("{key}:fence"));
    }
    if key.is_empty() || key.contains('}') {
        return None;
    }
    Some(format!("{{{key}}}:fence"))
}

/// What is between the first `{` and the next `}`, if it is anything, is what a cluster hashes.
fn has_hash_tag(key: &str) -> bool {
    key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).is_some_and(|(tag, _)| !tag.is_empty())
}

/// Reads an error reply: its code (the first word) and the text after it. `None` if it is another error.
#[must_use]
pub fn stale(code: &str, detail: &str, token: Token) -> Option<Stale> {
    if code != STALE {
        return None;
    }
    // Some clients and proxies add to the text. A refusal stays one, whatever can be read of it.
    let newest = detail.split_whitespace().next().and_then(super::parse);
    Some(Stale { token, newest: newest.unwrap_or_else(|| token.next()) })
}

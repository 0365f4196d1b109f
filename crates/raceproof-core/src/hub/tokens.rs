//! Fencing tokens: one counter over the whole store, for ever (L2).
//!
//! Tokens are set aside in blocks. The log names the block's end before a token of it is heard of, so a grant that is
//! not in the log (the class `reclaim`) needs no record of its own, and a start after a crash continues behind the
//! block. Plain numbers below 2^53 result, which every sink can compare: SQL, Redis scripts, JavaScript.

use crate::id::{Lsn, Token};

#[derive(Debug)]
pub(super) struct Tokens {
    last: Token,
    ceiling: Token,
    /// The record that names the ceiling, and the ceiling before it.
    reserved_by: Lsn,
    ceiling_before: Token,
    block: u64,
}

impl Tokens {
    pub(super) const fn new(last: Token, ceiling: Token, block: u64) -> Self {
        Self { last, ceiling, reserved_by: Lsn::new(0), ceiling_before: ceiling, block }
    }

    pub(super) const fn last(&self) -> Token {
        self.last
    }

    pub(super) const fn ceiling(&self) -> Token {
        self.ceiling
    }

    /// The next token, and the new ceiling if the record of this input (`lsn`) has to name one.
    pub(super) fn take(&mut self, lsn: Lsn) -> (Token, Option<Token>) {
        self.last = self.last.next();
        let spare = self.ceiling.as_u64().saturating_sub(self.last.as_u64());
        if spare >= self.block / 2 {
            return (self.last, None);
        }
        let ceiling = Token::new((self.last.as_u64() + self.block).min(Token::MAX.as_u64()));
        self.ceiling_before = self.ceiling;
        self.ceiling = ceiling;
        self.reserved_by = lsn;
        (self.last, Some(ceiling))
    }

    /// The record that has to be on disk before `token` may be heard of without a record of its own.
    pub(super) fn reserved_by(&self, token: Token) -> Lsn {
        if token > self.ceiling_before { self.reserved_by } else { Lsn::new(0) }
    }
}

//! Fencing tokens: one counter over the whole store, for ever (L2).
//!
//! Tokens are set aside in blocks. The log names the block's end before a token of it is heard of, so a grant that is
//! not in the log (the class `reclaim`) needs no record of its own, and a start after a crash continues behind the
//! block. Plain numbers below 2^53 result, which every sink can compare: SQL, Redis scripts, JavaScript.

use std::collections::VecDeque;

use crate::id::{Lsn, Token};

#[derive(Debug)]
pub(super) struct Tokens {
    last: Token,
    ceiling: Token,
    /// Ceilings that were named in this run, each with its record; a small block may be used up before its record is on
    /// disk. Those below the last token are forgotten.
    reserved: VecDeque<(Token, Lsn)>,
    block: u64,
}

impl Tokens {
    pub(super) const fn new(last: Token, ceiling: Token, block: u64) -> Self {
        Self { last, ceiling, reserved: VecDeque::new(), block }
    }

    pub(super) const fn last(&self) -> Token {
        self.last
    }

    pub(super) const fn ceiling(&self) -> Token {
        self.ceiling
    }

    /// Leaves out the tokens up to `last`.
    pub(super) fn skip_to(&mut self, last: Token) {
        self.last = self.last.max(last);
    }

    /// The next token, and the new ceiling if the record of this input (`lsn`) has to name one.
    pub(super) fn take(&mut self, lsn: Lsn) -> (Token, Option<Token>) {
        self.last = self.last.next();
        while self.reserved.front().is_some_and(|(ceiling, _)| *ceiling < self.last) {
            self.reserved.pop_front();
        }
        let spare = self.ceiling.as_u64().saturating_sub(self.last.as_u64());
        if spare >= self.block / 2 {
            return (self.last, None);
        }
        let ceiling = Token::new((self.last.as_u64() + self.block).min(Token::MAX.as_u64()));
        self.ceiling = ceiling;
        self.reserved.push_back((ceiling, lsn));
        (self.last, Some(ceiling))
    }

    /// The record that has to be on disk before the last token may be heard of without a record of its own.
    pub(super) fn last_reserved_by(&self) -> Lsn {
        self.reserved.front().map_or(Lsn::new(0), |(_, lsn)| *lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l2_a_token_rests_on_the_record_that_named_its_block_however_small_the_block() {
        let mut tokens = Tokens::new(Token::new(0), Token::new(0), 2);
        let mut rests_on = Vec::new();
        for lsn in 1..=7 {
            let (token, ceiling) = tokens.take(Lsn::new(lsn));
            rests_on.push((token.as_u64(), tokens.last_reserved_by().as_u64(), ceiling.map(Token::as_u64)));
        }
        let expected = [
            (1, 1, Some(3)),
            (2, 1, None),
            (3, 1, Some(5)),
            (4, 3, None),
            (5, 3, Some(7)),
            (6, 5, None),
            (7, 5, Some(9)),
        ];
        assert_eq!(rests_on, expected);
    }
}

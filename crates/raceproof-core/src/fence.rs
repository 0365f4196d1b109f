//! The rule of fencing: what a resource remembers, and which tokens it refuses.
//!
//! Owns the comparison alone. Keeping the numbers, durably and in one step with the write they guard, is the business
//! of the resource. Refuses: a token older than the newest (L9), and numbers that no hub grants.

use crate::id::Token;

/// What a resource knows of the grants it was written under.
///
/// One number is enough for exclusive grants. Shared grants are valid side by side, so that the newest of them says
/// nothing about the others; but each of them is older than the next exclusive one, and newer than the last. So a
/// second number is kept for them, and each kind is compared with what conflicts with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fence {
    exclusive: Token,
    shared: Token,
}

/// A token that is refused: older than the newest, or none that a hub grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("fencing token {token} is stale: {newest} is the newest")]
pub struct Stale {
    /// What was shown.
    pub token: Token,
    /// What it had to be at least.
    pub newest: Token,
}

impl Fence {
    /// A resource that was never written.
    #[must_use]
    pub const fn new() -> Self {
        Self { exclusive: Token::new(0), shared: Token::new(0) }
    }

    /// A resource whose newest exclusive and newest shared grants were kept somewhere; 0 is "none".
    #[must_use]
    pub const fn restore(exclusive: Token, shared: Token) -> Self {
        Self { exclusive, shared }
    }

    /// The newest exclusive grant; 0 is "none".
    #[must_use]
    pub const fn exclusive(self) -> Token {
        self.exclusive
    }

    /// The newest shared grant; 0 is "none".
    #[must_use]
    pub const fn shared(self) -> Token {
        self.shared
    }

    /// Admits an exclusive holder, and from then on nobody older. A holder may come as often as it likes.
    ///
    /// # Errors
    /// [`Stale`] if a newer grant of either kind was seen.
    pub fn check(&mut self, token: Token) -> Result<(), Stale> {
        admit(token, self.exclusive.max(self.shared))?;
        self.exclusive = token;
        Ok(())
    }

    /// Admits one of several shared holders, and from then on no exclusive one that is older.
    ///
    /// # Errors
    /// [`Stale`] if a newer exclusive grant was seen.
    pub fn check_shared(&mut self, token: Token) -> Result<(), Stale> {
        admit(token, self.exclusive)?;
        self.shared = self.shared.max(token);
        Ok(())
    }
}

fn admit(token: Token, newest: Token) -> Result<(), Stale> {
    // A number beyond the range would compare wrongly in a resource that counts in doubles, and lock everybody out.
    if token < newest || token == Token::new(0) || token > Token::MAX {
        return Err(Stale { token, newest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn token(number: u64) -> Token {
        Token::new(number)
    }

    #[test]
    fn l9_an_older_token_is_refused_and_an_equal_one_is_not() {
        let mut fence = Fence::new();
        assert_eq!(fence.check(token(5)), Ok(()));
        assert_eq!(fence.check(token(5)), Ok(()));
        assert_eq!(fence.check(token(6)), Ok(()));
        assert_eq!(fence.check(token(5)), Err(Stale { token: token(5), newest: token(6) }));
        assert_eq!(fence.check(token(6)), Ok(()));
    }

    #[test]
    fn l9_a_restored_fence_refuses_what_the_first_one_would() {
        let mut fence = Fence::restore(token(9), token(4));
        assert_eq!(fence.check(token(8)), Err(Stale { token: token(8), newest: token(9) }));
        assert_eq!(fence.check(token(9)), Ok(()));
    }

    #[test]
    fn l9_shared_holders_are_valid_side_by_side_and_shut_out_the_exclusive_one_before_them() {
        let mut fence = Fence::new();
        assert_eq!(fence.check(token(5)), Ok(()));
        assert_eq!(fence.check_shared(token(8)), Ok(()));
        assert_eq!(fence.check_shared(token(7)), Ok(()));
        assert_eq!(fence.check(token(5)), Err(Stale { token: token(5), newest: token(8) }));
        assert_eq!(fence.check(token(9)), Ok(()));
        assert_eq!(fence.check_shared(token(8)), Err(Stale { token: token(8), newest: token(9) }));
    }

    #[test]
    fn numbers_that_no_hub_grants_are_refused_and_change_nothing() {
        let mut fence = Fence::new();
        assert!(fence.check(token(0)).is_err());
        assert!(fence.check(Token::MAX.next()).is_err());
        assert!(fence.check_shared(Token::MAX.next()).is_err());
        assert_eq!(fence, Fence::new());
        assert_eq!(fence.check(Token::MAX), Ok(()));
    }
}

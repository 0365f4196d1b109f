//! Bearer tokens: who may call at all. Comparison takes the same time whatever is sent.

use std::fmt;
use std::path::{Path, PathBuf};

use subtle::{Choice, ConstantTimeEq};

/// The tokens that open this server. `Debug` hides them.
#[derive(Clone)]
pub struct Tokens(Vec<Box<[u8]>>);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read the token file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has no token in it: nobody could call.
    #[error("the token file {path} has no token: write one per line")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A token could not be sent in a header.
    #[error("line {line} of the token file {path} is not a token: use 16 or more visible ASCII characters, no spaces")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl Tokens {
    /// Reads tokens from a file: one per line, at least 16 characters; empty lines and lines that start with `#` are
    /// skipped.
    ///
    /// # Errors
    /// When the file cannot be read, has no token, or has one that a header cannot carry.
    pub fn from_file(path: &Path) -> Result<Self, TokensError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokensError::Unreadable { path: path.to_owned(), source })?;
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(TokensError::Unusable { path: path.to_owned(), line: index + 1 });
            }
            tokens.push(token.as_bytes().into());
        }
        if tokens.is_empty() {
            return Err(TokensError::Empty { path: path.to_owned() });
        }
        Ok(Self(tokens))
    }

    /// Takes tokens from memory.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(tokens.into_iter().map(|token| token.into().into_bytes().into_boxed_slice()).collect())
    }

    /// Whether an `Authorization` header opens the server. Every token is compared, and every byte of it: only
    /// lengths can be told from the time it takes.
    #[must_use]
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some((scheme, sent)) = authorization.and_then(|value| value.split_at_checked(7)) else { return false };
        let known = self.0.iter().fold(Choice::from(0), |known, token| known | token.ct_eq(sent));
        scheme.eq_ignore_ascii_case(b"bearer ") && known.into()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exact_bearer_token_is_admitted() {
        let tokens = Tokens::new(["first-token-of-the-test", "second-token-of-the-test"]);
        assert!(tokens.admits(Some(b"Bearer second-token-of-the-test")));
        assert!(tokens.admits(Some(b"bearer first-token-of-the-test")));
        for bad in [
            &b"Bearer "[..],
            b"Bearer first-token-of-the-tes",
            b"Bearer first-token-of-the-testx",
            b"Basic first-token-of-the-test",
            b"first-token-of-the-test",
            b"",
        ] {
            assert!(!tokens.admits(Some(bad)), "{}", String::from_utf8_lossy(bad));
        }
        assert!(!tokens.admits(None));
        assert!(!format!("{tokens:?}").contains("first"));
    }

    #[test]
    fn a_token_file_has_comments_and_no_weak_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "# the ops team\n\n  0123456789abcdef  \nfedcba9876543210\n").unwrap();
        let tokens = Tokens::from_file(&path).unwrap();
        assert!(tokens.admits(Some(b"Bearer 0123456789abcdef")));
        assert!(tokens.admits(Some(b"Bearer fedcba9876543210")));

        std::fs::write(&path, "# none\n").unwrap();
        assert!(matches!(Tokens::from_file(&path), Err(TokensError::Empty { .. })));
        std::fs::write(&path, "# one\nshort\n").unwrap();
        assert!(matches!(Tokens::from_file(&path), Err(TokensError::Unusable { line: 2, .. })));
        assert!(matches!(Tokens::from_file(&dir.path().join("no")), Err(TokensError::Unreadable { .. })));
    }
}

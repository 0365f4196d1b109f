//! Names as the table of names keeps them.

use std::sync::Arc;

/// So many bytes are copied sooner than a reference is counted.
const SHORT: usize = 23;

/// Short names are whole words, which are copied and compared without a loop: the bytes, zeros, and last the length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Text {
    Short([u64; 3]),
    Long(Arc<str>),
}

impl Text {
    #[inline]
    pub(super) fn new(text: &Arc<str>) -> Self {
        let mut bytes = [0; SHORT + 1];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) if text.len() <= SHORT => {
                place.copy_from_slice(text.as_bytes());
                bytes[SHORT] = len;
                let (words, _) = bytes.as_chunks();
                Self::Short(std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word))))
            }
            _ => Self::Long(Arc::clone(text)),
        }
    }

    pub(super) fn to_shared(&self) -> Arc<str> {
        match self {
            Self::Short(words) => {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                let len = bytes.last().copied().unwrap_or_default();
                let text = bytes.get(..usize::from(len)).unwrap_or_default();
                std::str::from_utf8(text).expect("it was copied from a str").into()
            }
            Self::Long(text) => Arc::clone(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_comes_back_as_it_was() {
        for len in [0, 1, 2, 22, 23, 24, 25, 255, 256] {
            let name: Arc<str> = "é".repeat(len / 2).into();
            assert_eq!(Text::new(&name).to_shared(), name);
            let name: Arc<str> = "x".repeat(len).into();
            assert_eq!(Text::new(&name).to_shared(), name);
        }
    }

    #[test]
    fn names_are_equal_only_if_every_byte_is() {
        let names = ["", "a", "a\0", "\0", "b", "abcdefghijklmnopqrstuvw", "abcdefghijklmnopqrstuvwx"];
        for (at, one) in names.iter().enumerate() {
            for (beside, other) in names.iter().enumerate() {
                assert_eq!(Text::new(&(*one).into()) == Text::new(&(*other).into()), at == beside, "{one:?} {other:?}");
            }
        }
    }
}

//! Names as the table of names keeps them.

use std::sync::Arc;

/// So many bytes are copied sooner than a reference is counted.
const SHORT: usize = 22;

#[derive(Debug)]
pub(super) enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<str>),
}

impl Text {
    #[inline]
    pub(super) fn new(text: &Arc<str>) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { len, bytes }
            }
            _ => Self::Long(Arc::clone(text)),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text.as_bytes(),
        }
    }

    #[inline]
    pub(super) fn is(&self, text: &str) -> bool {
        self.as_bytes() == text.as_bytes()
    }

    pub(super) fn to_shared(&self) -> Arc<str> {
        match self {
            Self::Short { .. } => std::str::from_utf8(self.as_bytes()).expect("it was copied from a str").into(),
            Self::Long(text) => Arc::clone(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_comes_back_as_it_was() {
        for len in [0, 1, 21, 22, 23, 24, 255, 256] {
            let name: Arc<str> = "é".repeat(len / 2).into();
            let text = Text::new(&name);
            assert!(text.is(&name) && !text.is("x"));
            assert_eq!(text.to_shared(), name);
        }
    }
}

//! The protocol's document.

//! The kinds of values: how each is written and read.

use std::num::NonZeroU32;
use std::time::Duration;

/// A kind of value.
pub(crate) trait Setting: Sized {
    /// What people call the kind, for the reference.
    const KIND: &'static str;

    /// Reads a value; the error says how to write it.
    fn read(text: &str) -> Result<Self, String>;

    /// Writes it the way it is read.
    fn show(&self) -> String;
}

impl Setting for bool {
    const KIND: &'static str = "true or false";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "expected true or false".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($kind:ty),*) => {$(
        impl Setting for $kind {
            const KIND: &'static str = "whole number";

            fn read(text: &str) -> Result<Self, String> {
                text.replace('_', "").parse().map_err(|_| format!("expected a whole number from 0 to {}", Self::MAX))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, usize);

impl Setting for NonZeroU32 {
    const KIND: &'static str = "whole number";

    fn read(text: &str) -> Result<Self, String> {
        Self::new(u32::read(text)?).ok_or_else(|| "expected a whole number from 1".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    const KIND: &'static str = "number";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().ok().filter(|number: &Self| number.is_finite()).ok_or_else(|| "expected a number".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Reads a length of time as the settings have it: with its unit, as in `10s`, `250ms` or `1h30m`.
///
/// # Errors
/// What is wrong with the text and how to write it, to be put after what it is the value of.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if text.bytes().any(|byte| byte.is_ascii_alphabetic()) => Ok(duration),
        Ok(_) => Err("a unit is missing: 10s, 250ms, 2m".into()),
        Err(humantime::DurationError::UnknownUnit { unit, value, .. }) if unit.is_empty() => {
            Err(format!("a unit is missing: {value}s, {value}ms, {value}m"))
        }
        Err(_) => Err("write it as 10s, 250ms, 2m, 1h30m".into()),
    }
}

impl Setting for Duration {
    const KIND: &'static str = "duration";

    fn read(text: &str) -> Result<Self, String> {
        duration(text)
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: &'static str = T::KIND;

    fn read(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(None) } else { T::read(text).map(Some).map_err(|detail| format!("{detail}, or none")) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".into(), Setting::show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T: Setting + PartialEq + std::fmt::Debug>(value: T, text: &str) {
        assert_eq!(value.show(), text);
        assert_eq!(T::read(text), Ok(value));
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        both_ways(true, "true");
        both_ways(1_024_usize, "1024");
        both_ways(0.5_f64, "0.5");
        both_ways(Duration::from_millis(90_250), "1m 30s 250ms");
        both_ways(None::<u32>, "none");
        both_ways(Some(Duration::from_secs(3)), "3s");
        assert_eq!(u32::read("1_000"), Ok(1_000));
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_how_to_write_it() {
        assert_eq!(u8::read("300").unwrap_err(), "expected a whole number from 0 to 255");
        assert_eq!(u32::read("-1").unwrap_err(), "expected a whole number from 0 to 4294967295");
        assert_eq!(f64::read("inf").unwrap_err(), "expected a number");
        assert_eq!(Duration::read("10").unwrap_err(), "a unit is missing: 10s, 10ms, 10m");
        assert_eq!(Option::<Duration>::read("fast").unwrap_err(), "write it as 10s, 250ms, 2m, 1h30m, or none");
        assert_eq!(bool::read("yes").unwrap_err(), "expected true or false");
    }
}

//! The header `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How long a `Retry-After` header asks to stay away: a number of seconds, or a date in the preferred format
/// (`Sun, 06 Nov 1994 08:49:37 GMT`). `unix_seconds` is the wall clock, for dates; a date in the past is zero.
/// `None` if it is neither.
#[must_use]
pub fn parse_retry_after(value: &str, unix_seconds: u64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are for ever.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some(Duration::from_secs(date(value)?.saturating_sub(unix_seconds)))
}

/// Seconds since 1970 of an IMF-fixdate.
fn date(value: &str) -> Option<u64> {
    let mut words = value.split_once(", ")?.1.split(' ');
    let day: u64 = two_digits(words.next()?)?;
    let month = words.next()?;
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as u64;
    let year = words.next().filter(|year| year.len() == 4)?.parse::<u64>().ok().filter(|year| *year >= 1970)?;
    let mut clock = words.next()?.splitn(3, ':');
    let (hour, minute, second) = (two_digits(clock.next()?)?, two_digits(clock.next()?)?, two_digits(clock.next()?)?);
    let ends = words.next() == Some("GMT") && words.next().is_none();
    let valid = ends && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    valid.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn two_digits(word: &str) -> Option<u64> {
    (word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_digit())).then(|| word.parse().ok()).flatten()
}

/// Days from 1970-01-01, by Howard Hinnant's `days_from_civil`.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

//! Times and durations in Docker's forms.

use crate::ApiError;
pub use docker_api::time::human;
use docker_api::time::{digits, fraction, go_duration};
use docker_api::types::TIME_ZERO;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;

/// A time of the calendar, UTC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

/// Finds the calendar day of a Unix time.
/// **Source:** Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(seconds: i64) -> Civil {
    let days = seconds.div_euclid(DAY_SECONDS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted + 2) / 5 + 1,
        second_of_day: seconds.rem_euclid(DAY_SECONDS),
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes nanoseconds since 1970 as Go's `RFC3339Nano`: without trailing zeros.
pub fn rfc3339(nanos: i64) -> String {
    let seconds = nanos.div_euclid(1_000_000_000);
    let fraction = nanos.rem_euclid(1_000_000_000);
    let time = civil(seconds);
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        time.year,
        time.month,
        time.day,
        time.second_of_day / 3600,
        time.second_of_day / 60 % 60,
        time.second_of_day % 60
    );
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Writes a time with all nine digits of its fraction, as log lines have it.
pub fn rfc3339_fixed(nanos: i64) -> String {
    let text = rfc3339_seconds(nanos);
    let seconds = text.strip_suffix('Z').unwrap_or(&text);
    format!("{seconds}.{:09}Z", nanos.rem_euclid(1_000_000_000))
}

/// Writes a time without its fraction of a second.
pub fn rfc3339_seconds(nanos: i64) -> String {
    rfc3339(nanos - nanos.rem_euclid(1_000_000_000))
}

/// Reads a moment as prune filters and logs give it: a timestamp, or a duration before now such as `1h30m`.
///
/// # Errors
/// 400 for any other text.
/// **Source:** moby, `api/types/time`, `GetTimestamp`.
pub fn moment(text: &str) -> Result<Option<i64>, ApiError> {
    match go_duration(text) {
        Some(before) if before != 0 => Ok(Some(unix_nanos(SystemTime::now()).saturating_sub(before))),
        _ => timestamp(text),
    }
}

/// Writes a time that may be missing, as Go's zero time.
pub fn rfc3339_or_zero(nanos: Option<i64>) -> String {
    nanos.map_or_else(|| TIME_ZERO.to_owned(), rfc3339)
}

/// Gives nanoseconds since 1970; what lies outside of their range is its edge.
pub fn unix_nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// Makes a time of nanoseconds since 1970.
pub fn from_unix_nanos(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let time = if nanos < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// Reads `since` and `until`: `seconds[.nanos]` or RFC 3339; empty is none.
///
/// # Errors
/// 400 for any other text.
/// **Source:** moby, `api/types/time`, `ParseTimestamps`.
pub fn timestamp(text: &str) -> Result<Option<i64>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let nanos = seconds_and_nanos(text).or_else(|| parse_rfc3339(text));
    nanos.map(Some).ok_or_else(|| ApiError::invalid(format!("failed to parse value \"{text}\" as a time")))
}

fn seconds_and_nanos(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
    let total = digits(seconds)?.checked_mul(1_000_000_000)?.checked_add(fraction(nanos)?)?;
    Some(if negative { -total } else { total })
}

/// Reads RFC 3339, also without its time of day.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00Z"),
    };
    let mut parts = date.splitn(3, '-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if year > 9999 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, "Z"),
    };
    let (clock, nanos) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.splitn(3, ':').map(digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset_seconds = match offset.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let total = (hours * 60 + minutes) * 60;
            if sign == "-" { -total } else { total }
        }
    };
    let days = days_from_civil(year, month, day);
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset_seconds;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction(nanos)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_go_does() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_516_097_621_386_000), "2026-11-24T10:28:17.621386Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn reads_both_forms_of_a_timestamp() {
        assert_eq!(timestamp("").unwrap(), None);
        assert_eq!(timestamp("1.5").unwrap(), Some(1_500_000_000));
        assert_eq!(timestamp("2026-11-24T10:28:17.621386Z").unwrap(), Some(1_795_516_097_621_386_000));
        assert_eq!(timestamp("2026-11-24T11:28:17+01:00").unwrap(), Some(1_795_516_097_000_000_000));
        assert!(timestamp("yesterday").is_err());
        assert!(timestamp("99999999999999999999").is_err());
    }
}

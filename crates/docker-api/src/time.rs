//! Spans of time as Go reads them and as Docker writes them.

use std::time::Duration;

/// Reads Go's durations such as `1m30s` without a sign, in nanoseconds.
/// **Source:** Go, package `time`, `ParseDuration`.
#[must_use]
pub fn go_duration(text: &str) -> Option<i64> {
    if text.is_empty() || text == "0" {
        return (text == "0").then_some(0);
    }
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let nanos: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let whole = if whole.is_empty() { 0 } else { digits(whole)? };
        let part = if part.is_empty() { 0 } else { fraction(part)? };
        let part = i64::try_from(i128::from(part) * i128::from(nanos) / 1_000_000_000).ok()?;
        total = total.checked_add(whole.checked_mul(nanos)?.checked_add(part)?)?;
        rest = after;
    }
    Some(total)
}

/// Reads a number that is nothing but digits.
#[must_use]
pub fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Reads a fraction of a second: missing digits are zeros, more than nine are dropped.
#[must_use]
pub fn fraction(text: &str) -> Option<i64> {
    digits(text)?;
    digits(&format!("{text:0<9}").chars().take(9).collect::<String>())
}

/// Writes a duration for people, in one unit.
/// **Source:** github.com/docker/go-units, `HumanDuration`.
#[must_use]
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Go rounds hours to the nearest.
    let hours = (minutes + 30) / 60;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        assert_eq!(go_duration("1m30s"), Some(90_000_000_000));
        assert_eq!(go_duration("1.5h"), Some(5_400_000_000_000));
        assert_eq!(go_duration("500ms"), Some(500_000_000));
        assert_eq!((go_duration("0"), go_duration(""), go_duration("5"), go_duration("1x")), (Some(0), None, None, None));
    }

    #[test]
    fn writes_durations_for_people() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (15 * 86_400, "2 weeks"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}

//! Durations, sizes and words as Go prints them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::zero;

/// A number of bytes; −1 says "no limit".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub i64);

/// A time span in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub i64);

/// A truth that holds unless it is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OptOut(pub bool);

/// A command's words: absent, or a list that may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(pub Option<Vec<String>>);

impl Words {
    /// The words; none where there is no command.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

zero! {
    Bytes => |value| value.0 == 0,
    Duration => |value| value.0 == 0,
    OptOut => |value| value.0,
    Words => |_| false,
}

impl Default for OptOut {
    fn default() -> Self {
        Self(true)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| de::Error::custom(format!("`{text}` is no number of bytes")))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Duration {
    /// As the standard library's duration; a negative one is zero.
    #[must_use]
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or_default())
    }
}

/// A text that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("time: invalid duration \"{text}\"")]
pub struct DurationError {
    text: String,
}

/// Units and their nanoseconds; days and weeks are Compose's own.
const UNITS: [(&str, f64); 9] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3_600e9), ("d", 86_400e9), ("w", 604_800e9)];

impl FromStr for Duration {
    type Err = DurationError;

    /// Reads `1h30m`, `1.5s`, `3d`, `0`.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let fail = || DurationError { text: text.to_owned() };
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(fail());
        }
        let mut total = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(fail)?;
            let (number, tail) = rest.split_at(digits);
            let number: f64 = number.parse().map_err(|_| fail())?;
            let end = tail.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fail)?;
            total += number * nanoseconds;
            rest = tail;
        }
        let total = (sign * total).round();
        if total.abs() >= 9.2e18 {
            return Err(fail());
        }
        #[allow(clippy::cast_possible_truncation, reason = "the range was checked")]
        Ok(Self(total as i64))
    }
}

impl fmt::Display for Duration {
    /// As Go's `time.Duration`: `1h30m0s`, `1.5s`, `10ms`, `0s`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.unsigned_abs();
        if self.0 < 0 {
            out.write_str("-")?;
        }
        let fraction = |value: u64, unit: u64| {
            let rest = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
            let rest = rest.trim_end_matches('0');
            if rest.is_empty() { format!("{}", value / unit) } else { format!("{}.{rest}", value / unit) }
        };
        match total {
            0 => out.write_str("0s"),
            1..1_000 => write!(out, "{total}ns"),
            1_000..1_000_000 => write!(out, "{}µs", fraction(total, 1_000)),
            1_000_000..1_000_000_000 => write!(out, "{}ms", fraction(total, 1_000_000)),
            _ => {
                let (minutes, rest) = (total / 60_000_000_000, total % 60_000_000_000);
                let seconds = fraction(rest, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(out, "{seconds}s"),
                    (0, minutes) => write!(out, "{minutes}m{seconds}s"),
                    (hours, minutes) => write!(out, "{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (text, shown) in
            [("90s", "1m30s"), ("1h", "1h0m0s"), ("1.5s", "1.5s"), ("10ms", "10ms"), ("0", "0s"), ("2d", "48h0m0s"), ("1ns", "1ns")]
        {
            assert_eq!(text.parse::<Duration>().map(|value| value.to_string()).ok().as_deref(), Some(shown));
        }
        for text in ["", "5", "x", "1x", "s", "--1s", "9999999w"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}

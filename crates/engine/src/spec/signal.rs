//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

/// A signal that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct ParseSignalError(pub String);

/// **Source:** signal(7), x86-64 and AArch64.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
const REAL_TIME_MIN: i32 = 34;
const REAL_TIME_MAX: i32 = 64;

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);
    /// SIGHUP.
    pub const HUP: Self = Self(1);

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

impl TryFrom<i32> for Signal {
    type Error = ParseSignalError;
    fn try_from(number: i32) -> Result<Self, ParseSignalError> {
        if (1..=REAL_TIME_MAX).contains(&number) { Ok(Self(number)) } else { Err(ParseSignalError(number.to_string())) }
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;
    /// Takes `15`, `TERM`, `SIGTERM` (any case), `RTMIN+1`, `RTMAX-2`.
    fn from_str(text: &str) -> Result<Self, ParseSignalError> {
        let unknown = || ParseSignalError(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return Self::try_from(number).map_err(|_| unknown());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let by_name = (1..).zip(NAMES).find(|(_, n)| *n == name).map(|(i, _)| i);
        let by_alias = || ALIASES.iter().find(|(n, _)| *n == name).map(|(_, i)| *i);
        let real_time = || {
            let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
                (Some(""), _) => REAL_TIME_MIN,
                (_, Some("")) => REAL_TIME_MAX,
                (Some(offset), _) => REAL_TIME_MIN + offset.strip_prefix('+')?.parse::<i32>().ok()?,
                (_, Some(offset)) => REAL_TIME_MAX - offset.strip_prefix('-')?.parse::<i32>().ok()?,
                (None, None) => return None,
            };
            (REAL_TIME_MIN..=REAL_TIME_MAX).contains(&number).then_some(number)
        };
        by_name.or_else(by_alias).or_else(real_time).map(Self).ok_or_else(unknown)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0 - 1).unwrap_or(usize::MAX);
        match NAMES.get(index) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_parse_as_docker_parses_them() {
        let number = |text: &str| text.parse::<Signal>().map(Signal::number);
        assert_eq!(number("SIGKILL"), Ok(9));
        assert_eq!(number("term"), Ok(15));
        assert_eq!(number("10"), Ok(10));
        assert_eq!(number("RTMIN+3"), Ok(37));
        assert_eq!(number("SIGRTMAX-1"), Ok(63));
        assert_eq!(number("0").unwrap_err().to_string(), "invalid signal: 0");
        assert!(number("SIGNOSUCH").is_err());
        assert!(number("RTMIN+99").is_err());
        assert!(number("RTMIN+99999999999").is_err());
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
    }
}

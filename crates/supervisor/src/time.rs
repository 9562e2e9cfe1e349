//! Unix time in nanoseconds, and the text of it that Docker writes (RFC 3339 with nanoseconds).

use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;

/// Unix time in nanoseconds; 0 before 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes times as text; the text of the second is kept.
#[derive(Debug, Default)]
pub(crate) struct Formatter {
    second: Option<u64>,
    text: [u8; 19],
}

impl Formatter {
    /// Appends `2006-01-02T15:04:05.999999999Z`, without zeros at the end of the fraction.
    /// **Source:** Go's `time.RFC3339Nano`.
    pub(crate) fn append(&mut self, time: u64, output: &mut Vec<u8>) {
        let (second, mut nanos) = (time / SECOND, time % SECOND);
        if self.second != Some(second) {
            self.text = text_of(second);
            self.second = Some(second);
        }
        output.extend_from_slice(&self.text);
        if nanos > 0 {
            let mut digits = *b".000000000";
            for digit in digits[1..].iter_mut().rev() {
                *digit += u8::try_from(nanos % 10).unwrap_or(0);
                nanos /= 10;
            }
            let end = digits.iter().rposition(|d| *d != b'0').unwrap_or(0);
            output.extend_from_slice(&digits[..=end]);
        }
        output.push(b'Z');
    }
}

/// `2006-01-02T15:04:05`. **Source:** the days-to-civil algorithm of proleptic Gregorian calendars,
/// with years that begin in March, so that the leap day is the last.
fn text_of(second: u64) -> [u8; 19] {
    let days = second / DAY_SECONDS + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let rest = second % DAY_SECONDS;
    let mut text = *b"0000-00-00T00:00:00";
    let mut put = |at: usize, width: usize, mut value: u64| {
        for digit in text[at..at + width].iter_mut().rev() {
            *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, rest / 3_600);
    put(14, 2, rest / 60 % 60);
    put(17, 2, rest % 60);
    text
}

/// Parses what [`Formatter`] writes; `None` for all else, other zones included.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.as_bytes().strip_suffix(b"Z")?;
    let (head, fraction) = text.split_at_checked(19)?;
    let number = |at: usize, width: usize| {
        head[at..at + width].iter().try_fold(0_u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
    };
    let marks = [4, 7, 10, 13, 16].map(|at| head[at]);
    if &marks != b"--T::" {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
            padded.clone().all(u8::is_ascii_digit).then_some(())?;
            padded.fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
        }
        _ => return None,
    };
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(SECOND)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Formatter, parse};

    fn format(time: u64) -> String {
        let mut output = Vec::new();
        Formatter::default().append(time, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn formats_as_go_does() {
        assert_eq!(format(0), "1970-01-01T00:00:00Z");
        assert_eq!(format(1_709_210_096_120_000_000), "2024-02-29T12:34:56.12Z");
        assert_eq!(format(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(format(4_102_444_799_999_999_999), "2099-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in ["", "Z", "2024-02-29T12:34:56", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00.Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parses_what_it_formats(time in any::<u64>()) {
            prop_assert_eq!(parse(&format(time)), Some(time));
        }

        #[test]
        fn parses_anything_without_panic(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}

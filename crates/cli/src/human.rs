//! Sizes and times as people read them. **Source:** docker/go-units.

use docker_api::time::go_duration;
use jiff::Timestamp;

/// Bytes in decimal units with four figures, such as `4.26MB`.
#[must_use]
pub fn size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 4)
}

/// Bytes in decimal units with three figures, as lists show them.
#[must_use]
pub fn size_short(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// Bytes in binary units, such as `128MiB`.
#[must_use]
pub fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

fn scaled(mut value: f64, base: f64, units: &[&str], figures: usize) -> String {
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, figures), units[unit])
}

/// Go's `%.4g`, with so many figures.
fn significant(value: f64, figures: usize) -> String {
    let whole = if value >= 1000.0 {
        4
    } else if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let digits = figures.saturating_sub(whole);
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A span in words, such as `About a minute` or `3 hours`.
#[must_use]
pub fn duration(seconds: i64) -> String {
    docker_api::time::human(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// How long ago a moment was, with ` ago`; the empty text for no moment.
#[must_use]
pub fn ago(seconds: i64) -> String {
    if seconds <= 0 {
        return String::new();
    }
    format!("{} ago", duration(Timestamp::now().as_second() - seconds))
}

/// Seconds since 1970 of a time in RFC 3339.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// A time in RFC 3339 as Go prints it, such as `2026-01-02 03:04:05.6 +0000 UTC`.
#[must_use]
pub fn go_time(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(
        |_| text.to_owned(),
        |time| {
            let nanos = format!(".{:09}", time.subsec_nanosecond());
            format!("{}{} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S"), nanos.trim_end_matches('0').trim_end_matches('.'))
        },
    )
}

/// A size such as `64m` or `1.5gb` in bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<i64> {
    read_size(text).ok()
}

/// A size in bytes, or why it is none. **Source:** docker/go-units, `RAMInBytes`.
///
/// # Errors
/// Docker's words.
pub fn read_size(text: &str) -> Result<i64, String> {
    let wrong = || format!("invalid size: '{text}'");
    let at = text.rfind(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == ' ').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let value: f64 = number.parse().map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if value < 0.0 {
        return Err(wrong());
    }
    let unit = unit.to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let bytes = value * 1024f64.powi(power);
    #[allow(clippy::cast_possible_truncation, reason = "checked against the largest value just here")]
    if bytes < 9.2e18 { Ok(bytes as i64) } else { Err(wrong()) }
}

/// A point in time for `--since` and `--until`, as the API takes it: how long ago, RFC 3339 or a part of it, or seconds.
///
/// **Source:** moby, `api/types/time`, `GetTimestamp`.
///
/// # Errors
/// Docker's words.
pub fn moment(text: &str) -> Result<String, String> {
    let wrong = || format!("failed to parse value as time or duration: {text:?}");
    if let Some(nanos) = go_duration(text.strip_prefix('-').unwrap_or(text)).filter(|_| text != "0") {
        let nanos = if text.starts_with('-') { -nanos } else { nanos };
        let then = Timestamp::now().as_nanosecond() - i128::from(nanos);
        return Ok(format!("{}.{:09}", then.div_euclid(1_000_000_000), then.rem_euclid(1_000_000_000)));
    }
    let shown = |time: Timestamp| format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(shown(time));
    }
    // A part of a time is meant in this machine's zone.
    if text.contains('-') {
        let whole = if text.contains('T') && !text.contains(':') { format!("{text}:00") } else { text.to_owned() };
        let local = whole.parse::<jiff::civil::DateTime>().or_else(|_| whole.parse::<jiff::civil::Date>().map(|date| date.at(0, 0, 0, 0)));
        let zoned = local.and_then(|local| local.to_zoned(jiff::tz::TimeZone::system()));
        return zoned.map(|zoned| shown(zoned.timestamp())).map_err(|_| wrong());
    }
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (seconds, part) = text.split_once('.').unwrap_or((text, "0"));
    if number(seconds) && number(part) { Ok(text.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_docker_writes_them() {
        assert_eq!(size(4_261_502.0), "4.262MB");
        assert_eq!(size(0.0), "0B");
        assert_eq!(size(999.0), "999B");
        assert_eq!(size(77_800_000.0), "77.8MB");
        assert_eq!(binary_size(134_217_728.0), "128MiB");
    }

    #[test]
    fn spans_are_written_as_docker_writes_them() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (172_800, "2 days"),
            (1_209_600, "2 weeks"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn moments_are_read_in_every_form() {
        assert_eq!(moment("2001-02-03T04:05:06Z"), Ok("981173106.000000000".to_owned()));
        assert_eq!(moment("1234.5"), Ok("1234.5".to_owned()));
        assert_eq!(moment("0"), Ok("0".to_owned()));
        assert!(
            moment("2001-02-03").is_ok() && moment("2001-02-03T04:05").is_ok() && moment("2001-02-03T04").is_ok() && moment("10m").is_ok()
        );
        assert_eq!(moment("nosuch"), Err("failed to parse value as time or duration: \"nosuch\"".to_owned()));
    }

    #[test]
    fn sizes_and_spans_are_read() {
        assert_eq!(parse_size("64m"), Some(64 << 20));
        assert_eq!(parse_size("1.5GB"), Some(3 << 29));
        assert_eq!(parse_size("10x"), None);
    }
}

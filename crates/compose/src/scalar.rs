//! What a plain scalar means: the rules of go-yaml, which are neither those of YAML 1.1 nor of 1.2.
//!
//! **Source:** the behaviour of Docker Compose 5.6.1, whose values `y`, `on`, `0440`, `1_000` and dates are read
//! in this way.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::node::Value;

/// Reads a plain scalar.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        "-0" | "-0.0" => return Value::Float(-0.0),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if first == b'.' {
        return float(text).map_or_else(|| Value::Text(text.to_owned()), Value::Float);
    }
    if !first.is_ascii_digit() && first != b'+' && first != b'-' {
        return Value::Text(text.to_owned());
    }
    if let Some(date) = timestamp(text) {
        return Value::Text(date);
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return number;
    }
    float(&plain).map_or_else(|| Value::Text(text.to_owned()), Value::Float)
}

/// Whether a text means something else than itself when it stands plain.
pub(crate) fn is_text(text: &str) -> bool {
    matches!(resolve(text), Value::Text(read) if read == text) && timestamp(text).is_none() && integer(&text.replace('_', "")).is_none()
}

/// Go's `ParseInt` with base 0.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', rest @ ..] if !rest.is_empty() => (16, &lower[2..]),
        [b'0', b'b', rest @ ..] if !rest.is_empty() => (2, &lower[2..]),
        [b'0', b'o', rest @ ..] if !rest.is_empty() => (8, &lower[2..]),
        [b'0', rest @ ..] if !rest.is_empty() => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(size).map(Value::Int);
    }
    Some(i64::try_from(size).map_or_else(|_| Value::Text(size.to_string()), Value::Int))
}

/// A float in YAML's form: digits, a point, an exponent.
fn float(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (number, exponent) = bare.split_once(['e', 'E']).map_or((bare, None), |(number, exponent)| (number, Some(exponent)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let right = match number.split_once('.') {
        Some(("", after)) => !after.is_empty() && digits(after),
        Some((before, after)) => digits(before) && digits(after),
        None => !number.is_empty() && digits(number),
    };
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    if right && exponent { text.parse().ok().filter(|value: &f64| value.is_finite()) } else { None }
}

/// A date, as Go prints the time that it means.
fn timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let end = text.find([' ', 'T', 't']).unwrap_or(text.len());
    let (day, time) = (&text[..end], text.get(end + 1..));
    let mut parts = day.splitn(3, '-');
    let year: i16 = parts.next()?.parse().ok()?;
    let mut small =
        || parts.next().filter(|part| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<i8>().ok();
    let (month, day) = (small()?, small()?);
    let days = match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let Some(time) = time else {
        return Some(format!("{year:04}-{month:02}-{day:02} 00:00:00 +0000 UTC"));
    };
    let zoned = !text[end..].starts_with(' ');
    let (clock, zone) = if zoned {
        let at = time.find(['Z', '+', '-'])?;
        (&time[..at], &time[at..])
    } else {
        (time, "Z")
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let mut part = |limit: u8| parts.next().filter(|part| (1..=2).contains(&part.len()))?.parse::<u8>().ok().filter(|part| *part < limit);
    let (hour, minute, second) = (part(24)?, part(60)?, part(60)?);
    if parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    let zone = match zone {
        "Z" => "+0000 UTC".to_owned(),
        zone if zone.len() == 6 && zone.as_bytes()[3] == b':' => {
            let zone = zone.replace(':', "");
            format!("{zone} {zone}")
        }
        _ => return None,
    };
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction} {zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_go_yaml_makes_of_them() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (plain, value) in [
            ("yes", text("yes")),
            ("on", text("on")),
            ("0440", Value::Int(288)),
            ("0o440", Value::Int(288)),
            ("1_000", Value::Int(1000)),
            ("0x1F", Value::Int(31)),
            ("1.10", Value::Float(1.1)),
            ("1e3", Value::Float(1000.0)),
            ("22:22", text("22:22")),
            ("2001-01-01", text("2001-01-01 00:00:00 +0000 UTC")),
            ("2001-13-01", text("2001-13-01")),
            ("~", Value::Null),
            ("+5", Value::Int(5)),
            ("-", text("-")),
            ("08", Value::Float(8.0)),
            ("1.2.3", text("1.2.3")),
            (".5", Value::Float(0.5)),
            ("0b11", Value::Int(3)),
        ] {
            assert_eq!(resolve(plain), value, "{plain}");
        }
        assert!(is_text("a b") && !is_text("5") && !is_text("") && !is_text("2001-01-01"));
    }
}

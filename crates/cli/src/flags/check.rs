//! Whether a flag's value is of its type, in Docker's words. **Source:** Go, `strconv`; docker/go-units; docker/cli, `opts`.

use crate::human;

/// Checks a value by the word for its type and returns it in its plain form.
pub(super) fn value(kind: &str, text: &str) -> Result<String, String> {
    match kind {
        "" => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => Err(syntax("ParseBool", text)),
        },
        "int" => int(text).map(|number| number.to_string()),
        "uint" => unsigned(text, u64::MAX).map(|number| number.to_string()),
        "uint16" => unsigned(text, u64::from(u16::MAX)).map(|number| number.to_string()),
        "bytes" if text != "-1" => human::read_size(text).map(|_| text.to_owned()),
        "decimal" => cpus(text).map(|_| text.to_owned()),
        "duration" => duration(text).map(|()| text.to_owned()),
        "filter" if !text.is_empty() && !text.contains('=') => Err("bad format of filter (expected name=value)".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: invalid syntax")
}

fn range(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: value out of range")
}

/// Digits and base of a number as Go writes them: `0x`, `0o`, `0b` or a leading 0.
fn digits(text: &str) -> (String, u32) {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    (digits.to_owned(), base)
}

/// A whole number.
pub(super) fn int(text: &str) -> Result<i64, String> {
    let (negative, plain) = text.strip_prefix('-').map_or((false, text.strip_prefix('+').unwrap_or(text)), |plain| (true, plain));
    let (digits, base) = digits(plain);
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(syntax("ParseInt", text));
    }
    let signed = if negative { format!("-{digits}") } else { digits };
    i64::from_str_radix(&signed, base).map_err(|_| range("ParseInt", text))
}

fn unsigned(text: &str, most: u64) -> Result<u64, String> {
    let (digits, base) = digits(text);
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(syntax("ParseUint", text));
    }
    u64::from_str_radix(&digits, base).ok().filter(|number| *number <= most).ok_or_else(|| range("ParseUint", text))
}

/// Nanoseconds of CPU time a second.
pub(crate) fn cpus(text: &str) -> Result<i64, String> {
    let wrong = || format!("failed to parse {text} as a rational number");
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |plain| (true, plain));
    let (whole, part) = plain.split_once('.').unwrap_or((plain, ""));
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !number(whole) || !number(part) {
        return Err(wrong());
    }
    let part = part.trim_end_matches('0');
    if part.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let part: i64 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
    let nanos = whole.checked_mul(1_000_000_000).and_then(|nanos| nanos.checked_add(part)).ok_or_else(wrong)?;
    Ok(if negative { -nanos } else { nanos })
}

fn duration(text: &str) -> Result<(), String> {
    if docker_api::time::go_duration(text.strip_prefix(['-', '+']).unwrap_or(text)).is_some() {
        return Ok(());
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("time: missing unit in duration {text:?}"));
    }
    Err(format!("time: invalid duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_refused_in_dockers_words() {
        for (kind, text, why) in [
            ("int", "abc", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("int", "99999999999999999999", "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
            ("uint16", "70000", "strconv.ParseUint: parsing \"70000\": value out of range"),
            ("", "maybe", "strconv.ParseBool: parsing \"maybe\": invalid syntax"),
            ("bytes", "abc", "invalid size: 'abc'"),
            ("bytes", "1x", "invalid suffix: 'x'"),
            ("decimal", "abc", "failed to parse abc as a rational number"),
            ("decimal", "0.1234567891", "value is too precise"),
            ("duration", "5", "time: missing unit in duration \"5\""),
            ("duration", "x", "time: invalid duration \"x\""),
            ("filter", "foo", "bad format of filter (expected name=value)"),
        ] {
            assert_eq!(value(kind, text).unwrap_err(), why, "{kind} {text}");
        }
        for (kind, text, plain) in
            [("int", "0x10", "16"), ("int", "-1", "-1"), ("", "T", "true"), ("decimal", ".5", ".5"), ("bytes", "1.5g", "1.5g")]
        {
            assert_eq!(value(kind, text).unwrap(), plain);
        }
    }
}

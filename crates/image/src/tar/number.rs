//! Numbers in headers.

use super::TarError;

const WRONG: TarError = TarError::Invalid("a number in a header is malformed");

/// Reads an octal number, or GNU's base 256 where the first bit is set.
pub(crate) fn parse(field: &[u8]) -> Result<i64, TarError> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

/// Reads a number that cannot be negative.
pub(crate) fn parse_unsigned(field: &[u8]) -> Result<u64, TarError> {
    u64::try_from(parse(field)?).map_err(|_| TarError::Invalid("a size in a header is negative"))
}

/// Two's complement, big-endian; the first bit is the mark, the second the sign.
fn base256(field: &[u8]) -> Result<i64, TarError> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (index, &byte) in field.iter().enumerate() {
        let byte = match (index, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => byte,
        };
        value = (value << 8) | i128::from(byte);
        if i64::try_from(value).is_err() {
            return Err(TarError::Invalid("a number in a header is too large"));
        }
    }
    i64::try_from(value).map_err(|_| WRONG)
}

fn octal(field: &[u8]) -> Result<i64, TarError> {
    let trimmed = field.iter().position(|&b| b != b' ' && b != 0).map_or(&[][..], |start| &field[start..]);
    let end = trimmed.iter().position(|&b| b == b' ' || b == 0).unwrap_or(trimmed.len());
    let mut value = 0_i64;
    for &digit in &trimmed[..end] {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(WRONG);
        }
        value = value.checked_mul(8).and_then(|v| v.checked_add(i64::from(digit - b'0'))).ok_or(WRONG)?;
    }
    Ok(value)
}

/// Reads a decimal number of a PAX record or a sparse map.
pub(crate) fn decimal(text: &[u8]) -> Result<u64, TarError> {
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    text.parse().map_err(|_| WRONG)
}

/// Reads seconds with an optional fraction, such as `-1.25`, as whole seconds rounded down and nanoseconds.
pub(crate) fn time(text: &[u8]) -> Result<(i64, u32), TarError> {
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| WRONG)?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let mut nanoseconds = 0_u32;
    for index in 0..9 {
        let digit = fraction.as_bytes().get(index).map_or(0, |b| b - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    if whole.starts_with('-') && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1).ok_or(WRONG)?;
        return Ok((seconds, 1_000_000_000 - nanoseconds));
    }
    Ok((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_kinds_are_read() {
        assert_eq!(parse(b"0000644\0").unwrap(), 0o644);
        assert_eq!(parse(b"   644 \0").unwrap(), 0o644);
        assert_eq!(parse(b"\0\0\0\0").unwrap(), 0);
        assert_eq!(parse(b"\x80\0\0\0\0\0\0\0\0\0\x02\0").unwrap(), 512);
        assert_eq!(parse(b"\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        assert!(parse(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(parse(b"12x").is_err());
        assert!(parse_unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn times_before_1970_round_down() {
        assert_eq!(time(b"1.5").unwrap(), (1, 500_000_000));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"-0.5").unwrap(), (-1, 500_000_000));
        assert_eq!(time(b"7.1234567899").unwrap(), (7, 123_456_789));
        assert!(time(b"1.x").is_err());
    }
}

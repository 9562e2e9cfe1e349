//! Words of Dockerfile lines.

/// Reads a JSON list of texts; nothing where it is none.
pub(super) fn json(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// Splits at spaces outside of quotes, and takes quotes and backslashes away.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => match letters.next() {
                // Inside double quotes a backslash stays before what it does not protect.
                Some(next) if quote.is_none() || matches!(next, '"' | '\\' | '$') => word.get_or_insert_default().push(next),
                Some(next) => word.get_or_insert_default().extend(['\\', next]),
                None => word.get_or_insert_default().push('\\'),
            },
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    match quote {
        Some('"') => Err("unexpected end of statement while looking for matching double-quote".to_owned()),
        Some(_) => Err("unexpected end of statement while looking for matching single-quote".to_owned()),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

/// Reads `key=value …`, or the old form `key value` where the rest of the line is the value.
pub(super) fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    if text.is_empty() {
        return Err(format!("{name} requires at least one argument"));
    }
    let first = text.split(char::is_whitespace).next().unwrap_or_default();
    if !text.starts_with(['"', '\'']) && !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace).ok_or_else(|| format!("{name} must have two arguments"))?;
        return Ok(vec![(key.to_owned(), value.trim_start().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(format!("{name} names can not be blank")),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
    };
    split(text)?.into_iter().map(pair).collect()
}

/// Reads a duration of Go, such as `1m30s`, as nanoseconds.
///
/// **Source:** Go, `time.ParseDuration`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("time: invalid duration {text:?}");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let units = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("ms", 1_000_000),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
        ];
        let &(unit, scale) = units.iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let value: i64 = whole.parse().map_err(|_| wrong())?;
        let mut part = value.checked_mul(scale).ok_or_else(wrong)?;
        let mut step = scale;
        for digit in fraction.bytes() {
            step /= 10;
            part = part.checked_add(step * i64::from(digit.checked_sub(b'0').ok_or_else(wrong)?)).ok_or_else(wrong)?;
        }
        sum = sum.checked_add(part).ok_or_else(wrong)?;
        rest = &tail[unit.len()..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration("1.5s"), Ok(1_500_000_000));
        assert_eq!(duration("2h"), Ok(7_200_000_000_000));
        assert_eq!(duration("100ms"), Ok(100_000_000));
        for bad in ["", "1", "s", "-1s", "1x", "1.2.3s", "9999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}

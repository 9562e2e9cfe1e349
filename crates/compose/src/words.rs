//! Command lines, truths, numbers and sizes as Docker Compose reads them.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::node::{Node, Value};

/// A truth by its word.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Some(true),
        "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number, also in a text.
pub(crate) fn whole(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Int(value) => Some(*value),
        #[allow(clippy::cast_possible_truncation, reason = "a whole number in the range of exact floats")]
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, also in a text; with the precision that Go's `float32` has.
pub(crate) fn number(node: &Node) -> Option<f32> {
    node.sprint().parse().ok().filter(|_| matches!(node.value, Value::Int(_) | Value::Float(_) | Value::Text(_)))
}

/// A number of bytes, with a unit of powers of 1024: `5`, `5k`, `1.5GiB`, `10mb`.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let end = text.rfind(|letter: char| letter.is_ascii_digit() || letter == '.')? + 1;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok().filter(|number| *number >= 0.0)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match letter {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    #[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
    Some(number * 1024f64.powi(power)).filter(|size| *size < 9e18).map(|size| size as i64)
}

/// Cuts a command line into its words: quotes and backslashes as in a shell, and nothing else of it.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut has_word) = (Vec::new(), String::new(), false);
    let (mut single, mut double, mut escaped) = (false, false, false);
    for letter in line.chars() {
        if escaped {
            word.push(letter);
            (escaped, has_word) = (false, true);
            continue;
        }
        match letter {
            '\\' if !single => escaped = true,
            '\'' if !double => (single, has_word) = (!single, true),
            '"' if !single => (double, has_word) = (!double, true),
            ' ' | '\t' | '\r' | '\n' if !single && !double => {
                if has_word {
                    words.push(std::mem::take(&mut word));
                    has_word = false;
                }
            }
            ';' | '&' | '|' | '<' | '>' if !single && !double => {
                // What a shell would end a command at ends the line here.
                if letter == '>' && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
                    has_word = false;
                }
                if has_word {
                    words.push(std::mem::take(&mut word));
                }
                return Ok(words);
            }
            _ => {
                word.push(letter);
                has_word = true;
            }
        }
    }
    if single || double || escaped {
        return Err("invalid command line string".to_owned());
    }
    if has_word {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_cut_into_words() {
        let cut = |line: &str| split(line).map(|words| words.join("|"));
        assert_eq!(cut("a 'b c' \"d e\" f\\ g").as_deref(), Ok("a|b c|d e|f g"));
        assert_eq!(cut("  ").as_deref(), Ok(""));
        assert_eq!(cut("sh -c 'a && b'").as_deref(), Ok("sh|-c|a && b"));
        assert_eq!(cut("a '' b").as_deref(), Ok("a||b"));
        assert!(cut("a 'b").is_err());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("5", Some(5)),
            ("1k", Some(1024)),
            ("1.5g", Some(1_610_612_736)),
            ("10MB", Some(10 << 20)),
            ("1 GiB", Some(1 << 30)),
            ("-1", Some(-1)),
            ("x", None),
            ("5q", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}

//! Values in YAML and in JSON, as Go's libraries write them.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::fmt::Write as _;

use crate::print::Shown;
use crate::{number, scalar};

/// Go-yaml's order of keys: runs of digits by their number, letters behind all else.
pub(crate) fn natural(left: &str, right: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut digits = false;
    for at in 0..a.len().min(b.len()) {
        if a[at] == b[at] {
            digits = a[at].is_ascii_digit();
            continue;
        }
        let (letter_a, letter_b) = (a[at].is_alphabetic(), b[at].is_alphabetic());
        if letter_a && letter_b {
            return a[at].cmp(&b[at]);
        }
        if letter_a || letter_b {
            let less = if digits { letter_a } else { letter_b };
            return if less { Ordering::Less } else { Ordering::Greater };
        }
        let zero = a[at] == '0' || b[at] == '0';
        let start = i64::from(zero && a[..at].iter().rev().take_while(|letter| letter.is_ascii_digit()).any(|letter| *letter != '0'));
        let run = |text: &[char]| {
            let digits = text[at..].iter().map_while(|letter| letter.to_digit(10));
            digits.fold((start, at), |(number, end), digit| (number.wrapping_mul(10).wrapping_add(i64::from(digit)), end + 1))
        };
        let (run_a, run_b) = (run(&a), run(&b));
        if run_a.0 != run_b.0 {
            return run_a.0.cmp(&run_b.0);
        }
        return run_a.1.cmp(&run_b.1).then(a[at].cmp(&b[at]));
    }
    a.len().cmp(&b.len())
}

/// A value in JSON with two blanks of indentation.
pub(crate) fn json(value: &Shown) -> String {
    let mut out = String::new();
    write_json(value, 0, true, &mut out);
    out
}

/// A value in JSON without blanks: what is hashed.
pub(crate) fn compact_json(value: &Shown) -> String {
    let mut out = String::new();
    write_json(value, 0, false, &mut out);
    out
}

fn write_json(value: &Shown, depth: usize, pretty: bool, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        if pretty {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    match value {
        Shown::Null => out.push_str("null"),
        Shown::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Shown::Int(value) => _ = write!(out, "{value}"),
        Shown::Float(value) => out.push_str(&number::json(*value)),
        Shown::Text(text) => json_text(text, out),
        Shown::List(list) if list.is_empty() => out.push_str("[]"),
        Shown::Map(map) if map.is_empty() => out.push_str("{}"),
        Shown::List(list) => {
            for (index, value) in list.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                line(out, depth + 1);
                write_json(value, depth + 1, pretty, out);
            }
            line(out, depth);
            out.push(']');
        }
        Shown::Map(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                line(out, depth + 1);
                json_text(key, out);
                out.push_str(if pretty { ": " } else { ":" });
                write_json(value, depth + 1, pretty, out);
            }
            line(out, depth);
            out.push('}');
        }
    }
}

/// A text in JSON as Go writes it: `<`, `>` and `&` are escaped.
fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => _ = write!(out, "\\u{:04x}", u32::from(letter)),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// A value in YAML.
pub(crate) fn yaml(value: &Shown) -> String {
    let mut out = String::new();
    match value {
        Shown::Map(map) if !map.is_empty() => yaml_map(map, 0, &mut out),
        Shown::List(list) if !list.is_empty() => yaml_list(list, 0, &mut out),
        value => {
            yaml_scalar(value, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth));
}

/// The members of a map; the first one stands behind what is written already where `depth` is that of a list's entry.
fn yaml_map(map: &[(String, Shown)], depth: usize, out: &mut String) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 || out.is_empty() || out.ends_with('\n') {
            indent(depth, out);
        }
        if key.len() > 128 || key.contains('\n') {
            out.push_str("? ");
            yaml_text(key, depth + 2, key.contains('\n'), out);
            out.push('\n');
            indent(depth, out);
        } else {
            yaml_text(key, depth, true, out);
        }
        out.push(':');
        yaml_member(value, depth, out);
    }
}

fn yaml_member(value: &Shown, depth: usize, out: &mut String) {
    match value {
        Shown::Map(map) if !map.is_empty() => {
            out.push('\n');
            yaml_map(map, depth + 2, out);
        }
        Shown::List(list) if !list.is_empty() => {
            out.push('\n');
            yaml_list(list, depth + 2, out);
        }
        value => {
            out.push(' ');
            yaml_scalar(value, depth + 2, out);
            out.push('\n');
        }
    }
}

fn yaml_list(list: &[Shown], depth: usize, out: &mut String) {
    for value in list {
        if out.is_empty() || out.ends_with('\n') {
            indent(depth, out);
        }
        out.push_str("- ");
        match value {
            Shown::Map(map) if !map.is_empty() => yaml_map(map, depth + 2, out),
            Shown::List(list) if !list.is_empty() => yaml_list(list, depth + 2, out),
            value => {
                yaml_scalar(value, depth + 2, out);
                out.push('\n');
            }
        }
    }
}

fn yaml_scalar(value: &Shown, depth: usize, out: &mut String) {
    match value {
        Shown::Null => out.push_str("null"),
        Shown::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Shown::Int(value) => _ = write!(out, "{value}"),
        Shown::Float(value) => out.push_str(&match number::yaml(*value).as_str() {
            "+Inf" => ".inf".to_owned(),
            "-Inf" => "-.inf".to_owned(),
            "NaN" => ".nan".to_owned(),
            text => text.to_owned(),
        }),
        Shown::List(_) => out.push_str("[]"),
        Shown::Map(_) => out.push_str("{}"),
        Shown::Text(text) => yaml_text(text, depth, false, out),
    }
}

/// Words that YAML 1.1 takes for truths.
const OLD_TRUTHS: [&str; 18] =
    ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF", "<<", "="];

/// A text: plain where it can be, in single or double quotes, or over several lines.
fn yaml_text(text: &str, depth: usize, key: bool, out: &mut String) {
    let look = Look::at(text);
    if text.contains('\n') && !key && look.block && text.len() > 1 && text.chars().any(|letter| !letter.is_whitespace()) {
        return yaml_block(text, depth, out);
    }
    if text.contains('\n') || look.special {
        return double_quoted(text, out);
    }
    if OLD_TRUTHS[..17].contains(&text) || base_60(text) {
        return single_quoted(text, out);
    }
    if !scalar::is_text(text) {
        return double_quoted(text, out);
    }
    if look.plain { out.push_str(text) } else { single_quoted(text, out) }
}

/// A text in YAML, in one line.
#[must_use]
pub fn yaml_scalar_text(text: &str) -> String {
    let mut out = String::new();
    yaml_text(text, 0, true, &mut out);
    out
}

/// `22:22` and its like: numbers to the base of 60 in YAML 1.1.
fn base_60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let head = first.starts_with(|letter: char| letter.is_ascii_digit()) && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let mut count = 0;
    let tail = parts.all(|part| {
        count += 1;
        match part.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [ten, digit] => (b'0'..=b'5').contains(ten) && digit.is_ascii_digit(),
            _ => false,
        }
    });
    head && tail && count > 0 && fraction.is_none_or(|fraction| fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_'))
}

fn single_quoted(text: &str, out: &mut String) {
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
}

/// What a text's letters allow.
struct Look {
    /// It may stand without quotes.
    plain: bool,
    /// It may stand over several lines.
    block: bool,
    /// It must stand in double quotes.
    special: bool,
}

impl Look {
    fn at(text: &str) -> Self {
        let letters: Vec<char> = text.chars().collect();
        let (Some(first), Some(last)) = (letters.first(), letters.last()) else {
            return Self { plain: true, block: false, special: false };
        };
        let blank_after = |at: usize| letters.get(at + 1).is_none_or(|letter| matches!(letter, ' ' | '\t' | '\n' | '\r'));
        let indicator = text.starts_with("---")
            || text.starts_with("...")
            || matches!(first, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`')
            || (matches!(first, '?' | ':' | '-') && blank_after(0))
            || letters.iter().enumerate().skip(1).any(|(at, letter)| match letter {
                ':' => blank_after(at),
                '#' => matches!(letters[at - 1], ' ' | '\t' | '\n' | '\r'),
                _ => false,
            });
        let unprintable = letters.iter().any(|letter| !printable(*letter));
        let tab = letters.contains(&'\t');
        let space_before_break = letters.windows(2).any(|pair| pair[0] == ' ' && is_break(pair[1]));
        let space_after_break = letters.windows(2).any(|pair| is_break(pair[0]) && pair[1] == ' ');
        let edges = matches!(first, ' ') || is_break(*first) || matches!(last, ' ') || is_break(*last);
        let special = tab || unprintable || space_before_break;
        Self {
            plain: !indicator && !edges && !special && !space_after_break,
            block: !(*last == ' ' || space_before_break || unprintable),
            special: special || space_after_break,
        }
    }
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What libyaml prints as it is.
fn printable(letter: char) -> bool {
    matches!(letter, '\n' | '\t' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn double_quoted(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\x1b' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            letter if printable(letter) => out.push(letter),
            letter if u32::from(letter) <= 0xff => _ = write!(out, "\\x{:02X}", u32::from(letter)),
            letter if u32::from(letter) <= 0xffff => _ = write!(out, "\\u{:04X}", u32::from(letter)),
            letter => _ = write!(out, "\\U{:08X}", u32::from(letter)),
        }
    }
    out.push('"');
}

/// A text over several lines behind `|`.
fn yaml_block(text: &str, depth: usize, out: &mut String) {
    out.push('|');
    if text.starts_with(' ') {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text == "\n" || text.ends_with("\n\n") {
        out.push('+');
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(depth, out);
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_yaml_quotes_them() {
        for (text, shown) in [
            ("a", "a"),
            ("n", "'n'"),
            ("80", "\"80\""),
            ("", "\"\""),
            ("* *", "'* *'"),
            ("k: /x", "'k: /x'"),
            ("22:22", "'22:22'"),
            ("it's", "it's"),
            ("true", "\"true\""),
            ("a\tb", "\"a\\tb\""),
            ("::1", "::1"),
            ("-", "'-'"),
            ("ünï", "ünï"),
            (" a", "' a'"),
        ] {
            let mut out = String::new();
            yaml_text(text, 0, false, &mut out);
            assert_eq!(out, shown, "{text}");
        }
    }

    #[test]
    fn keys_are_sorted_with_numbers_by_size() {
        let mut keys = ["a10", "a2", "b", "A", "_x", "a_b", "ab"];
        keys.sort_by(|left, right| natural(left, right));
        assert_eq!(keys, ["_x", "A", "a_b", "a2", "a10", "ab", "b"]);
    }
}

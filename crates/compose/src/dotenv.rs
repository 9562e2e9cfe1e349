//! Files of variables in Compose's own dialect.
//!
//! `KEY=value` or `KEY: value`, `export`, comments, values in quotes over several lines, escapes and variables
//! between double quotes, nothing but `\'` between single ones; a bare `KEY` is taken from outside.
//!
//! **Source:** Compose Specification, "Env file syntax", and the behaviour of Docker Compose 5.6.1.

use crate::interpolate::Variables;
use crate::model::Mapping;

/// A file of variables that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct Fault {
    /// Line, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) problem: String,
}

/// Reads variables into `known`; `outside` is asked first where a value names another variable.
pub(crate) fn read(text: &str, known: &mut Mapping, outside: &dyn Fn(&str) -> Option<String>) -> Result<(), Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1 };
    while reader.skip_to_statement() {
        let (key, inherited) = reader.key()?;
        if inherited {
            if let Some(value) = outside(&key) {
                known.insert(key, value);
            }
            continue;
        }
        let value = reader.value(known, outside)?;
        known.insert(key, value);
    }
    Ok(())
}

/// Reads lines `KEY=value` as they stand: nothing is unquoted or replaced.
pub(crate) fn read_raw(text: &str, known: &mut Mapping, outside: &dyn Fn(&str) -> Option<String>) -> Result<(), Fault> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key, Some(value)));
        if key.is_empty() {
            return Err(Fault { line: index + 1, problem: format!("no variable name on line '{line}'") });
        }
        if key.contains([' ', '\t']) {
            return Err(Fault { line: index + 1, problem: format!("variable '{key}' contains whitespaces") });
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| outside(key)) {
            known.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

/// A blank within a line.
fn is_blank(letter: char) -> bool {
    matches!(letter, '\t' | '\x0b' | '\x0c' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

impl<'t> Reader<'t> {
    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { line: self.line, problem: problem.into() })
    }

    /// Goes over blanks, empty lines and comments; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let start = self.rest.trim_start();
            self.line += self.rest[..self.rest.len() - start.len()].matches('\n').count();
            self.rest = start;
            if !start.starts_with('#') {
                return !start.is_empty();
            }
            self.rest = start.find('\n').map_or("", |end| &start[end..]);
        }
    }

    /// The name before `=` or `:`, and whether nothing stands behind it.
    fn key(&mut self) -> Result<(String, bool), Fault> {
        if let Some(tail) = self.rest.strip_prefix("export").filter(|tail| tail.starts_with(char::is_whitespace)) {
            self.rest = tail.trim_start_matches(is_blank);
        }
        let mut end = None;
        for (at, letter) in self.rest.char_indices() {
            match letter {
                letter if is_blank(letter) => {}
                '=' | ':' | '\n' => {
                    end = Some((at, letter));
                    break;
                }
                '_' | '.' | '-' | '[' | ']' => {}
                letter if letter.is_alphanumeric() => {}
                letter => {
                    let line = self.rest.lines().next().unwrap_or_default();
                    return self.fail(format!("unexpected character \"{letter}\" in variable name \"{line}\""));
                }
            }
        }
        let Some((at, letter)) = end else {
            // A bare name in the last line.
            let key = self.rest.trim_end();
            self.rest = "";
            return self.named(key, true);
        };
        let key = self.rest[..at].trim_end();
        self.rest = self.rest[at + 1..].trim_start_matches(is_blank);
        let result = self.named(key, letter == '\n');
        if letter == '\n' {
            self.line += 1;
        }
        result
    }

    fn named(&self, key: &str, inherited: bool) -> Result<(String, bool), Fault> {
        if key.contains(' ') {
            return self.fail("key cannot contain a space");
        }
        Ok((key.to_owned(), inherited))
    }

    fn value(&mut self, known: &Mapping, outside: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
        let lookup = |name: &str| outside(name).or_else(|| known.get(name).cloned());
        let variables = Variables::new(&lookup);
        let line = self.line;
        let substitute = |text: &str| variables.substitute(text).map_err(|fault| Fault { line, problem: fault.to_string() });
        let Some(quote) = self.rest.chars().next().filter(|letter| matches!(letter, '\'' | '"')) else {
            let (value, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            self.line += 1;
            let value = value.split_once(" #").map_or(value, |(value, _)| value);
            return substitute(value.trim_end());
        };
        let text = self.quoted(quote)?;
        if quote == '"' { substitute(&escapes(&text)) } else { Ok(text) }
    }

    /// The text up to the closing quote; only that quote can be escaped here.
    fn quoted(&mut self, quote: char) -> Result<String, Fault> {
        let (start, mut text, mut escaped) = (self.rest, String::new(), false);
        for (at, letter) in start.char_indices().skip(1) {
            if letter == '\n' {
                self.line += 1;
            }
            if letter == quote {
                if !escaped {
                    self.rest = &start[at + 1..];
                    return Ok(text);
                }
                escaped = false;
                text.push(letter);
            } else if !escaped && letter == '\\' {
                escaped = true;
            } else {
                if escaped {
                    escaped = false;
                    text.push('\\');
                }
                text.push(letter);
            }
        }
        let line = start.lines().next().unwrap_or_default();
        self.fail(format!("unterminated quoted value {line}"))
    }
}

/// Replaces `\n`, `\t`, `\\`, `\0101` and their like; `\$` becomes `$$`, which stays a dollar.
fn escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(letter) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        let replaced = match letter {
            'a' => "\x07",
            'f' => "\x0c",
            'n' => "\n",
            'r' => "\r",
            't' => "\t",
            'v' => "\x0b",
            '\\' => "\\",
            '"' => "\"",
            '$' => "$$",
            '0' => {
                let digits = rest[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                let code = rest.get(1..1 + digits).filter(|digits| digits.len() == 3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
                match code {
                    Some(code) => out.push(char::from(code)),
                    None => out.extend(["\\", &rest[..=digits]]),
                }
                rest = &rest[1 + digits..];
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        out.push_str(replaced);
        rest = &rest[letter.len_utf8()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(text: &str) -> Result<Mapping, String> {
        let outside = |name: &str| (name == "OUT").then(|| "side".to_owned());
        let mut known = Mapping::new();
        read(text, &mut known, &outside).map(|()| known).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_dialect_is_read() {
        for (text, value) in [
            ("A=b", "b"),
            ("A = b ", "b"),
            ("export A=b", "b"),
            ("A: b", "b"),
            ("A=b # c", "b"),
            ("A=b#c", "b#c"),
            ("A='b # $OUT \\n'", "b # $OUT \\n"),
            ("A=\"b\\n$OUT\"", "b\nside"),
            ("A=\"\\$OUT\"", "$OUT"),
            ("A=$$OUT", "$OUT"),
            ("A=\"x\ny\"", "x\ny"),
            ("\u{feff}A=b", "b"),
            ("# c\n\nA=b\r\n", "b"),
            ("A=${NO:-d}", "d"),
            ("B=1\nA=${B}2", "12"),
            ("A='it\\'s'", "it's"),
            ("A=", ""),
            ("A=\"\\0101\"", "A"),
            ("A=\"C:\\x\"", "C:\\x"),
        ] {
            assert_eq!(run(text).map(|known| known.get("A").cloned()), Ok(Some(value.to_owned())), "{text}");
        }
        assert_eq!(run("OUT\nX\n").map(|known| known.len()), Ok(1));
        assert_eq!(run("A b=c"), Err("line 1: key cannot contain a space".to_owned()));
        assert_eq!(run("\nA='b"), Err("line 2: unterminated quoted value 'b".to_owned()));
        assert!(run("A%=b").is_err_and(|problem| problem.contains("unexpected character \"%\"")));
    }

    #[test]
    fn raw_lines_stay_as_they_are() {
        let mut known = Mapping::new();
        read_raw("A='b' # $C\n#x\n\nB\n", &mut known, &|_| None).expect("well formed");
        assert_eq!(known.into_iter().collect::<Vec<_>>(), [("A".to_owned(), "'b' # $C".to_owned())]);
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[A-C=:'\"\\\\$#{} \n-]{0,80}") {
            let _ = run(&text);
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[ -~]{0,40}") {
            let text = format!("A=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"));
            prop_assert_eq!(run(&text).map(|known| known["A"].clone()), Ok(value));
        }
    }
}

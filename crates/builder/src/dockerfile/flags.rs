//! `--flag=value` words in front of an instruction's arguments.

use super::ParseError;

/// The flags of one instruction, in order.
#[derive(Debug)]
pub(super) struct Flags {
    line: usize,
    given: Vec<(String, Option<String>)>,
}

impl Flags {
    /// Takes the flags off the beginning of `text`.
    pub(super) fn take(text: &str, line: usize, escape: char) -> (Self, &str) {
        let mut rest = text.trim_start();
        let mut given = Vec::new();
        while rest.starts_with("--") {
            let end = word_end(rest, escape);
            let word = &rest[2..end];
            rest = rest[end..].trim_start();
            if word.is_empty() {
                break;
            }
            given.push(match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(unquote(value))),
                None => (word.to_owned(), None),
            });
        }
        (Self { line, given }, rest)
    }

    /// Refuses flags that are not among `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ParseError> {
        match self.given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let hint = super::instruction::nearest(name, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
                Err(ParseError::new(self.line, format!("unknown flag: --{name}{hint}")).near(&format!("--{name}")))
            }
        }
    }

    /// The value of a flag that stands at most once.
    pub(super) fn one(&self, name: &str) -> Result<Option<String>, ParseError> {
        let mut found = self.given.iter().filter(|(known, _)| known == name);
        let first = found.next();
        if found.next().is_some() {
            return Err(ParseError::new(self.line, format!("duplicate flag specified: {name}")).near(&format!("--{name}")));
        }
        match first {
            None => Ok(None),
            Some((_, Some(value))) => Ok(Some(value.clone())),
            Some((_, None)) => Err(ParseError::new(self.line, format!("missing a value on flag: {name}")).near(&format!("--{name}"))),
        }
    }

    /// Whether a switch is on.
    pub(super) fn on(&self, name: &str) -> Result<bool, ParseError> {
        match self.given.iter().rfind(|(known, _)| known == name) {
            None => Ok(false),
            Some((_, None)) => Ok(true),
            Some((_, Some(value))) => match value.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(ParseError::new(self.line, format!("expecting boolean value for flag {name}, not: {value}"))),
            },
        }
    }

    /// All values of a flag.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.given.iter().filter(|(known, _)| known == name).filter_map(|(_, value)| value.clone()).collect()
    }
}

fn word_end(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut skip = false;
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut skip) {
            continue;
        }
        match quote {
            _ if c == escape => skip = true,
            None if c.is_whitespace() => return at,
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            None | Some(_) => {}
        }
    }
    text.len()
}

fn unquote(value: &str) -> String {
    value.chars().filter(|c| !matches!(c, '"' | '\'')).collect()
}

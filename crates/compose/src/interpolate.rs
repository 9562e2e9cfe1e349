//! Variables in texts: `$V ${V} ${V:-d} ${V-d} ${V:?e} ${V?e} ${V:+r} ${V+r}`, nested, and `$$`.
//!
//! **Source:** Compose Specification, "Interpolation", and the behaviour of Docker Compose 5.6.1.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// How deep defaults may be nested in each other.
const DEPTH_MAX: usize = 64;

/// A text that cannot be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A `$` with something behind it that is no variable.
    #[error("invalid interpolation format: `{0}`; a `$` that is meant literally is written `$$`")]
    Format(String),
    /// A variable that must be set.
    #[error("required variable {name} is missing a value{}", if reason.is_empty() { String::new() } else { format!(": {reason}") })]
    Required {
        /// The variable.
        name: String,
        /// What the file says to it.
        reason: String,
    },
}

/// Where variables come from, and which ones were missing.
pub(crate) struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Variables that were used and have no value.
    pub(crate) missing: RefCell<BTreeSet<String>>,
}

impl std::fmt::Debug for Variables<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Variables").field("missing", &self.missing).finish_non_exhaustive()
    }
}

/// What stands behind a variable's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Default,
    Required,
    Replacement,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Variable { name: &'t str, operator: Option<(Operator, bool, &'t str)> },
}

impl<'a> Variables<'a> {
    /// Variables that a function knows.
    pub(crate) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, missing: RefCell::default() }
    }

    /// Puts values in the place of variables.
    pub(crate) fn substitute(&self, text: &str) -> Result<String, Fault> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        self.nested(text, 0)
    }

    fn nested(&self, text: &str, depth: usize) -> Result<String, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Format(short(text)));
        }
        let mut out = String::with_capacity(text.len());
        for piece in pieces(text)? {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Variable { name, operator } => {
                    let value = (self.lookup)(name);
                    let Some((operator, empty_too, rest)) = operator else {
                        if value.is_none() {
                            self.missing.borrow_mut().insert(name.to_owned());
                        }
                        out.push_str(&value.unwrap_or_default());
                        continue;
                    };
                    let set = value.as_ref().is_some_and(|value| !empty_too || !value.is_empty());
                    match operator {
                        Operator::Replacement if set => out.push_str(&self.nested(rest, depth + 1)?),
                        Operator::Default if !set => out.push_str(&self.nested(rest, depth + 1)?),
                        Operator::Required if !set => {
                            return Err(Fault::Required { name: name.to_owned(), reason: self.nested(rest, depth + 1)? });
                        }
                        Operator::Default | Operator::Required | Operator::Replacement => out.push_str(&value.unwrap_or_default()),
                    }
                }
            }
        }
        Ok(out)
    }
}

/// A variable that a file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// Its value where it is not set.
    pub default: String,
    /// What stands for it where it is set.
    pub replacement: String,
    /// Whether it must be set.
    pub required: bool,
}

/// Notes every variable that a text names.
pub(crate) fn names(text: &str, found: &mut BTreeMap<String, Variable>) {
    let Ok(pieces) = pieces(text) else {
        return;
    };
    for piece in pieces {
        let Piece::Variable { name, operator } = piece else {
            continue;
        };
        let mut named = Variable::default();
        if let Some((operator, _, rest)) = operator {
            match operator {
                Operator::Default => rest.clone_into(&mut named.default),
                Operator::Replacement => rest.clone_into(&mut named.replacement),
                Operator::Required => named.required = true,
            }
            names(rest, found);
        }
        found.insert(name.to_owned(), named);
    }
}

/// Cuts a text at its variables.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let tail = &rest[at + 1..];
        let name = name_length(tail);
        if let Some(after) = tail.strip_prefix('$') {
            pieces.push(Piece::Text("$"));
            rest = after;
        } else if name > 0 {
            pieces.push(Piece::Variable { name: &tail[..name], operator: None });
            rest = &tail[name..];
        } else if let Some(inner) = tail.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| Fault::Format(short(text)))?;
            pieces.push(braced(&inner[..end]).ok_or_else(|| Fault::Format(short(text)))?);
            rest = &inner[end + 1..];
        } else {
            pieces.push(Piece::Text("$"));
            rest = tail;
        }
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// What stands between braces: a name, an operator, a text in one line.
fn braced(inner: &str) -> Option<Piece<'_>> {
    let length = name_length(inner);
    let (name, rest) = inner.split_at(length);
    if name.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some(Piece::Variable { name, operator: None });
    }
    let (empty_too, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    let operator = match rest.as_bytes().first()? {
        b'-' => Operator::Default,
        b'?' => Operator::Required,
        b'+' => Operator::Replacement,
        _ => return None,
    };
    let rest = &rest[1..];
    (!rest.contains('\n')).then_some(Piece::Variable { name, operator: Some((operator, empty_too, rest)) })
}

/// Bytes of the name at the start of a text.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => {
            bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
        }
        _ => 0,
    }
}

/// Where the brace is closed that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// The start of a text, for an error.
fn short(text: &str) -> String {
    let mut line = text.lines().next().unwrap_or_default().chars();
    let start: String = line.by_ref().take(80).collect();
    if line.next().is_some() { format!("{start}…") } else { start }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(text: &str) -> Result<String, Fault> {
        let lookup = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("$SET".to_owned()),
            _ => None,
        };
        Variables::new(&lookup).substitute(text)
    }

    #[test]
    fn every_form_gives_what_docker_compose_gives() {
        for (text, result) in [
            ("$SET", "value"),
            ("${SET}x", "valuex"),
            ("$NO.", "."),
            ("$$SET", "$SET"),
            ("${NO:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NO-d}", "d"),
            ("${SET:+r}", "r"),
            ("${EMPTY:+r}", ""),
            ("${EMPTY+r}", "r"),
            ("${NO+r}", ""),
            ("${NO:-${SET}}", "value"),
            ("${NO:-${NO2:-x}}y", "xy"),
            ("${SET?e}", "value"),
            ("${NO:-a} ${SET}", "a value"),
            ("$5", "$5"),
            ("a$", "a$"),
            ("$DOLLAR", "$SET"),
            ("${NO:-$$x}", "$x"),
            ("${NO:-a:-b}", "a:-b"),
            ("${NO:-{\"a\": 1}}", "{\"a\": 1}"),
        ] {
            assert_eq!(run(text).as_deref(), Ok(result), "{text}");
        }
        assert_eq!(run("${NO:?why $SET}"), Err(Fault::Required { name: "NO".into(), reason: "why value".into() }));
        for text in ["${", "${}", "${1}", "${A:}", "${A!b}", "${A:-b"] {
            assert!(matches!(run(text), Err(Fault::Format(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_ends_and_one_without_dollars_stays(text in "[ -~${}:?+A-B\n-]{0,60}") {
            let result = run(&text);
            if !text.contains('$') {
                prop_assert_eq!(result.as_deref(), Ok(text.as_str()));
            }
            let escaped = text.replace('$', "$$");
            prop_assert_eq!(run(&escaped), Ok(text));
        }
    }
}

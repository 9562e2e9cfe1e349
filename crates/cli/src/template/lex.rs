//! From text to words. **Source:** Go, `text/template/parse/lex.go`.

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside of braces.
    Text,
    /// `{{`.
    Open,
    /// `}}`.
    Close,
    /// Blanks between words.
    Space,
    /// `.name`.
    Field,
    /// `$name`.
    Variable,
    /// A name of a function.
    Name,
    /// `if`, `range` and the like.
    Keyword,
    /// `true` or `false`.
    Bool,
    /// `nil`.
    Nil,
    /// `.`.
    Dot,
    /// A number or a letter in single quotes.
    Number,
    /// A text in quotes.
    Quoted,
    /// A text in backquotes.
    Raw,
    /// `|`.
    Pipe,
    /// `(`.
    Left,
    /// `)`.
    Right,
    /// `:=`.
    Declare,
    /// `=`.
    Assign,
    /// `,`.
    Comma,
    /// The end.
    End,
}

/// A word: its place in the text in bytes, and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) text: &'a str,
}

/// What is wrong, and where.
pub(super) type Fault = (usize, String);

const KEYWORDS: [&str; 10] = ["if", "else", "end", "range", "with", "break", "continue", "define", "template", "block"];

/// Splits a template.
pub(super) fn words(text: &str) -> Result<Vec<Word<'_>>, Fault> {
    let mut words = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < text.len() {
        let (end, open) = text[at..].find("{{").map_or((text.len(), false), |found| (at + found, true));
        let after = text.get(end + 2..).unwrap_or_default();
        let trims = open && after.starts_with('-') && after[1..].starts_with([' ', '\t', '\r', '\n']);
        let mut plain = &text[at..end];
        let mut start = at;
        if trim {
            let cut = plain.trim_start_matches([' ', '\t', '\r', '\n']);
            start += plain.len() - cut.len();
            plain = cut;
        }
        if trims {
            plain = plain.trim_end_matches([' ', '\t', '\r', '\n']);
        }
        if !plain.is_empty() {
            words.push(Word { kind: Kind::Text, at: start, text: plain });
        }
        if !open {
            break;
        }
        let inner = end + if trims { 4 } else { 2 };
        if text.get(inner..).is_some_and(|rest| rest.starts_with("/*")) {
            (at, trim) = comment(text, inner)?;
            continue;
        }
        words.push(Word { kind: Kind::Open, at: end, text: "{{" });
        (at, trim) = action(text, inner, &mut words)?;
    }
    words.push(Word { kind: Kind::End, at: text.len(), text: "" });
    Ok(words)
}

/// Skips a comment; returns where the text goes on, and whether it is trimmed.
fn comment(text: &str, at: usize) -> Result<(usize, bool), Fault> {
    let close = text[at..].find("*/").ok_or((at, "unclosed comment".to_owned()))? + at + 2;
    let rest = &text[close..];
    if rest.starts_with("}}") {
        return Ok((close + 2, false));
    }
    if rest.starts_with([' ', '\t', '\r', '\n']) && rest[1..].starts_with("-}}") {
        return Ok((close + 4, true));
    }
    Err((close, "comment ends before closing delimiter".to_owned()))
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn is_name(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// Reads the words of one action up to its closing braces.
fn action<'a>(text: &'a str, mut at: usize, words: &mut Vec<Word<'a>>) -> Result<(usize, bool), Fault> {
    let mut depth = 0usize;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return Err((at, "unclosed action".to_owned()));
        };
        let trims = is_space(first) && rest[1..].starts_with("-}}");
        if trims || rest.starts_with("}}") {
            if depth > 0 {
                return Err((at, "unclosed left paren".to_owned()));
            }
            let length = if trims { 4 } else { 2 };
            words.push(Word { kind: Kind::Close, at, text: &rest[..length] });
            return Ok((at + length, trims));
        }
        let (kind, length) = next(rest, first).map_err(|why| (at, why))?;
        match kind {
            Kind::Left => depth += 1,
            Kind::Right => depth = depth.checked_sub(1).ok_or((at, "unexpected right paren".to_owned()))?,
            _ => {}
        }
        let word = Word { kind, at, text: &rest[..length] };
        at += length;
        if matches!(kind, Kind::Field | Kind::Variable | Kind::Name | Kind::Bool | Kind::Nil | Kind::Keyword) {
            let follower = text[at..].chars().next();
            let fits = follower.is_none_or(|letter| is_space(letter) || matches!(letter, '.' | ',' | '|' | ':' | ')' | '(' | '='))
                || text[at..].starts_with("}}");
            if !fits {
                let letter = follower.unwrap_or_default();
                return Err((at, format!("bad character U+{:04X} '{letter}'", u32::from(letter))));
            }
        }
        words.push(word);
    }
}

/// The kind and the length of the word that `rest` begins with.
fn next(rest: &str, first: char) -> Result<(Kind, usize), String> {
    let span = |from: usize| rest[from..].find(|letter| !is_name(letter)).map_or(rest.len(), |end| from + end);
    Ok(match first {
        _ if is_space(first) => {
            let blanks = rest.find(|letter| !is_space(letter)).unwrap_or(rest.len());
            // The blank before ` -}}` belongs to the braces.
            let trims = rest[blanks..].starts_with("-}}");
            (Kind::Space, if trims && blanks > 1 { blanks - 1 } else { blanks })
        }
        '|' => (Kind::Pipe, 1),
        '(' => (Kind::Left, 1),
        ')' => (Kind::Right, 1),
        ',' => (Kind::Comma, 1),
        '=' => (Kind::Assign, 1),
        ':' if rest[1..].starts_with('=') => (Kind::Declare, 2),
        ':' => return Err("expected :=".to_owned()),
        '"' => (Kind::Quoted, quoted(rest)?),
        '`' => (Kind::Raw, rest[1..].find('`').ok_or("unterminated raw quoted string")? + 2),
        '\'' => (Kind::Number, character(rest)?),
        '$' => (Kind::Variable, span(1)),
        '.' if !rest[1..].starts_with(|letter: char| letter.is_ascii_digit()) => match span(1) {
            1 => (Kind::Dot, 1),
            end => (Kind::Field, end),
        },
        '+' | '-' | '.' | '0'..='9' => (Kind::Number, number(rest)?),
        _ if is_name(first) => {
            let end = span(0);
            let kind = match &rest[..end] {
                "true" | "false" => Kind::Bool,
                "nil" => Kind::Nil,
                word if KEYWORDS.contains(&word) => Kind::Keyword,
                _ => Kind::Name,
            };
            (kind, end)
        }
        _ => return Err(format!("unrecognized character in action: U+{:04X} '{first}'", u32::from(first))),
    })
}

fn quoted(rest: &str) -> Result<usize, String> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '\n' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err("unterminated quoted string".to_owned())
}

fn character(rest: &str) -> Result<usize, String> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '\n' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return Ok(at + 1),
            _ => {}
        }
    }
    Err("unterminated character constant".to_owned())
}

fn number(rest: &str) -> Result<usize, String> {
    let body = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let length = body.find(|letter: char| !(is_name(letter) || letter == '.')).unwrap_or(body.len());
    let length = length + (rest.len() - body.len());
    let text = &rest[..length];
    if parse_number(text).is_some() { Ok(length) } else { Err(format!("bad number syntax: {text:?}")) }
}

/// A number as Go writes it: whole or not.
pub(super) fn parse_number(text: &str) -> Option<Result<i64, f64>> {
    let (sign, plain) = text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(text)), |plain| (-1, plain));
    let plain = plain.replace('_', "");
    let base = |digits: &str, base: u32| i64::from_str_radix(digits, base).ok();
    let lower = plain.to_ascii_lowercase();
    let whole = match lower.as_bytes() {
        [b'0', b'x', ..] => base(&lower[2..], 16),
        [b'0', b'o', ..] => base(&lower[2..], 8),
        [b'0', b'b', ..] => base(&lower[2..], 2),
        [b'0', b'0'..=b'7', ..] => base(&lower[1..], 8),
        _ => lower.parse().ok(),
    };
    match whole {
        Some(number) => Some(Ok(number * sign)),
        None if plain.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') => {
            plain.parse::<f64>().ok().map(|number| Err(if sign < 0 { -number } else { number }))
        }
        None => None,
    }
}

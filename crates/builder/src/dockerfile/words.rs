//! Words of an instruction: quotes, escapes and variables.
//!
//! **Source:** Dockerfile reference, "Environment replacement"; BuildKit, `frontend/dockerfile/shell/lex.go` (which
//! forms there are and what their errors say).

/// Splits at blanks that are neither quoted nor escaped; quotes and escapes stay.
pub(super) fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            None | Some('"') if c == escape => {
                word.push(c);
                if let Some(next) = characters.next() {
                    word.push(next);
                }
                continue;
            }
            None | Some(_) => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Replaces variables and takes quotes and escapes away. `value` answers none for what is not set.
///
/// # Errors
/// What is wrong with the word, or the message of `${name:?message}`.
pub fn expand(word: &str, escape: char, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    Ok(Lexer::new(word, escape, value).until(None, false)?.text)
}

/// Like [`expand`], and splits at blanks that are neither quoted nor escaped, also those that a variable brings.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(text: &str, escape: char, value: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    Ok(Lexer::new(text, escape, value).until(None, false)?.into_words())
}

/// Deepest nesting of `${a:-${b:-…}}`.
const DEPTH_MAX: u32 = 64;
const NO_END: &str = "syntax error: missing '}'";

/// What was read, as one text and as words.
#[derive(Default)]
struct Read {
    text: String,
    words: Vec<String>,
    word: Option<String>,
}

impl Read {
    /// Adds what was quoted or escaped.
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.get_or_insert_default().push_str(text);
    }

    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
        for c in text.chars() {
            if c.is_whitespace() {
                self.words.extend(self.word.take());
            } else {
                self.word.get_or_insert_default().push(c);
            }
        }
    }

    fn into_words(mut self) -> Vec<String> {
        self.words.extend(self.word.take());
        self.words
    }
}

struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    value: &'a dyn Fn(&str) -> Option<String>,
    depth: u32,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, value: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { rest: text.chars().peekable(), escape, value, depth: 0 }
    }

    /// Reads up to `end`, which is consumed, or to the end of the text. `raw` keeps escapes, for patterns.
    fn until(&mut self, end: Option<char>, raw: bool) -> Result<Read, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("variables are nested too deeply".to_owned());
        }
        let mut out = Read::default();
        loop {
            let Some(c) = self.rest.next() else {
                if end.is_some() {
                    return Err(NO_END.to_owned());
                }
                break;
            };
            if Some(c) == end {
                break;
            }
            match c {
                '\'' => out.raw(&self.single()?),
                '"' => out.raw(&self.double(raw)?),
                '$' => out.plain(&self.variable()?),
                _ if c == self.escape => {
                    if raw {
                        out.raw(&c.to_string());
                    }
                    // At the end of the text it escapes nothing.
                    if let Some(next) = self.rest.next() {
                        out.raw(&next.to_string());
                    }
                }
                _ => out.plain(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.depth -= 1;
        Ok(out)
    }

    fn single(&mut self) -> Result<String, String> {
        let mut out = String::new();
        loop {
            match self.rest.next() {
                None => return Err("unexpected end of statement while looking for matching single-quote".to_owned()),
                Some('\'') => return Ok(out),
                Some(c) => out.push(c),
            }
        }
    }

    fn double(&mut self, raw: bool) -> Result<String, String> {
        const NO_QUOTE: &str = "unexpected end of statement while looking for matching double-quote";
        let mut out = String::new();
        loop {
            match self.rest.next() {
                None => return Err(NO_QUOTE.to_owned()),
                Some('"') => return Ok(out),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => {
                    let escaped = self.rest.next_if(|next| matches!(next, '"' | '$') || *next == c);
                    if raw || escaped.is_none() {
                        out.push(c);
                    }
                    out.extend(escaped);
                }
                Some(c) => out.push(c),
            }
        }
    }

    fn variable(&mut self) -> Result<String, String> {
        if self.rest.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok((self.value)(&name).unwrap_or_default());
        }
        self.rest.next();
        match self.rest.peek() {
            None => return Err(NO_END.to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.rest.next() else { return Err(NO_END.to_owned()) };
        let unsupported = |text: &str| Err(format!("unsupported modifier ({text}) in substitution"));
        match operator {
            '}' => Ok((self.value)(&name).unwrap_or_default()),
            ':' => match self.rest.next() {
                None => Err(NO_END.to_owned()),
                Some(modifier @ ('-' | '+' | '?')) => self.modified(&name, modifier, true),
                Some(other) => unsupported(&format!(":{other}")),
            },
            '-' | '+' | '?' => self.modified(&name, operator, false),
            '#' | '%' => self.trimmed(&name, operator),
            '/' => {
                let all = self.rest.next_if_eq(&'/').is_some();
                let from = Pattern::parse(&self.until(Some('/'), true)?.text)?;
                let to = self.until(Some('}'), true)?.text;
                Ok(from.replace(&(self.value)(&name).unwrap_or_default(), &to, all))
            }
            other => unsupported(&other.to_string()),
        }
    }

    fn modified(&mut self, name: &str, modifier: char, empty_is_unset: bool) -> Result<String, String> {
        let word = self.until(Some('}'), false)?.text;
        let value = (self.value)(name);
        let set = value.clone().filter(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            '-' => Ok(set.unwrap_or(word)),
            '+' => Ok(set.map(|_| word).unwrap_or_default()),
            _ => set.ok_or_else(|| {
                let cause = if value.is_some() { "is not allowed to be empty" } else { "is not allowed to be unset" };
                format!("{name}: {}", if word.is_empty() { cause } else { &word })
            }),
        }
    }

    /// `${name#pattern}`, `${name%pattern}` and both with two signs, which take off as much as they can.
    fn trimmed(&mut self, name: &str, operator: char) -> Result<String, String> {
        let word = self.until(Some('}'), true)?.text;
        let (most, glob) = word.strip_prefix(operator).map_or((false, word.as_str()), |rest| (true, rest));
        let pattern = Pattern::parse(glob)?;
        let value = (self.value)(name).unwrap_or_default();
        let mut ends: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        let front = operator == '#';
        if front == most {
            ends.reverse();
        }
        let fits = |at: &usize| pattern.matches(if front { &value[..*at] } else { &value[*at..] });
        let kept = |at: usize| if front { value[at..].to_owned() } else { value[..at].to_owned() };
        Ok(ends.into_iter().find(fits).map_or_else(|| value.clone(), kept))
    }

    /// A name, or one of the special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
            if name.starts_with(|c: char| c.is_ascii_digit()) && !self.rest.peek().is_some_and(char::is_ascii_digit) {
                return name;
            }
        }
        if name.is_empty() {
            name.extend(self.rest.next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!')));
        }
        name
    }
}

/// A part of a shell pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Literal(char),
}

/// A shell pattern with `*`, `?` and escapes, without brackets.
struct Pattern(Vec<Part>);

impl Pattern {
    fn parse(glob: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = glob.chars();
        while let Some(c) = rest.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match rest.next() {
                    Some(next @ ('*' | '?' | '\\' | '}' | '/')) => Part::Literal(next),
                    Some(next) => return Err(format!("invalid escape '\\{next}'")),
                    None => return Err("invalid escape '\\'".to_owned()),
                },
                _ => Part::Literal(c),
            });
        }
        Ok(Self(parts))
    }

    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut g, mut t) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.0.get(g) {
                Some(Part::Any) => {
                    retry = Some((g, t));
                    g += 1;
                    continue;
                }
                Some(Part::One) => {
                    g += 1;
                    t += 1;
                    continue;
                }
                Some(Part::Literal(c)) if *c == text[t] => {
                    g += 1;
                    t += 1;
                    continue;
                }
                Some(Part::Literal(_)) | None => {}
            }
            let Some((star, from)) = retry else { return false };
            retry = Some((star, from + 1));
            g = star + 1;
            t = from + 1;
        }
        self.0[g..].iter().all(|part| *part == Part::Any)
    }

    /// Replaces the first match or all; the longest counts, as in a shell.
    fn replace(&self, value: &str, to: &str, all: bool) -> String {
        let mut out = String::new();
        let mut at = 0;
        loop {
            let ends = std::iter::once(at).chain(value[at..].char_indices().map(|(index, c)| at + index + c.len_utf8()));
            let end = ends.rev().find(|end| self.matches(&value[at..*end]));
            out.push_str(end.map_or("", |_| to));
            let next = value[at..].chars().next();
            match (end, next) {
                (Some(end), _) if end > at => at = end,
                (_, Some(c)) => {
                    out.push(c);
                    at += c.len_utf8();
                }
                (_, None) => return out,
            }
            if (end.is_some() && !all) || (at == value.len() && !self.0.is_empty()) {
                out.push_str(&value[at..]);
                return out;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        let all = [("a", "x"), ("empty", ""), ("path", "/usr/lib/x.tar.gz"), ("b", "a.b.c")];
        all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn words_split_at_free_blanks() {
        assert_eq!(split(r#"a "b c" d\ e 'f "g'"#, '\\'), ["a", r#""b c""#, r"d\ e", r#"'f "g'"#]);
    }

    #[test]
    fn variables_are_replaced() {
        for (word, expected) in [
            ("$a-${a}", "x-x"),
            ("'$a' \"$a\" \\$a", "$a x $a"),
            ("${none:-d}${empty:-e}${empty-f}", "de"),
            ("${a:+set}${none:+not}${empty+there}", "setthere"),
            ("${path##*/} ${path#*/} ${path%.*} ${path%%.*}", "x.tar.gz usr/lib/x.tar.gz /usr/lib/x.tar /usr/lib/x"),
            ("${b/./-} ${b//./-} ${b//[.]/-}", "a-b.c a-b-c a.b.c"),
            ("${none:-${a}}", "x"),
            ("$", "$"),
            ("a$1b", "ab"),
        ] {
            assert_eq!(expand(word, '\\', &value), Ok(expected.to_owned()), "{word}");
        }
        for (word, cause) in [
            ("${a", "missing '}'"),
            ("${}", "bad substitution"),
            ("${none:?why}", "none: why"),
            ("'x", "single-quote"),
            ("${a^}", "modifier"),
        ] {
            assert!(expand(word, '\\', &value).unwrap_err().contains(cause), "{word}");
        }
    }
}

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
    let mut lexer = Lexer { rest: word.chars().peekable(), escape, value, depth: 0 };
    lexer.until(None)
}

/// Deepest nesting of `${a:-${b:-…}}`.
const DEPTH_MAX: u32 = 64;

struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    value: &'a dyn Fn(&str) -> Option<String>,
    depth: u32,
}

impl Lexer<'_> {
    /// Reads up to `end`, which is consumed, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("variables are nested too deeply".to_owned());
        }
        let mut out = String::new();
        loop {
            let Some(c) = self.rest.next() else {
                if end.is_some() {
                    return Err("syntax error: missing '}'".to_owned());
                }
                break;
            };
            if Some(c) == end {
                break;
            }
            match c {
                '\'' => self.single(&mut out)?,
                '"' => self.double(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                _ if c == self.escape => out.extend(self.rest.next().or(Some(c))),
                _ => out.push(c),
            }
        }
        self.depth -= 1;
        Ok(out)
    }

    fn single(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.rest.next() {
                None => return Err("unexpected end of statement while looking for matching single-quote".to_owned()),
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
            }
        }
    }

    fn double(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.rest.next() {
                None => return Err("unexpected end of statement while looking for matching double-quote".to_owned()),
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.rest.next() {
                    Some(next @ ('"' | '$')) => out.push(next),
                    Some(next) if next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => return Err("unexpected end of statement while looking for matching double-quote".to_owned()),
                },
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
        let name = self.name();
        if name.is_empty() {
            return Err(if self.rest.peek().is_none() { "syntax error: missing '}'" } else { "syntax error: bad substitution" }.to_owned());
        }
        let known = (self.value)(&name);
        let Some(operator) = self.rest.next() else { return Err("syntax error: missing '}'".to_owned()) };
        match operator {
            '}' => Ok(known.unwrap_or_default()),
            ':' => {
                let modifier = self.rest.next().ok_or("syntax error: missing '}'")?;
                let known = known.filter(|value| !value.is_empty());
                self.modified(&name, modifier, known, ":")
            }
            '-' | '+' | '?' => self.modified(&name, operator, known, ""),
            '#' | '%' | '/' => self.pattern(operator, known.unwrap_or_default()),
            other => Err(format!("unsupported modifier ({other}) in substitution")),
        }
    }

    fn modified(&mut self, name: &str, modifier: char, known: Option<String>, colon: &str) -> Result<String, String> {
        if !matches!(modifier, '-' | '+' | '?') {
            return Err(format!("unsupported modifier ({colon}{modifier}) in substitution"));
        }
        let word = self.until(Some('}'))?;
        match modifier {
            '-' => Ok(known.unwrap_or(word)),
            '+' => Ok(known.map(|_| word).unwrap_or_default()),
            _ => known.ok_or_else(|| {
                let cause = if colon.is_empty() { "not set" } else { "not set or empty" };
                if word.is_empty() { format!("{name}: {cause}") } else { format!("{name}: {word}") }
            }),
        }
    }

    fn pattern(&mut self, operator: char, value: String) -> Result<String, String> {
        let twice = self.rest.peek() == Some(&operator);
        if twice {
            self.rest.next();
        }
        if operator == '/' {
            let from = self.until_slash()?;
            let to = self.until(Some('}'))?;
            return Ok(replace(&value, &from, &to, twice));
        }
        let glob = self.until(Some('}'))?;
        let ends: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        let found = if operator == '#' {
            let mut fits = ends.iter().copied().filter(|end| matches(&glob, &value[..*end]));
            let end = if twice { fits.next_back() } else { fits.next() };
            end.map(|end| value[end..].to_owned())
        } else {
            let mut fits = ends.iter().copied().filter(|start| matches(&glob, &value[*start..]));
            let start = if twice { fits.next() } else { fits.next_back() };
            start.map(|start| value[..start].to_owned())
        };
        Ok(found.unwrap_or(value))
    }

    /// The pattern of `${name/pattern/replacement}`.
    fn until_slash(&mut self) -> Result<String, String> {
        let mut out = String::new();
        loop {
            match self.rest.next() {
                None => return Err("syntax error: missing '}'".to_owned()),
                Some('/') => return Ok(out),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.rest.next() {
                    Some('/') => out.push('/'),
                    next => out.extend([c].into_iter().chain(next)),
                },
                Some(c) => out.push(c),
            }
        }
    }

    /// A name, or one of the special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&c) = self.rest.peek() {
            let fits = if name.is_empty() { c.is_ascii_alphabetic() || c == '_' } else { c.is_ascii_alphanumeric() || c == '_' };
            if !fits {
                if name.is_empty() && (c.is_ascii_digit() || matches!(c, '@' | '*' | '#')) {
                    self.rest.next();
                    name.push(c);
                    // All digits belong to a positional parameter.
                    while c.is_ascii_digit() && self.rest.peek().is_some_and(char::is_ascii_digit) {
                        name.extend(self.rest.next());
                    }
                }
                break;
            }
            name.push(c);
            self.rest.next();
        }
        name
    }
}

/// Shell patterns with `*`, `?` and escapes, without brackets.
fn matches(glob: &str, text: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut g, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let (literal, width) = match glob.get(g) {
            Some('*') => {
                retry = Some((g, t));
                g += 1;
                continue;
            }
            Some('?') => (None, 1),
            Some('\\') if g + 1 < glob.len() => (glob.get(g + 1), 2),
            Some(c) => (Some(c), 1),
            None => (Some(&'\0'), usize::MAX),
        };
        if width != usize::MAX && literal.is_none_or(|c| *c == text[t]) {
            g += width;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            g = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

fn replace(value: &str, from: &str, to: &str, all: bool) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < value.len() {
        let ends = value[at..].char_indices().map(|(index, c)| at + index + c.len_utf8());
        // The longest match counts, as in a shell.
        let end = ends.rev().find(|end| matches(from, &value[at..*end]));
        match end {
            Some(end) => {
                out.push_str(to);
                at = end;
                if !all {
                    break;
                }
            }
            None => {
                let c = value[at..].chars().next().unwrap_or_default();
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    out.push_str(value.get(at..).unwrap_or_default());
    out
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

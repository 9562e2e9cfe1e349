//! From the bytes of a Dockerfile to logical lines: directives, comments, continuations, here-documents.
//!
//! **Source:** Dockerfile reference, "Parser directives", "Escape", "Here-documents"; BuildKit,
//! `frontend/dockerfile/parser` (which lines count as empty, how many bytes a line may have).

use super::{Heredoc, ParseError};

/// Bytes of a logical line. **Source:** Go, `bufio.MaxScanTokenSize`.
const LINE_BYTES_MAX: usize = 65_535;

/// Directives at the top of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// The front end that is asked for; shown, not used.
    pub syntax: Option<String>,
    /// What escapes and continues: `\` or a backtick.
    pub escape: char,
    /// Rules of `--check` to skip, and whether a finding is an error.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None }
    }
}

/// One instruction as it stands, without comments and continuations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logical {
    /// Number of its first line, from 1.
    pub(super) line: usize,
    /// Number of its last line, here-documents included.
    pub(super) end: usize,
    /// Its text.
    pub(super) text: String,
    /// Its here-documents.
    pub(super) heredocs: Vec<Heredoc>,
    /// The comments right above it, without their signs.
    pub(super) comments: Vec<String>,
    /// The last of the lines that are joined, if an empty one is among them.
    pub(super) gap: Option<usize>,
}

/// Splits a file.
///
/// # Errors
/// A directive is wrong, a line is too long, or a here-document has no end.
pub(super) fn split(file: &str) -> Result<(Directives, Vec<Logical>), ParseError> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let lines: Vec<&str> = file.lines().collect();
    let (directives, top) = directives(&lines)?;
    let mut logical = Vec::new();
    let mut comments = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        match lines[at].trim_start().strip_prefix('#') {
            // A directive is no comment on what follows.
            Some(_) if at < top => {}
            Some(comment) => comments.push(comment.trim().to_owned()),
            None if lines[at].trim().is_empty() => comments.clear(),
            None => {}
        }
        let Some((text, gap)) = join(&lines, &mut at, directives.escape) else { continue };
        if text.len() > LINE_BYTES_MAX {
            return Err(ParseError::new(first + 1, format!("the line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let gap = gap.then_some(at);
        let mut heredocs = Vec::new();
        if takes_heredocs(&text) {
            for mark in marks(&text) {
                heredocs.push(read_heredoc(&lines, &mut at, mark, first + 1)?);
            }
        }
        logical.push(Logical { line: first + 1, end: at, text, heredocs, comments: std::mem::take(&mut comments), gap });
    }
    Ok((directives, logical))
}

/// The directives, and how many lines they take.
fn directives(lines: &[&str]) -> Result<(Directives, usize), ParseError> {
    let mut found = Directives::default();
    let mut seen = Vec::new();
    let mut top = 0;
    let start = usize::from(lines.first().is_some_and(|line| line.starts_with("#!")));
    for (index, line) in lines.iter().enumerate().skip(start) {
        let Some(rest) = line.trim_start().strip_prefix('#') else { break };
        let Some((key, value)) = rest.split_once('=') else { break };
        let key = key.trim().to_ascii_lowercase();
        let value = value.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
            break;
        }
        if seen.contains(&key) {
            return Err(ParseError::new(index + 1, format!("only one {key} parser directive can be used")));
        }
        match key.as_str() {
            "escape" => match value {
                "\\" | "`" => found.escape = if value == "`" { '`' } else { '\\' },
                _ => return Err(ParseError::new(index + 1, format!("invalid escape token '{value}' does not match ` or \\"))),
            },
            "syntax" => found.syntax = Some(value.to_owned()),
            "check" => found.check = Some(value.to_owned()),
            // Any other is a comment, and what follows is, too.
            _ => break,
        }
        seen.push(key);
        top = index + 1;
    }
    Ok((found, top))
}

/// Joins continued lines from `at` on, and says whether an empty one is among them; none for a comment or an empty line.
fn join(lines: &[&str], at: &mut usize, escape: char) -> Option<(String, bool)> {
    let mut text = String::new();
    let (mut started, mut gap) = (false, false);
    while let Some(line) = lines.get(*at) {
        *at += 1;
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') || trimmed.is_empty() {
            // Inside a continuation both are as if they were not there.
            if started {
                gap |= trimmed.is_empty();
                continue;
            }
            return None;
        }
        let part = if started { line } else { trimmed };
        started = true;
        match continued(part, escape) {
            Some(part) => text.push_str(part),
            None => {
                text.push_str(part);
                break;
            }
        }
    }
    let text = text.trim_end();
    (!text.is_empty()).then(|| (text.to_owned(), gap))
}

/// What stands before an escape character that ends the line and is not escaped itself.
fn continued(line: &str, escape: char) -> Option<&str> {
    let part = line.trim_end_matches([' ', '\t', '\r']).strip_suffix(escape)?;
    (!part.ends_with(escape)).then_some(part)
}

/// `RUN`, `COPY` and `ADD`, also behind `ONBUILD`.
fn takes_heredocs(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace().map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    let name = if first == "ONBUILD" { words.next().unwrap_or_default() } else { first };
    matches!(name.as_str(), "RUN" | "COPY" | "ADD")
}

/// `<<NAME` as a word of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) name: String,
    strip_tabs: bool,
    expand: bool,
}

/// The marks of a line, in order. **Source:** BuildKit, `frontend/dockerfile/parser`, `reHeredoc`.
pub(super) fn marks(text: &str) -> Vec<Mark> {
    let words = super::words::split(text, '\\');
    let mut rest = words.iter().map(String::as_str);
    let mut found = Vec::new();
    while let Some(word) = rest.next() {
        // Blanks may follow the sign.
        let bare = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let next = matches!(bare, "<<" | "<<-").then(|| rest.next()).flatten();
        found.extend(mark(word, next));
    }
    found
}

/// One mark: a word, or a sign and the word behind it.
pub(super) fn mark(word: &str, next: Option<&str>) -> Option<Mark> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = next.unwrap_or(rest);
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    // A variable's name stays as it is.
    let unset = |name: &str| Some(format!("${name}"));
    let name = super::words::expand(rest, '\\', &unset).ok().filter(|name| !name.is_empty())?;
    Some(Mark { expand: name == rest, name, strip_tabs })
}

fn read_heredoc(lines: &[&str], at: &mut usize, mark: Mark, line: usize) -> Result<Heredoc, ParseError> {
    let mut content = String::new();
    while let Some(text) = lines.get(*at) {
        *at += 1;
        let text = if mark.strip_tabs { text.trim_start_matches('\t') } else { text };
        if text.trim_end_matches('\r') == mark.name {
            return Ok(Heredoc { name: mark.name, content, expand: mark.expand });
        }
        content.push_str(text);
        content.push('\n');
    }
    Err(ParseError::new(line, format!("unterminated heredoc: no line `{}` follows", mark.name)).near("<<"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<(usize, String)> {
        split(file).unwrap().1.into_iter().map(|logical| (logical.line, logical.text)).collect()
    }

    #[test]
    fn lines_are_joined_and_comments_dropped() {
        let file = "# hello\n\nFROM a \\\n  # inside\n\n  AS b\n  RUN x \\  \ny\n";
        assert_eq!(texts(file), [(3, "FROM a   AS b".to_owned()), (7, "RUN x y".to_owned())]);
        assert_eq!(texts("RUN a\\\\\nUSER b"), [(1, "RUN a\\\\".to_owned()), (2, "USER b".to_owned())]);
    }

    #[test]
    fn directives_stand_at_the_top_only() {
        let (found, lines) = split("# syntax=docker/dockerfile:1\n# escape=`\nFROM a `\n b\n").unwrap();
        assert_eq!((found.syntax.as_deref(), found.escape), (Some("docker/dockerfile:1"), '`'));
        assert_eq!(lines[0].text, "FROM a  b");
        assert_eq!(split("# a comment\n# escape=`\nFROM a").unwrap().0.escape, '\\');
        assert_eq!(split("# escape=x\n").unwrap_err().line, 1);
        assert_eq!(split("# escape=`\n# escape=`\n").unwrap_err().line, 2);
    }

    #[test]
    fn heredocs_are_read() {
        let (_, lines) = split("RUN <<EOF cat <<-'B'\nx $y\nEOF\n\tz\n\tB\nUSER u\n").unwrap();
        let docs = &lines[0].heredocs;
        assert_eq!((docs[0].content.as_str(), docs[0].expand), ("x $y\n", true));
        assert_eq!((docs[1].content.as_str(), docs[1].expand), ("z\n", false));
        assert_eq!(lines[1].text, "USER u");
        assert!(split("RUN <<EOF\nx\n").unwrap_err().to_string().contains("unterminated heredoc"));
    }
}

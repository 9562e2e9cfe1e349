//! What is wrong, where it stands, and what was perhaps meant.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file: lines and columns count from 1; line 0 says "somewhere in it".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Which of the loaded files.
    pub(crate) file: u32,
    /// Line.
    pub(crate) line: u32,
    /// Column.
    pub(crate) column: u32,
}

/// A project that cannot be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Error {
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// Line and column from 1; 0 where the whole file is meant.
    pub line: u32,
    /// Column from 1.
    pub column: u32,
    /// The attribute, such as `services.web.image`; empty where none is meant.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub hint: Option<String>,
    span: Option<Span>,
}

impl Error {
    /// An error of the whole project.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), ..Self::default() }
    }

    /// An error of an attribute.
    pub(crate) fn at(span: Span, path: impl fmt::Display, problem: impl Into<String>) -> Self {
        Self { span: Some(span), path: path.to_string(), problem: problem.into(), ..Self::default() }
    }

    /// An error of a file.
    pub(crate) fn file(file: &Path, problem: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), problem: problem.into(), ..Self::default() }
    }

    /// With advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the name of the file that its place is in.
    pub(crate) fn named(mut self, files: &[PathBuf]) -> Self {
        if let Some(span) = self.span.take() {
            self.file = files.get(span.file as usize).cloned();
            (self.line, self.column) = (span.line, span.column);
        }
        self
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{}:", file.display())?;
            if self.line > 0 {
                write!(out, "{}:{}:", self.line, self.column)?;
            }
            out.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.problem)?;
        match &self.hint {
            Some(hint) => write!(out, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The way to an attribute, made while walking down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    key: &'a str,
}

impl<'a> Trail<'a> {
    /// The root.
    pub(crate) const ROOT: Trail<'static> = Trail { parent: None, key: "" };

    /// One step further down.
    pub(crate) fn then(&'a self, key: &'a str) -> Trail<'a> {
        Trail { parent: Some(self), key }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent.filter(|parent| parent.parent.is_some()) {
            write!(out, "{parent}.")?;
        }
        out.write_str(self.key)
    }
}

/// The known name that is nearest to a mistyped one, if one is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + word.len() / 4;
    let near = known.into_iter().map(|name| (distance(word, name), name)).min()?;
    (near.0 <= limit.min(3)).then_some(near.1)
}

/// How many letters differ between two words: inserted, deleted, replaced or swapped.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().take(64).collect(), right.chars().take(64).collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (y, letter) in left.iter().enumerate() {
        let mut row = vec![y + 1];
        for (x, other) in right.iter().enumerate() {
            let mut best = (rows[y][x] + usize::from(letter != other)).min(rows[y][x + 1] + 1).min(row[x] + 1);
            if y > 0 && x > 0 && left[y - 1] == *other && right[x - 1] == *letter {
                best = best.min(rows[y - 1][x - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let known = ["environment", "image", "env_file", "ports"];
        assert_eq!(nearest("evironment", known), Some("environment"));
        assert_eq!(nearest("imgae", known), Some("image"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn an_error_names_file_line_column_and_path() {
        let root = Trail::ROOT;
        let services = root.then("services");
        let web = services.then("web");
        let error = Error::at(Span { file: 0, line: 3, column: 5 }, web.then("imagee"), "unknown attribute").hint("did you mean `image`?");
        assert_eq!(
            error.named(&["/a/compose.yaml".into()]).to_string(),
            "/a/compose.yaml:3:5: services.web.imagee: unknown attribute; did you mean `image`?"
        );
    }
}

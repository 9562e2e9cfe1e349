//! A Dockerfile as stages of instructions; nothing of the host or of images is known here.
//!
//! **Source:** Dockerfile reference.

mod flags;
mod instruction;
mod lines;
mod lint;
mod outline;
mod rules;
mod words;

#[cfg(test)]
mod corpus;

use std::fmt;

pub use instruction::{Command, Copy, Instruction, Run, RunMount, RunMountKind, Sharing};
pub use lines::Directives;
pub use lint::{BaseFacts, Checks, Report, check};
pub use outline::{Outline, Parameter, Target, outline, targets};
pub use rules::{Finding, Rule};
pub use words::{expand, expand_words};

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Directives at its top.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`: names and defaults.
    pub arguments: Vec<(String, Option<String>)>,
    /// The stages, in order; at least one.
    pub stages: Vec<Stage>,
}

/// One `FROM` and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Name behind `AS`, in lower case.
    pub name: Option<String>,
    /// Base image, stage or `scratch`, with variables.
    pub base: String,
    /// `--platform`, with variables.
    pub platform: Option<String>,
    /// Line of its `FROM`.
    pub line: usize,
    /// Last line of its `FROM`.
    pub end: usize,
    /// Text of its `FROM`.
    pub text: String,
    /// What is done in it.
    pub steps: Vec<Step>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its first line.
    pub line: usize,
    /// Its last line.
    pub end: usize,
    /// Its text as it stands, without comments and continuations.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word behind `<<`.
    pub name: String,
    /// Its lines.
    pub content: String,
    /// Whether variables in it are replaced (`COPY` and `ADD` only).
    pub expand: bool,
}

/// Says what is wrong with a Dockerfile, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// Last line of the instruction.
    pub end: usize,
    /// The words on these lines that are wrong; empty where it is all of them.
    pub near: String,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, end: line, near: String::new(), message: message.into() }
    }

    fn near(mut self, text: &str) -> Self {
        text.clone_into(&mut self.near);
        self
    }
}

/// A place in a Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// First line, from 1.
    pub line: usize,
    /// Last line; an instruction's is found where it is the first.
    pub end: usize,
    /// The words that are meant; empty is all.
    pub near: String,
}

impl From<&ParseError> for Place {
    fn from(error: &ParseError) -> Self {
        Self { line: error.line, end: error.end, near: error.near.clone() }
    }
}

/// Lines that are shown around a place.
const CONTEXT_LINES: usize = 2;

/// Shows a place in a file: its name, line and column, the lines themselves, and those around them.
#[must_use]
pub fn excerpt(bytes: &[u8], title: &str, place: &Place) -> String {
    use std::fmt::Write as _;
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<&str> = text.lines().collect();
    if place.line == 0 || place.line > all.len() {
        return String::new();
    }
    let known = lines::split(&text).ok().and_then(|(_, all)| all.into_iter().find(|logical| logical.line == place.line));
    let end = place.end.max(known.map_or(0, |logical| logical.end)).clamp(place.line, all.len());
    let found = |line: &usize| all[line - 1].find(&place.near).filter(|_| !place.near.is_empty()).map(|at| (*line, at));
    let mark = (place.line..=end).find_map(|line| found(&line));
    let (line, at) = mark.unwrap_or_else(|| (place.line, all[place.line - 1].len() - all[place.line - 1].trim_start().len()));
    let column = all[line - 1].get(..at).map_or(0, |before| before.chars().count()) + 1;
    let mut out = format!("{title}:{line}:{column}\n--------------------\n");
    for number in place.line.saturating_sub(CONTEXT_LINES).max(1)..=(end + CONTEXT_LINES).min(all.len()) {
        let sign = if (place.line..=end).contains(&number) { ">>>" } else { "   " };
        let _ = writeln!(out, " {number:>3} | {sign} {}", all[number - 1]);
        if mark.is_some_and(|(line, _)| line == number) {
            let before: String = all[line - 1].chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ = writeln!(out, "     |     {before}{}", "^".repeat(place.near.chars().count()));
        }
    }
    out.push_str("--------------------\n");
    out
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "dockerfile parse error: {}", self.message),
            line => write!(f, "dockerfile parse error on line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}

impl Dockerfile {
    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// [`ParseError`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ParseError::new(0, "the file is not UTF-8 text"))?;
        let (directives, lines) = lines::split(text)?;
        if lines.is_empty() {
            return Err(ParseError::new(0, "file with no instructions"));
        }
        let mut file = Self { directives, arguments: Vec::new(), stages: Vec::new() };
        let escape = file.directives.escape;
        for logical in lines {
            let (line, end, text) = (logical.line, logical.end, logical.text.clone());
            let instruction = instruction::parse(logical, escape).map_err(|error| ParseError { end, ..error })?;
            match (instruction, file.stages.last_mut()) {
                (Instruction::From { base, platform, name }, _) => {
                    file.stages.push(Stage { name, base, platform, line, end, text, steps: Vec::new() });
                }
                (Instruction::Arg(arguments), None) => file.arguments.extend(arguments),
                (_, None) => return Err(ParseError { end, ..ParseError::new(line, "no build stage in current context") }),
                (instruction, Some(stage)) => stage.steps.push(Step { line, end, text, instruction }),
            }
        }
        if file.stages.is_empty() {
            return Err(ParseError::new(0, "the file has no stage: a FROM is missing"));
        }
        Ok(file)
    }

    /// Parses the text of an `ONBUILD` trigger.
    ///
    /// # Errors
    /// [`ParseError`]; its line is that of the `FROM` whose image has the trigger.
    pub fn trigger(text: &str, line: usize, escape: char) -> Result<Step, ParseError> {
        let (_, mut lines) = lines::split(text)?;
        let mut logical = if lines.is_empty() { return Err(ParseError::new(line, "an empty trigger")) } else { lines.remove(0) };
        logical.line = line;
        let text = logical.text.clone();
        Ok(Step { line, end: line, text, instruction: instruction::parse(logical, escape)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_global_arguments() {
        let file = b"ARG V=1\nFROM a:$V AS Build\nRUN x\nFROM --platform=$BUILDPLATFORM scratch\nCOPY --from=build /a /b/\n";
        let file = Dockerfile::parse(file).unwrap();
        assert_eq!(file.arguments, [("V".to_owned(), Some("1".to_owned()))]);
        assert_eq!(file.stages.len(), 2);
        assert_eq!(file.stages[0].name.as_deref(), Some("build"));
        assert_eq!((file.stages[1].platform.as_deref(), file.stages[1].line), (Some("$BUILDPLATFORM"), 4));
    }

    #[test]
    fn a_place_is_shown_with_its_lines() {
        let file = b"FROM a\nRUN b \\\n  c\nCOPY --nope x /\n";
        let error = Dockerfile::parse(file).unwrap_err();
        let expected = "Dockerfile:4:6\n--------------------\n   2 |     RUN b \\\n   3 |       c\n   4 | >>> COPY --nope x /\n     |          ^^^^^^\n--------------------\n";
        assert_eq!(excerpt(file, "Dockerfile", &Place::from(&error)), expected);
        let place = Place { line: 2, ..Place::default() };
        assert!(excerpt(file, "D", &place).contains("   3 | >>>   c\n"));
    }

    #[test]
    fn errors_name_the_line() {
        for (file, expected) in [
            ("", "dockerfile parse error: file with no instructions"),
            ("RUN x", "dockerfile parse error on line 1: no build stage in current context"),
            ("FROM a\nRUNN x", "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"),
            ("FROM", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
            (
                "FROM a\nCOPY x",
                "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            ),
            ("FROM a\nRUN --nope x", "dockerfile parse error on line 2: unknown flag: --nope"),
            ("FROM a\nENV x", "dockerfile parse error on line 2: ENV must have two arguments"),
        ] {
            assert_eq!(Dockerfile::parse(file.as_bytes()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn bytes_of_all_kinds_end_in_a_result() {
        let mut seed = 7_u64;
        for _ in 0..3000 {
            let mut file = Vec::new();
            while !seed.is_multiple_of(13) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let parts: [&[u8]; 14] = [
                    b"FROM a\n",
                    b"RUN ",
                    b"COPY ",
                    b"--mount=type=",
                    b"cache,",
                    b"\\\n",
                    b"<<E ",
                    b"\"",
                    b"$",
                    b"{",
                    b"[\"",
                    b"\xff",
                    b"\n",
                    b"= ",
                ];
                file.extend_from_slice(parts[usize::try_from((seed >> 33) % 14).unwrap()]);
            }
            seed = seed.wrapping_add(1);
            let _ = Dockerfile::parse(&file);
        }
    }
}

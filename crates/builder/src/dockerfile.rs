//! A Dockerfile as stages of instructions; nothing of the host or of images is known here.
//!
//! **Source:** Dockerfile reference.

mod flags;
mod instruction;
mod lines;
mod words;

use std::fmt;

pub use instruction::{Command, Copy, Instruction, Run, RunMount, RunMountKind, Sharing};
pub use lines::Directives;
pub use words::expand;

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
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
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
            let (line, text) = (logical.line, logical.text.clone());
            let instruction = instruction::parse(logical, escape)?;
            match (instruction, file.stages.last_mut()) {
                (Instruction::From { base, platform, name }, _) => {
                    file.stages.push(Stage { name, base, platform, line, text, steps: Vec::new() });
                }
                (Instruction::Arg(arguments), None) => file.arguments.extend(arguments),
                (_, None) => return Err(ParseError::new(line, "no build stage in current context")),
                (instruction, Some(stage)) => stage.steps.push(Step { line, text, instruction }),
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
        Ok(Step { line, text, instruction: instruction::parse(logical, escape)? })
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

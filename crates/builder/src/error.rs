//! Why a build failed.

use crate::dockerfile::{ParseError, Place};

/// Says why there is no image.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The target is no stage.
    #[error("target stage \"{0}\" could not be found")]
    Target(String),
    /// An instruction cannot be done.
    #[error("dockerfile line {line}: {text}: {reason}")]
    Step {
        /// Line of the Dockerfile.
        line: usize,
        /// The instruction.
        text: String,
        /// Why.
        reason: String,
    },
    /// A command failed.
    #[error("The command '{command}' returned a non-zero code: {code} (dockerfile line {line})")]
    Exit {
        /// Line of the Dockerfile.
        line: usize,
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
    },
    /// Another stage failed, which says why.
    #[error("a stage that this one needs has failed")]
    Dependency,
    /// The engine failed.
    #[error("{0}")]
    Internal(String),
}

impl BuildError {
    /// Where in the Dockerfile it happened.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Parse(error) => Some(Place::from(error)),
            Self::Step { line, .. } | Self::Exit { line, .. } => Some(Place { line: *line, end: *line, near: String::new() }),
            Self::Target(_) | Self::Dependency | Self::Internal(_) => None,
        }
    }
}

//! Why a command failed.

use std::io;

/// A command's failure; the texts are those that callers of runc look for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// Not with this runtime.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No record.
    #[error("container does not exist")]
    NotFound,
    /// The id is taken.
    #[error("container with given ID already exists")]
    Exists,
    /// Not in this state.
    #[error("{0}")]
    State(String),
    /// A system call.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A JSON document.
    #[error("{what}")]
    Json {
        /// Which.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The container was not made.
    #[error(transparent)]
    Create(#[from] crate::CreateError),
    /// The container was not started.
    #[error(transparent)]
    Start(#[from] crate::StartError),
    /// The process was not run.
    #[error(transparent)]
    Exec(#[from] crate::ExecError),
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::CgroupError),
}

impl From<lexopt::Error> for CliError {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Adds what was tried.
pub(super) trait During<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, CliError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, CliError> {
        self.map_err(|error| CliError::System { what: what(), source: error.into() })
    }
}

/// An error with its causes in one line.
pub(super) fn line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

//! How a command fails: what is printed and the exit code.

use docker_api::client;

/// A failed command.
#[derive(Debug)]
pub enum Failure {
    /// Wrong words; a pointer to the help follows.
    Usage {
        /// What is wrong.
        message: String,
        /// The command's words, such as `run`.
        command: &'static str,
        /// How it is used.
        usage: &'static str,
        /// Exit code: 125 for commands that pass on a container's code, else 1.
        code: u8,
    },
    /// The engine or the system refused.
    Message {
        /// The whole text.
        message: String,
        /// Exit code.
        code: u8,
        /// Whether the program's name stands before and a pointer to the help after, as `run` does.
        run: bool,
    },
    /// Everything was said already; only the exit code is left.
    Silent(u8),
}

impl Failure {
    /// A plain message with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message { message: message.into(), code: 1, run: false }
    }

    /// Exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage { code, .. } | Self::Message { code, .. } | Self::Silent(code) => *code,
        }
    }

    /// What is printed; `name` is the name the program was called by.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self {
            Self::Usage { message, command, usage, .. } => {
                // A wrong number of words is told with the program's name before it.
                let counted = message.starts_with('\'');
                let before = if counted { format!("{name}: ") } else { String::new() };
                let verb = if counted && message.contains("requires") { "See" } else { "Run" };
                let usage = usage.replace("\n\t", &format!("\n\t{name} "));
                let command = if command.is_empty() { String::new() } else { format!(" {command}") };
                Some(format!("{before}{message}\n\nUsage:  {name} {usage}\n\n{verb} '{name}{command} --help' for more information"))
            }
            Self::Message { message, run: true, .. } => Some(format!("{name}: {message}\n\nRun '{name} run --help' for more information")),
            Self::Message { message, .. } => Some(message.clone()),
            Self::Silent(_) => None,
        }
    }

    /// As a failure of `run` or `create`: Docker's exit codes by the words of the engine.
    ///
    /// **Source:** docker/cli, `cli/command/container/run.go`, `toStatusError`.
    #[must_use]
    pub fn of_run(self) -> Self {
        let Self::Message { message, .. } = self else {
            return self;
        };
        if message == "the input device is not a TTY" {
            return Self::new(message);
        }
        let found = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        // What the client itself refuses is 125 in any words.
        let started = message.starts_with("Error response from daemon");
        let code = if started && found(&["executable file not found", "no such file or directory", "system cannot find the file specified"])
        {
            127
        } else if started && found(&["permission denied", "is a directory"]) {
            126
        } else {
            125
        };
        Self::Message { message, code, run: true }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Result of a command or a part of it.
pub type Outcome<T> = Result<T, Failure>;

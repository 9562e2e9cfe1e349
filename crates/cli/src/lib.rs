//! Words → one call → a table: the command line, a client of Docker's API and of nothing else.

pub mod commands;
pub mod config;
pub mod context;
pub mod contexts;
pub mod credentials;
pub mod error;
pub mod flags;
pub mod fuzz;
pub mod help;
pub mod human;
pub mod json;
mod layout;
pub mod ordered;
pub mod output;
pub mod printer;
pub mod progress;
pub mod reference;
pub mod remote;
pub mod streams;
pub mod table;
pub mod template;
pub mod terminal;
pub mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::context::Context;
use crate::error::Failure;

/// What the program around gives the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment {
    /// Starts an engine on the default socket and returns when it listens.
    pub start_daemon: Option<fn() -> std::io::Result<()>>,
}

/// Runs one command. `args` begins with the name the program was called by.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>, environment: Environment) -> ExitCode {
    let mut words = args.into_iter().map(|word| word.to_string_lossy().into_owned());
    let name = words.next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().map_or("teu".into(), |name| name.to_string_lossy().into_owned());
    let mut context = Context::new(name.clone(), environment);
    let mut words: Vec<String> = words.collect();
    if name == "docker-compose" {
        words = match commands::as_compose(words) {
            Some(words) => words,
            None => return ExitCode::SUCCESS,
        };
        // Called by Docker's client, it is a command of that.
        context.name = "docker".to_owned();
    }
    match commands::run(&mut context, &words) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => fail(&context, &failure),
    }
}

fn fail(context: &Context, failure: &Failure) -> ExitCode {
    if let Some(text) = failure.text(&context.name) {
        printer::error(&text);
    }
    ExitCode::from(failure.code())
}

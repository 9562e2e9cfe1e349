//! Go templates: fields, pipes, variables, `if`, `range`, `with`, and Go's and Docker's functions.
//!
//! What Go says when a template fails, and where, is said here too.
//! **Source:** Go, `text/template`; docker/cli, `templates`.
#![allow(clippy::wildcard_enum_match_arm, reason = "a parser asks for a few of many kinds of words and values")]

mod evaluate;
mod functions;
mod lex;
mod parse;
mod printf;
mod value;

pub use evaluate::Mode;
pub use value::{Value, Zero};

/// A template that cannot be read or applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("template parsing error: {0}")]
pub struct TemplateError(String);

impl TemplateError {
    /// What Go says, without the words before it.
    #[must_use]
    pub fn plain(&self) -> &str {
        &self.0
    }
}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: &'static str,
    text: String,
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::named("", text)
    }

    /// Parses a template; `name` is told in errors.
    ///
    /// # Errors
    /// What is not understood.
    pub fn named(name: &'static str, text: &str) -> Result<Self, TemplateError> {
        let text = text.to_owned();
        match parse::nodes(&text) {
            Ok(nodes) => Ok(Self { name, text, nodes }),
            Err((at, why)) => Err(TemplateError(format!("template: {name}:{}: {why}", line(&text, at)))),
        }
    }

    /// Parses the template of a list, in which `\t` and `\n` as the shell leaves them are a tab and a new line.
    ///
    /// # Errors
    /// What is not understood.
    pub fn of_list(text: &str) -> Result<Self, TemplateError> {
        Self::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))
    }

    /// Applies it to any JSON, whose objects are maps.
    ///
    /// # Errors
    /// A function or field that does not fit.
    pub fn apply(&self, value: &serde_json::Value) -> Result<String, TemplateError> {
        self.on(&Value::from(value), Mode::Lenient)
    }

    /// Applies it to a value.
    ///
    /// # Errors
    /// A function or field that does not fit.
    pub fn on(&self, value: &Value, mode: Mode) -> Result<String, TemplateError> {
        evaluate::run(&self.nodes, value, mode).map_err(|(at, why)| {
            let column = self.text[..at.min(self.text.len())].rfind('\n').map_or(at, |line| at - line - 1);
            let why = why.replacen("{NAME}", &format!("{:?}", self.name), 1);
            TemplateError(format!("template: {}:{}:{column}: {why}", self.name, line(&self.text, at)))
        })
    }
}

/// The line a place lies in.
fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests;

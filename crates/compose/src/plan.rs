//! From what shall be and what is to the steps between: pure, and each step says why it is taken.
//!
//! A step names the steps it waits for; all others may run at the same time. A plan made again after it was carried
//! out is empty.

mod down;
mod run;
#[cfg(test)]
mod tests;
mod up;

use std::fmt;

pub use down::{Down, down, start, stop};
pub use up::{Recreate, Up, up};

use crate::desired::Condition;

/// A container that exists, or one that an earlier step makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its id.
    Existing(String),
    /// The one of that step.
    Made(usize),
}

/// What a step does.
#[allow(missing_docs, reason = "ids, keys and names say by their own name what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes the network of this key.
    CreateNetwork { key: String },
    /// Removes a network.
    RemoveNetwork { id: String },
    /// Takes a container off a network.
    Disconnect { network: String, container: String },
    /// Makes the volume of this key.
    CreateVolume { key: String },
    /// Removes a volume.
    RemoveVolume { name: String },
    /// Makes a container; with `replaces` under another name until the old one is gone.
    Create { service: String, number: usize, replaces: Option<Replaced> },
    /// Starts a container.
    Start { service: String, container: Target },
    /// Stops a container.
    Stop { service: String, container: String },
    /// Removes a container, with its anonymous volumes if `volumes`.
    Remove { container: String, force: bool, volumes: bool },
    /// Gives a container its lasting name.
    Rename { container: Target, name: String },
    /// Waits until all these containers of a service are ready.
    Wait { service: String, condition: Condition, containers: Vec<Target>, required: bool },
}

/// What a new container takes over from the one it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The old one's id.
    pub id: String,
    /// Its anonymous volumes: where, and the volume's name.
    pub volumes: Vec<(String, String)>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Numbers of the steps that must be done before.
    pub after: Vec<usize>,
    /// What is done.
    pub action: Action,
    /// Whom it is about, as people see it: `Container app-web-1`.
    pub subject: String,
    /// Why.
    pub cause: String,
}

/// What is done, in an order that satisfies all that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What a person should know and no step changes.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Adds a step and returns its number.
    fn add(&mut self, after: Vec<usize>, action: Action, subject: String, cause: impl Into<String>) -> usize {
        self.steps.push(Step { after, action, subject, cause: cause.into() });
        self.steps.len() - 1
    }
}

impl Action {
    /// What the step does, in one word.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateNetwork { .. } | Self::CreateVolume { .. } | Self::Create { replaces: None, .. } => "create",
            Self::Create { replaces: Some(_), .. } => "recreate",
            Self::RemoveNetwork { .. } | Self::RemoveVolume { .. } | Self::Remove { .. } => "remove",
            Self::Disconnect { .. } => "disconnect",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Rename { .. } => "rename",
            Self::Wait { .. } => "wait",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            let after: Vec<String> = step.after.iter().map(|before| format!("#{before}")).collect();
            let after = if after.is_empty() { String::new() } else { format!(" after {}", after.join(" ")) };
            writeln!(f, "#{number} {} {}{after}: {}", step.action.verb(), step.subject, step.cause)?;
        }
        Ok(())
    }
}

/// As people see a container.
fn container(name: &str) -> String {
    format!("Container {name}")
}

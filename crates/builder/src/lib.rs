//! A Dockerfile becomes an image: stages in parallel, steps cached by content.

pub mod dockerfile;
pub mod fuzz;

mod build;
mod cache;
mod copy;
mod error;
mod git;
mod index;
mod run;
mod source;
mod stage;
mod tree;

pub use build::platform_arguments;
pub use build::{Builder, Request};
pub use cache::Pruned;
pub use error::BuildError;
pub use git::GitRef;
pub use source::{Agent, Fetch, Named, Sources};

/// What a build tells while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The step, from 1, in the order of their beginning.
    pub vertex: usize,
    /// What is told.
    pub event: Event,
}

/// What is told of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It begins; its name as people know it, such as `[build 2/5] RUN make`.
    Started(String),
    /// Output of it.
    Log(Vec<u8>),
    /// Its result was there already.
    Cached,
    /// It is done.
    Done,
    /// It failed.
    Failed(String),
    /// Something to know that does not stop the build.
    Warning(String),
}

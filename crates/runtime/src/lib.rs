//! A bundle becomes an isolated process: root file system, namespaces, cgroups, filters, exec.
//!
//! Synchronous and single-threaded: the caller forks. Knows nothing of images, networks, logs or Docker.

pub mod capability;
pub mod cgroup;
mod child;
pub mod cli;
mod clone;
mod create;
mod exec;
pub mod fuzz;
mod hook;
pub mod protect;
pub mod seccomp;
mod spec_check;
mod sync;

pub use create::{Container, CreateError, CreateRequest, Gate, StartError, create};
pub use exec::{ExecError, ExecProcess, ExecRequest, exec};

use std::os::fd::OwnedFd;

/// Where the three standard streams of a process go.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// Descriptors of the caller's choice.
    Pipes {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A pseudo-terminal of the container's own devpts; its master is handed to the caller.
    Terminal,
}

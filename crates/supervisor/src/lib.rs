//! The parent of one container: stdio or terminal, log, attach, exec, exit record, and its wire protocol.

mod client;
mod connections;
pub mod control;
pub mod exit;
pub mod files;
pub mod fuzz;
pub mod init;
mod log;
pub mod logs;
mod memory;
mod poller;
mod proc;
pub mod protocol;
pub mod spawner;
mod streams;
mod supervisor;
mod time;

pub use control::{Control, Received, connect};
pub use exit::{ReadExitError, read_exit};
pub use sys::socket::unread_by_peer;

/// Compiles a seccomp profile into the bytes that [`protocol::Launch::seccomp`] takes.
///
/// The engine keeps the result by profile, so that it is compiled once.
///
/// # Errors
/// A rule that the kernel's filters cannot express.
pub fn compile_seccomp(profile: &oci::runtime::Seccomp) -> Result<protocol::Bytes, CompileSeccompError> {
    let program = runtime::seccomp::compile(profile).map_err(CompileSeccompError)?;
    Ok(protocol::Bytes(program.to_bytes()))
}

/// A seccomp profile that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the seccomp profile")]
pub struct CompileSeccompError(#[source] runtime::seccomp::CompileError);

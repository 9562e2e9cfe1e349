//! The parent of one container: stdio or terminal, log, attach, exec, exit record, and its wire protocol.

pub mod control;
pub mod exit;
pub mod init;
pub mod logs;
pub mod protocol;
pub mod spawner;

pub use control::{Control, Received, connect};
pub use exit::{ReadExitError, read_exit};

/// A seccomp profile that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the seccomp profile")]
pub struct CompileSeccompError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Compiles a seccomp profile into the bytes that [`protocol::Launch::seccomp`] takes.
///
/// The engine keeps the result by profile, so that it is compiled once.
///
/// # Errors
/// A rule that the kernel's filters cannot express.
pub fn compile_seccomp(
    profile: &oci::runtime::Seccomp,
) -> Result<protocol::Bytes, CompileSeccompError> {
    let _ = profile;
    Err(CompileSeccompError("not yet".into()))
}

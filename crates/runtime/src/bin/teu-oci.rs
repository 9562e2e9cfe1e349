//! The OCI runtime alone, for callers that need no engine; the same as `teu oci`.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::main(std::env::args_os().skip(1).collect())
}

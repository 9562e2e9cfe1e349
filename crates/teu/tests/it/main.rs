//! Real containers through the real binary: the engine, our own CLI and the unmodified Docker CLI.
#![allow(clippy::unwrap_used, reason = "helpers of tests may end the test")]
#![allow(clippy::disallowed_methods, reason = "these tests start the engine and its clients as programs")]

mod build;
mod callers;
mod completion;
mod compose;
mod contexts;
mod copy;
mod crash;
mod disk;
mod explain;
mod faulty;
mod figures;
mod flags;
mod health;
mod help;
mod images;
mod life;
mod net;
mod oracle;
mod policy;
mod registry;
mod storage;
mod terminal;
mod wire;

use std::path::Path;

/// The binary under test.
fn teu() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_teu"))
}

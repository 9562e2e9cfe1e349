//! A Debian base system as a tar archive for `import`: made once by mmdebstrap, kept for the next time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The name that Dockerfiles give it.
pub const IMAGE: &str = "debian:bookworm-slim";

/// Makes the archive in `folder`, or takes the one that is there. Two at the same time make it once.
///
/// # Errors
/// If mmdebstrap fails; it is Debian's package of that name, and needs a mirror of Debian within reach.
pub fn archive(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let archive = folder.join("debian-bookworm.tar");
    let lock = std::fs::File::create(folder.join("debian-bookworm.lock"))?;
    lock.lock()?;
    if archive.exists() {
        return Ok(archive);
    }
    let part = folder.join("debian-bookworm.part.tar");
    let hook = r#"chroot "$1" sh -c 'rm -rf /var/lib/apt/lists/* /var/cache/apt/*'"#;
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--customize-hook", hook, "bookworm"]).arg(&part);
    let status = command.status().context("cannot start mmdebstrap: install the package `mmdebstrap`")?;
    ensure!(status.success(), "mmdebstrap: {status}");
    std::fs::rename(&part, &archive)?;
    Ok(archive)
}

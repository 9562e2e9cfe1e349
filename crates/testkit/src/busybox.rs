//! The smallest real image: one static busybox with its applets, as a tar archive for `import`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Where Debian's package `busybox-static` puts its program.
const BUSYBOX: &str = "/bin/busybox";

/// Writes `busybox.tar` into `dir`: the program, a link for every applet, `/etc/passwd`, `/etc/group` and empty directories.
///
/// # Errors
/// If busybox is not installed or `tar` fails.
pub fn archive(dir: &Path) -> Result<PathBuf> {
    let root = dir.join("busybox");
    for sub in ["bin", "etc", "tmp", "root", "proc", "sys", "dev", "var"] {
        std::fs::create_dir_all(root.join(sub))?;
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).context("cannot copy busybox: install the package `busybox-static`")?;
    let list = Command::new(BUSYBOX).arg("--list").output()?;
    for applet in String::from_utf8(list.stdout)?.lines().filter(|name| *name != "busybox") {
        let link = root.join("bin").join(applet);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")?;
    std::fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")?;
    let tar = dir.join("busybox.tar");
    let status =
        Command::new("tar").args(["--numeric-owner", "--owner=0", "--group=0", "-cf"]).arg(&tar).arg("-C").arg(&root).arg(".").status()?;
    ensure!(status.success(), "tar failed: {status}");
    Ok(tar)
}

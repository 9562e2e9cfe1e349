//! What a fresh Debian needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::call;

/// Programs and the Debian packages that bring them: the tests' image, the demo's image, and the clients that tests speak through.
const NEEDS: [(&str, &str); 11] = [
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/skopeo", "skopeo"),
    ("/usr/bin/docker", "docker.io"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/openssl", "openssl"),
];

pub(crate) fn run() -> Result<()> {
    if !is_root()? {
        bail!("containers need root for now: run this as root");
    }
    let missing: Vec<&str> = NEEDS.iter().filter(|(path, _)| !present(path)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        println!("setup: nothing to install");
        return Ok(());
    }
    println!("setup: installing {}", missing.join(" "));
    call(Command::new("apt-get").args(["update", "-q"]))?;
    call(
        Command::new("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// A static busybox is needed; a dynamic one at the same path does not count, but Debian has only one of them installed.
fn present(path: &str) -> bool {
    let name = Path::new(path).file_name().unwrap_or_default();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    Path::new(path).exists() || std::env::split_paths(&folders).any(|folder| folder.join(name).exists())
}

fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

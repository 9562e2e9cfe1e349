//! What may be mounted on /proc and below: else the kernel's files could be replaced by an image's or a volume's
//! (CVE-2019-16884, CVE-2019-19921).

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use crate::child::{Failure, Outcome, Trying as _};

/// Files that programs outside of the kernel provide, as lxcfs does. **Source:** runc, `libcontainer/rootfs_linux.go`, `checkProcMount`.
const PROVIDED: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "net/dev",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Refuses `tree` at `target` if that is /proc, where only a procfs may be, or below and not among the provided files.
pub(super) fn check(root: &OwnedFd, target: &OwnedFd, tree: &OwnedFd) -> Outcome<()> {
    let path = path(target)?;
    let Some(below) = path.strip_prefix(self::path(root)?).ok().and_then(|path| path.strip_prefix("proc").ok()) else {
        return Ok(());
    };
    if below.as_os_str().is_empty() {
        return if is_procfs(tree).trying(|| "statfs".into())? {
            Ok(())
        } else {
            Err(Failure("\"/proc\" cannot be mounted because it is not procfs: what is inside /proc must be the kernel's".into()))
        };
    }
    if PROVIDED.iter().any(|name| below == Path::new(name)) {
        return Ok(());
    }
    Err(Failure(format!("\"/proc/{}\" cannot be mounted because it is inside /proc", below.display())))
}

/// Where an open file lies, as the kernel sees it.
fn path(fd: &OwnedFd) -> Outcome<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).trying(|| "finding a mount target".into())
}

fn is_procfs(fd: impl AsFd) -> rustix::io::Result<bool> {
    // PROC_SUPER_MAGIC, linux/magic.h.
    Ok(u64::try_from(rustix::fs::fstatfs(fd)?.f_type).is_ok_and(|kind| kind == 0x9fa0))
}

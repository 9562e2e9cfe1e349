//! Fast cgroup migrations.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat, statfs};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsmount, fsopen};

/// The mount option.
const OPTION: &str = "favordynmods";

/// File system type of cgroup v2. **Source:** `linux/magic.h`, `CGROUP2_SUPER_MAGIC`.
const CGROUP2: u64 = 0x6367_7270;

/// Keeps the kernel's fast path for moving processes between cgroups open while it lives.
///
/// A cgroup v2 with `favordynmods` keeps the global lock of migrations in its fast mode, 0.05 ms instead of an RCU grace
/// period of 7–27 ms. The option is set through a mount of our own that is attached nowhere, and unset again by the last of
/// those who hold it; a lock on the root folder tells them. A named v1 hierarchy would need no option of the machine's, but
/// it shows in `/proc/PID/cgroup`, where containerd's statistics fail on a hierarchy that is mounted nowhere.
/// **Source:** Linux, `Documentation/admin-guide/cgroup-v2.rst`, `favordynmods`; `kernel/cgroup/cgroup.c`, `cgroup_favor_dynmods`.
#[derive(Debug)]
pub struct FastMigration {
    root: OwnedFd,
    others: Vec<String>,
    /// Whether the option was not there before.
    ours: bool,
}

impl FastMigration {
    /// Opens the fast path.
    ///
    /// # Errors
    /// `Unsupported` where only cgroup v2 is mounted, whose processes are born in their cgroups; else if the kernel has no
    /// cgroup v2 or no `favordynmods` (before 6.0).
    pub fn hold() -> io::Result<Self> {
        if statfs("/sys/fs/cgroup").is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == CGROUP2)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut others = options();
        let was_set = others.iter().any(|option| option == OPTION);
        others.retain(|option| option != OPTION);
        let root = openat(mount(&others, was_set)?, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let alone = flock(&root, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK);
        flock(&root, FlockOperation::LockShared)?;
        mount(&others, true)?;
        Ok(Self { root, others, ours: !(alone && was_set) })
    }

    /// Lets go in a forked child, for which the parent goes on holding it.
    pub fn leave_to_parent(mut self) {
        self.ours = false;
    }
}

impl Drop for FastMigration {
    fn drop(&mut self) {
        if self.ours && flock(&self.root, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // At worst the fast path stays open, which others may find useful.
            let _stays_open = mount(&self.others, false);
        }
    }
}

/// Mounts cgroup v2 nowhere; its options are those of every mount of it.
fn mount(others: &[String], fast: bool) -> io::Result<OwnedFd> {
    let fs = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for option in others.iter().map(String::as_str).chain(fast.then_some(OPTION)) {
        fsconfig_set_flag(&fs, option)?;
    }
    fsconfig_create(&fs)?;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// The options cgroup v2 is mounted with; none if it is not.
fn options() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = table.lines().find_map(|line| line.split_once(" - cgroup2 ")?.1.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    found.split(',').filter(|option| !matches!(*option, "" | "rw" | "ro" | "seclabel")).map(str::to_owned).collect()
}

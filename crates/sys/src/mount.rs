//! What the mount API of rustix lacks.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Attributes set and cleared by [`set_attributes`]; bits of `linux/mount.h`, `MOUNT_ATTR_*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// A user namespace, for `MOUNT_ATTR_IDMAP`.
    pub user_namespace: u64,
}

/// Read-only.
pub const READ_ONLY: u64 = 0x1;
/// No set-user-id programs.
pub const NO_SUID: u64 = 0x2;
/// No device files.
pub const NO_DEV: u64 = 0x4;
/// No programs.
pub const NO_EXEC: u64 = 0x8;
/// Mask of the access time modes.
pub const ATIME: u64 = 0x70;
/// No access times.
pub const NO_ATIME: u64 = 0x10;
/// Access times always.
pub const STRICT_ATIME: u64 = 0x20;
/// No access times of folders.
pub const NO_DIR_ATIME: u64 = 0x80;
/// Other owners.
pub const IDMAP: u64 = 0x10_0000;
/// No symbolic links.
pub const NO_SYMFOLLOW: u64 = 0x20_0000;

/// Changes the attributes of the mount `fd` itself, with all below it if `recursive`, mount_setattr(2).
///
/// # Errors
/// As mount_setattr(2).
pub fn set_attributes(fd: BorrowedFd<'_>, recursive: bool, attributes: Attributes) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: mount_setattr(2): the path is an empty string, the structure lives through the call and its size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attributes),
            size_of::<Attributes>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

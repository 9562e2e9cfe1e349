//! Project quotas: limits of the bytes below a directory, on ext4 and xfs mounted with `prjquota`.
//!
//! **Source:** Linux, `fs/quota/quota.c`, `include/uapi/linux/dqblk_xfs.h`, `include/uapi/linux/fs.h`; quotactl(2).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    pad: [u8; 8],
}

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Limits {
    version: i8,
    flags: i8,
    field_mask: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    blocks: u64,
    inodes: u64,
    inode_timer: i32,
    block_timer: i32,
    inode_warnings: u16,
    block_warnings: u16,
    inode_timer_high: i8,
    block_timer_high: i8,
    realtime_timer_high: i8,
    pad2: i8,
    realtime_hard: u64,
    realtime_soft: u64,
    realtime_blocks: u64,
    realtime_timer: i32,
    realtime_warnings: u16,
    pad3: i16,
    pad4: [u8; 8],
}

/// `struct fs_quota_stat`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct State {
    version: i8,
    flags: u16,
    pad: i8,
    user: [u64; 3],
    group: [u64; 3],
    rest: [u32; 6],
}

/// `_IOR('X', 31, struct fsxattr)`.
const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f;
/// `_IOW('X', 32, struct fsxattr)`.
const SET_ATTRIBUTES: libc::Ioctl = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`: what is made below has the same project.
const INHERIT: u32 = 0x200;
/// `Q_XSETQLIM`.
const SET_LIMITS: u32 = 0x5804;
/// `Q_XGETQSTAT`.
const GET_STATE: u32 = 0x5805;
/// `PRJQUOTA`.
const PROJECT: u32 = 2;
/// `FS_PROJ_QUOTA`.
const KIND: i8 = 2;
/// `FS_DQ_BHARD | FS_DQ_BSOFT`.
const BLOCKS: u16 = 8 | 4;
/// `FS_QUOTA_PDQ_ENFD`.
const ENFORCED: u16 = 1 << 5;
/// Bytes of a basic block, the unit of the limits.
const BLOCK: u64 = 512;

/// Puts a directory, and what will be made below it, into a project.
///
/// # Errors
/// As ioctl(2), `ENOTTY` or `EOPNOTSUPP` where the file system has no projects.
pub fn set_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = Attributes::default();
    // SAFETY: ioctl_fs(2), FS_IOC_FSGETXATTR writes one `struct fsxattr`, which lives through the call.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.project = project;
    attributes.flags |= INHERIT;
    // SAFETY: ioctl_fs(2), FS_IOC_FSSETXATTR reads one `struct fsxattr`, which lives through the call.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Limits the bytes of a project on the file system that `file` is on; 0 takes the limit away.
///
/// # Errors
/// As quotactl(2), `ESRCH` where project quotas are off.
pub fn set_limit(file: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let blocks = bytes.div_ceil(BLOCK);
    let mut limits =
        Limits { version: 1, flags: KIND, field_mask: BLOCKS, id: project, blocks_hard: blocks, blocks_soft: blocks, ..Limits::default() };
    control(file, SET_LIMITS, project, (&raw mut limits).cast())
}

/// Whether the file system that `file` is on enforces limits of projects.
#[must_use]
pub fn is_enforced(file: BorrowedFd<'_>) -> bool {
    let mut state = State::default();
    control(file, GET_STATE, 0, (&raw mut state).cast()).is_ok() && state.flags & ENFORCED != 0
}

fn control(file: BorrowedFd<'_>, command: u32, id: u32, address: *mut libc::c_void) -> io::Result<()> {
    let command = command << 8 | PROJECT;
    // SAFETY: quotactl_fd(2): the callers pass the structure that the command reads or writes, and it lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, file.as_raw_fd(), command, id, address) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

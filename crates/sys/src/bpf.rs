//! Programs of the kernel's own machine, for what cgroup v2 has no file for.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// Arguments of BPF_PROG_LOAD, as far as they are used. **Source:** `linux/bpf.h`, `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// Arguments of BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program that decides on device accesses; each instruction is the eight bytes of `struct bpf_insn`.
///
/// # Errors
/// As bpf(2); the kernel checks the program.
pub fn load_device_filter(instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let attributes = Load {
        program_type: TYPE_CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: bpf(2) BPF_PROG_LOAD: the structure, the instructions and the string live through the call; sizes are passed.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, std::ptr::from_ref(&attributes), size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a program in charge of the accesses from a cgroup, beside those above and below; it stays without the descriptor.
///
/// # Errors
/// As bpf(2).
pub fn attach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).unwrap_or_default();
    let attributes = Attach { target: number(cgroup), program: number(program), kind: ATTACH_CGROUP_DEVICE, flags: ALLOW_MULTI };
    // SAFETY: bpf(2) BPF_PROG_ATTACH: the structure lives through the call and its size is passed.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, std::ptr::from_ref(&attributes), size_of::<Attach>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Most programs of one cgroup that are looked at. **Source:** `linux/bpf-cgroup.h`, `BPF_CGROUP_MAX_PROGS`.
const PROGRAMS_MAX: usize = 64;

/// Arguments of BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    flags_of_programs: u64,
}

/// The programs in charge of the accesses from a cgroup itself, not from those above.
///
/// # Errors
/// As bpf(2).
pub fn device_filters(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut query = Query {
        target: u32::try_from(cgroup.as_raw_fd()).unwrap_or_default(),
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(PROGRAMS_MAX).unwrap_or_default(),
        padding: 0,
        flags_of_programs: 0,
    };
    // SAFETY: bpf(2) BPF_PROG_QUERY: the structure and the room for `count` numbers live through the call; the size is passed.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, std::ptr::from_mut(&mut query), size_of::<Query>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    ids.iter().take(usize::try_from(query.count).unwrap_or_default()).map(|id| by_id(*id)).collect()
}

fn by_id(id: u32) -> io::Result<OwnedFd> {
    let attributes = [id, 0, 0];
    // SAFETY: bpf(2) BPF_PROG_GET_FD_BY_ID: the three words live through the call and their size is passed.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_FD_BY_ID, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a program off a cgroup.
///
/// # Errors
/// As bpf(2).
pub fn detach_device_filter(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).unwrap_or_default();
    let attributes = Attach { target: number(cgroup), program: number(program), kind: ATTACH_CGROUP_DEVICE, flags: 0 };
    // SAFETY: bpf(2) BPF_PROG_DETACH: the structure lives through the call and its size is passed.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_DETACH, std::ptr::from_ref(&attributes), size_of::<Attach>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

//! Programs of the kernel's own machine, for what cgroup v2 has no file for.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
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

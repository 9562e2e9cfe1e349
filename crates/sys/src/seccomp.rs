//! Loading a ready filter, seccomp(2).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// One instruction, `struct sock_filter` of `linux/filter.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    filter: *const Instruction,
}

/// Loads a filter for the calling thread; with the listener flag the notification descriptor is returned.
///
/// # Errors
/// As seccomp(2); a filter of more than 65,535 instructions is invalid.
pub fn load(filter: &[Instruction], flags: u32) -> io::Result<Option<OwnedFd>> {
    const NEW_LISTENER: u32 = 1 << 3;
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { length, filter: filter.as_ptr() };
    // SAFETY: seccomp(2) SECCOMP_SET_MODE_FILTER (1): the program and its instructions live through the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, std::ptr::from_ref(&program)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = i32::try_from(result).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: with the listener flag the result is a new descriptor that belongs to this process.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

//! Signals as something to poll.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::process::Signal;

/// Blocks some signals of the calling thread and delivers them to reads.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Takes `signals` from now on, signalfd(2).
    ///
    /// # Errors
    /// As sigprocmask(2) and signalfd(2).
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let mut set = empty_set();
        for signal in signals {
            // SAFETY: sigaddset(3) on an initialised set with the number of a signal.
            unsafe { libc::sigaddset(&raw mut set, signal.as_raw()) };
        }
        // SAFETY: sigprocmask(2): the set is initialised and the old mask is not asked for.
        let result = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd(2): the set is initialised; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for this process.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for the next signal.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&self) -> io::Result<Signal> {
        // `struct signalfd_siginfo` has 128 bytes, the number first. **Source:** `linux/signalfd.h`.
        let mut buffer = [0_u8; 128];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut buffer))?;
        let number = buffer.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        if number <= 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: the kernel has just delivered this number, so it is a signal's.
        Ok(unsafe { Signal::from_raw_unchecked(number) })
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives every signal its default disposition and unblocks all, as a program expects after exec.
///
/// # Errors
/// As sigprocmask(2).
pub fn reset() -> io::Result<()> {
    // `struct sigaction` of the kernel: handler, flags, restorer, mask; all zero is SIG_DFL. The C library's own call would
    // refuse the two signals that it keeps for itself, which are inherited all the same.
    let default = [0_u64; 4];
    for number in 1..=64 {
        // SAFETY: rt_sigaction(2) reads 32 bytes, which live through the call; the default handler runs no code of ours. KILL and
        // STOP are refused, which changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null::<u64>(), 8) };
    }
    let set = empty_set();
    // SAFETY: sigprocmask(2): the set is initialised and the old mask is not asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3): the pointer is to room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has just initialised it; it cannot fail with a valid pointer.
    unsafe { set.assume_init() }
}

/// The number of a signal as a descriptor of rustix.
#[must_use]
pub fn by_number(number: i32) -> Option<Signal> {
    if !(1..=64).contains(&number) {
        return None;
    }
    // SAFETY: Linux has the signals 1 to 64, signal(7), and the value is only passed to the kernel.
    Some(unsafe { Signal::from_raw_unchecked(number) })
}

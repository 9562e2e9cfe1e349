//! Dispositions, masks and waiting for signals.

use std::io;
use std::mem::MaybeUninit;

use rustix::process::Signal;

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What signal(7) says.
    Default,
    /// Nothing; for SIGCHLD also: children leave no zombies.
    Ignore,
}

/// Sets what a signal does to this process.
///
/// # Errors
/// As sigaction(2), for SIGKILL and SIGSTOP.
pub fn set_disposition(signal: Signal, disposition: Disposition) -> io::Result<()> {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    // SAFETY: signal(2); both handlers run no code of ours.
    let result = unsafe { libc::signal(signal.as_raw(), handler) };
    if result == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The mask before [`block_all`].
#[allow(missing_debug_implementations, reason = "sigset_t has none")]
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

/// Blocks all signals of this thread, so that [`wait`] gets them.
///
/// # Errors
/// As sigprocmask(2).
pub fn block_all() -> io::Result<Mask> {
    change_mask(&full())
}

/// Restores a mask.
///
/// # Errors
/// As sigprocmask(2).
pub fn restore(mask: Mask) -> io::Result<()> {
    change_mask(&mask.0).map(drop)
}

/// Waits for any blocked signal and returns its number.
///
/// # Errors
/// As sigwaitinfo(2).
pub fn wait() -> io::Result<Signal> {
    let all = full();
    loop {
        // SAFETY: sigwaitinfo(2); the set is initialised, no information is asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const all, std::ptr::null_mut()) };
        if signal > 0 {
            // SAFETY: the kernel has just returned this number, so it is a signal's.
            return Ok(unsafe { Signal::from_raw_unchecked(signal) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn full() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset(3); the pointer is to room for a set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: sigfillset has just initialised it; it cannot fail with a valid pointer.
    unsafe { set.assume_init() }
}

fn change_mask(mask: &libc::sigset_t) -> io::Result<Mask> {
    let mut old = MaybeUninit::uninit();
    // SAFETY: sigprocmask(2); both pointers are to sets, the second is written only.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, old.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the old mask has been written.
    Ok(Mask(unsafe { old.assume_init() }))
}

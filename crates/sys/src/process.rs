//! Processes: clone3, execve, close_range, identity of a single-threaded process.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::process::Pid;

/// New mount namespace.
pub const NEW_MOUNT: u64 = libc::CLONE_NEWNS as u64;
/// A root and a working directory of its own, for one thread; for [`unshare`].
pub const OWN_DIRECTORY: u64 = libc::CLONE_FS as u64;
/// New process id namespace.
pub const NEW_PID: u64 = libc::CLONE_NEWPID as u64;
/// New network namespace.
pub const NEW_NETWORK: u64 = libc::CLONE_NEWNET as u64;
/// New IPC namespace.
pub const NEW_IPC: u64 = libc::CLONE_NEWIPC as u64;
/// New UTS namespace.
pub const NEW_UTS: u64 = libc::CLONE_NEWUTS as u64;
/// New user namespace.
pub const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;
/// New cgroup namespace.
pub const NEW_CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
/// New time namespace; for `unshare` and `setns` only.
pub const NEW_TIME: u64 = 0x80;

/// Not a namespace: the child becomes a child of the caller's parent, for [`clone3`] only.
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Side {
    /// The caller, with its new child.
    Parent {
        /// The child as the caller sees it.
        pid: Pid,
        /// Descriptor of the child, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new child.
    Child,
}

/// Arguments of clone3(2), version 2 (88 bytes with `cgroup`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks with new namespaces, straight into `cgroup` (a cgroup v2 folder) where one is given.
///
/// Only a single-threaded process may call it: in the child of another, every lock may be held for ever.
///
/// # Errors
/// As clone3(2).
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        // A sibling's end is told as the caller's own is.
        exit_signal: if namespaces & SIBLING == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, linux/sched.h
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or_default();
    }
    // SAFETY: clone3(2): `args` lives through the call and has the size that is passed; no stack is shared, as with fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<CloneArgs>()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: with CLONE_PIDFD the kernel stored a descriptor that belongs to this process alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Side::Parent { pid, pidfd })
}

/// Leaves namespaces for new ones, unshare(2).
///
/// # Errors
/// As unshare(2).
pub fn unshare(namespaces: u64) -> io::Result<()> {
    let flags = i32::try_from(namespaces).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: unshare(2) takes an integer.
    check(unsafe { libc::unshare(flags) }.into())
}

/// Enters the namespace of a descriptor, or several of a pidfd, setns(2).
///
/// # Errors
/// As setns(2).
pub fn setns(fd: BorrowedFd<'_>, namespaces: u64) -> io::Result<()> {
    let flags = i32::try_from(namespaces).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: setns(2) takes an open descriptor and an integer.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into())
}

/// Replaces the program. Returns only on failure.
///
/// # Errors
/// As execve(2).
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Result<Infallible> {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: execve(2): all strings end with zero and both arrays with a null pointer; they outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Replaces the program by an open file, execveat(2). Returns only on failure.
///
/// # Errors
/// As execveat(2).
pub fn execute_file(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Result<Infallible> {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: execveat(2): all strings end with zero and both arrays with a null pointer; they outlive the call.
    unsafe { libc::syscall(libc::SYS_execveat, file.as_raw_fd(), c"".as_ptr(), args.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH) };
    Err(io::Error::last_os_error())
}

/// Addresses of some strings, with the null pointer that ends the array.
fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|item| item.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Marks every descriptor from `first` on close-on-exec, close_range(2).
///
/// # Errors
/// As close_range(2).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: close_range(2) with CLOEXEC closes nothing; integers only.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

/// Closes every descriptor from `first` to `last`, both included. Only in a child that owns none of them any more.
///
/// # Errors
/// As close_range(2).
pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: close_range(2): the caller declares that no owner of these descriptors is used again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Makes `fd` the descriptor `target`, which stays open over exec, dup3(2).
///
/// # Errors
/// As dup2(2).
pub fn redirect(fd: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    if fd.as_raw_fd() == target {
        // SAFETY: fcntl(2) F_SETFD takes integers.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) }.into());
    }
    // SAFETY: dup2(2): `target` is one of the three standard descriptors, which nothing here owns.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into())
}

/// Whether other processes of the same user may read this one's memory, prctl(2) PR_SET_DUMPABLE.
///
/// # Errors
/// As prctl(2).
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    // SAFETY: prctl(2) with integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) }.into())
}

/// Sets the execution domain, personality(2).
///
/// # Errors
/// As personality(2).
pub fn personality(domain: u64) -> io::Result<()> {
    // SAFETY: personality(2) takes an integer.
    check(unsafe { libc::personality(domain) }.into())
}

/// Sets an I/O priority of the calling process, ioprio_set(2).
///
/// # Errors
/// As ioprio_set(2).
pub fn set_io_priority(class: u32, level: u32) -> io::Result<()> {
    // SAFETY: ioprio_set(2) takes integers; IOPRIO_WHO_PROCESS is 1, 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, class << 13 | level) })
}

/// Attributes of sched_setattr(2), version 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SchedulerAttributes {
    /// Size of this structure, set by [`set_scheduler`].
    pub size: u32,
    /// Policy number.
    pub policy: u32,
    /// Flags.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// Sets the scheduling policy of the calling process, sched_setattr(2).
///
/// # Errors
/// As sched_setattr(2).
pub fn set_scheduler(mut attributes: SchedulerAttributes) -> io::Result<()> {
    attributes.size = u32::try_from(size_of::<SchedulerAttributes>()).unwrap_or_default();
    // SAFETY: sched_setattr(2): the structure lives through the call and names its own size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attributes), 0) })
}

/// A new session keyring, so that the container does not see the caller's, keyctl(2).
///
/// # Errors
/// As keyctl(2).
pub fn join_session_keyring() -> io::Result<()> {
    // SAFETY: keyctl(2) KEYCTL_JOIN_SESSION_KEYRING (1) with a null name.
    check(unsafe { libc::syscall(libc::SYS_keyctl, 1, std::ptr::null::<libc::c_char>()) })
}

/// The room of the process's arguments, where ps(1) and `/proc/PID/cmdline` read a title; a forked child has it at the same place.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    start: usize,
    room: usize,
}

impl Title {
    /// Finds the room.
    ///
    /// # Errors
    /// If `/proc/self/stat` cannot be read, or does not say where the arguments are.
    pub fn find() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // Fields 48 and 49 of proc(5); the first after the name in parentheses is field 3.
        let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default();
        let address = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<usize>().ok()).filter(|address| *address != 0);
        let (Some(start), Some(end)) = (address(48), address(49)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        match end.checked_sub(start).filter(|room| *room > 1) {
            Some(room) => Ok(Self { start, room }),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Writes a title over the arguments, as much of it as there is room for. The environment behind them stays.
    ///
    /// For processes that were forked and executed nothing: what reads the arguments after this finds the title.
    /// **Source:** Linux, `fs/proc/base.c`, `get_mm_cmdline`: arguments whose last byte is not zero are a title that ends at
    /// its first zero.
    pub fn write(self, title: &str) {
        let mut bytes: Vec<u8> = title.bytes().take(self.room - 1).collect();
        bytes.resize(self.room - 1, 0);
        // Either the mark of a title, or the end of one that fills the room.
        bytes.push(if title.len() < self.room - 1 { b'.' } else { 0 });
        // SAFETY: proc(5): the arguments lie from `start` on in this process's stack, as `find` read it in this process or the
        // one it was forked from; they are mapped and writable, and the copy has their length. They are read as C strings only,
        // which still end: at the latest in the environment behind.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start as *mut u8, bytes.len()) };
    }
}

/// Ends the calling process at once, without running anything of its parent's, _exit(2).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) does not return and runs no handlers.
    unsafe { libc::_exit(code) }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Brings the loopback interface of the calling process's network namespace up, netdevice(7).
///
/// # Errors
/// As ioctl(2) with SIOCSIFFLAGS.
pub fn loopback_up() -> io::Result<()> {
    #[repr(C)]
    struct InterfaceFlags {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = InterfaceFlags { name, flags: 0x1 | 0x40, rest: [0; 22] }; // IFF_UP | IFF_RUNNING
    // SAFETY: ioctl(2) SIOCSIFFLAGS reads a `struct ifreq` of 40 bytes, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request)) }.into())
}

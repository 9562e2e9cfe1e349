//! Unix sockets that keep message boundaries and carry descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};

/// Most descriptors that one message carries here; the kernel allows 253 (`SCM_MAX_FD`).
pub const FDS_MAX: usize = 8;

/// Credentials of the process that connected or made the pair, `SO_PEERCRED` in unix(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id in our pid namespace; 0 if it is outside.
    pub pid: i32,
    /// User id.
    pub uid: u32,
}

/// Makes two connected, close-on-exec sockets.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Binds and listens at a path with a non-blocking socket of mode 0600; a socket that is there is replaced.
///
/// # Errors
/// As bind(2) and listen(2); the directory must exist.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match rustix::fs::unlink(path) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    // Linux takes the mode of the file from the inode of the unbound socket, so no window is left
    // in which others could connect. **Source:** net/unix/af_unix.c, unix_bind_bsd.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    with_address(path, |address| Ok(rustix::net::bind(&socket, address)?))?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// Connects to a listening socket; the result is close-on-exec.
///
/// # Errors
/// As connect(2).
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    with_address(path, |address| Ok(rustix::net::connect(&socket, address)?))?;
    Ok(socket)
}

/// Accepts a connection; the result is close-on-exec and non-blocking.
///
/// # Errors
/// As accept4(2); `WouldBlock` if there is none.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}

/// Tells who is at the other end.
///
/// # Errors
/// As getsockopt(2).
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer { pid: credentials.pid.as_raw_nonzero().get(), uid: credentials.uid.as_raw() })
}

/// Sends one message with at most [`FDS_MAX`] descriptors.
///
/// # Errors
/// As sendmsg(2); `WouldBlock` if a non-blocking socket's queue is full.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = [IoSlice::new(message)];
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one message of any size with its descriptors, which become close-on-exec.
///
/// `None` is the end: the peer has closed.
///
/// # Errors
/// As recvmsg(2); `WouldBlock` if a non-blocking socket has no message.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let peek = RecvFlags::PEEK | RecvFlags::TRUNC;
    let (_, length) = rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut [0_u8; 0][..], peek))?;
    let mut message = vec![0; length];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let parts = &mut [IoSliceMut::new(&mut message)];
        rustix::net::recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    message.truncate(received.bytes);
    if message.is_empty() && fds.is_empty() {
        return Ok(None);
    }
    Ok(Some((message, fds)))
}

/// Calls with the address of a path, which goes through `/proc/self/fd` if it is too long.
fn with_address<T>(path: &Path, call: impl FnOnce(&SocketAddrUnix) -> io::Result<T>) -> io::Result<T> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return call(&address);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let raw = std::os::fd::AsRawFd::as_raw_fd(&directory.as_fd());
    call(&SocketAddrUnix::new(Path::new(&format!("/proc/self/fd/{raw}")).join(name))?)
}

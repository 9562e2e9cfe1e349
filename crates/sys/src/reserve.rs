//! Sockets that hold a port of the host without answering on it.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Binds a port so that neither a process nor the kernel's choice of ports takes it, and returns the socket with
/// its address. Packets that reach the socket are dropped without an answer.
///
/// A stream socket listens as well: only then does the kernel see conflicts in spite of `SO_REUSEADDR`, which is
/// needed to get past connections in TIME-WAIT.
///
/// # Errors
/// What bind(2) and listen(2) answer, EADDRINUSE mostly.
pub fn reserve(transport: Transport, address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let kind = match transport {
        Transport::Tcp | Transport::Sctp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let protocol = (transport == Transport::Sctp).then_some(ipproto::SCTP);
    let fd = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    // Before bind: no packet may slip in.
    drop_all(&fd)?;
    if transport == Transport::Tcp {
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    rustix::net::bind(&fd, &address)?;
    if transport != Transport::Udp {
        rustix::net::listen(&fd, 1)?;
    }
    let bound = SocketAddr::try_from(rustix::net::getsockname(&fd)?)?;
    Ok((fd, bound))
}

/// Attaches a filter of one instruction that keeps zero bytes of every packet, so that all are dropped.
fn drop_all(fd: &OwnedFd) -> io::Result<()> {
    let mut instruction = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }; // BPF_RET | BPF_K
    let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
    let length = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).map_err(io::Error::other)?;
    // SAFETY: setsockopt(2), socket(7): `program` and the one instruction it points to live until the call returns,
    // `length` is its size, and `fd` is an open socket.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

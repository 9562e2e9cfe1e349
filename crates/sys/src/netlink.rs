//! Netlink sockets, and work done inside another network namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};
use rustix::thread::LinkNameSpaceType;

/// Bytes of a send buffer that holds some thousand messages in one datagram.
const SEND_BYTES: usize = 4 << 20;
/// Bytes of a receive buffer that holds the answers to them.
const RECEIVE_BYTES: usize = 8 << 20;

/// The part of the kernel that a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes. Source: rtnetlink(7).
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// A netlink socket; the kernel handles a datagram before the send returns.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace, to which it belongs for life.
    ///
    /// # Errors
    /// What socket(2) and bind(2) answer.
    pub fn open(family: Family) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => None, // NETLINK_ROUTE is 0
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd })
    }

    /// Makes room for large batches; only a socket that sends such needs it.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN.
    pub fn enlarge(&self) -> io::Result<()> {
        sockopt::set_socket_send_buffer_size_force(&self.fd, SEND_BYTES)?;
        sockopt::set_socket_recv_buffer_size_force(&self.fd, RECEIVE_BYTES)?;
        Ok(())
    }

    /// Sends one datagram of any number of messages.
    ///
    /// # Errors
    /// What send(2) answers.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.fd, datagram, SendFlags::empty())?;
        Ok(())
    }

    /// Receives one datagram into `buffer` and returns its length.
    ///
    /// # Errors
    /// What recv(2) answers, ENOBUFS after an overrun, EMSGSIZE if `buffer` was too small.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::TRUNC) {
                Ok((filled, length)) if length > filled => {
                    return Err(rustix::io::Errno::MSGSIZE.into());
                }
                Ok((filled, _)) => return Ok(filled),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Runs `work` on a thread of its own inside `netns`; the caller's thread stays where it is.
///
/// # Errors
/// What clone(2) and setns(2) answer.
pub fn inside<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, || {
            rustix::thread::move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Makes a network namespace, which lives as long as the result or a process in it.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, else what clone(2), unshare(2) and open(2) answer.
pub fn create_namespace() -> io::Result<OwnedFd> {
    let make = || {
        // SAFETY: unshare(2): CLONE_NEWNET changes nothing in memory and concerns the calling thread alone.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
    };
    match std::thread::spawn(make).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

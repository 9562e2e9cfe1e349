//! Questions to Unix stream sockets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Memory in bytes of what was sent on a Unix socket and that its peer has not read yet; zero once it has read all.
///
/// # Errors
/// As ioctl(2) with SIOCOUTQ (unix(7)).
pub fn unread_by_peer(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which is TIOCOUTQ by number, writes one int, which lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { Ok(usize::try_from(bytes).unwrap_or_default()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::unread_by_peer;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_that_has_read_all_leaves_nothing() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(near.as_fd()).unwrap(), 0);
        near.write_all(b"head").unwrap();
        assert!(unread_by_peer(near.as_fd()).unwrap() > 0);
        far.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread_by_peer(near.as_fd()).unwrap(), 0);
    }
}

//! How a message becomes a datagram: JSON, or a memory file if that is too large.

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest JSON that goes into the datagram itself; the default send buffer takes 212,992 bytes.
/// **Source:** `/proc/sys/net/core/wmem_default`.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// Longest JSON in a memory file that is read.
const MEMORY_FILE_BYTES_MAX: u64 = 64 << 20;
/// The datagram whose JSON is in its last descriptor; no JSON begins so.
const IN_MEMORY_FILE: &[u8] = b"M";

/// A datagram that cannot be read as a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the JSON of this message.
    #[error("cannot parse the message")]
    Parse(#[source] serde_json::Error),
    /// The memory file is missing, unreadable or too large.
    #[error("cannot read the message's memory file")]
    MemoryFile(#[source] io::Error),
}

/// Sends a message with descriptors.
///
/// # Errors
/// As sendmsg(2), and memfd_create(2) for large messages.
pub fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    send_encoded(socket, &json, fds)
}

/// Sends a message that is JSON already.
///
/// # Errors
/// As [`send`].
pub fn send_encoded(socket: BorrowedFd<'_>, json: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if json.len() <= INLINE_BYTES_MAX {
        return sys::seqpacket::send(socket, json, fds);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("message", flags)?;
    let mut file = fs_err::File::from_parts(file.into(), "message");
    file.write_all(json)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    let mut all = fds.to_vec();
    all.push(file.file().as_fd());
    sys::seqpacket::send(socket, IN_MEMORY_FILE, &all)
}

/// Parses a received datagram; a memory file is taken off the descriptors.
///
/// # Errors
/// [`DecodeError`].
pub fn decode<T: DeserializeOwned>(message: &[u8], fds: &mut Vec<OwnedFd>) -> Result<T, DecodeError> {
    if message != IN_MEMORY_FILE {
        return serde_json::from_slice(message).map_err(DecodeError::Parse);
    }
    let json = fds.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into()).and_then(read_memory_file).map_err(DecodeError::MemoryFile)?;
    serde_json::from_slice(&json).map_err(DecodeError::Parse)
}

/// Reads a memory file as a whole; only a sealed one, as another could change or block meanwhile.
fn read_memory_file(file: OwnedFd) -> io::Result<Vec<u8>> {
    if !rustix::fs::fcntl_get_seals(&file)?.contains(SealFlags::WRITE | SealFlags::SHRINK) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut file = fs_err::File::from_parts(file.into(), "message");
    let length = file.metadata()?.len();
    if length > MEMORY_FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut json = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.rewind()?;
    file.read_to_end(&mut json)?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::{decode, send};
    use crate::protocol::{Command, Message, Request};

    fn through_a_socket(request: &Request) -> Request {
        let (ours, theirs) = sys::seqpacket::pair().unwrap();
        send(ours.as_fd(), request, &[ours.as_fd()]).unwrap();
        let (message, mut fds) = sys::seqpacket::receive(theirs.as_fd()).unwrap().unwrap();
        let decoded = decode(&message, &mut fds).unwrap();
        assert_eq!(fds.len(), 1, "the memory file is taken off");
        decoded
    }

    proptest! {
        #[test]
        fn messages_of_all_sizes_come_back(size in 0_usize..300_000, signal in any::<i32>()) {
            let command = Command::SignalExec { exec_id: "x".repeat(size), signal };
            let request = Request { sequence: u64::MAX, command };
            prop_assert_eq!(through_a_socket(&request), request);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Request>(&bytes, &mut Vec::new());
            let _ = decode::<Message>(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn an_unsealed_memory_file_is_refused() {
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(decode::<Request>(b"M", &mut vec![file]).is_err());
    }
}

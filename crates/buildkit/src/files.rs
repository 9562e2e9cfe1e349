//! Files between the client and this engine.
//!
//! The sender tells all entries in order, each with a number by its place; the receiver asks for contents by number and
//! gets them in pieces, the empty one being the last.
//! **Source:** tonistiigi/fsutil, `send.go` and `receive.go`.

pub(crate) mod receive;
pub(crate) mod send;

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use rustix::fs::FileType;
use tonic::{Status, Streaming};

use crate::rpc;
use crate::session::{Session, metadata};

/// Bits of Go's `os.FileMode`, which are not those of Linux.
mod mode {
    pub(super) const DIRECTORY: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const PIPE: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHARACTER: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
    pub(super) const IRREGULAR: u32 = 1 << 19;
    /// All that say what kind an entry is.
    pub(super) const KIND: u32 = DIRECTORY | SYMLINK | DEVICE | PIPE | SOCKET | CHARACTER | IRREGULAR;
}

/// Permissions as Linux has them.
fn permissions(go: u32) -> u32 {
    let bit = |mask: u32, bit: u32| if go & mask == 0 { 0 } else { bit };
    (go & 0o777) | bit(mode::SETUID, 0o4000) | bit(mode::SETGID, 0o2000) | bit(mode::STICKY, 0o1000)
}

/// Kind and permissions as Go has them.
fn go_mode(kind: FileType, permissions: u32) -> u32 {
    let bit = |mask: u32, bit: u32| if permissions & mask == 0 { 0 } else { bit };
    let kind = match kind {
        FileType::Directory => mode::DIRECTORY,
        FileType::Symlink => mode::SYMLINK,
        FileType::Fifo => mode::PIPE,
        FileType::Socket => mode::SOCKET,
        FileType::CharacterDevice => mode::DEVICE | mode::CHARACTER,
        FileType::BlockDevice => mode::DEVICE,
        FileType::RegularFile => 0,
        FileType::Unknown => mode::IRREGULAR,
    };
    kind | (permissions & 0o777) | bit(0o4000, mode::SETUID) | bit(0o2000, mode::SETGID) | bit(0o1000, mode::STICKY)
}

fn packet(kind: PacketType) -> Packet {
    Packet { r#type: i32::from(kind), ..Packet::default() }
}

/// What is wanted of a directory of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The client's name of the directory, such as `context`.
    pub name: String,
    /// Patterns of what is left out, as in `.dockerignore`.
    pub exclude: Vec<String>,
    /// Paths and patterns of what is needed, with all that their links lead to; none is everything.
    pub follow: Option<Vec<String>>,
}

impl Session {
    /// Gets files of the client into `directory`, which must be empty. `told` hears how many bytes came so far.
    ///
    /// # Errors
    /// The client gives no access to them or has gone, or the disk is full.
    pub async fn receive(&self, wanted: Wanted, directory: std::os::fd::OwnedFd, told: impl FnMut(u64) + Send) -> Result<(), Status> {
        let mut entries = vec![("dir-name", vec![wanted.name.clone()])];
        if !wanted.exclude.is_empty() {
            entries.push(("exclude-patterns", wanted.exclude));
        }
        if let Some(follow) = wanted.follow {
            entries.push(("followpaths", follow));
        }
        // As many as there are files, each a number; a bound here could stand against the bound of the other direction.
        let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
        let messages = unbounded(asked);
        let answer: Streaming<Packet> = self.channel.streaming("/moby.filesync.v1.FileSync/DiffCopy", messages, metadata(&entries)).await?;
        receive::receive(answer, ask, directory, told).await
    }

    /// Sends all files of `directory` to where the client wants a result. `id` is the number of the exporter.
    ///
    /// # Errors
    /// The client does not take them or has gone, or a file cannot be read.
    pub async fn send_files(&self, id: usize, directory: std::os::fd::OwnedFd) -> Result<(), Status> {
        let entries = [("buildkit-attachable-exporter-id", vec![id.to_string()])];
        let (sender, queue) = tokio::sync::mpsc::channel(16);
        let answer = self.channel.streaming("/moby.filesync.v1.FileSend/DiffCopy", rpc::stream(queue), metadata(&entries));
        send::send(answer, sender, directory).await
    }
}

fn unbounded<T: Send + 'static>(mut queue: tokio::sync::mpsc::UnboundedReceiver<T>) -> impl futures_util::Stream<Item = T> + Send {
    futures_util::stream::poll_fn(move |context| queue.poll_recv(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_go_and_of_linux_say_the_same() {
        for kind in [FileType::Directory, FileType::Symlink, FileType::RegularFile, FileType::Fifo] {
            for bits in [0o755, 0o4755, 0o2600, 0o1777] {
                let go = go_mode(kind, bits);
                assert_eq!(permissions(go), bits);
                assert_eq!(go & mode::KIND == 0, kind == FileType::RegularFile);
            }
        }
        assert_eq!(go_mode(FileType::Directory, 0o755), 0x8000_01ed);
    }
}

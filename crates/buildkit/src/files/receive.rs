//! Takes files in: a thread writes, and asks for what it needs.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use tokio::sync::mpsc::{Sender, UnboundedSender, channel};
use tonic::{Status, Streaming};

use super::{mode, packet, permissions};

/// Packets that wait for the disk.
const QUEUE: usize = 64;
/// Entries of one transfer.
const ENTRIES_MAX: u32 = 4_000_000;

/// Carries packets from the client to the thread that writes.
pub(crate) async fn receive(
    mut packets: Streaming<Packet>,
    ask: UnboundedSender<Packet>,
    directory: OwnedFd,
    mut told: impl FnMut(u64) + Send,
) -> Result<(), Status> {
    let (sender, mut queue) = channel::<Packet>(QUEUE);
    let asking = ask.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = Writer::new(directory, asking);
        while let Some(packet) = queue.blocking_recv() {
            writer.take(packet)?;
            if writer.is_done() {
                writer.finish()?;
                break;
            }
        }
        Ok::<_, io::Error>(())
    });
    let carried = carry(&mut packets, sender, &mut told).await;
    let written = writing.await.map_err(|panic| Status::internal(panic.to_string()))?;
    match (written, carried) {
        (Err(cause), _) => {
            let text = format!("cannot store the client's files: {cause}");
            // It may have gone.
            let _ = ask.send(Packet { data: text.clone().into_bytes(), ..packet(PacketType::PacketErr) });
            Err(Status::internal(text))
        }
        (Ok(()), Err(status)) => Err(status),
        (Ok(()), Ok(())) => {
            let _ = ask.send(packet(PacketType::PacketFin));
            drop(ask);
            while packets.message().await?.is_some() {}
            Ok(())
        }
    }
}

/// Ends when the writer needs no more.
async fn carry(packets: &mut Streaming<Packet>, sender: Sender<Packet>, told: &mut (impl FnMut(u64) + Send)) -> Result<(), Status> {
    let mut bytes = 0_u64;
    loop {
        let message = tokio::select! {
            biased;
            () = sender.closed() => return Ok(()),
            message = packets.message() => message?,
        };
        let Some(packet) = message else { return Err(Status::aborted("the client ended a transfer of files in its middle")) };
        if packet.r#type == i32::from(PacketType::PacketErr) {
            return Err(Status::unknown(format!("error from sender: {}", String::from_utf8_lossy(&packet.data))));
        }
        bytes += packet.data.len() as u64 + packet.stat.as_ref().map_or(0, |stat| stat.path.len() as u64);
        told(bytes);
        if sender.send(packet).await.is_err() {
            return Ok(());
        }
    }
}

/// Where files are put.
struct Writer {
    root: OwnedFd,
    ask: UnboundedSender<Packet>,
    /// Number of the next entry.
    next: u32,
    /// Whether all entries were told.
    all: bool,
    /// Files whose contents are on their way.
    waiting: HashMap<u32, Stat>,
    open: HashMap<u32, File>,
    /// The directory that was used last: most files are beside each other.
    last: Option<(String, OwnedFd)>,
    /// What is done when all contents are there.
    links: Vec<Stat>,
    directories: Vec<Stat>,
}

impl Writer {
    fn new(root: OwnedFd, ask: UnboundedSender<Packet>) -> Self {
        Self {
            root,
            ask,
            next: 0,
            all: false,
            waiting: HashMap::new(),
            open: HashMap::new(),
            last: None,
            links: Vec::new(),
            directories: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.all && self.waiting.is_empty()
    }

    fn take(&mut self, packet: Packet) -> io::Result<()> {
        match PacketType::try_from(packet.r#type) {
            Ok(PacketType::PacketStat) => match packet.stat {
                Some(stat) => self.entry(stat),
                None => {
                    self.all = true;
                    Ok(())
                }
            },
            Ok(PacketType::PacketData) => self.data(packet.id, &packet.data),
            Ok(PacketType::PacketReq | PacketType::PacketFin | PacketType::PacketErr) | Err(_) => {
                Err(io::Error::other("a packet that no sender sends"))
            }
        }
    }

    fn entry(&mut self, stat: Stat) -> io::Result<()> {
        let id = self.next;
        self.next = id.checked_add(1).filter(|next| *next <= ENTRIES_MAX).ok_or_else(|| io::Error::other("too many files"))?;
        if stat.path.split('/').any(|part| matches!(part, "" | "." | "..")) || stat.path.contains('\0') {
            return Err(io::Error::other(format!("`{}` is no path below a directory", stat.path)));
        }
        match stat.mode & mode::KIND {
            mode::DIRECTORY => {
                self.make_directory(&stat.path)?;
                self.directories.push(stat);
            }
            mode::SYMLINK => {
                let (parent, name) = self.parent(&stat.path)?;
                rustix::fs::symlinkat(stat.linkname.as_str(), parent, name)?;
                rustix::fs::utimensat(parent, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            // The name of another file: a hard link.
            0 if !stat.linkname.is_empty() => self.links.push(stat),
            0 => {
                let ask = Packet { id, ..packet(PacketType::PacketReq) };
                self.ask.send(ask).map_err(|_| io::Error::other("the client has gone"))?;
                self.waiting.insert(id, stat);
            }
            mode::PIPE => {
                let (parent, name) = self.parent(&stat.path)?;
                rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(permissions(stat.mode)), 0)?;
            }
            // Sockets mean nothing elsewhere; devices of a client are none of this host.
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, id: u32, bytes: &[u8]) -> io::Result<()> {
        if !self.open.contains_key(&id) {
            let Some(stat) = self.waiting.get(&id).cloned() else { return Err(io::Error::other("contents that nobody asked for")) };
            let (parent, name) = self.parent(&stat.path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
            self.open.insert(id, file.into());
        }
        let Some(file) = self.open.get_mut(&id) else { return Ok(()) };
        if !bytes.is_empty() {
            return file.write_all(bytes);
        }
        if let (Some(file), Some(stat)) = (self.open.remove(&id), self.waiting.remove(&id)) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(permissions(stat.mode)))?;
            rustix::fs::futimens(&file, &times(&stat))?;
        }
        Ok(())
    }

    /// Makes the links, then gives directories their times, which every entry in them changed.
    fn finish(mut self) -> io::Result<()> {
        for stat in std::mem::take(&mut self.links) {
            let target = open(&self.root, stat.linkname.trim_start_matches('/'), OFlags::PATH | OFlags::NOFOLLOW)?;
            let (parent, name) = self.parent(&stat.path)?;
            rustix::fs::linkat(&target, "", parent, name, AtFlags::EMPTY_PATH)?;
        }
        for stat in self.directories.iter().rev() {
            let directory = open(&self.root, &stat.path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(permissions(stat.mode)))?;
            rustix::fs::futimens(&directory, &times(stat))?;
        }
        Ok(())
    }

    fn make_directory(&mut self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory of an entry, made where the sender did not tell of it, and the entry's name.
    fn parent<'a>(&mut self, path: &'a str) -> io::Result<(std::os::fd::BorrowedFd<'_>, &'a str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if above.is_empty() {
            return Ok((self.root.as_fd(), name));
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != above) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let found = match open(&self.root, above, flags) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.make_directory(above)?;
                    open(&self.root, above, flags)?
                }
                found => found?,
            };
            self.last = Some((above.to_owned(), found));
        }
        let parent = self.last.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
        Ok((parent, name))
    }
}

/// Opens a path below the root. A link on the way, which the sender may have made, is refused.
fn open(root: &OwnedFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec { tv_sec: stat.mod_time.div_euclid(1_000_000_000), tv_nsec: stat.mod_time.rem_euclid(1_000_000_000) };
    Timestamps { last_access: modified, last_modification: modified }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &str, mode: u32, linkname: &str) -> Packet {
        let stat = Stat { path: path.to_owned(), mode, linkname: linkname.to_owned(), mod_time: 1_500_000_000, ..Stat::default() };
        Packet { stat: Some(stat), ..packet(PacketType::PacketStat) }
    }

    #[test]
    fn files_are_asked_for_by_their_place_and_written() {
        let directory = tempfile::tempdir().unwrap();
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let mut writer = Writer::new(File::open(directory.path()).unwrap().into(), ask);
        writer.take(stat("d", mode::DIRECTORY | 0o750, "")).unwrap();
        writer.take(stat("d/f", 0o640 | mode::SETUID, "")).unwrap();
        writer.take(stat("d/g", 0o600, "d/f")).unwrap();
        writer.take(stat("l", mode::SYMLINK | 0o777, "/etc")).unwrap();
        writer.take(stat("missing/parent/f", 0o644, "")).unwrap();
        writer.take(packet(PacketType::PacketStat)).unwrap();
        let mut ids = Vec::new();
        while let Ok(packet) = asked.try_recv() {
            ids.push(packet.id);
        }
        assert_eq!(ids, [1, 4]);
        for (id, data) in [(1, &b"hello"[..]), (4, b""), (1, b"")] {
            assert!(!writer.is_done());
            writer.take(Packet { id, data: data.to_vec(), ..packet(PacketType::PacketData) }).unwrap();
        }
        assert!(writer.is_done());
        writer.finish().unwrap();
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(directory.path().join("d/f")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.mtime(), meta.mtime_nsec()), (0o4640, 2, 1, 500_000_000));
        assert_eq!(std::fs::metadata(directory.path().join("d")).unwrap().mtime(), 1);
        assert_eq!(std::fs::read(directory.path().join("missing/parent/f")).unwrap(), b"");
    }

    #[test]
    fn nothing_is_written_outside() {
        let directory = tempfile::tempdir().unwrap();
        let (ask, _asked) = tokio::sync::mpsc::unbounded_channel();
        let mut writer = Writer::new(File::open(directory.path()).unwrap().into(), ask);
        for path in ["../x", "/x", "", "a//b", "a/../../b", "a\0b"] {
            assert!(writer.take(stat(path, 0o644, "")).is_err(), "{path:?}");
        }
        writer.take(stat("out", mode::SYMLINK | 0o777, "/tmp")).unwrap();
        assert!(writer.take(stat("out/d", mode::DIRECTORY | 0o755, "")).is_err());
        assert!(writer.take(Packet { id: 99, ..packet(PacketType::PacketData) }).is_err());
        assert!(writer.take(packet(PacketType::PacketReq)).is_err());
    }
}

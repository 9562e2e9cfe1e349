//! Gives files away: tells all entries, then sends the contents that the client asks for.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use tokio::sync::mpsc::Sender;
use tonic::{Status, Streaming};

use super::{go_mode, packet};
use crate::session::CHUNK;

/// Deepest nesting of directories.
const DEPTH_MAX: usize = 4096;

/// Paths of files by number.
type Paths = Arc<Mutex<HashMap<u32, String>>>;

pub(crate) async fn send(
    answer: impl Future<Output = Result<Streaming<Packet>, Status>>,
    sender: Sender<Packet>,
    directory: OwnedFd,
) -> Result<(), Status> {
    let directory = Arc::new(directory);
    let paths = Paths::default();
    let walk = Walk { root: Arc::clone(&directory), sender: sender.clone(), paths: Arc::clone(&paths), next: 0, inodes: HashMap::new() };
    let telling = tokio::task::spawn_blocking(move || walk.all());
    let failed = |cause: io::Error| Status::internal(format!("cannot read the result: {cause}"));
    let mut telling = Some(telling);
    // The client may wait for the first entry before it says anything.
    let mut asked = answer.await?;
    loop {
        let message = tokio::select! {
            told = async { match telling.as_mut() { Some(task) => task.await, None => std::future::pending().await } } => {
                telling = None;
                told.map_err(|panic| Status::internal(panic.to_string()))?.map_err(failed)?;
                continue;
            }
            message = asked.message() => message?,
        };
        let Some(message) = message else { return Err(Status::aborted("the client ended a transfer of files in its middle")) };
        match PacketType::try_from(message.r#type) {
            Ok(PacketType::PacketReq) => {
                let path = paths.lock().unwrap_or_else(PoisonError::into_inner).remove(&message.id);
                let path = path.ok_or_else(|| Status::invalid_argument("the client asked for a file that there is not"))?;
                let (root, sender, id) = (Arc::clone(&directory), sender.clone(), message.id);
                let sent = tokio::task::spawn_blocking(move || contents(&root, &path, id, &sender));
                sent.await.map_err(|panic| Status::internal(panic.to_string()))?.map_err(failed)?;
            }
            Ok(PacketType::PacketFin) => {
                // The client may end the call at once.
                let _ = sender.send(packet(PacketType::PacketFin)).await;
                drop(sender);
                while asked.message().await?.is_some() {}
                return Ok(());
            }
            Ok(PacketType::PacketErr) => {
                return Err(Status::unknown(format!("error from receiver: {}", String::from_utf8_lossy(&message.data))));
            }
            Ok(PacketType::PacketStat | PacketType::PacketData) | Err(_) => {
                return Err(Status::invalid_argument("a packet that no receiver sends"));
            }
        }
    }
}

fn gone<T>(_: T) -> io::Error {
    io::Error::other("the client has gone")
}

fn contents(root: &OwnedFd, path: &str, id: u32, sender: &Sender<Packet>) -> io::Result<()> {
    let mut file = std::fs::File::from(open(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    loop {
        let mut data = vec![0; CHUNK];
        let count = file.read(&mut data)?;
        data.truncate(count);
        sender.blocking_send(Packet { id, data, ..packet(PacketType::PacketData) }).map_err(gone)?;
        if count == 0 {
            return Ok(());
        }
    }
}

fn open(root: &OwnedFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

struct Walk {
    root: Arc<OwnedFd>,
    sender: Sender<Packet>,
    paths: Paths,
    next: u32,
    /// The first name of each file with several.
    inodes: HashMap<(u64, u64), String>,
}

impl Walk {
    fn all(mut self) -> io::Result<()> {
        self.directory("", 0)?;
        self.sender.blocking_send(packet(PacketType::PacketStat)).map_err(gone)
    }

    fn directory(&mut self, path: &str, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other("directories are nested too deeply"));
        }
        let directory = open(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            // A message holds text only.
            if let Ok(name) = String::from_utf8(name)
                && name != "."
                && name != ".."
            {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let stat = rustix::fs::statat(directory.as_fd(), name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            let full = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let mut told = Stat {
                path: full.clone(),
                mode: go_mode(kind, stat.st_mode & 0o7777),
                uid: stat.st_uid,
                gid: stat.st_gid,
                mod_time: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
                devmajor: i64::from(rustix::fs::major(stat.st_rdev)),
                devminor: i64::from(rustix::fs::minor(stat.st_rdev)),
                ..Stat::default()
            };
            let id = self.next;
            self.next += 1;
            match kind {
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(directory.as_fd(), name.as_str(), Vec::new())?;
                    told.linkname = String::from_utf8_lossy(std::ffi::OsStr::from_bytes(target.as_bytes()).as_bytes()).into_owned();
                }
                FileType::RegularFile => {
                    let first = if stat.st_nlink > 1 {
                        let first = self.inodes.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| full.clone());
                        Some(first.clone()).filter(|first| *first != full)
                    } else {
                        None
                    };
                    match first {
                        Some(first) => told.linkname = first,
                        None => {
                            told.size = stat.st_size;
                            self.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(id, full.clone());
                        }
                    }
                }
                FileType::Directory
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => {}
            }
            self.sender.blocking_send(Packet { stat: Some(told), ..packet(PacketType::PacketStat) }).map_err(gone)?;
            if kind == FileType::Directory {
                self.directory(&full, depth + 1)?;
            }
        }
        Ok(())
    }
}

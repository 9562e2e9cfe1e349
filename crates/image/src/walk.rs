//! Trees of files below one descriptor: walked in order, looked up, and written as a tar.
//!
//! Every entry is opened once without following it (`O_PATH`), and everything else about it is asked of that
//! descriptor: what the container does to names meanwhile changes nothing, and no device is ever opened.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::tar::write::{headers, padding};
use crate::tar::{Entry, Kind};

/// Says whether overlay hides all layers below one with this root directory.
pub(crate) fn is_opaque_root(root: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 2];
    match rustix::fs::fgetxattr(root, "trusted.overlay.opaque", &mut value) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How paths are looked up: by their names alone.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);
/// Directories that are kept open during a walk; those above are opened again by their path.
const OPEN_MAX: usize = 32;
/// Longest list of extended attributes, and longest value. **Source:** xattr(7), "Extended attributes" limits.
const XATTR_BYTES_MAX: usize = 64 << 10;
/// Bytes of a file read at a time.
const CHUNK: usize = 256 << 10;

/// An entry of a tree.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its path below the root, without a slash at its start.
    pub(crate) path: Vec<u8>,
    pub(crate) stat: Stat,
    fd: OwnedFd,
}

impl Node {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Says whether overlay hides the name below by it.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    /// Says whether overlay hides all of the directory below by it.
    pub(crate) fn is_opaque(&self) -> bool {
        self.is_directory() && self.xattr(b"trusted.overlay.opaque").is_ok_and(|value| value.as_deref() == Some(b"y"))
    }

    /// Returns an extended attribute; nothing where there is none.
    pub(crate) fn xattr(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0; 256];
        let path = magic(self.fd.as_fd());
        loop {
            match rustix::fs::getxattr(&path, name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    return Ok(Some(value));
                }
                Err(Errno::RANGE) if value.len() < XATTR_BYTES_MAX => value.resize(XATTR_BYTES_MAX, 0),
                Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the extended attributes that belong to the file wherever it is.
    fn xattrs(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut list = vec![0; 1024];
        let path = magic(self.fd.as_fd());
        let length = loop {
            match rustix::fs::listxattr(&path, &mut list[..]) {
                Ok(length) => break length,
                Err(Errno::RANGE) if list.len() < XATTR_BYTES_MAX => list.resize(XATTR_BYTES_MAX, 0),
                Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        };
        let mut xattrs = Vec::new();
        for name in list[..length].split(|&byte| byte == 0).filter(|name| belongs(name)) {
            if let Some(value) = self.xattr(name)? {
                xattrs.push((name.to_vec(), value));
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }

    /// Opens a directory or a regular file for reading.
    fn reopen(&self, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(magic(self.fd.as_fd()), OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | flags, Mode::empty())?)
    }

    /// Returns the header of the entry; nothing for a socket, which no tar can hold.
    fn entry(&self) -> io::Result<Option<Entry>> {
        let kind = match self.kind() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::SymbolicLink,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        let stat = &self.stat;
        let link = if kind == Kind::SymbolicLink { rustix::fs::readlinkat(&self.fd, c"", Vec::new())?.into_bytes() } else { Vec::new() };
        let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
        Ok(Some(Entry {
            path: self.path.clone(),
            link,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            // Whole seconds, as Docker writes them.
            mtime: (stat.st_mtime, 0),
            device: if is_device { (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) } else { (0, 0) },
            xattrs: self.xattrs()?,
            sparse: None,
        }))
    }
}

/// Attributes of overlay's own, and labels that only this host knows, stay here.
fn belongs(name: &[u8]) -> bool {
    let kept = [&b"user."[..], b"security.capability", b"system.posix_acl_", b"trusted."];
    let ours = [&b"user.overlay."[..], b"trusted.overlay."];
    kept.iter().any(|start| name.starts_with(start)) && !ours.iter().any(|start| name.starts_with(start))
}

/// The path that leads to an open file, whatever it is.
fn magic(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Looks a path up; nothing where there is none or a part of it is no directory.
pub(crate) fn look(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<Node>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), RESOLVE) {
        Ok(fd) => Ok(Some(Node { path: path.to_vec(), stat: rustix::fs::fstat(&fd)?, fd })),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(directory: &Node) -> io::Result<Vec<Vec<u8>>> {
    read_names(&directory.reopen(OFlags::DIRECTORY)?)
}

fn read_names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort();
    Ok(names)
}

/// What a walk comes to.
#[derive(Debug)]
pub(crate) enum Step {
    /// An entry; a directory is left out unless it is entered.
    Node(Node),
    /// The end of a directory that was entered, by its path.
    Left(Vec<u8>),
}

struct Frame {
    path: Vec<u8>,
    fd: Option<OwnedFd>,
    names: std::vec::IntoIter<Vec<u8>>,
}

/// A walk in the order of names, each directory before what it holds. What vanishes meanwhile is left out.
pub(crate) struct Walk<'a> {
    root: BorrowedFd<'a>,
    frames: Vec<Frame>,
}

impl<'a> Walk<'a> {
    /// Starts with the entries of the root directory.
    pub(crate) fn new(root: BorrowedFd<'a>) -> io::Result<Self> {
        let fd = rustix::fs::openat(root, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let names = read_names(&fd)?.into_iter();
        Ok(Self { root, frames: vec![Frame { path: Vec::new(), fd: Some(fd), names }] })
    }

    /// Goes on to the next entry.
    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        while let Some(frame) = self.frames.last_mut() {
            let Some(name) = frame.names.next() else {
                let left = self.frames.pop().map(|frame| frame.path);
                return Ok(left.filter(|_| !self.frames.is_empty()).map(Step::Left));
            };
            if frame.fd.is_none() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let path = if frame.path.is_empty() { b"." } else { &frame.path[..] };
                match rustix::fs::openat2(self.root, path, flags, Mode::empty(), RESOLVE) {
                    Ok(fd) => frame.fd = Some(fd),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        frame.names = Vec::new().into_iter();
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let path = if frame.path.is_empty() { name.clone() } else { [&frame.path[..], b"/", &name].concat() };
            let directory = frame.fd.as_ref().map_or(self.root, AsFd::as_fd);
            match rustix::fs::openat(directory, &name[..], OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Ok(fd) => return Ok(Some(Step::Node(Node { path, stat: rustix::fs::fstat(&fd)?, fd }))),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Goes on with the entries of a directory.
    pub(crate) fn enter(&mut self, node: &Node) -> io::Result<()> {
        let fd = node.reopen(OFlags::DIRECTORY)?;
        let names = read_names(&fd)?.into_iter();
        if let Some(index) = self.frames.len().checked_sub(OPEN_MAX) {
            self.frames[index].fd = None;
        }
        self.frames.push(Frame { path: node.path.clone(), fd: Some(fd), names });
        Ok(())
    }
}

/// Writes entries of a tree as a tar.
pub(crate) struct Packer<W> {
    out: W,
    /// Where a file with several names came first, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    entries: u64,
}

impl<W: Write> Packer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, links: HashMap::new(), buffer: Vec::new(), entries: 0 }
    }

    /// Adds an entry with its content.
    pub(crate) fn add(&mut self, node: &Node) -> io::Result<()> {
        let Some(mut entry) = node.entry()? else { return Ok(()) };
        if !node.is_directory() && node.stat.st_nlink > 1 {
            let key = (node.stat.st_dev, node.stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                (entry.kind, entry.size, entry.link) = (Kind::HardLink, 0, first.clone());
                entry.xattrs.clear();
            } else {
                self.links.insert(key, node.path.clone());
            }
        }
        self.header(&entry)?;
        if entry.size > 0 { self.content(node, entry.size) } else { Ok(()) }
    }

    /// Adds the mark that hides `name` (clean, below the root) of the layers below.
    pub(crate) fn whiteout(&mut self, node: &Node) -> io::Result<()> {
        let start = node.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let path = [&node.path[..start], b".wh.", &node.path[start..]].concat();
        self.mark(path, 0o600, node)
    }

    /// Adds the mark that hides all that the layers below hold of a directory.
    pub(crate) fn opaque(&mut self, node: &Node) -> io::Result<()> {
        self.mark([&node.path[..], b"/.wh..wh..opq"].concat(), node.stat.st_mode & 0o777, node)
    }

    /// Ends the archive and says whether it holds anything.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.entries > 0)
    }

    fn mark(&mut self, path: Vec<u8>, mode: u32, node: &Node) -> io::Result<()> {
        self.header(&Entry {
            path,
            link: Vec::new(),
            kind: Kind::File,
            mode,
            uid: node.stat.st_uid,
            gid: node.stat.st_gid,
            size: 0,
            mtime: (node.stat.st_mtime, 0),
            device: (0, 0),
            xattrs: Vec::new(),
            sparse: None,
        })
    }

    fn header(&mut self, entry: &Entry) -> io::Result<()> {
        self.entries += 1;
        self.out.write_all(&headers(entry)?)
    }

    /// Writes as many bytes as the header promised: a file that shrinks meanwhile is filled with zeros, as by GNU tar.
    fn content(&mut self, node: &Node, size: u64) -> io::Result<()> {
        let mut file = std::fs::File::from(node.reopen(OFlags::NONBLOCK)?);
        self.buffer.resize(CHUNK, 0);
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let count = match file.read(&mut self.buffer[..want]) {
                Ok(0) => {
                    self.buffer[..want].fill(0);
                    want
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.out.write_all(&self.buffer[..count])?;
            left -= u64::try_from(count).unwrap_or_default();
        }
        self.out.write_all(padding(size))
    }
}

/// Says whether two entries of the same path differ as `docker diff` sees it: times and sizes of directories do not count.
///
/// **Source:** moby, `pkg/archive/changes_unix.go`, `statDifferent`.
pub(crate) fn differ(old: &Node, new: &Node) -> io::Result<bool> {
    let (one, other) = (&old.stat, &new.stat);
    if (one.st_mode, one.st_uid, one.st_gid, one.st_rdev) != (other.st_mode, other.st_uid, other.st_gid, other.st_rdev) {
        return Ok(true);
    }
    if !new.is_directory() {
        // A time without a fraction may come from a tar.
        let cut = one.st_mtime_nsec == 0 || other.st_mtime_nsec == 0;
        let same_time = one.st_mtime == other.st_mtime && (cut || one.st_mtime_nsec == other.st_mtime_nsec);
        if !same_time || one.st_size != other.st_size {
            return Ok(true);
        }
    }
    Ok(old.xattr(b"security.capability")? != new.xattr(b"security.capability")?)
}

/// Opens the directory that a tree begins with.
pub(crate) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())?)
}

//! Copying a directory tree by descriptors.
//!
//! The source is an image's, so foreign: no link is followed, and each file is looked at again after it was opened.

use std::collections::HashMap;
use std::io;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

type Failure = (PathBuf, io::Error);

/// Bytes of all names or one value of extended attributes. **Source:** Linux, `XATTR_LIST_MAX`, `XATTR_SIZE_MAX`.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Copies everything below `source` into the empty directory `target`, and gives `target` the attributes of `source`.
///
/// Kept: kinds, owners, modes, times, extended attributes, hard links, holes.
///
/// # Errors
/// The path below `source` and the cause.
pub(crate) fn tree(source: BorrowedFd<'_>, target: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = |error: Errno| (PathBuf::new(), error.into());
    let source = rustix::fs::openat(source, c".", flags, Mode::empty()).map_err(here)?;
    let mut copy = Copy { root: target.as_fd(), links: HashMap::new(), buffer: vec![0; XATTR_BYTES_MAX] };
    copy.directory(&source, target, Path::new(""))
}

/// Gives a directory the owner, mode, attributes and times of another one.
///
/// # Errors
/// As the calls.
pub(crate) fn attributes_of(from: &OwnedFd, into: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let mut copy = Copy { root: into.as_fd(), links: HashMap::new(), buffer: vec![0; XATTR_BYTES_MAX] };
    copy.attributes(from.as_fd(), into.as_fd(), &stat)
}

struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// Where files with several names were copied to, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
}

impl Copy<'_> {
    fn directory(&mut self, source: &OwnedFd, target: &OwnedFd, path: &Path) -> Result<(), Failure> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error: Errno| (path, error.into())
        };
        let entries = Dir::read_from(source).map_err(at(path))?;
        for entry in entries {
            let entry = entry.map_err(at(path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at(&path))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(source, name, flags, Mode::empty()).map_err(at(&path))?;
                rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o700)).map_err(at(&path))?;
                let made = rustix::fs::openat(target, name, flags, Mode::empty()).map_err(at(&path))?;
                self.directory(&below, &made, &path)?;
            } else {
                self.other((source, target), name, &stat, &path).map_err(|error| (path, error))?;
            }
        }
        // Last, because the entries changed the times.
        let stat = rustix::fs::fstat(source).map_err(at(path))?;
        self.attributes(source.as_fd(), target.as_fd(), &stat).map_err(|error| (path.to_owned(), error))
    }

    fn other(&mut self, (source, target): (&OwnedFd, &OwnedFd), name: &std::ffi::CStr, stat: &Stat, path: &Path) -> io::Result<()> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(rustix::fs::linkat(self.root, first, target, name, AtFlags::empty())?);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(source, target, name),
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(source, name, Vec::new())?;
                rustix::fs::symlinkat(link, target, name)?;
                set_owner(target, name, stat)?;
                Ok(rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            kind @ (FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Fifo
            | FileType::Socket
            | FileType::Directory
            | FileType::Unknown) => {
                // A whiteout of an image that is not merged is nothing to copy.
                if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
                    return Ok(());
                }
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(target, name, kind, mode, stat.st_rdev)?;
                set_owner(target, name, stat)?;
                rustix::fs::chmodat(target, name, mode, AtFlags::empty())?;
                Ok(rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    fn file(&mut self, source: &OwnedFd, target: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = rustix::fs::openat(source, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("the file was exchanged while it was copied"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let into = rustix::fs::openat(target, name, flags, Mode::from_raw_mode(0o600))?;
        let (reader, writer) = (std::fs::File::from(from), std::fs::File::from(into));
        contents(&reader, &writer, u64::try_from(stat.st_size).unwrap_or(0))?;
        self.attributes(reader.as_fd(), writer.as_fd(), &stat)
    }

    /// Owner first: changing it clears set-uid bits and capabilities.
    fn attributes(&mut self, from: BorrowedFd<'_>, into: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        rustix::fs::fchown(into, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        rustix::fs::fchmod(into, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        let length = match rustix::fs::flistxattr(from, &mut self.buffer[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error.into()),
        };
        let names: Vec<Vec<u8>> = self.buffer[..length].split(|&b| b == 0).map(<[u8]>::to_vec).collect();
        for name in names.iter().filter(|name| !name.is_empty() && !name.starts_with(b"trusted.overlay.")) {
            let length = rustix::fs::fgetxattr(from, &name[..], &mut self.buffer[..])?;
            match rustix::fs::fsetxattr(into, &name[..], &self.buffer[..length], XattrFlags::empty()) {
                // As Docker: what this file system lacks is left out.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rustix::fs::futimens(into, &times(stat))?)
    }
}

/// Copies the bytes of a file: by sharing its blocks where the file system can, else inside the kernel, holes as holes.
fn contents(from: &std::fs::File, into: &std::fs::File, length: u64) -> io::Result<()> {
    if length == 0 || rustix::fs::ioctl_ficlone(into, from).is_ok() {
        return Ok(());
    }
    let mut offset = 0;
    loop {
        let start = match rustix::fs::seek(from, SeekFrom::Data(offset)) {
            Ok(start) => start,
            // Nothing but a hole to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => offset,
            Err(error) => return Err(error.into()),
        };
        let end = match rustix::fs::seek(from, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::INVAL) => length,
            Err(error) => return Err(error.into()),
        };
        rustix::fs::seek(from, SeekFrom::Start(start))?;
        rustix::fs::seek(into, SeekFrom::Start(start))?;
        let (mut reader, mut writer) = (from, into);
        // copy_file_range(2), splice(2) or plain reading, whatever the two file systems can.
        let copied = io::copy(&mut io::Read::take(&mut reader, end - start), &mut writer)?;
        offset = start + copied;
        if copied < end - start || end >= length {
            break;
        }
    }
    // A hole at the end.
    let written = into.metadata()?.len();
    if written < length { into.set_len(length) } else { Ok(()) }
}

fn set_owner(target: &OwnedFd, name: &std::ffi::CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    Ok(rustix::fs::chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps { last_access: time(stat.st_atime, stat.st_atime_nsec), last_modification: time(stat.st_mtime, stat.st_mtime_nsec) }
}

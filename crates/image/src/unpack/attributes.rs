//! Owners, modes, extended attributes and times.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::tar::Entry;
use crate::tree::{Node, xattrs};

/// What an entry says about its file besides the content.
pub(super) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    xattrs: Box<[(Vec<u8>, Vec<u8>)]>,
}

impl Attributes {
    pub(super) fn of(entry: Entry) -> Self {
        let xattrs = xattrs(entry.xattrs, entry.kind);
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs }
    }

    pub(super) fn of_node(node: &Node) -> Self {
        Self { mode: node.mode.into(), uid: node.uid, gid: node.gid, mtime: node.mtime, xattrs: node.xattrs.clone() }
    }

    /// The file was made with `mode & 0o777` by root, so most need nothing but their time.
    pub(super) fn set_on_new_file(&self, file: &OwnedFd, umask: u32) -> io::Result<()> {
        let owned = self.chown(file)?;
        // After chown(2), which clears set-uid and set-gid.
        if owned || self.mode & 0o7000 != 0 || self.mode & umask != 0 {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        }
        // After chown(2), which removes `security.capability`.
        self.set_xattrs(file)?;
        Ok(rustix::fs::futimens(file, &self.times())?)
    }

    pub(super) fn set_on_directory(&self, directory: &OwnedFd) -> io::Result<()> {
        self.chown(directory)?;
        rustix::fs::fchmod(directory, Mode::from_raw_mode(self.mode))?;
        self.set_xattrs(directory)?;
        Ok(rustix::fs::futimens(directory, &self.times())?)
    }

    /// For links, devices and pipes, which cannot be opened.
    pub(super) fn set_on_node(&self, parent: BorrowedFd<'_>, name: &[u8], is_link: bool) -> io::Result<()> {
        if (self.uid, self.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !is_link {
            // The last part was made by us just now and is no link.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        for (key, value) in &*self.xattrs {
            let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            let path = std::ffi::OsString::from_vec(path);
            unless_unsupported(rustix::fs::lsetxattr(path, &key[..], value, XattrFlags::empty()))?;
        }
        Ok(rustix::fs::utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn chown(&self, file: &OwnedFd) -> io::Result<bool> {
        let other = (self.uid, self.gid) != (0, 0);
        if other {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        Ok(other)
    }

    fn set_xattrs(&self, file: &OwnedFd) -> io::Result<()> {
        for (name, value) in &*self.xattrs {
            unless_unsupported(rustix::fs::fsetxattr(file, &name[..], value, XattrFlags::empty()))?;
        }
        Ok(())
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// An attribute the file system or the kernel does not know is left out, as Docker does.
fn unless_unsupported(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Err(Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the process' file mode creation mask, or all bits where it cannot be read.
pub(super) fn umask() -> u32 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o777)
}

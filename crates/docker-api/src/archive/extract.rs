//! A tar becomes a tree.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, mkdirat, openat};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::path::rename;
use super::{Tree, go_text, kind, stat_at};

/// Who owns what is extracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Whom the archive names.
    Archive,
    /// Who extracts it.
    Caller,
    /// This user and group.
    Ids(u32, u32),
}

/// How an archive is extracted.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// The directory, as the tree names it; it must be there.
    pub folder: String,
    /// Refuses to replace a directory by something else, and something else by a directory.
    pub keep_kinds: bool,
    /// Who owns what is extracted.
    pub owner: Owner,
    /// What stands first in every name, and what replaces it.
    pub rename: Option<(String, String)>,
}

/// Says why an archive was not extracted, as Docker does.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The stream is no sound tar.
    #[error("{}", go_text(.0))]
    Archive(io::Error),
    /// An entry breaks a rule.
    #[error("{0}")]
    Rule(String),
    /// The kernel refused an entry.
    #[error("{act} {path}: {}", go_text(.source))]
    Entry {
        /// What was tried.
        act: &'static str,
        /// The path.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// User and group of an entry.
type Ids = (Option<Uid>, Option<Gid>);

/// What an entry gets besides its content.
#[derive(Clone, Copy)]
struct Facts {
    mode: u32,
    time: Timespec,
    owner: Option<Ids>,
}

/// What a directory gets when nothing more is put into it.
struct Late {
    path: Vec<u8>,
    mode: u32,
    time: Timespec,
}

struct Extractor<'a> {
    tree: &'a Tree,
    options: &'a ExtractOptions,
    /// The directory used last; most entries share it with the one before.
    parent: Option<(Vec<u8>, OwnedFd)>,
    directories: Vec<Late>,
    buffer: Vec<u8>,
    bytes: u64,
}

/// Extracts an archive; answers how many bytes its files have.
///
/// # Errors
/// [`ExtractError`]; what was extracted before stays, as with Docker.
pub fn extract(tree: &Tree, options: &ExtractOptions, archive: impl Read) -> Result<u64, ExtractError> {
    let mut extractor = Extractor { tree, options, parent: None, directories: Vec::new(), buffer: vec![0; 64 << 10], bytes: 0 };
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(ExtractError::Archive)? {
        let mut entry = entry.map_err(ExtractError::Archive)?;
        extractor.entry(&mut entry)?;
    }
    extractor.finish()?;
    Ok(extractor.bytes)
}

/// The path of an entry below the folder, without `.` and empty parts; `None` if it leads out.
fn normal(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl Extractor<'_> {
    /// The path as people know it.
    fn shown(&self, path: &[u8]) -> String {
        let folder = self.options.folder.trim_end_matches('/');
        format!("{folder}/{}", String::from_utf8_lossy(path))
    }

    fn failed(&self, act: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> ExtractError + use<> {
        let path = self.shown(path);
        move |cause| ExtractError::Entry { act, path, source: cause.into() }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other kind is refused alike")]
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), ExtractError> {
        let original = entry.path_bytes().into_owned();
        let name = rename(&original, self.options.rename.as_ref());
        let path = normal(&name)
            .ok_or_else(|| ExtractError::Rule(format!("{:?} is outside of {:?}", String::from_utf8_lossy(&name), self.options.folder)))?;
        let kind = entry.header().entry_type();
        if path.is_empty() || matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let seconds = entry.header().mtime().map_err(ExtractError::Archive)?;
        let facts = Facts {
            mode: entry.header().mode().map_err(ExtractError::Archive)? & 0o7777,
            time: Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 },
            owner: self.owner(entry)?,
        };
        match kind {
            EntryType::Directory => self.directory(&path, facts),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, &path, facts),
            EntryType::Symlink => self.symlink(entry, &path, facts),
            EntryType::Link => self.hard_link(entry, &path),
            EntryType::Char => self.node(entry, &path, FileType::CharacterDevice, facts),
            EntryType::Block => self.node(entry, &path, FileType::BlockDevice, facts),
            EntryType::Fifo => self.node(entry, &path, FileType::Fifo, facts),
            _ => Err(ExtractError::Rule(format!("unhandled tar header type {}", kind.as_byte()))),
        }
    }

    /// Opens the directory of a path, making what is missing.
    fn open_parent(&mut self, parent: &[u8]) -> Result<&OwnedFd, ExtractError> {
        if self.parent.as_ref().is_none_or(|(known, _)| known != parent) {
            let fd = match self.open(parent) {
                Err(Errno::NOENT) => self.make_parents(parent)?,
                result => result.map_err(self.failed("open", parent))?,
            };
            self.parent = Some((parent.to_vec(), fd));
        }
        match &self.parent {
            Some((_, fd)) => Ok(fd),
            None => Err(ExtractError::Rule("the directory is gone".to_owned())),
        }
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let whole = [self.options.folder.as_bytes(), b"/", path].concat();
        self.tree.open(&whole, OFlags::PATH | OFlags::DIRECTORY)
    }

    fn make_parents(&self, path: &[u8]) -> Result<OwnedFd, ExtractError> {
        let mut folder = self.open(b"").map_err(self.failed("open", b""))?;
        let mut walked: Vec<u8> = Vec::new();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            if !walked.is_empty() {
                walked.push(b'/');
            }
            walked.extend_from_slice(part);
            match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(cause) => return Err(self.failed("mkdir", &walked)(cause)),
            }
            folder = self.open(&walked).map_err(self.failed("open", &walked))?;
        }
        Ok(folder)
    }

    /// Makes an entry in its directory; what is in its place goes first.
    fn make<T>(&mut self, path: &[u8], act: &'static str, make: impl Fn(&OwnedFd, &[u8]) -> Result<T, Errno>) -> Result<T, ExtractError> {
        let (parent, name) = split(path);
        match make(self.open_parent(parent)?, name) {
            Err(Errno::EXIST) => {}
            result => return result.map_err(self.failed(act, path)),
        }
        let folder = self.open_parent(parent)?;
        let there = stat_at(folder, name).map_err(self.failed("lstat", path))?;
        if self.options.keep_kinds && kind(&there) == FileType::Directory {
            let (path, folder) = (self.shown(path), self.options.folder.clone());
            return Err(ExtractError::Rule(format!("cannot overwrite directory {path:?} with non-directory {folder:?}")));
        }
        let folder = self.open_parent(parent)?;
        remove(folder, name, &there).map_err(self.failed("unlinkat", path))?;
        let made = make(self.open_parent(parent)?, name);
        made.map_err(self.failed(act, path))
    }

    /// Who owns an entry, if that is to be set.
    fn owner(&self, entry: &Entry<'_, impl Read>) -> Result<Option<Ids>, ExtractError> {
        let id = |id: io::Result<u64>| -> Result<u32, ExtractError> {
            let id = id.map_err(ExtractError::Archive)?;
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| ExtractError::Rule("archive/tar: invalid tar header".to_owned()))
        };
        Ok(match self.options.owner {
            Owner::Caller => None,
            Owner::Archive => Some((id(entry.header().uid())?, id(entry.header().gid())?)),
            Owner::Ids(uid, gid) => Some((uid, gid)),
        }
        .map(|(uid, gid)| (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))))
    }

    fn directory(&mut self, path: &[u8], facts: Facts) -> Result<(), ExtractError> {
        let (parent, name) = split(path);
        let made = mkdirat(self.open_parent(parent)?, name, Mode::from_raw_mode(0o755));
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = stat_at(self.open_parent(parent)?, name).map_err(self.failed("lstat", path))?;
                if kind(&there) != FileType::Directory {
                    if self.options.keep_kinds {
                        let (path, folder) = (self.shown(path), self.options.folder.clone());
                        return Err(ExtractError::Rule(format!("cannot overwrite non-directory {path:?} with directory {folder:?}")));
                    }
                    self.make(path, "mkdir", |folder, name| mkdirat(folder, name, Mode::from_raw_mode(0o755)))?;
                }
            }
            Err(cause) => return Err(self.failed("mkdir", path)(cause)),
        }
        if let Some((uid, gid)) = facts.owner {
            let folder = self.open_parent(parent)?;
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(self.failed("lchown", path))?;
        }
        self.directories.push(Late { path: path.to_vec(), mode: facts.mode, time: facts.time });
        Ok(())
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, path: &[u8], facts: Facts) -> Result<(), ExtractError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(path, "open", |folder, name| openat(folder, name, flags, Mode::from_raw_mode(0o600)))?;
        let mut file = File::from(file);
        loop {
            let count = match entry.read(&mut self.buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(ExtractError::Archive)?,
            };
            let written = file.write_all(&self.buffer[..count]);
            written.map_err(|source| ExtractError::Entry { act: "write", path: self.shown(path), source })?;
            self.bytes += u64::try_from(count).unwrap_or(0);
        }
        if let Some((uid, gid)) = facts.owner {
            rustix::fs::fchown(&file, uid, gid).map_err(self.failed("lchown", path))?;
        }
        attributes(entry, &file);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(facts.mode)).map_err(self.failed("chmod", path))?;
        let times = Timestamps { last_access: omitted(), last_modification: facts.time };
        rustix::fs::futimens(&file, &times).map_err(self.failed("chtimes", path))
    }

    fn symlink(&mut self, entry: &mut Entry<'_, impl Read>, path: &[u8], facts: Facts) -> Result<(), ExtractError> {
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let (parent, name) = split(path);
        // Docker joins a target to the link's directory, also an absolute one, and refuses what leaves the folder.
        if normal(&[parent, b"/", &target].concat()).is_none() {
            let (path, target) = (self.shown(path), String::from_utf8_lossy(&target).into_owned());
            return Err(ExtractError::Rule(format!("invalid symlink {path:?} -> {target:?}")));
        }
        self.make(path, "symlink", |folder, name| rustix::fs::symlinkat(&target[..], folder, name))?;
        let (parent, name) = (parent.to_vec(), name.to_vec());
        self.finish_node(&parent, &name, facts)
    }

    fn node(&mut self, entry: &mut Entry<'_, impl Read>, path: &[u8], kind: FileType, facts: Facts) -> Result<(), ExtractError> {
        let number = |number: io::Result<Option<u32>>| number.map(Option::unwrap_or_default).map_err(ExtractError::Archive);
        // Pipes have no numbers, and their fields may be empty.
        let device = match kind {
            FileType::CharacterDevice | FileType::BlockDevice => {
                rustix::fs::makedev(number(entry.header().device_major())?, number(entry.header().device_minor())?)
            }
            FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Fifo | FileType::Socket | FileType::Unknown => 0,
        };
        self.make(path, "mknod", |folder, name| rustix::fs::mknodat(folder, name, kind, Mode::from_raw_mode(0o600), device))?;
        let (parent, name) = split(path);
        self.finish_node(parent, name, facts)?;
        let folder = self.open_parent(parent)?;
        let changed = rustix::fs::chmodat(folder, name, Mode::from_raw_mode(facts.mode), AtFlags::empty());
        changed.map_err(self.failed("chmod", path))
    }

    fn finish_node(&mut self, parent: &[u8], name: &[u8], facts: Facts) -> Result<(), ExtractError> {
        let path = [parent, b"/", name].concat();
        let failed = self.failed("lchown", &path);
        let folder = self.open_parent(parent)?;
        if let Some((uid, gid)) = facts.owner {
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        }
        let times = Timestamps { last_access: omitted(), last_modification: facts.time };
        // A file system without times of links keeps its own.
        let _ = rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        Ok(())
    }

    fn hard_link(&mut self, entry: &mut Entry<'_, impl Read>, path: &[u8]) -> Result<(), ExtractError> {
        let target = rename(&entry.link_name_bytes().unwrap_or_default(), self.options.rename.as_ref());
        let Some(inside) = normal(&target).filter(|target| !target.is_empty()) else {
            let (path, target) = (self.shown(path), String::from_utf8_lossy(&target).into_owned());
            return Err(ExtractError::Rule(format!("invalid hardlink {path:?} -> {target:?}")));
        };
        if inside == path {
            return Ok(());
        }
        let (target_parent, target_name) = split(&inside);
        let from = self.open(target_parent).map_err(self.failed("link", &inside))?;
        // Without following: a link that was planted there is linked itself.
        self.make(path, "link", |folder, name| rustix::fs::linkat(&from, target_name, folder, name, AtFlags::empty()))
    }

    /// Gives directories their modes and times: until now they had to be written to.
    fn finish(&mut self) -> Result<(), ExtractError> {
        for late in std::mem::take(&mut self.directories).into_iter().rev() {
            let (parent, name) = split(&late.path);
            let folder = self.open_parent(parent)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(opened) = openat(folder, name, flags, Mode::empty()) else { continue };
            rustix::fs::fchmod(&opened, Mode::from_raw_mode(late.mode)).map_err(self.failed("chmod", &late.path))?;
            let times = Timestamps { last_access: omitted(), last_modification: late.time };
            rustix::fs::futimens(&opened, &times).map_err(self.failed("chtimes", &late.path))?;
        }
        Ok(())
    }
}

fn omitted() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }
}

/// Sets the extended attributes that stand in the archive; those the file system does not take are left out, as with Docker.
fn attributes(entry: &mut Entry<'_, impl Read>, file: &File) {
    const PREFIX: &str = "SCHILY.xattr.";
    if let Ok(Some(extensions)) = entry.pax_extensions() {
        for extension in extensions.flatten() {
            if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(PREFIX)) {
                let _ = rustix::fs::fsetxattr(file, name, extension.value_bytes(), XattrFlags::empty());
            }
        }
    }
}

/// Removes an entry and all below it, following nothing.
fn remove(folder: impl AsFd, name: &[u8], stat: &Stat) -> Result<(), Errno> {
    if kind(stat) != FileType::Directory {
        return rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(&folder, name, flags, Mode::empty())?;
    for found in rustix::fs::Dir::read_from(&opened)? {
        let found = found?;
        let entry = found.file_name().to_bytes();
        if entry != b"." && entry != b".." {
            let stat = stat_at(&opened, entry)?;
            remove(&opened, entry, &stat)?;
        }
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

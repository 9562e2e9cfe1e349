//! Unpacks one layer's tar into a directory, for overlay to use as a lower layer.
//!
//! Every path is resolved by the kernel below the directory's descriptor (`openat2` with
//! `RESOLVE_IN_ROOT`), so no name, link or order of entries leads outside. Directories get their
//! owner, mode, attributes and times at the end: until then none is setgid or has a default ACL
//! that new files would inherit, and their times are not disturbed. Whiteouts become overlay's:
//! a character device 0:0, and `trusted.overlay.opaque`.
//! **Source:** OCI image specification, `layer.md`; Linux, `Documentation/filesystems/overlayfs.rst`.

mod attributes;
mod data;

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::tape::Taping;
use crate::tar::{Archive, Entry, Kind, TarError};
use crate::tree::{Content, Failure, Node, Tree, Whiteout, invalid, join, split};
pub(crate) use crate::tree::{Limits, UnpackError, clean};
use attributes::Attributes;

/// How paths are resolved: never above the layer, never across a mount or through `/proc`'s links.
const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// What a layer turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// Whether it hides all layers below it.
    pub(crate) opaque_root: bool,
    /// Whether the tape is whole.
    pub(crate) taped: bool,
}

/// Where a layer is unpacked.
#[derive(Debug)]
pub(crate) struct Place {
    /// The empty directory for its files.
    pub(crate) root: OwnedFd,
    /// The directory for what entries replace.
    pub(crate) discard: OwnedFd,
    /// The new file for its tape.
    pub(crate) tape: fs_err::File,
}

/// Unpacks a whole tar.
pub(crate) fn unpack(tar: impl Read, place: Place, limits: Limits) -> Result<Unpacked, UnpackError> {
    let taping = |source| UnpackError::Tape { source };
    let mut archive = Archive::new(Taping::new(tar, place.tape).map_err(taping)?);
    let mut unpacker = Unpacker {
        root: place.root.as_fd(),
        discard: place.discard.as_fd(),
        umask: attributes::umask(),
        parent: None,
        tree: Tree::new(limits),
        replacements: 0,
        replaced: false,
        budget: data::Budget::new(limits),
        buffer: vec![0; data::CHUNK],
    };
    while let Some(entry) = archive.next_entry()? {
        unpacker.entry(&mut archive, entry)?;
    }
    // The digest of the layer covers what stands after the end of the archive.
    archive.drain().map_err(TarError::from)?;
    if unpacker.replaced {
        archive.input_mut().give_up();
    }
    let taped = archive.into_input().finish().map_err(taping)?;
    unpacker.finish(taped)
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    discard: BorrowedFd<'a>,
    umask: u32,
    /// The directory used last; most entries share it with the one before.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// What the entries came to; it says what directories get at the end.
    tree: Tree,
    replacements: u64,
    /// Whether an entry took the place of another.
    replaced: bool,
    budget: data::Budget,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, archive: &mut Archive<Taping<R>>, entry: Entry) -> Result<(), UnpackError> {
        // Whatever makes no sense is refused here.
        self.tree.add(entry.clone(), 0)?;
        let path = clean(&entry.path)?;
        if path.is_empty() {
            return Ok(());
        }
        let (parent, _) = split(&path);
        let result = match Whiteout::of(&path) {
            Whiteout::Opaque => self.parent(parent).map(drop),
            Whiteout::Ignored => Ok(()),
            Whiteout::Of(hidden) => self.whiteout(parent, hidden),
            Whiteout::None => self.create(archive, &path, entry),
        };
        result.map_err(|failure| failure.at(&path))
    }

    fn create<R: Read>(&mut self, archive: &mut Archive<Taping<R>>, path: &[u8], entry: Entry) -> Result<(), Failure> {
        let (parent, name) = split(path);
        match entry.kind {
            Kind::Directory => self.directory(parent, name),
            Kind::File => self.file(archive, parent, name, entry),
            Kind::HardLink => self.hard_link(parent, name, &entry),
            Kind::SymbolicLink => {
                let link = entry.link.clone();
                self.node(parent, name, entry, |parent, name| rustix::fs::symlinkat(&link[..], parent, name))
            }
            Kind::CharacterDevice => self.device(parent, name, entry, FileType::CharacterDevice),
            Kind::BlockDevice => self.device(parent, name, entry, FileType::BlockDevice),
            Kind::Fifo => self.device(parent, name, entry, FileType::Fifo),
        }
    }

    fn device(&mut self, parent: &[u8], name: &[u8], entry: Entry, kind: FileType) -> Result<(), Failure> {
        let device: Dev = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(entry.mode);
        self.node(parent, name, entry, |parent, name| rustix::fs::mknodat(parent, name, kind, mode, device))
    }

    fn file<R: Read>(&mut self, archive: &mut Archive<Taping<R>>, parent: &[u8], name: &[u8], entry: Entry) -> Result<(), Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.replacing(parent, name, |parent, name| rustix::fs::openat(parent, name, flags, mode))?;
        if entry.sparse.is_none() && entry.size > 0 {
            archive.input_mut().file(&join(parent, name), entry.size)?;
        }
        data::write(archive, &file, &entry, &mut self.budget, &mut self.buffer)?;
        Attributes::of(entry).set_on_new_file(&file, self.umask)?;
        Ok(())
    }

    fn node(
        &mut self,
        parent: &[u8],
        name: &[u8],
        entry: Entry,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), Failure> {
        let is_link = entry.kind == Kind::SymbolicLink;
        self.replacing(parent, name, make)?;
        let parent = self.parent(parent)?;
        Attributes::of(entry).set_on_node(parent, name, is_link)?;
        Ok(())
    }

    fn hard_link(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<(), Failure> {
        let target = clean(&entry.link)?;
        let (target_parent, target_name) = split(&target);
        let target_parent = self.open(target_parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let target_type = FileType::from_raw_mode(rustix::fs::statat(&target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        if target_type == FileType::Directory {
            return Err(invalid(&entry.path, "a hard link to a directory").into());
        }
        self.replacing(parent, name, |parent, name| rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty()))
    }

    /// Makes a directory, or keeps the one that is there.
    fn directory(&mut self, parent: &[u8], name: &[u8]) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(0o755);
        let parent_fd = self.parent(parent)?;
        match rustix::fs::mkdirat(parent_fd, name, mode) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        let stat = rustix::fs::statat(parent_fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(());
        }
        self.replacing(parent, name, |parent, name| rustix::fs::mkdirat(parent, name, mode))
    }

    /// Hides `name` of the layers below, but nothing of this one.
    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<(), Failure> {
        let parent_fd = self.parent(parent)?;
        let device: Dev = rustix::fs::makedev(0, 0);
        match rustix::fs::mknodat(parent_fd, name, FileType::CharacterDevice, Mode::empty(), device) {
            Err(Errno::EXIST) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Makes something under a name, and once more after moving away what is there.
    fn replacing<T>(&mut self, parent: &[u8], name: &[u8], make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>) -> Result<T, Failure> {
        let (discard, place) = (self.discard, self.replacements);
        self.replacements += 1;
        let parent_fd = self.parent(parent)?;
        match make(parent_fd, name) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        rustix::fs::renameat(parent_fd, name, discard, place.to_string())?;
        let made = make(parent_fd, name)?;
        self.replaced = true;
        // The directory used last may be inside what was moved away.
        self.parent = None;
        Ok(made)
    }

    /// Opens the directory `path`, making what is missing of it.
    fn parent(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Failure> {
        if self.parent.as_ref().is_none_or(|(known, _)| known != path) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let directory = match self.open(path, flags) {
                Err(Failure::Kernel(error)) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR)) => {
                    self.make_parents(path)?;
                    self.open(path, flags)?
                }
                result => result?,
            };
            self.parent = Some((path.to_vec(), directory));
        }
        match &self.parent {
            Some((_, directory)) => Ok(directory.as_fd()),
            None => Ok(self.root),
        }
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), Failure> {
        let ends = path.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(index, _)| index);
        for end in ends.chain([path.len()]) {
            let prefix = &path[..end];
            if self.open(prefix, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
                continue;
            }
            let (above, name) = split(prefix);
            let above_fd = self.open(above, OFlags::PATH | OFlags::DIRECTORY)?;
            if let Ok(stat) = rustix::fs::statat(&above_fd, name, AtFlags::SYMLINK_NOFOLLOW)
                && is_whiteout(&stat)
            {
                rustix::fs::unlinkat(&above_fd, name, AtFlags::empty())?;
            }
            rustix::fs::mkdirat(&above_fd, name, Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Failure> {
        let path = if path.is_empty() { b"." } else { path };
        Ok(rustix::fs::openat2(self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), RESOLVE)?)
    }

    /// Gives the directories what the entries came to, the inner ones first.
    fn finish(self, taped: bool) -> Result<Unpacked, UnpackError> {
        for (path, node) in self.tree.directories().iter().rev() {
            self.finish_directory(path, node).map_err(|failure| failure.at(path))?;
        }
        Ok(Unpacked { bytes: self.tree.bytes, opaque_root: self.tree.opaque_root(), taped })
    }

    fn finish_directory(&self, path: &[u8], node: &Node) -> Result<(), Failure> {
        let fd = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        if let Content::Directory(directory) = &node.content
            && directory.opaque
        {
            rustix::fs::fsetxattr(&fd, "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())?;
        }
        Attributes::of_node(node).set_on_directory(&fd)?;
        Ok(())
    }
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

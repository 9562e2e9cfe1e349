//! The files of a layer in memory, while its tar is read: what the entries come to, one after the other.
//!
//! Paths are resolved here as the kernel does on a disk (`openat2` with `RESOLVE_IN_ROOT`), so that every backend makes
//! the same of every archive. Directories that no entry describes belong to root, have mode 0755 and are from 1970.

mod error;
mod path;

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::tar::{Entry, Kind, Segment};
pub(crate) use error::{Failure, UnpackError};
pub(crate) use path::{Whiteout, clean, invalid, join, show, split};

/// Longest name of a file. **Source:** Linux, `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;
/// Index of a node in its tree.
pub(crate) type Id = usize;
/// The root directory.
pub(crate) const ROOT: Id = 0;
/// Links that one path may lead through. **Source:** Linux, `MAXSYMLINKS`.
const LINKS_MAX: usize = 40;
/// Longest target of a symbolic link. **Source:** Linux, `PATH_MAX` with its NUL.
const TARGET_BYTES_MAX: usize = 4095;
/// Largest device numbers. **Source:** Linux, `include/linux/kdev_t.h`, `MINORBITS`.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;
/// Bytes of names, targets and attributes that one layer may have.
const TEXT_BYTES_MAX: u64 = 512 << 20;

/// One file, without its names.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) content: Content,
    /// Permission bits with set-uid, set-gid and sticky.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    /// Extended attributes, name and value.
    pub(crate) xattrs: Box<[(Vec<u8>, Vec<u8>)]>,
}

/// What a file is.
#[derive(Debug)]
pub(crate) enum Content {
    Directory(Directory),
    /// Bytes that stand in the tar as they are.
    File {
        offset: u64,
        size: u64,
    },
    /// Segments that stand in the tar one after the other.
    Sparse {
        offset: u64,
        size: u64,
        segments: Box<[Segment]>,
    },
    Link(Box<[u8]>),
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) parent: Id,
    pub(crate) entries: BTreeMap<Box<[u8]>, Id>,
    /// Hides the directory of the same path in the layers below.
    pub(crate) opaque: bool,
}

impl Content {
    /// Returns the directory that it is.
    pub(crate) fn directory(&self) -> Option<&Directory> {
        if let Self::Directory(directory) = self { Some(directory) } else { None }
    }

    fn whiteout() -> Self {
        Self::CharacterDevice(0, 0)
    }

    fn is_whiteout(&self) -> bool {
        matches!(self, Self::CharacterDevice(0, 0))
    }
}

/// Bounds of what one layer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries.
    pub(crate) entries_max: u64,
    /// Bytes of all files together.
    pub(crate) bytes_max: u64,
    /// Bytes that stay free on the disk.
    pub(crate) free_bytes_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries_max: 5_000_000, bytes_max: 1 << 40, free_bytes_min: 64 << 20 }
    }
}

/// All files of a layer.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Also those that were replaced, which no directory names any more.
    nodes: Vec<Node>,
    /// The directory used last; most entries share it with the one before.
    parent: Option<(Vec<u8>, Id)>,
    limits: Limits,
    entries: u64,
    /// Bytes of all files, holes included.
    pub(crate) bytes: u64,
    text_bytes: u64,
}

impl Tree {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut tree = Self { nodes: Vec::new(), parent: None, limits, entries: 0, bytes: 0, text_bytes: 0 };
        tree.push_directory(ROOT);
        tree
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// Returns the number of nodes, which is above every id.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Says whether the layer hides all layers below it.
    pub(crate) fn opaque_root(&self) -> bool {
        matches!(&self.nodes[ROOT].content, Content::Directory(root) if root.opaque)
    }

    /// Returns the directories that are still there with their paths, each before those in it.
    pub(crate) fn directories(&self) -> Vec<(Vec<u8>, &Node)> {
        let mut found = vec![(Vec::new(), &self.nodes[ROOT])];
        let mut next = 0;
        while let Some((path, node)) = found.get(next) {
            next += 1;
            let Content::Directory(directory) = &node.content else {
                continue;
            };
            let path = path.clone();
            for (name, &id) in &directory.entries {
                let node = &self.nodes[id];
                if matches!(node.content, Content::Directory(_)) {
                    found.push((join(&path, name), node));
                }
            }
        }
        found
    }

    /// Adds an entry whose data stands at `offset` in the tar.
    pub(crate) fn add(&mut self, entry: Entry, offset: u64) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(UnpackError::Limit { what: "too many entries" });
        }
        let path = clean(&entry.path)?;
        if path.is_empty() {
            if entry.kind != Kind::Directory {
                return Err(invalid(&entry.path, "the root must be a directory"));
            }
            return self.set_attributes(ROOT, entry).map_err(|failure| failure.at(&path));
        }
        let (parent, _) = split(&path);
        let result = match Whiteout::of(&path) {
            Whiteout::Opaque => self.parent(parent).map(|id| self.hide(id)),
            Whiteout::Ignored => Ok(()),
            Whiteout::Of(hidden) => self.whiteout(parent, hidden, &entry),
            Whiteout::None => self.create(&path, entry, offset),
        };
        result.map_err(|failure| failure.at(&path))
    }

    fn create(&mut self, path: &[u8], entry: Entry, offset: u64) -> Result<(), Failure> {
        let (parent, name) = split(path);
        let content = match entry.kind {
            Kind::Directory => {
                let id = self.make_directory(parent, name)?;
                return self.set_attributes(id, entry);
            }
            Kind::HardLink => return self.hard_link(parent, name, path, &entry),
            Kind::File => {
                self.bytes = self.bytes.saturating_add(entry.size);
                if self.bytes > self.limits.bytes_max {
                    return Err(UnpackError::Limit { what: "its files take more bytes than allowed" }.into());
                }
                match &entry.sparse {
                    None => Content::File { offset, size: entry.size },
                    Some(segments) => {
                        self.hold(segments.len() * size_of::<Segment>())?;
                        Content::Sparse { offset, size: entry.size, segments: segments.clone().into() }
                    }
                }
            }
            Kind::SymbolicLink if entry.link.is_empty() => return Err(Errno::NOENT.into()),
            Kind::SymbolicLink if entry.link.len() > TARGET_BYTES_MAX => return Err(Errno::NAMETOOLONG.into()),
            Kind::SymbolicLink => Content::Link(entry.link.clone().into()),
            Kind::CharacterDevice | Kind::BlockDevice if entry.device.0 > MAJOR_MAX || entry.device.1 > MINOR_MAX => {
                return Err(invalid(&entry.path, "a device number is too large").into());
            }
            Kind::CharacterDevice => Content::CharacterDevice(entry.device.0, entry.device.1),
            Kind::BlockDevice => Content::BlockDevice(entry.device.0, entry.device.1),
            Kind::Fifo => Content::Fifo,
        };
        self.hold(name.len() + entry.link.len())?;
        let parent = self.parent(parent)?;
        let id = self.push(content);
        self.set_attributes(id, entry)?;
        self.put(parent, name, id)
    }

    fn hard_link(&mut self, parent: &[u8], name: &[u8], path: &[u8], entry: &Entry) -> Result<(), Failure> {
        let target = clean(&entry.link)?;
        if target.is_empty() || target == path {
            return Err(invalid(&entry.path, "a hard link to itself or to the root").into());
        }
        let (above, target_name) = split(&target);
        let above = self.directory(above)?;
        let id = self.child(above, target_name).ok_or(Errno::NOENT)?;
        if matches!(self.nodes[id].content, Content::Directory(_)) {
            return Err(invalid(&entry.path, "a hard link to a directory").into());
        }
        self.hold(name.len())?;
        let parent = self.parent(parent)?;
        if (parent, name) == (above, target_name) {
            // What has the name is moved away first, and is then no longer there to be linked.
            return Err(Errno::NOENT.into());
        }
        self.put(parent, name, id)
    }

    /// Makes a directory, or keeps the one that is there.
    fn make_directory(&mut self, parent: &[u8], name: &[u8]) -> Result<Id, Failure> {
        self.hold(name.len())?;
        let parent = self.parent(parent)?;
        let old = self.child(parent, name);
        if let Some(id) = old.filter(|&id| matches!(self.nodes[id].content, Content::Directory(_))) {
            return Ok(id);
        }
        let hides = old.is_some_and(|id| self.nodes[id].content.is_whiteout());
        let id = self.push_directory(parent);
        self.put(parent, name, id)?;
        if hides {
            self.hide(id);
        }
        Ok(id)
    }

    /// Hides `name` of the layers below, but nothing of this one.
    fn whiteout(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<(), Failure> {
        if matches!(name, b"" | b"." | b"..") {
            return Err(invalid(&entry.path, "a whiteout of nothing").into());
        }
        self.hold(name.len())?;
        let parent = self.parent(parent)?;
        if let Some(id) = self.child(parent, name) {
            self.hide(id);
            return Ok(());
        }
        let id = self.push(Content::whiteout());
        self.nodes[id].mode = 0;
        self.put(parent, name, id)
    }

    /// Makes a directory opaque; nothing happens to other files.
    fn hide(&mut self, id: Id) {
        if let Content::Directory(directory) = &mut self.nodes[id].content {
            directory.opaque = true;
        }
    }

    /// Finds the directory `path`, making what is missing of it.
    fn parent(&mut self, path: &[u8]) -> Result<Id, Failure> {
        if let Some((known, id)) = &self.parent
            && known == path
        {
            return Ok(*id);
        }
        let id = match self.directory(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.make_parents(path)?;
                self.directory(path)?
            }
            result => result?,
        };
        self.parent = Some((path.to_vec(), id));
        Ok(id)
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), Failure> {
        let ends = path.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(index, _)| index);
        for end in ends.chain([path.len()]) {
            let prefix = &path[..end];
            if self.directory(prefix).is_ok() {
                continue;
            }
            let (above, name) = split(prefix);
            let above = self.directory(above)?;
            let old = self.child(above, name);
            let hides = old.is_some_and(|id| self.nodes[id].content.is_whiteout());
            if old.is_some() && !hides {
                return Err(Errno::EXIST.into());
            }
            self.hold(name.len())?;
            let id = self.push_directory(above);
            self.put(above, name, id)?;
            if hides {
                self.hide(id);
            }
        }
        Ok(())
    }

    /// Finds a directory, following links and never leaving the root.
    fn directory(&self, path: &[u8]) -> Result<Id, Errno> {
        let (mut at, mut links) = (ROOT, 0);
        let mut path = Cow::Borrowed(path);
        'path: loop {
            let mut rest = &path[..];
            while !rest.is_empty() {
                let (name, after) = match rest.iter().position(|&b| b == b'/') {
                    Some(slash) => (&rest[..slash], &rest[slash + 1..]),
                    None => (rest, &[][..]),
                };
                rest = after;
                match name {
                    b"" | b"." => continue,
                    b".." => {
                        at = self.above(at);
                        continue;
                    }
                    name if name.len() > NAME_BYTES_MAX => return Err(Errno::NAMETOOLONG),
                    _ => {}
                }
                let id = self.child(at, name).ok_or(Errno::NOENT)?;
                match &self.nodes[id].content {
                    Content::Directory(_) => at = id,
                    Content::Link(target) => {
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(Errno::LOOP);
                        }
                        if target.starts_with(b"/") {
                            at = ROOT;
                        }
                        path = Cow::Owned([target, &b"/"[..], rest].concat());
                        continue 'path;
                    }
                    Content::File { .. }
                    | Content::Sparse { .. }
                    | Content::CharacterDevice(..)
                    | Content::BlockDevice(..)
                    | Content::Fifo => return Err(Errno::NOTDIR),
                }
            }
            return Ok(at);
        }
    }

    fn child(&self, directory: Id, name: &[u8]) -> Option<Id> {
        self.nodes[directory].content.directory()?.entries.get(name).copied()
    }

    fn above(&self, directory: Id) -> Id {
        self.nodes[directory].content.directory().map_or(ROOT, |directory| directory.parent)
    }

    /// Gives a node a name, in place of what has it.
    fn put(&mut self, directory: Id, name: &[u8], id: Id) -> Result<(), Failure> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        if let Content::Directory(directory) = &mut self.nodes[directory].content
            && directory.entries.insert(name.into(), id).is_some()
        {
            // The directory used last may be inside what was replaced.
            self.parent = None;
        }
        Ok(())
    }

    fn push(&mut self, content: Content) -> Id {
        self.nodes.push(Node { content, mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Box::default() });
        self.nodes.len() - 1
    }

    /// Makes a directory with the attributes of one that no entry names.
    fn push_directory(&mut self, parent: Id) -> Id {
        self.push(Content::Directory(Directory { parent, entries: BTreeMap::new(), opaque: false }))
    }

    fn set_attributes(&mut self, id: Id, entry: Entry) -> Result<(), Failure> {
        let xattrs = xattrs(entry.xattrs, entry.kind);
        self.hold(xattrs.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        let node = &mut self.nodes[id];
        let is_link = matches!(node.content, Content::Link(_));
        // The kernel gives links all permissions.
        node.mode = if is_link { 0o777 } else { u16::try_from(entry.mode & 0o7777).unwrap_or_default() };
        (node.uid, node.gid, node.mtime, node.xattrs) = (entry.uid, entry.gid, entry.mtime, xattrs);
        Ok(())
    }

    /// Takes memory for names and the like.
    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        self.text_bytes = self.text_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.text_bytes > TEXT_BYTES_MAX {
            return Err(UnpackError::Limit { what: "its names and attributes take more bytes than allowed" }.into());
        }
        Ok(())
    }
}

/// Chooses the attributes that a layer keeps of what an entry has.
pub(crate) fn xattrs(mut all: Vec<(Vec<u8>, Vec<u8>)>, kind: Kind) -> Box<[(Vec<u8>, Vec<u8>)]> {
    // Only we say what overlay reads; an image must not redirect or hide by such attributes.
    all.retain(|(name, _)| !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay."));
    // The kernel has those of users on files and directories alone, xattr(7).
    if !matches!(kind, Kind::File | Kind::Directory) {
        all.retain(|(name, _)| !name.starts_with(b"user."));
    }
    all.into()
}

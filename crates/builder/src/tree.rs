//! Files below one descriptor: found by patterns, digested, copied. No path leads outside of its tree.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use docker_api::ignore::{Ignore, matches};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::index::{self, Index};

/// How paths are resolved: absolute links start at the tree's root.
const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// Deepest nesting of directories.
const DEPTH_MAX: usize = 4096;

/// A tree that is read, and what of it is not seen.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Its root.
    pub(crate) root: Arc<OwnedFd>,
    /// What stays hidden.
    pub(crate) ignore: Option<Arc<Ignore>>,
    /// Where digests of unchanged files are kept, if the tree's inodes live longer than one build.
    pub(crate) index: Option<Arc<Index>>,
}

impl View {
    /// A tree of which all is seen.
    pub(crate) fn whole(root: Arc<OwnedFd>) -> Self {
        Self { root, ignore: None, index: None }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether a path of the tree is hidden.
    pub(crate) fn hides(&self, path: &str, directory: bool) -> bool {
        let Some(ignore) = &self.ignore else { return false };
        let path = path.trim_matches('/');
        if path.is_empty() || !ignore.excludes(path) {
            return false;
        }
        // A folder is seen for what was taken back in below it.
        !directory || ignore.prunes(path) || !self.shows_below(path, 0)
    }

    fn shows_below(&self, path: &str, depth: usize) -> bool {
        let Ok(directory) = open(self.fd(), path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) else { return false };
        let Ok(names) = names(&directory) else { return false };
        depth < DEPTH_MAX
            && names.iter().any(|name| {
                let child = join(path, name);
                let excluded = self.ignore.as_ref().is_some_and(|ignore| ignore.excludes(&child));
                !excluded || self.shows_below(&child, depth + 1)
            })
    }
}

/// Who owns what is copied, and with which permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// User and group; none keeps those of the source.
    pub(crate) owner: Option<(u32, u32)>,
    /// `--chmod`; none keeps the source's permissions.
    pub(crate) mode: Option<ModeChange>,
}

/// A `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// All bits.
    Octal(u32),
    /// Clauses of chmod(1): which bits of whom, the operator, and the letters.
    Symbolic(Vec<(u32, char, String)>),
}

impl ModeChange {
    /// Parses an octal number or clauses such as `u=rwX,go-w`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Self::Octal);
        }
        let clause = |clause: &str| {
            let at = clause.find(['+', '-', '='])?;
            let mut whom = 0;
            for c in clause[..at].chars() {
                whom |= match c {
                    'u' => 0o700,
                    'g' => 0o070,
                    'o' => 0o007,
                    'a' => 0o777,
                    _ => return None,
                };
            }
            let letters = &clause[at + 1..];
            let operator = clause[at..].chars().next()?;
            letters.chars().all(|c| "rwxXst".contains(c)).then(|| (if whom == 0 { 0o777 } else { whom }, operator, letters.to_owned()))
        };
        text.split(',').map(clause).collect::<Option<Vec<_>>>().map(Self::Symbolic)
    }

    fn apply(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, (whom, operator, letters)| {
                let mut bits = 0;
                for c in letters.chars() {
                    bits |= match c {
                        'r' => 0o444 & whom,
                        'w' => 0o222 & whom,
                        'x' => 0o111 & whom,
                        'X' if directory || mode & 0o111 != 0 => 0o111 & whom,
                        's' => (if whom & 0o700 != 0 { 0o4000 } else { 0 }) | (if whom & 0o070 != 0 { 0o2000 } else { 0 }),
                        't' => 0o1000,
                        _ => 0,
                    };
                }
                match operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !whom) | bits,
                }
            }),
        }
    }
}

/// Opens a path below `root`; an empty one is the root.
pub(crate) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = match path.trim_matches('/') {
        "" => ".",
        path => path,
    };
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), RESOLVE)
}

/// What is at a path, links followed; none if there is nothing.
pub(crate) fn stat(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<Stat>> {
    match open(root, path, OFlags::PATH) {
        Ok(fd) => Ok(Some(rustix::fs::fstat(&fd)?)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether something is a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Cleans a source as Go does: absolute and relative are the same, `..` stops at the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// All paths that a pattern fits, sorted; a pattern without wildcards is looked up as it is.
///
/// **Source:** Go, `path/filepath.Match`.
pub(crate) fn find(view: &View, pattern: &str) -> io::Result<Vec<String>> {
    let root = view.fd();
    let pattern = clean(pattern);
    let seen = |path: &str| Ok::<_, io::Error>(stat(root, path)?.is_some_and(|stat| !view.hides(path, is_directory(&stat))));
    if !pattern.contains(['*', '?', '[', '\\']) {
        return Ok(if seen(&pattern)? { vec![pattern] } else { Vec::new() });
    }
    let mut found = vec![String::new()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for base in &found {
            let Ok(directory) = open(root, base, OFlags::RDONLY | OFlags::DIRECTORY) else { continue };
            for name in names(&directory)? {
                let path = join(base, &name);
                // A link that leads nowhere is found all the same.
                if matches(part, &name) && !view.hides(&path, stat(root, &path)?.as_ref().is_some_and(is_directory)) {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    found.sort();
    Ok(found)
}

/// Names in a directory, sorted, that are text.
fn names(directory: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if let Ok(name) = String::from_utf8(name)
            && name != "."
            && name != ".."
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Digests a path and all below it: names, kinds, permissions, owners, links and contents; times do not count.
/// `skip` gets the path below `path`.
pub(crate) fn digest(view: &View, path: &str, attributes: &Attributes, skip: &dyn Fn(&str) -> bool, hash: &mut Sha256) -> io::Result<()> {
    let top = open(view.fd(), path, OFlags::PATH)?;
    let stat = rustix::fs::fstat(&top)?;
    Digester { view, attributes, skip }.node(path, "", &stat, hash, 0)
}

struct Digester<'a> {
    view: &'a View,
    attributes: &'a Attributes,
    skip: &'a dyn Fn(&str) -> bool,
}

impl Digester<'_> {
    #[expect(clippy::too_many_arguments, reason = "a recursion over one node and its place")]
    fn node(&self, path: &str, below: &str, stat: &Stat, hash: &mut Sha256, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other("directories are nested too deeply"));
        }
        let root = self.view.fd();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let (uid, gid) = self.attributes.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let old = stat.st_mode & 0o7777;
        let mode = self.attributes.mode.as_ref().map_or(old, |change| change.apply(old, kind == FileType::Directory));
        let mut text = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        text(below);
        text(&format!("{kind:?} {mode:o} {uid} {gid}"));
        match kind {
            FileType::RegularFile => {
                let open = || Ok(open(root, path, OFlags::RDONLY)?);
                hash.update(match &self.view.index {
                    Some(index) => index.digest(stat, open)?,
                    None => index::read(&std::fs::File::from(open()?))?,
                });
            }
            FileType::Directory => {
                let directory = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                for name in names(&directory)? {
                    let child = join(below, &name);
                    let stat = rustix::fs::statat(&directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                    let full = join(path.trim_matches('/'), &name);
                    if (self.skip)(&child) || self.view.hides(&full, is_directory(&stat)) {
                        continue;
                    }
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                        let target = rustix::fs::readlinkat(&directory, name.as_str(), Vec::new())?;
                        hash.update(child.as_bytes());
                        hash.update(format!("link {uid} {gid} "));
                        hash.update(target.as_bytes());
                    } else {
                        self.node(&full, &child, &stat, hash, depth + 1)?;
                    }
                }
            }
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => hash.update(stat.st_rdev.to_le_bytes()),
        }
        Ok(())
    }
}

pub(crate) fn join(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") }
}

/// Makes a directory and those above it, owned by root with mode 0755 or as told; those that are there stay.
pub(crate) fn make_directories(root: BorrowedFd<'_>, path: &str, owner: Option<(u32, u32)>) -> io::Result<bool> {
    let mut made = false;
    let mut at = String::new();
    for part in clean(path).split('/').filter(|part| !part.is_empty()) {
        let parent = open(root, &at, OFlags::PATH | OFlags::DIRECTORY)?;
        at = join(&at, part);
        match open(root, &at, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(_) => continue,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755))?;
        let (uid, gid) = owner.unwrap_or((0, 0));
        rustix::fs::chownat(&parent, part, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        made = true;
    }
    Ok(made)
}

/// A copy from one tree to another.
pub(crate) struct Copier<'a> {
    /// Where from.
    pub(crate) from: &'a View,
    /// Where to.
    pub(crate) to: BorrowedFd<'a>,
    /// Owner and permissions.
    pub(crate) attributes: &'a Attributes,
    /// What is left out, by its path below the source.
    pub(crate) skip: &'a dyn Fn(&str) -> bool,
}

impl Copier<'_> {
    /// Copies a file to the path `target`, or what a directory holds into the directory `target`.
    pub(crate) fn copy(&self, source: &str, target: &str) -> io::Result<()> {
        let top = open(self.from.fd(), source, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&top)?;
        let owner = self.attributes.owner;
        if is_directory(&stat) {
            make_directories(self.to, target, owner)?;
            return self.directory(source, target, "", 0);
        }
        let target = clean(target);
        let (parent, name) = target.rsplit_once('/').unwrap_or(("", &target));
        make_directories(self.to, parent, owner)?;
        self.node(source, &stat, parent, name)
    }

    fn directory(&self, source: &str, target: &str, below: &str, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other("directories are nested too deeply"));
        }
        let from = open(self.from.fd(), source, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for name in names(&from)? {
            let child = join(below, &name);
            let stat = rustix::fs::statat(&from, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            let source = join(source.trim_matches('/'), &name);
            if (self.skip)(&child) || self.from.hides(&source, is_directory(&stat)) {
                continue;
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let to = join(target.trim_matches('/'), &name);
                    let parent = open(self.to, target, OFlags::PATH | OFlags::DIRECTORY)?;
                    match rustix::fs::mkdirat(&parent, name.as_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => {}
                        Err(Errno::EXIST) => {
                            let there = rustix::fs::statat(&parent, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                            if FileType::from_raw_mode(there.st_mode) == FileType::RegularFile {
                                return Err(io::Error::other(format!("cannot copy the directory `{name}` over the file `{to}`")));
                            }
                        }
                        Err(error) => return Err(error.into()),
                    }
                    self.directory(&source, &to, &child, depth + 1)?;
                    let made = open(self.to, &to, OFlags::RDONLY | OFlags::DIRECTORY)?;
                    self.finish(&made, &stat)?;
                }
                FileType::Symlink => {
                    let link = rustix::fs::readlinkat(&from, name.as_str(), Vec::new())?;
                    let parent = open(self.to, target, OFlags::PATH | OFlags::DIRECTORY)?;
                    make_room(&parent, &name)?;
                    rustix::fs::symlinkat(link.as_c_str(), &parent, name.as_str())?;
                    self.own(&parent, &name, &stat)?;
                }
                FileType::RegularFile
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => self.node(&source, &stat, target, &name)?,
            }
        }
        Ok(())
    }

    /// Copies a file, a device or a pipe.
    fn node(&self, source: &str, stat: &Stat, parent: &str, name: &str) -> io::Result<()> {
        let parent = open(self.to, parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if name.is_empty() {
            return Err(io::Error::other("the destination of a file needs a name"));
        }
        make_room(&parent, name)?;
        if kind != FileType::RegularFile {
            rustix::fs::mknodat(&parent, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
            return self.own(&parent, name, stat);
        }
        let mut input = std::fs::File::from(open(self.from.fd(), source, OFlags::RDONLY)?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut output = std::fs::File::from(rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(&mut input, &mut output)?;
        // File capabilities travel with what they belong to.
        let mut capability = [0; 64];
        if let Ok(length) = rustix::fs::fgetxattr(&input, "security.capability", &mut capability[..]) {
            rustix::fs::fsetxattr(&output, "security.capability", &capability[..length], rustix::fs::XattrFlags::empty())?;
        }
        self.finish(&output.into(), stat)
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let (uid, gid) = self.attributes.owner.unwrap_or((stat.st_uid, stat.st_gid));
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }

    fn own(&self, parent: &OwnedFd, name: &str, stat: &Stat) -> io::Result<()> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::utimensat(parent, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn finish(&self, made: &OwnedFd, stat: &Stat) -> io::Result<()> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(made.as_fd(), Some(uid), Some(gid))?;
        let old = stat.st_mode & 0o7777;
        let mode = self.attributes.mode.as_ref().map_or(old, |change| change.apply(old, is_directory(stat)));
        rustix::fs::fchmod(made.as_fd(), Mode::from_raw_mode(mode))?;
        rustix::fs::futimens(made.as_fd(), &times(stat))?;
        Ok(())
    }
}

/// Removes empty files and directories that were made to mount something on, unless they were there before.
pub(crate) fn remove_stubs(root: BorrowedFd<'_>, before: BorrowedFd<'_>, targets: &[String]) -> io::Result<()> {
    for target in targets {
        let mut path = clean(target);
        while !path.is_empty() && stat(before, &path)?.is_none() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let Ok(parent_fd) = open(root, parent, OFlags::PATH | OFlags::DIRECTORY) else { break };
            let Ok(found) = rustix::fs::statat(&parent_fd, name, AtFlags::SYMLINK_NOFOLLOW) else { break };
            let flags = if is_directory(&found) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // Something was put there: it stays.
            if (!is_directory(&found) && found.st_size > 0) || rustix::fs::unlinkat(&parent_fd, name, flags).is_err() {
                break;
            }
            path = parent.to_owned();
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> rustix::fs::Timestamps {
    let modified = rustix::fs::Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default() };
    rustix::fs::Timestamps { last_access: modified, last_modification: modified }
}

/// Removes a file that is in the way; a directory stays and is an error.
fn make_room(parent: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, OsStr::from_bytes(name.as_bytes()), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => Err(io::Error::other(format!("cannot copy over the directory `{name}`"))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_symbolic() {
        let apply = |text: &str, mode, directory| ModeChange::parse(text).unwrap().apply(mode, directory);
        assert_eq!(apply("755", 0o600, false), 0o755);
        assert_eq!(apply("u=rwX,go=rX", 0o600, false), 0o644);
        assert_eq!(apply("u=rwX,go=rX", 0o600, true), 0o755);
        assert_eq!(apply("+x", 0o644, false), 0o755);
        assert!(ModeChange::parse("99").is_none() && ModeChange::parse("u!x").is_none());
    }

    #[test]
    fn a_tree_is_copied_and_links_do_not_lead_out() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("d/e")).unwrap();
        std::fs::write(from.path().join("d/e/f"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", from.path().join("d/out")).unwrap();
        std::os::unix::fs::symlink("/etc", to.path().join("etc-link")).unwrap();
        let open = |path: &std::path::Path| OwnedFd::from(std::fs::File::open(path).unwrap());
        let (source, target) = (View::whole(Arc::new(open(from.path()))), open(to.path()));
        let attributes = Attributes { owner: Some((7, 8)), mode: None };
        let copier = Copier { from: &source, to: target.as_fd(), attributes: &attributes, skip: &|_| false };
        copier.copy("d", "/x/y").unwrap();
        assert_eq!(std::fs::read(to.path().join("x/y/e/f")).unwrap(), b"x");
        assert_eq!(std::fs::read_link(to.path().join("x/y/out")).unwrap(), std::path::Path::new("/etc"));
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(std::fs::metadata(to.path().join("x/y/e/f")).unwrap().uid(), 7);
        assert!(copier.copy("d/e/f", "etc-link/inside").is_err(), "the link leads to a missing folder of the tree, not to the host's");
        let digest = |skip: &dyn Fn(&str) -> bool| {
            let mut hash = Sha256::new();
            super::digest(&source, "d", &attributes, skip, &mut hash).unwrap();
            hash.finalize()
        };
        let before = digest(&|_| false);
        assert_ne!(before, digest(&|path| path == "e"));
        std::fs::write(from.path().join("d/e/f"), "y").unwrap();
        assert_ne!(before, digest(&|_| false), "same size, other content");
        assert_eq!(find(&source, "d/*").unwrap(), ["d/e", "d/out"]);
        assert_eq!(find(&source, "../d/./e").unwrap(), ["d/e"]);
    }
}

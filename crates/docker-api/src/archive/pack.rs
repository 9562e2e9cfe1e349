//! A tree becomes a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, openat};
use rustix::io::Errno;
use tar::{EntryType, Header};

use super::{Tree, kind, stat_at};

/// Longest name that a header holds. **Source:** POSIX `pax`, "ustar Interchange Format".
const NAME_BYTES_MAX: usize = 100;
/// Largest size and time in the digits of a header.
const OCTAL_MAX: u64 = 0o77_777_777_777;
/// Longest path that is packed; it bounds the depth of the tree.
const PATH_BYTES_MAX: usize = 64 << 10;
const BLOCK: usize = 512;

/// What is packed.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Where paths are resolved.
    pub tree: &'a Tree,
    /// The directory.
    pub folder: &'a str,
    /// The entry in it, or `.` for itself.
    pub entry: &'a str,
    /// The name that stands for the entry in the archive; empty for the root's own.
    pub name: &'a str,
}

struct Packer<'a, W> {
    output: W,
    choose: &'a dyn Fn(&[u8]) -> Choice,
    buffer: Vec<u8>,
    /// Where a file with several names was packed first.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

/// Writes the archive of an entry and all below it.
///
/// # Errors
/// If the entry cannot be read or the archive not be written. What vanishes meanwhile is left out.
pub fn pack(source: Source<'_>, output: impl Write) -> io::Result<()> {
    pack_some(source, &|_| Choice::Take, output)
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is packed.
    Take,
    /// It is left out; if it is a directory, what it holds may still be taken.
    Skip,
    /// It is left out with all that it holds.
    Prune,
}

/// As [`pack`], for what `choose` takes; it is asked for each name in the archive.
///
/// # Errors
/// As [`pack`].
pub fn pack_some(source: Source<'_>, choose: &dyn Fn(&[u8]) -> Choice, output: impl Write) -> io::Result<()> {
    let mut packer = Packer { output, buffer: vec![0; 64 << 10], linked: HashMap::new(), choose };
    let folder = source.tree.open(source.folder.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)?;
    let stat = stat_at(&folder, source.entry.as_bytes())?;
    packer.entry(folder.as_fd(), source.entry.as_bytes(), source.name.as_bytes().to_vec(), &stat)?;
    packer.output.write_all(&[0; 2 * BLOCK])?;
    packer.output.flush()
}

/// A directory that is being packed.
struct Level {
    folder: OwnedFd,
    entries: Vec<Vec<u8>>,
    name: Vec<u8>,
}

impl<W: Write> Packer<'_, W> {
    /// Packs an entry; below a directory it goes on with a list of its own, however deep the tree is.
    fn entry(&mut self, folder: BorrowedFd<'_>, entry: &[u8], name: Vec<u8>, stat: &Stat) -> io::Result<()> {
        let mut levels = Vec::new();
        levels.extend(self.one(folder, entry, name, stat)?);
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.pop() else {
                levels.pop();
                continue;
            };
            let mut name = level.name.clone();
            // The entries of the root itself begin with a slash, as Docker's do.
            if !name.ends_with(b"/") {
                name.push(b'/');
            }
            name.extend_from_slice(&entry);
            if name.len() > PATH_BYTES_MAX {
                return Err(Errno::NAMETOOLONG.into());
            }
            // It may have gone since the directory was listed.
            let Ok(stat) = stat_at(&level.folder, &entry) else { continue };
            let deeper = match self.one(level.folder.as_fd(), &entry, name, &stat) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                result => result?,
            };
            levels.extend(deeper);
        }
        Ok(())
    }

    fn one(&mut self, folder: BorrowedFd<'_>, entry: &[u8], name: Vec<u8>, stat: &Stat) -> io::Result<Option<Level>> {
        let choice = (self.choose)(&name);
        match kind(stat) {
            FileType::Directory if choice == Choice::Prune => {}
            FileType::Directory => return self.directory(folder, entry, name, choice == Choice::Take).map(Some),
            _ if choice != Choice::Take => {}
            FileType::RegularFile => self.file(folder, entry, &name)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, entry, Vec::new())?.into_bytes();
                self.header(EntryType::Symlink, &name, &target, stat)?;
            }
            FileType::CharacterDevice => self.header(EntryType::Char, &name, b"", stat)?,
            FileType::BlockDevice => self.header(EntryType::Block, &name, b"", stat)?,
            FileType::Fifo => self.header(EntryType::Fifo, &name, b"", stat)?,
            // A tar cannot hold them.
            FileType::Socket | FileType::Unknown => {}
        }
        Ok(None)
    }

    fn directory(&mut self, folder: BorrowedFd<'_>, entry: &[u8], name: Vec<u8>, told: bool) -> io::Result<Level> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(folder, entry, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&opened)?;
        if told {
            self.header(EntryType::Directory, &[&name, b"/".as_slice()].concat(), b"", &stat)?;
        }
        let mut entries = Vec::new();
        for found in Dir::read_from(&opened)? {
            let found = found?;
            let bytes = found.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                entries.push(bytes.to_vec());
            }
        }
        // The last of the list is packed first.
        entries.sort_unstable_by(|left, right| right.cmp(left));
        Ok(Level { folder: opened, entries, name })
    }

    fn file(&mut self, folder: BorrowedFd<'_>, entry: &[u8], name: &[u8]) -> io::Result<()> {
        // Without waiting: something else may have taken the place of the file.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut file = File::from(openat(folder, entry, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        if kind(&stat) != FileType::RegularFile {
            return Err(io::ErrorKind::NotFound.into());
        }
        if stat.st_nlink > 1 {
            let first = self.linked.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| name.to_vec()).clone();
            if first != name {
                return self.header(EntryType::Link, name, &first, &stat);
            }
        }
        let mut extended = Vec::new();
        let mut value = [0; 64];
        if let Ok(length) = rustix::fs::fgetxattr(&file, "security.capability", &mut value) {
            extended.push((b"SCHILY.xattr.security.capability".as_slice(), &value[..length]));
        }
        self.header_with(EntryType::Regular, name, (b"", &stat), &extended)?;
        self.content(&mut file, u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Copies as many bytes as the header says: a file that grows is cut, one that shrinks is filled with zeros.
    fn content(&mut self, file: &mut File, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = match file.read(&mut self.buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => {
                    self.buffer[..most].fill(0);
                    most
                }
                result => result?,
            };
            self.output.write_all(&self.buffer[..count])?;
            left -= u64::try_from(count).unwrap_or(left);
        }
        let padding = usize::try_from(size.wrapping_neg() % 512).unwrap_or_default();
        self.output.write_all(&[0; BLOCK][..padding])
    }

    fn header(&mut self, kind: EntryType, name: &[u8], link: &[u8], stat: &Stat) -> io::Result<()> {
        self.header_with(kind, name, (link, stat), &[])
    }

    fn header_with(&mut self, kind: EntryType, name: &[u8], (link, stat): (&[u8], &Stat), extended: &[(&[u8], &[u8])]) -> io::Result<()> {
        let size = if kind == EntryType::Regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        let mut records = Vec::new();
        let mut record = |key: &[u8], value: &[u8]| pax_record(&mut records, key, value);
        if name.len() > NAME_BYTES_MAX {
            record(b"path", name);
        }
        if link.len() > NAME_BYTES_MAX {
            record(b"linkpath", link);
        }
        if size > OCTAL_MAX {
            record(b"size", size.to_string().as_bytes());
        }
        for (key, value) in extended {
            record(key, value);
        }
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            put(&mut header.as_mut_bytes()[..NAME_BYTES_MAX], b"PaxHeaders.0/entry");
            header.set_size(u64::try_from(records.len()).unwrap_or(0));
            header.set_cksum();
            self.output.write_all(header.as_bytes())?;
            self.output.write_all(&records)?;
            self.output.write_all(&[0; BLOCK][..(BLOCK - records.len() % BLOCK) % BLOCK])?;
        }
        let mut header = Header::new_ustar();
        put(&mut header.as_mut_bytes()[..NAME_BYTES_MAX], name);
        put(&mut header.as_mut_bytes()[157..257], link);
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(u64::from(stat.st_uid));
        header.set_gid(u64::from(stat.st_gid));
        header.set_size(size.min(OCTAL_MAX));
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0).min(OCTAL_MAX));
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(rustix::fs::major(stat.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        }
        header.set_cksum();
        self.output.write_all(header.as_bytes())
    }
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

/// Appends `length key=value\n`, where the length counts its own digits.
fn pax_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() != rest.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

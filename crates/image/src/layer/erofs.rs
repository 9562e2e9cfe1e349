//! A layer as one file: the tar as it came, and behind it an index that makes the file an EROFS.
//!
//! ```text
//! 0      superblock (at 1024), and at 2048 what we say of the layer ourselves
//! 4096   the tar, byte for byte; regular files are read from there
//! …      chunks of sparse files
//! …      inodes, directories
//! ```
//!
//! Nothing is unpacked, so no path leads anywhere; one sync makes the layer durable; the tar is there for saving and
//! pushing; removing is one unlink(2). The superblock is written when all else is on the disk: a torn file cannot be mounted.
//! The kernel never sees a file system that came from elsewhere: all of it but the files' content is written here.
//! **Source:** Linux, `Documentation/filesystems/erofs.rst`; mounting a file needs Linux 6.12.

mod format;
mod index;
mod probe;
mod xattr;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use oci::Digest;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use sha2::Digest as _;

use super::{Backend, Staged};
use crate::tar::Archive;
use crate::tree::{Limits, Tree, UnpackError};
use crate::unpack::Unpacked;
use format::{SUPER_BYTES, SUPER_OFFSET};
use index::Index;
pub(super) use probe::probe;

/// Where the tar begins.
const TAR_OFFSET: u64 = HEAD_BYTES as u64;
/// Bytes before the tar.
const HEAD_BYTES: usize = 4096;
/// Where our own part of the head begins.
const OWN_OFFSET: usize = 2048;
/// What it begins with.
const OWN_MAGIC: &[u8; 8] = b"TEULAYR1";
/// After so many bytes the free space is looked at again.
const CHECK_BYTES: u64 = 64 << 20;

/// Writes a tar and its index to `<directory>/layer`.
pub(super) fn stage(tar: impl BufRead, directory: &Path, limits: Limits) -> Result<Staged, UnpackError> {
    let path = directory.join("layer");
    let prepare = |source| UnpackError::Prepare { source };
    fs_err::create_dir(directory).map_err(prepare)?;
    let file = create(&path).map_err(prepare)?;
    let (tree, tar_bytes) = read(Copying::new(tar, &file, limits), limits)?;
    let put = |source| UnpackError::Tape { source };
    let index = index::write(&tree, &file, tar_bytes, &mut |offset, bytes| file.write_all_at(bytes, offset))?;
    file.sync_data().map_err(put)?;
    let unpacked = Unpacked { bytes: tree.bytes, opaque_root: tree.opaque_root(), taped: true };
    file.write_all_at(&Head { tar_bytes, unpacked_bytes: tree.bytes, index }.encode(), 0).map_err(put)?;
    file.sync_data().map_err(put)?;
    Ok(Staged { backend: Backend::Erofs, unpacked, path, tape: directory.join("tape") })
}

fn create(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Reads a whole tar and returns what its entries came to and its bytes.
fn read(tar: impl Input, limits: Limits) -> Result<(Tree, u64), UnpackError> {
    let mut tree = Tree::new(limits);
    let mut archive = Archive::new(tar);
    let result = read_entries(&mut archive, &mut tree);
    match archive.input_mut().take_failure() {
        // The tar is not to blame.
        Some(source) => Err(UnpackError::Tape { source }),
        None => result.map(|()| (tree, archive.input_mut().position())),
    }
}

fn read_entries(archive: &mut Archive<impl Input>, tree: &mut Tree) -> Result<(), UnpackError> {
    while let Some(entry) = archive.next_entry()? {
        let offset = archive.input_mut().position();
        if !offset.is_multiple_of(format::BLOCK) || offset / format::BLOCK > u64::from(u32::MAX) - 8 {
            return Err(UnpackError::Limit { what: "it takes more than 2 TiB" });
        }
        if !xattr::fit(&entry.xattrs) {
            return Err(UnpackError::Entry { path: crate::tree::show(&entry.path), source: Errno::TOOBIG.into() });
        }
        tree.add(entry, offset)?;
        archive.pass_data()?;
    }
    // The digest of the layer covers what stands after the end of the archive.
    archive.pass_rest().map_err(UnpackError::from)
}

/// What a tar is read from.
trait Input: BufRead {
    /// Bytes read so far.
    fn position(&self) -> u64;
    /// Why the bytes could not be kept, if that is so.
    fn take_failure(&mut self) -> Option<io::Error>;
}

/// Passes a tar on and writes it to a file, in the pieces that it comes in.
struct Copying<'a, R> {
    input: R,
    file: &'a std::fs::File,
    /// Bytes of the tar in the file.
    written: u64,
    /// Bytes of the tar passed on.
    position: u64,
    unchecked: u64,
    limits: Limits,
    failure: Option<io::Error>,
}

impl<'a, R> Copying<'a, R> {
    fn new(input: R, file: &'a std::fs::File, limits: Limits) -> Self {
        Self { input, file, written: 0, position: 0, unchecked: CHECK_BYTES, limits, failure: None }
    }

    fn write(file: &std::fs::File, bytes: &[u8], at: u64, free_min: Option<u64>) -> io::Result<()> {
        if let Some(free_min) = free_min {
            let disk = rustix::fs::fstatvfs(file)?;
            if disk.f_bavail.saturating_mul(disk.f_frsize) < free_min {
                return Err(Errno::NOSPC.into());
            }
        }
        file.write_all_at(bytes, at)
    }
}

impl<R: BufRead> BufRead for Copying<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.input.fill_buf()?;
        if self.written == self.position && !bytes.is_empty() {
            let check = self.unchecked >= CHECK_BYTES;
            let free_min = check.then_some(self.limits.free_bytes_min);
            if let Err(error) = Self::write(self.file, bytes, TAR_OFFSET + self.written, free_min) {
                self.failure = Some(error);
                return Err(io::ErrorKind::Other.into());
            }
            let length = u64::try_from(bytes.len()).unwrap_or_default();
            self.unchecked = if check { length } else { self.unchecked + length };
            self.written += length;
        }
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) {
        self.position += u64::try_from(count).unwrap_or_default();
        self.input.consume(count);
    }
}

impl<R: BufRead> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> Input for Copying<'_, R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }
}

/// Passes a tar on and digests it.
struct Hashing<R> {
    input: R,
    hash: sha2::Sha256,
    position: u64,
}

impl<R: BufRead> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(bytes) = self.input.fill_buf() {
            self.hash.update(&bytes[..count]);
        }
        self.position += u64::try_from(count).unwrap_or_default();
        self.input.consume(count);
    }
}

impl<R: BufRead> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> Input for Hashing<R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn take_failure(&mut self) -> Option<io::Error> {
        None
    }
}

/// What stands before the tar.
struct Head {
    tar_bytes: u64,
    unpacked_bytes: u64,
    index: Index,
}

impl Head {
    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[SUPER_OFFSET..SUPER_OFFSET + SUPER_BYTES].copy_from_slice(&self.index.superblock.encode());
        let own = [self.tar_bytes, self.unpacked_bytes, self.index.offset, self.index.bytes].map(u64::to_le_bytes);
        let own = [&OWN_MAGIC[..], own.as_flattened(), &self.index.digest].concat();
        bytes[OWN_OFFSET..OWN_OFFSET + own.len()].copy_from_slice(&own);
        bytes
    }
}

/// Returns the bytes of the tar of a layer.
pub(super) fn tar_bytes(path: &Path) -> io::Result<u64> {
    read_tar_bytes(fs_err::File::open(path)?.file())
}

fn read_tar_bytes(file: &std::fs::File) -> io::Result<u64> {
    let mut own = [0; 16];
    file.read_exact_at(&mut own, OWN_OFFSET as u64)?;
    match (own.first_chunk(), own.last_chunk()) {
        (Some(OWN_MAGIC), Some(bytes)) => Ok(u64::from_le_bytes(*bytes)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is no layer")),
    }
}

/// Writes the tar of a layer and returns its bytes.
pub(super) fn write_tar(path: &Path, output: &mut impl Write) -> io::Result<u64> {
    let (mut tar, bytes) = open_tar(path)?;
    if io::copy(&mut tar, output)? == bytes { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn open_tar(path: &Path) -> io::Result<(impl BufRead, u64)> {
    let mut file = fs_err::File::open(path)?.into_parts().0;
    let bytes = read_tar_bytes(&file)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(TAR_OFFSET))?;
    Ok((BufReader::with_capacity(256 << 10, file).take(bytes), bytes))
}

/// Says what is wrong with a layer: its tar is digested, its index made once more and compared.
pub(super) fn fault(path: &Path, diff_id: &Digest) -> io::Result<Option<String>> {
    let limits = Limits { entries_max: u64::MAX, bytes_max: u64::MAX, ..Limits::default() };
    let (tar, bytes) = match open_tar(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Some(error.to_string())),
        result => result?,
    };
    let mut hashing = Hashing { input: tar, hash: sha2::Sha256::new(), position: 0 };
    let read = read(&mut hashing, limits);
    let digest = Digest::from_bytes(hashing.hash.finalize().into());
    if digest != *diff_id || hashing.position != bytes {
        return Ok(Some(format!("its tar has the digest {digest}")));
    }
    let file = fs_err::File::open(path)?.into_parts().0;
    let (tree, _) = match read {
        Ok(read) => read,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let mut same = true;
    let mut compare = |offset, bytes: &[u8]| {
        let mut there = vec![0; bytes.len()];
        // A file that is too short differs, too.
        same &= file.read_exact_at(&mut there, offset).is_ok() && there == bytes;
        Ok(())
    };
    let index = match index::write(&tree, &file, bytes, &mut compare) {
        Ok(index) => index,
        Err(error) => return Ok(Some(error.to_string())),
    };
    compare(0, &Head { tar_bytes: bytes, unpacked_bytes: tree.bytes, index }.encode())?;
    Ok((!same).then(|| "its index does not fit its tar".to_owned()))
}

/// Mounts a layer, read-only and detached: nothing else sees it, and it ends with the descriptor.
pub(super) fn mount(path: &Path) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", path.as_os_str().as_bytes())?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

impl<T: Input> Input for &mut T {
    fn position(&self) -> u64 {
        (**self).position()
    }

    fn take_failure(&mut self) -> Option<io::Error> {
        (**self).take_failure()
    }
}

/// Writes a tar and its index to an empty file and reads both back.
pub(super) fn index_of(tar: &[u8], file: &std::fs::File) {
    let limits = Limits { bytes_max: 1 << 30, free_bytes_min: 0, ..Limits::default() };
    let Ok((tree, tar_bytes)) = read(Copying::new(tar, file, limits), limits) else {
        return;
    };
    assert_eq!(tar_bytes, u64::try_from(tar.len()).unwrap_or_default(), "the whole tar is kept");
    let mut floor = TAR_OFFSET + tar_bytes;
    let written = index::write(&tree, file, tar_bytes, &mut |offset, bytes| {
        assert!(offset >= TAR_OFFSET + tar_bytes, "the index lies behind the tar");
        floor = floor.max(offset + u64::try_from(bytes.len()).unwrap_or_default());
        file.write_all_at(bytes, offset)
    });
    if let Ok(index) = written {
        assert!(index.offset.is_multiple_of(format::BLOCK) && floor <= index.offset + index.bytes, "the index ends where it says");
    }
}

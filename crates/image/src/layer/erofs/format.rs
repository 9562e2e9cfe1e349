//! The structures of EROFS, as far as layers use them; all numbers are little-endian.
//!
//! **Source:** Linux, `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.

/// Exponent of the block size: as a tar's, so that files stand in the tar on whole blocks.
pub(super) const BLOCK_BITS: u8 = 9;
/// Bytes of a block.
pub(super) const BLOCK: u64 = 1 << BLOCK_BITS;
/// Where the superblock is.
pub(super) const SUPER_OFFSET: usize = 1024;
/// Bytes of the superblock.
pub(super) const SUPER_BYTES: usize = 128;
/// Bytes of an inode; the extended form, which alone has a time.
pub(super) const INODE_BYTES: usize = 64;
/// Inodes are numbered by where they stand, in units of so many bytes.
pub(super) const SLOT_BYTES: u64 = 32;
/// Bytes of a directory entry without its name.
pub(super) const DIRENT_BYTES: usize = 12;
/// Instead of a block: a hole.
pub(super) const HOLE: u32 = u32::MAX;

const MAGIC: u32 = 0xe0f5_e1e2;
/// Times are those of modification.
const COMPAT_MTIME: u32 = 0x2;
/// There are files in chunks.
const INCOMPAT_CHUNKED: u32 = 0x4;

/// Where the data of an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In consecutive blocks.
    Plain,
    /// Behind the inode.
    Inline,
    /// In chunks, each with a block of its own; the map of them is behind the inode.
    Chunked,
}

impl Layout {
    fn number(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Inline => 2,
            Self::Chunked => 4,
        }
    }
}

/// What the superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Super {
    /// Number of the root directory's inode.
    pub(super) root: u16,
    pub(super) inodes: u64,
    /// Blocks of the whole file.
    pub(super) blocks: u32,
    /// The block that inodes are counted from.
    pub(super) inodes_block: u32,
    pub(super) uuid: [u8; 16],
    pub(super) chunked: bool,
}

impl Super {
    pub(super) fn encode(&self) -> [u8; SUPER_BYTES] {
        let mut bytes = [0; SUPER_BYTES];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPAT_MTIME.to_le_bytes());
        put(12, &[BLOCK_BITS]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(40, &self.inodes_block.to_le_bytes());
        put(48, &self.uuid);
        put(80, &if self.chunked { INCOMPAT_CHUNKED } else { 0 }.to_le_bytes());
        bytes
    }
}

/// What an inode says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    pub(super) layout: Layout,
    /// Units of attributes behind it.
    pub(super) xattr_count: u16,
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) size: u64,
    /// First block, device number or chunk format.
    pub(super) place: u32,
    /// For systems with short inode numbers.
    pub(super) serial: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) links: u32,
}

impl Inode {
    pub(super) fn encode(&self) -> [u8; INODE_BYTES] {
        let mut bytes = [0; INODE_BYTES];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        // The first bit means the extended form.
        put(0, &(1 | self.layout.number() << 1).to_le_bytes());
        put(2, &self.xattr_count.to_le_bytes());
        put(4, &self.mode.to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &self.place.to_le_bytes());
        put(20, &self.serial.to_le_bytes());
        put(24, &self.uid.to_le_bytes());
        put(28, &self.gid.to_le_bytes());
        put(32, &self.mtime.0.to_le_bytes());
        put(40, &self.mtime.1.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        bytes
    }
}

/// Puts a device number as the kernel stores it. **Source:** Linux, `include/linux/kdev_t.h`, `new_encode_dev`.
pub(super) fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// What a directory entry says of the type of its file. **Source:** `enum` of `FT_*` in `include/linux/fs_types.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    Regular,
    Directory,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Link,
}

impl FileType {
    /// Returns the number in a directory entry.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharacterDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Link => 7,
        }
    }

    /// Returns the bits of the mode, inode(7).
    pub(super) fn mode(self) -> u16 {
        match self {
            Self::Regular => 0o10_0000,
            Self::Directory => 0o4_0000,
            Self::CharacterDevice => 0o2_0000,
            Self::BlockDevice => 0o6_0000,
            Self::Fifo => 0o1_0000,
            Self::Link => 0o12_0000,
        }
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dirent<'a> {
    pub(super) name: &'a [u8],
    /// Number of the inode.
    pub(super) inode: u64,
    pub(super) file_type: FileType,
}

/// Writes a directory: in each block first the entries, then their names; all blocks but the last are filled with zeros.
///
/// Names must ascend, with `.` and `..` among them.
pub(super) fn directory<'a>(entries: impl Iterator<Item = Dirent<'a>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut block: Vec<Dirent<'a>> = Vec::new();
    let mut used = 0;
    for entry in entries {
        let more = DIRENT_BYTES + entry.name.len();
        if used + more > usize::from(1_u16 << BLOCK_BITS) {
            put_block(&mut bytes, &block);
            bytes.resize(bytes.len().next_multiple_of(1 << BLOCK_BITS), 0);
            block.clear();
            used = 0;
        }
        used += more;
        block.push(entry);
    }
    put_block(&mut bytes, &block);
    bytes
}

fn put_block(bytes: &mut Vec<u8>, block: &[Dirent<'_>]) {
    let mut name = block.len() * DIRENT_BYTES;
    for entry in block {
        bytes.extend(entry.inode.to_le_bytes());
        // A block is far smaller than what fits here.
        bytes.extend(u16::try_from(name).unwrap_or_default().to_le_bytes());
        bytes.extend([entry.file_type.number(), 0]);
        name += entry.name.len();
    }
    for entry in block {
        bytes.extend_from_slice(entry.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_fill_whole_blocks_but_the_last() {
        let names: Vec<String> = (0..60).map(|number| format!("name{number:04}")).collect();
        let entry = |name| Dirent { name, inode: 7, file_type: FileType::Regular };
        let bytes = directory(names.iter().map(|name| entry(name.as_bytes())));
        // 25 entries of 12 + 8 bytes in each block.
        assert_eq!(bytes.len(), 2 * 512 + 10 * 20);
        assert_eq!(bytes[8..10], 300_u16.to_le_bytes());
        assert_eq!(&bytes[300..308], b"name0000");
        assert_eq!(&bytes[512 + 300..][..8], b"name0025");
    }

    #[test]
    fn device_numbers_are_the_kernels() {
        assert_eq!(device(1, 3), 0x103);
        assert_eq!(device(0xfff, 0xf_ffff), 0xffff_ffff);
    }
}

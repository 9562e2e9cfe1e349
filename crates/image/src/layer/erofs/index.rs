//! The index behind a tar: inodes and directories that point into it.
//!
//! Behind the tar stand first the chunks of sparse files, which have no place of their own in the tar, then the inodes in
//! the order of a walk by breadth, then those directories and targets of links that do not fit behind their inode.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt as _;

use sha2::Digest as _;

use super::format::{self, BLOCK, BLOCK_BITS, Dirent, FileType, HOLE, INODE_BYTES, Inode, Layout, SLOT_BYTES, Super};
use super::{TAR_OFFSET, xattr};
use crate::tar::Segment;
use crate::tree::{Content, Id, Node, ROOT, Tree, UnpackError};

/// Where the root's inode stands behind the beginning of the inodes: number 0 would look like no file.
const ROOT_OFFSET: u64 = 64;
/// Smallest chunk of a sparse file, as an exponent; what is empty in a chunk takes no space.
const CHUNK_BITS_MIN: u8 = 16;
/// Most chunks of a sparse file; a larger one has larger chunks.
const CHUNKS_MAX: u64 = 1 << 16;
/// Bytes that are copied or written at once.
const COPY_BYTES: usize = 256 << 10;

/// Takes bytes for a place in the layer's file.
pub(super) type Put<'a> = dyn FnMut(u64, &[u8]) -> io::Result<()> + 'a;

/// An index that was written.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) superblock: Super,
    /// Where the inodes begin.
    pub(super) offset: u64,
    /// Bytes from there to the end of the file.
    pub(super) bytes: u64,
    pub(super) digest: [u8; 32],
}

/// Where an inode and its data are.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Bytes behind the beginning of the inodes; 0 for what no directory names.
    offset: u64,
    links: u32,
    /// First block of data behind the inodes; 0 if it stands elsewhere.
    block: u32,
}

/// The chunks of a sparse file.
struct Chunks {
    bits: u8,
    map: Vec<u32>,
}

/// Writes the index of a tar of `tar_bytes` that stands in `file` already.
pub(super) fn write(tree: &Tree, file: &std::fs::File, tar_bytes: u64, put: &mut Put<'_>) -> Result<Index, UnpackError> {
    let mut places = vec![Place::default(); tree.len()];
    let order = walk(tree, &mut places);
    let mut end = TAR_OFFSET.saturating_add(tar_bytes).next_multiple_of(BLOCK);
    let mut chunks = HashMap::new();
    for &id in &order {
        if let Content::Sparse { offset, size, segments } = &tree.node(id).content {
            let mut area = Area { file, put, end: &mut end };
            chunks.insert(id, area.fill(TAR_OFFSET + offset, *size, segments)?);
        }
    }
    let offset = end;
    let inodes_block = block(offset)?;
    let inodes_end = place_inodes(tree, &order, &chunks, &mut places);
    let mut data = offset + inodes_end.next_multiple_of(BLOCK);
    for &id in &order {
        let bytes = tail_bytes(tree, id);
        if bytes > 0 && !is_inline(tree.node(id), bytes) {
            places[id].block = block(data)?;
            data += bytes.next_multiple_of(BLOCK);
        }
    }
    let writer = Writer { tree, order: &order, places: &places, chunks: &chunks };
    let digest = writer.write(offset, put).map_err(|source| UnpackError::Tape { source })?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    let superblock = Super {
        root: u16::try_from(ROOT_OFFSET / SLOT_BYTES).unwrap_or_default(),
        inodes: u64::try_from(order.len()).unwrap_or_default(),
        blocks: block(data)?,
        inodes_block,
        uuid,
        chunked: !chunks.is_empty(),
    };
    Ok(Index { superblock, offset, bytes: data - offset, digest })
}

/// Lists what directories name, each directory before what is in it, and counts the names.
fn walk(tree: &Tree, places: &mut [Place]) -> Vec<Id> {
    let mut order = vec![ROOT];
    places[ROOT].links = 2;
    let mut next = 0;
    while let Some(&id) = order.get(next) {
        next += 1;
        let Content::Directory(directory) = &tree.node(id).content else {
            continue;
        };
        for &child in directory.entries.values() {
            if places[child].links == 0 {
                order.push(child);
            }
            places[child].links += 1;
            if matches!(tree.node(child).content, Content::Directory(_)) {
                // Its own `.`, and its `..` for this one.
                places[child].links += 1;
                places[id].links += 1;
            }
        }
    }
    order
}

/// Gives each inode its place and returns where the last one ends.
fn place_inodes(tree: &Tree, order: &[Id], chunks: &HashMap<Id, Chunks>, places: &mut [Place]) -> u64 {
    let mut end = ROOT_OFFSET;
    for &id in order {
        let node = tree.node(id);
        let tail = tail_bytes(tree, id);
        let head = bytes(INODE_BYTES + xattrs(node).len());
        // Neither an inode nor what stands behind it may reach from one block into the next.
        let whole = if is_inline(node, tail) { head + tail } else { bytes(INODE_BYTES) };
        let mut at = end.next_multiple_of(SLOT_BYTES);
        if at % BLOCK + whole > BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        places[id].offset = at;
        let map = chunks.get(&id).map_or(0, |chunks| 4 * bytes(chunks.map.len()));
        end = at + head + map + if is_inline(node, tail) { tail } else { 0 };
    }
    end
}

/// Returns the bytes of a directory or of the target of a link.
fn tail_bytes(tree: &Tree, id: Id) -> u64 {
    match &tree.node(id).content {
        Content::Directory(_) => bytes(directory(tree, id, &[]).len()),
        Content::Link(target) => bytes(target.len()),
        Content::File { .. } | Content::Sparse { .. } | Content::CharacterDevice(..) | Content::BlockDevice(..) | Content::Fifo => 0,
    }
}

/// Says whether such data goes behind the inode.
fn is_inline(node: &Node, tail: u64) -> bool {
    tail > 0 && bytes(INODE_BYTES + xattrs(node).len()) + tail <= BLOCK
}

/// Writes a directory; where no places are known yet, with numbers that mean nothing.
fn directory(tree: &Tree, id: Id, places: &[Place]) -> Vec<u8> {
    let Content::Directory(content) = &tree.node(id).content else {
        return Vec::new();
    };
    let dirent = |name, id: Id| Dirent {
        name,
        inode: places.get(id).map_or(0, |place| place.offset / SLOT_BYTES),
        file_type: file_type(&tree.node(id).content),
    };
    let mut entries: Vec<Dirent<'_>> = content.entries.iter().map(|(name, &child)| dirent(name, child)).collect();
    for (name, id) in [(&b"."[..], id), (b"..", content.parent)] {
        let place = entries.partition_point(|entry| entry.name < name);
        entries.insert(place, dirent(name, id));
    }
    format::directory(entries.into_iter())
}

fn file_type(content: &Content) -> FileType {
    match content {
        Content::Directory(_) => FileType::Directory,
        Content::File { .. } | Content::Sparse { .. } => FileType::Regular,
        Content::Link(_) => FileType::Link,
        Content::CharacterDevice(..) => FileType::CharacterDevice,
        Content::BlockDevice(..) => FileType::BlockDevice,
        Content::Fifo => FileType::Fifo,
    }
}

/// Returns what stands between an inode and its data.
fn xattrs(node: &Node) -> Vec<u8> {
    let opaque = matches!(&node.content, Content::Directory(directory) if directory.opaque);
    xattr::with_head(&node.xattrs, opaque)
}

/// The end of the file, where chunks are put.
struct Area<'a, 'b> {
    file: &'a std::fs::File,
    put: &'a mut Put<'b>,
    end: &'a mut u64,
}

impl Area<'_, '_> {
    /// Copies the segments of a sparse file, which stand at `source` one after the other, to chunks at the end.
    fn fill(&mut self, mut source: u64, size: u64, segments: &[Segment]) -> Result<Chunks, UnpackError> {
        let mut bits = CHUNK_BITS_MIN;
        while size.div_ceil(1 << bits) > CHUNKS_MAX {
            bits += 1;
        }
        let chunk_bytes = 1_u64 << bits;
        let count = usize::try_from(size.div_ceil(chunk_bytes)).unwrap_or_default();
        let mut map = vec![HOLE; count];
        for segment in segments {
            let (mut at, mut left) = (segment.offset, segment.length);
            while left > 0 {
                let index = usize::try_from(at / chunk_bytes).unwrap_or(usize::MAX);
                let within = at % chunk_bytes;
                let length = left.min(chunk_bytes - within);
                let chunk = map.get_mut(index).ok_or(UnpackError::Limit { what: "a sparse file is larger than it says" })?;
                if *chunk == HOLE {
                    *chunk = block(*self.end)?;
                    *self.end += chunk_bytes.min((size - (at - within)).next_multiple_of(BLOCK));
                }
                self.copy(source, u64::from(*chunk) * BLOCK + within, length).map_err(|source| UnpackError::Tape { source })?;
                source += length;
                at += length;
                left -= length;
            }
        }
        Ok(Chunks { bits, map })
    }

    fn copy(&mut self, mut from: u64, mut to: u64, mut left: u64) -> io::Result<()> {
        let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(left).unwrap_or(COPY_BYTES))];
        while left > 0 {
            let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut buffer[..length], from)?;
            (self.put)(to, &buffer[..length])?;
            let length = bytes(length);
            (from, to, left) = (from + length, to + length, left - length);
        }
        Ok(())
    }
}

/// What is written when all places are known.
struct Writer<'a> {
    tree: &'a Tree,
    order: &'a [Id],
    places: &'a [Place],
    chunks: &'a HashMap<Id, Chunks>,
}

impl Writer<'_> {
    fn write(&self, offset: u64, put: &mut Put<'_>) -> io::Result<[u8; 32]> {
        let mut out = Output { put, start: offset, written: 0, buffer: Vec::new(), hash: sha2::Sha256::new() };
        for (serial, &id) in (1_u32..).zip(self.order) {
            out.pad_to(self.places[id].offset)?;
            self.inode(id, serial, &mut out)?;
        }
        for &id in self.order {
            let place = self.places[id];
            if place.block > 0 {
                out.pad_to(u64::from(place.block) * BLOCK - offset)?;
                out.write(&self.tail(id))?;
            }
        }
        out.finish()
    }

    fn inode(&self, id: Id, serial: u32, out: &mut Output<'_, '_>) -> io::Result<()> {
        let (node, place) = (self.tree.node(id), self.places[id]);
        let xattrs = xattrs(node);
        let mut tail = self.tail(id);
        let (mut layout, mut size, mut data) = (Layout::Plain, bytes(tail.len()), place.block);
        if is_inline(node, size) {
            layout = Layout::Inline;
        } else {
            tail.clear();
        }
        match &node.content {
            Content::File { offset, size: length } => {
                size = *length;
                // It was looked at when the tar was read.
                data = u32::try_from((TAR_OFFSET + offset) / BLOCK).unwrap_or(HOLE);
            }
            Content::Sparse { size: length, .. } => {
                size = *length;
                if let Some(chunks) = self.chunks.get(&id).filter(|_| size > 0) {
                    layout = Layout::Chunked;
                    data = u32::from(chunks.bits - BLOCK_BITS);
                    tail = chunks.map.iter().flat_map(|block| block.to_le_bytes()).collect();
                }
            }
            Content::CharacterDevice(major, minor) | Content::BlockDevice(major, minor) => data = format::device(*major, *minor),
            Content::Directory(_) | Content::Link(_) | Content::Fifo => {}
        }
        let inode = Inode {
            layout,
            xattr_count: xattr::count(&xattrs),
            mode: file_type(&node.content).mode() | node.mode,
            size,
            place: data,
            serial,
            uid: node.uid,
            gid: node.gid,
            mtime: node.mtime,
            links: place.links,
        };
        out.write(&inode.encode())?;
        out.write(&xattrs)?;
        out.write(&tail)
    }

    fn tail(&self, id: Id) -> Vec<u8> {
        if let Content::Link(target) = &self.tree.node(id).content { target.to_vec() } else { directory(self.tree, id, self.places) }
    }
}

/// Writes from the beginning of the inodes to the end of the file.
struct Output<'a, 'b> {
    put: &'a mut Put<'b>,
    start: u64,
    written: u64,
    buffer: Vec<u8>,
    hash: sha2::Sha256,
}

impl Output<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= COPY_BYTES { self.flush() } else { Ok(()) }
    }

    fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        let at = self.written + bytes(self.buffer.len());
        let gap = usize::try_from(offset.saturating_sub(at)).unwrap_or_default();
        self.buffer.resize(self.buffer.len() + gap, 0);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        (self.put)(self.start + self.written, &self.buffer)?;
        self.hash.update(&self.buffer);
        self.written += bytes(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Fills the last block.
    fn finish(mut self) -> io::Result<[u8; 32]> {
        let end = (self.written + bytes(self.buffer.len())).next_multiple_of(BLOCK);
        self.pad_to(end)?;
        self.flush()?;
        Ok(self.hash.finalize().into())
    }
}

/// Returns the number of the block at a multiple of its size.
fn block(offset: u64) -> Result<u32, UnpackError> {
    // The last number means a hole.
    u32::try_from(offset / BLOCK).ok().filter(|&block| block != HOLE).ok_or(UnpackError::Limit { what: "it takes more than 2 TiB" })
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

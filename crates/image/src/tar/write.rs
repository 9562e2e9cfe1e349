//! Headers of tars that we write.

use std::io;

use super::{BLOCK, Entry, Kind};

/// Largest size in octal digits. **Source:** POSIX `pax`, "ustar Interchange Format", field `size`.
const OCTAL_MAX: u64 = 0o77_777_777_777;
/// Largest owner in octal digits. **Source:** as above, field `uid`.
const OWNER_MAX: u32 = 0o7_777_777;
/// Longest name and link in a header.
const NAME_BYTES: usize = 100;

/// Makes the header of a file or (with a name that ends in a slash) a directory of root.
///
/// The name must have at most 100 bytes; what is longer is cut.
pub(crate) fn header(name: &str, size: u64, mtime: u64) -> [u8; BLOCK] {
    let is_directory = name.ends_with('/');
    let fields = Fields {
        name: name.as_bytes(),
        link: &[],
        kind: if is_directory { b'5' } else { b'0' },
        mode: if is_directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        size,
        mtime,
        device: (0, 0),
    };
    fields.block()
}

/// Makes all header blocks of an entry: a PAX header first where something does not fit in ustar's fields.
///
/// # Errors
/// A text that PAX cannot hold.
pub(crate) fn headers(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut name = entry.path.clone();
    if entry.kind == Kind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    let mut records = Vec::new();
    let fits = |text: &[u8]| text.len() <= NAME_BYTES && text.is_ascii();
    if !fits(&name) {
        record(&mut records, b"path", &name);
    }
    if !fits(&entry.link) {
        record(&mut records, b"linkpath", &entry.link);
    }
    if entry.size > OCTAL_MAX {
        record(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id > OWNER_MAX {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    let seconds = u64::try_from(entry.mtime.0).ok().filter(|seconds| *seconds <= OCTAL_MAX);
    if seconds.is_none() {
        record(&mut records, b"mtime", entry.mtime.0.to_string().as_bytes());
    }
    for (key, value) in &entry.xattrs {
        if key.contains(&b'=') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the name of an extended attribute holds `=`, which no tar can say"));
        }
        record(&mut records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
    }
    let mut blocks = Vec::with_capacity(3 * BLOCK);
    let plain = Fields { name: b"", link: b"", kind: b'x', mode: 0, uid: 0, gid: 0, size: 0, mtime: 0, device: (0, 0) };
    if !records.is_empty() {
        let size = u64::try_from(records.len()).unwrap_or(u64::MAX);
        blocks.extend(Fields { name: b"PaxHeaders.0/entry", size, ..plain }.block());
        blocks.extend_from_slice(&records);
        blocks.extend_from_slice(padding(size));
    }
    let owner = |id: u32| if id > OWNER_MAX { 0 } else { id };
    let fields = Fields {
        name: &name,
        link: &entry.link,
        kind: match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::SymbolicLink => b'2',
            Kind::CharacterDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        },
        mode: entry.mode,
        uid: owner(entry.uid),
        gid: owner(entry.gid),
        size: entry.size,
        mtime: seconds.unwrap_or(0),
        device: entry.device,
    };
    blocks.extend(fields.block());
    Ok(blocks)
}

/// Adds a PAX record: `<length> <key>=<value>\n`, the length counting itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The fields of a ustar header; what does not fit is cut.
#[derive(Clone, Copy)]
struct Fields<'a> {
    name: &'a [u8],
    link: &'a [u8],
    kind: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: u64,
    device: (u32, u32),
}

impl Fields<'_> {
    /// **Source:** POSIX `pax`, "ustar Interchange Format".
    fn block(self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |offset: usize, bytes: &[u8], most: usize| {
            let bytes = &bytes[..bytes.len().min(most)];
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, self.name, NAME_BYTES);
        put(100, format!("{:07o}", self.mode).as_bytes(), 7);
        put(108, format!("{:07o}", self.uid).as_bytes(), 7);
        put(116, format!("{:07o}", self.gid).as_bytes(), 7);
        if self.size <= OCTAL_MAX {
            put(124, format!("{:011o}", self.size).as_bytes(), 11);
        } else {
            put(124, &[0x80], 1);
            put(128, &self.size.to_be_bytes(), 8);
        }
        put(136, format!("{:011o}", self.mtime.min(OCTAL_MAX)).as_bytes(), 11);
        put(148, b"        ", 8);
        put(156, &[self.kind], 1);
        put(157, self.link, NAME_BYTES);
        put(257, b"ustar\x0000", 8);
        put(329, format!("{:07o}", self.device.0).as_bytes(), 7);
        put(337, format!("{:07o}", self.device.1).as_bytes(), 7);
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }
}

/// Returns the zeros after content of `size` bytes.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    &[0; BLOCK][..usize::try_from(size.wrapping_neg() % 512).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Archive, Entry, Kind};

    #[test]
    fn large_sizes_are_read_back() {
        for size in [0, 1, 1 << 32, super::OCTAL_MAX, super::OCTAL_MAX + 1, 1 << 40] {
            let block = super::header("blobs/x", size, 7);
            let entry = Archive::new(&block[..]).next_entry().unwrap().unwrap();
            assert_eq!((entry.size, entry.mtime), (size, (7, 0)));
        }
    }

    fn text(bytes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1_u8..=255, bytes).prop_filter("no slash at an end", |text| text.last() != Some(&b'/'))
    }

    proptest! {
        #[test]
        fn every_entry_is_read_back(
            path in text(1..400), link in text(0..300), kind in 0_usize..7,
            (mode, uid, gid) in (0_u32..0o7777, 0_u32..u32::MAX, 0_u32..u32::MAX),
            (size, seconds) in (any::<u64>().prop_map(|size| size >> 1), -1_i64 << 40..1 << 40),
            device in (0_u32..1 << 12, 0_u32..1 << 20),
            xattrs in proptest::collection::btree_map("user\\.[a-z]{1,20}", proptest::collection::vec(any::<u8>(), 0..300), 0..3),
        ) {
            let kinds = [Kind::File, Kind::HardLink, Kind::SymbolicLink, Kind::CharacterDevice, Kind::BlockDevice, Kind::Directory, Kind::Fifo];
            let kind = kinds[kind];
            let is_link = matches!(kind, Kind::HardLink | Kind::SymbolicLink);
            let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
            let entry = Entry {
                path, link: if is_link { link } else { Vec::new() }, kind, mode, uid, gid,
                size: if kind == Kind::File { size } else { 0 },
                mtime: (seconds, 0),
                device: if is_device { device } else { (0, 0) },
                xattrs: xattrs.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect(),
                sparse: None,
            };
            let blocks = super::headers(&entry).unwrap();
            let mut read = Archive::new(&blocks[..]).next_entry().unwrap().unwrap();
            if kind == Kind::Directory {
                prop_assert_eq!(read.path.pop(), Some(b'/'));
            }
            prop_assert_eq!(read, entry);
        }
    }
}

//! The reader.

use std::io::{self, BufRead, Read};

use super::entry::{Entry, Kind};
use super::pax::{Pax, SparsePlan};
use super::sparse::{self, Segment};
use super::{BLOCK, TarError, number};

/// Longest extended header or long name. **Source:** Go, `archive/tar`, `maxSpecialFileSize`.
const SPECIAL_BYTES_MAX: u64 = 1 << 20;

/// Bytes that are skipped at a time.
const SKIP_BYTES: usize = 256 << 10;

/// A tar stream. After `next_entry` the data of the entry is read with `Read`; what is left is skipped.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    input: R,
    /// Bytes of the current entry's data not yet read.
    remaining: u64,
    /// Bytes of padding after them.
    padding: u64,
    done: bool,
}

/// What the headers before an entry said about it.
#[derive(Default)]
struct Extended {
    pax: Pax,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, remaining: 0, padding: 0, done: false }
    }

    /// Returns the stream below.
    pub(crate) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Gives the stream back.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    /// Reads headers up to the next entry; nothing at the end of the archive.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        let mut special = false;
        loop {
            self.skip_data()?;
            let mut block = [0; BLOCK];
            if self.done || !self.read_header(&mut block)? {
                self.done = true;
                return if special { Err(TarError::Truncated) } else { Ok(None) };
            }
            let header = Header(&block);
            let stored = header.size()?;
            match block[156] {
                b'x' => extended.pax.parse(&self.read_special(stored)?)?,
                b'g' => drop(self.read_special(stored)?),
                b'L' => extended.long_path = Some(until_nul(&self.read_special(stored)?).to_vec()),
                b'K' => extended.long_link = Some(until_nul(&self.read_special(stored)?).to_vec()),
                b'V' => self.set_data(stored),
                _ => return self.entry(&header, extended).map(Some),
            }
            special = matches!(block[156], b'x' | b'L' | b'K');
        }
    }

    /// Reads and forgets everything after the archive's end, so that a digest covers it.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        io::copy(&mut self.input, &mut io::sink()).map(drop)
    }

    /// Passes over the data of the entry without copying it.
    pub(crate) fn pass_data(&mut self) -> Result<(), TarError>
    where
        R: BufRead,
    {
        while self.remaining > 0 {
            let there = u64::try_from(self.input.fill_buf()?.len()).unwrap_or(u64::MAX);
            if there == 0 {
                return Err(TarError::Truncated);
            }
            let count = there.min(self.remaining);
            self.input.consume(usize::try_from(count).unwrap_or_default());
            self.remaining -= count;
        }
        Ok(())
    }

    /// Passes over everything after the archive's end, so that a digest covers it.
    pub(crate) fn pass_rest(&mut self) -> Result<(), TarError>
    where
        R: BufRead,
    {
        loop {
            let count = self.input.fill_buf()?.len();
            if count == 0 {
                return Ok(());
            }
            self.input.consume(count);
        }
    }

    fn entry(&mut self, header: &Header<'_>, extended: Extended) -> Result<Entry, TarError> {
        let Extended { mut pax, long_path, long_link } = extended;
        let path = long_path.or(pax.sparse.name.take()).or(pax.path.take()).unwrap_or_else(|| header.path());
        let link = long_link.or(pax.link.take()).unwrap_or_else(|| until_nul(&header.0[157..257]).to_vec());
        let kind = header.kind(&path)?;
        let mut stored = match pax.size {
            Some(size) => size,
            None => header.size()?,
        };
        if kind != Kind::File {
            stored = 0;
        }
        self.set_data(stored);
        let (size, map) = if kind == Kind::File { self.sparse(header, &pax, stored)? } else { (0, None) };
        let id = |pax: Option<u64>, field: &[u8]| -> Result<u32, TarError> {
            let id = match pax {
                Some(id) => id,
                None => number::parse_unsigned(field)?,
            };
            // The largest number means "no change" to chown(2).
            u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(TarError::Invalid("an owner is too large"))
        };
        let device = |field: &[u8]| -> Result<u32, TarError> {
            u32::try_from(number::parse_unsigned(field)?).map_err(|_| TarError::Invalid("a device number is too large"))
        };
        let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
        let mode = number::parse_unsigned(&header.0[100..108])? & 0o7777;
        Ok(Entry {
            path,
            link,
            kind,
            mode: u32::try_from(mode).map_err(|_| TarError::Invalid("a mode is too large"))?,
            uid: id(pax.uid, &header.0[108..116])?,
            gid: id(pax.gid, &header.0[116..124])?,
            size,
            mtime: match pax.mtime {
                Some(time) => time,
                None => (number::parse(&header.0[136..148])?, 0),
            },
            device: if is_device { (device(&header.0[329..337])?, device(&header.0[337..345])?) } else { (0, 0) },
            xattrs: pax.xattrs,
            sparse: map,
        })
    }

    /// Returns the unpacked size and the map of a sparse file.
    fn sparse(&mut self, header: &Header<'_>, pax: &Pax, stored: u64) -> Result<(u64, Option<Vec<Segment>>), TarError> {
        let mut map = Vec::new();
        let real_size = if header.0[156] == b'S' {
            sparse::old_entries(&header.0[386..482], &mut map)?;
            let mut more = header.0[482] != 0;
            while more {
                let mut block = [0; BLOCK];
                self.input.read_exact(&mut block)?;
                sparse::old_entries(&block[..504], &mut map)?;
                more = block[504] != 0;
            }
            number::parse_unsigned(&header.0[483..495])?
        } else {
            match pax.sparse.plan()? {
                None => return Ok((stored, None)),
                Some(SparsePlan::Map(segments)) => map = segments,
                Some(SparsePlan::InData) => map = self.sparse_in_data()?,
            }
            pax.sparse.real_size.ok_or(TarError::Invalid("a sparse file has no size"))?
        };
        sparse::check(&map, real_size, self.remaining)?;
        Ok((real_size, Some(map)))
    }

    /// Reads the map before the data: decimal numbers, one a line, the count first, padded to a block.
    fn sparse_in_data(&mut self) -> Result<Vec<Segment>, TarError> {
        let wrong = || TarError::Invalid("the map of a sparse file is malformed");
        let (mut numbers, mut wanted, mut digits) = (Vec::new(), None, Vec::new());
        while wanted != Some(numbers.len()) {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            for &byte in &block {
                if wanted == Some(numbers.len()) {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(wrong());
                    }
                    continue;
                }
                let value = number::decimal(&digits)?;
                digits.clear();
                if wanted.is_some() {
                    numbers.push(value);
                    continue;
                }
                let count = usize::try_from(value).ok().filter(|&count| count <= sparse::SEGMENTS_MAX);
                wanted = Some(count.ok_or_else(wrong)? * 2);
            }
        }
        sparse::pairs(&numbers)
    }

    fn set_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % 512;
    }

    fn read_special(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > SPECIAL_BYTES_MAX {
            return Err(TarError::Invalid("an extended header is too long"));
        }
        self.set_data(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        if self.remaining > 0 {
            let mut buffer = vec![0; usize::try_from(self.remaining).unwrap_or(SKIP_BYTES).min(SKIP_BYTES)];
            while self.remaining > 0 {
                match self.read(&mut buffer) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let padding = std::mem::take(&mut self.padding);
        // Some writers leave the last padding and the end of the archive out.
        self.done |= io::copy(&mut self.input.by_ref().take(padding), &mut io::sink())? != padding;
        Ok(())
    }

    /// Reads a header block; false at the end: a block of zeros, or no block at all.
    fn read_header(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(TarError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        if block.iter().all(|&b| b == 0) {
            return Ok(false);
        }
        Header(block).check()?;
        Ok(true)
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if limit == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= u64::try_from(count).unwrap_or_default();
        Ok(count)
    }
}

struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    /// The sum of all bytes with the sum's own field as spaces; old writers summed signed bytes.
    fn check(&self) -> Result<(), TarError> {
        let expected = number::parse(&self.0[148..156])?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (index, &byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(i8::from_ne_bytes([byte]));
        }
        if expected == unsigned || expected == signed {
            return Ok(());
        }
        Err(TarError::Invalid("the checksum of a header is wrong"))
    }

    fn size(&self) -> Result<u64, TarError> {
        number::parse_unsigned(&self.0[124..136])
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = if &self.0[257..263] == b"ustar\0" { until_nul(&self.0[345..500]) } else { &[] };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    fn kind(&self, path: &[u8]) -> Result<Kind, TarError> {
        Ok(match self.0[156] {
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(TarError::Invalid("an entry is of an unknown kind")),
        })
    }
}

/// Says whether `start` begins with a header, or with the zeros of an empty archive.
pub(crate) fn looks_like_tar(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block: &[u8; BLOCK]| block.iter().all(|&b| b == 0) || Header(block).check().is_ok())
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.iter().position(|&b| b == 0).map_or(field, |end| &field[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pax::record;
    use super::*;

    fn header(name: &[u8], kind: u8, size: usize) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000644");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut block);
        block
    }

    fn seal(block: &mut [u8; BLOCK]) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }

    fn with_data(name: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = header(name, kind, data.len()).to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    #[test]
    fn the_size_of_pax_replaces_that_of_the_header() {
        let mut bytes = with_data(b"x", b'x', &record("size", b"600"));
        bytes.extend_from_slice(&header(b"a", b'0', 0));
        bytes.extend_from_slice(&[7; 1024]);
        bytes.extend(with_data(b"b", b'0', b"next"));
        let mut archive = Archive::new(&bytes[..]);
        assert_eq!(archive.next_entry().unwrap().unwrap().size, 600);
        assert_eq!(archive.next_entry().unwrap().unwrap().path, b"b");
        assert!(archive.next_entry().unwrap().is_none());
    }

    #[test]
    fn gnu_long_names_and_links_are_joined() {
        let long = vec![b'n'; 300];
        let bytes = [
            with_data(b"././@LongLink", b'L', &[&long[..], b"\0"].concat()),
            with_data(b"././@LongLink", b'K', &[&long[..], b"/t\0"].concat()),
            with_data(b"short", b'2', b""),
        ]
        .concat();
        let entry = Archive::new(&bytes[..]).next_entry().unwrap().unwrap();
        assert_eq!((entry.kind, entry.path.len(), entry.link.len()), (Kind::SymbolicLink, 300, 302));
    }

    #[test]
    fn sparse_files_of_version_1_have_their_map_before_the_data() {
        let map = b"2\n0\n3\n1000\n2\n";
        let mut data = map.to_vec();
        data.resize(BLOCK, 0);
        data.extend_from_slice(b"abcde");
        let records = [("major", "1"), ("minor", "0"), ("realsize", "2000"), ("name", "real/x")]
            .map(|(key, value)| record(&format!("GNU.sparse.{key}"), value.as_bytes()))
            .concat();
        let bytes = [with_data(b"x", b'x', &records), with_data(b"GNUSparseFile.0/x", b'0', &data)].concat();
        let mut archive = Archive::new(&bytes[..]);
        let entry = archive.next_entry().unwrap().unwrap();
        assert_eq!((entry.path.as_slice(), entry.size), (&b"real/x"[..], 2000));
        assert_eq!(entry.sparse.unwrap(), [Segment { offset: 0, length: 3 }, Segment { offset: 1000, length: 2 }]);
        let mut rest = Vec::new();
        archive.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"abcde");
    }

    #[test]
    fn cut_archives_are_errors() {
        let whole = [with_data(b"a", b'0', &[1; 700]), with_data(b"b", b'5', b"")].concat();
        // The padding of the first file may be missing.
        for end in (1..whole.len()).filter(|end| !(BLOCK + 700..=3 * BLOCK).contains(end)) {
            let mut archive = Archive::new(&whole[..end]);
            let result = (|| {
                while archive.next_entry()?.is_some() {}
                Ok::<_, TarError>(())
            })();
            assert!(matches!(result, Err(TarError::Truncated)), "{end}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), kind in any::<u8>(), repair in any::<bool>()) {
            if repair {
                for chunk in bytes.chunks_exact_mut(BLOCK) {
                    let mut block: [u8; BLOCK] = chunk.try_into().unwrap();
                    block[156] = b"0SxLKg25"[usize::from(kind % 8)];
                    block[124..136].copy_from_slice(b"00000000777\0");
                    seal(&mut block);
                    chunk.copy_from_slice(&block);
                }
            }
            let mut archive = Archive::new(&bytes[..]);
            for _ in 0..100 {
                if !matches!(archive.next_entry(), Ok(Some(_))) {
                    break;
                }
            }
        }

        #[test]
        fn entries_come_back(names in proptest::collection::vec("[a-z]{1,90}", 1..5), data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let bytes: Vec<u8> = names.iter().flat_map(|name| with_data(name.as_bytes(), b'0', &data)).collect();
            let mut archive = Archive::new(&bytes[..]);
            for name in &names {
                let entry = archive.next_entry().unwrap().unwrap();
                prop_assert_eq!(entry.path, name.as_bytes());
                let mut read = Vec::new();
                archive.read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read, &data);
            }
            prop_assert!(archive.next_entry().unwrap().is_none());
        }
    }
}

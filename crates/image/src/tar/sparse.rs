//! Sparse files of GNU tar: the old format, and 0.0, 0.1 and 1.0 in PAX records.

use super::pax::SparsePlan;
use super::{TarError, number};

/// Most segments one file may have.
pub(crate) const SEGMENTS_MAX: usize = 1 << 18;

const WRONG: TarError = TarError::Invalid("the map of a sparse file is malformed");

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it goes.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) length: u64,
}

/// What PAX records say about a sparse file.
#[derive(Debug, Default)]
pub(crate) struct SparseBuilder {
    major: Option<u64>,
    map: Vec<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    given: bool,
}

impl SparseBuilder {
    pub(crate) fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        match key {
            b"major" => self.major = Some(number::decimal(value)?),
            b"name" if !value.contains(&0) => self.name = Some(value.to_vec()),
            b"name" => return Err(WRONG),
            b"size" | b"realsize" => self.real_size = Some(number::decimal(value)?),
            b"offset" | b"numbytes" => {
                // Pairs in turn; a map out of turn is refused when it is checked.
                let even = self.map.len().is_multiple_of(2);
                if even != (key == b"offset") {
                    return Err(WRONG);
                }
                self.given = true;
                self.map.push(number::decimal(value)?);
            }
            b"map" => {
                self.given = true;
                self.map.clear();
                for part in value.split(|&b| b == b',').filter(|part| !part.is_empty()) {
                    self.map.push(number::decimal(part)?);
                }
            }
            _ => {}
        }
        if self.map.len() > 2 * SEGMENTS_MAX { Err(WRONG) } else { Ok(()) }
    }

    /// Returns how the data of the file is laid out; nothing for a file that is not sparse.
    pub(crate) fn plan(&self) -> Result<Option<SparsePlan>, TarError> {
        if self.major == Some(1) {
            return Ok(Some(SparsePlan::InData));
        }
        if !self.given {
            return Ok(None);
        }
        pairs(&self.map).map(|map| Some(SparsePlan::Map(map)))
    }
}

/// Joins offsets and lengths.
pub(crate) fn pairs(numbers: &[u64]) -> Result<Vec<Segment>, TarError> {
    if !numbers.len().is_multiple_of(2) {
        return Err(WRONG);
    }
    Ok(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
}

/// Reads the entries of an old GNU header or of an extension block.
pub(crate) fn old_entries(field: &[u8], map: &mut Vec<Segment>) -> Result<(), TarError> {
    for entry in field.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let offset = number::parse_unsigned(&entry[..12])?;
        let length = number::parse_unsigned(&entry[12..])?;
        map.push(Segment { offset, length });
    }
    if map.len() > SEGMENTS_MAX { Err(WRONG) } else { Ok(()) }
}

/// Checks that segments ascend, do not overlap, lie inside the file and use exactly `stored` bytes.
pub(crate) fn check(map: &[Segment], real_size: u64, stored: u64) -> Result<(), TarError> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for segment in map {
        if segment.offset < end {
            return Err(WRONG);
        }
        end = segment.offset.checked_add(segment.length).ok_or(WRONG)?;
        sum = sum.checked_add(segment.length).ok_or(WRONG)?;
    }
    if end > real_size || sum != stored { Err(WRONG) } else { Ok(()) }
}

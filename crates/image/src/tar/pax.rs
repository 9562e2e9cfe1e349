//! PAX extended headers.

use super::TarError;
use super::number;
use super::sparse::{Segment, SparseBuilder};

/// Values that replace fields of the next header.
#[derive(Debug, Default)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: SparseBuilder,
}

const WRONG: TarError = TarError::Invalid("a PAX header is malformed");

impl Pax {
    /// Adds the records of one extended header: `<length> <key>=<value>\n`, the length counting itself.
    pub(crate) fn parse(&mut self, mut bytes: &[u8]) -> Result<(), TarError> {
        while !bytes.is_empty() {
            // Some writers pad the header with NULs.
            if bytes.iter().all(|&b| b == 0) {
                break;
            }
            let space = bytes.iter().take(21).position(|&b| b == b' ').ok_or(WRONG)?;
            let length = usize::try_from(number::decimal(&bytes[..space])?).map_err(|_| WRONG)?;
            let record = bytes.get(space + 1..length).ok_or(WRONG)?;
            let (record, end) = record.split_at_checked(record.len().saturating_sub(1)).ok_or(WRONG)?;
            if end != b"\n" {
                return Err(WRONG);
            }
            let equals = record.iter().position(|&b| b == b'=').ok_or(WRONG)?;
            self.apply(&record[..equals], &record[equals + 1..])?;
            bytes = bytes.get(length..).ok_or(WRONG)?;
        }
        Ok(())
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return Err(WRONG);
            }
            self.xattrs.retain(|(other, _)| other != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.apply(key, value);
        }
        let names_file = matches!(key, b"path" | b"linkpath");
        if names_file && value.contains(&0) {
            return Err(WRONG);
        }
        // An empty value takes the record back.
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"size" => self.size = given.then(|| number::decimal(value)).transpose()?,
            b"uid" => self.uid = given.then(|| number::decimal(value)).transpose()?,
            b"gid" => self.gid = given.then(|| number::decimal(value)).transpose()?,
            b"mtime" => self.mtime = given.then(|| number::time(value)).transpose()?,
            _ => {}
        }
        Ok(())
    }
}

/// A sparse map and what belongs to it, from PAX records.
#[derive(Debug)]
pub(crate) enum SparsePlan {
    /// The map was in the records (formats 0.0 and 0.1).
    Map(Vec<Segment>),
    /// The map stands before the data (format 1.0).
    InData,
}

/// Writes one record, for tests.
#[cfg(test)]
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_replace_and_are_taken_back() {
        let mut pax = Pax::default();
        let records = [record("path", b"abc"), record("mtime", b"12.5"), record("SCHILY.xattr.user.a", b"x\0\n=yyy")];
        pax.parse(&records.concat()).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"abc"[..]));
        assert_eq!(pax.mtime, Some((12, 500_000_000)));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"x\0\n=yyy".to_vec())]);
        pax.parse(&record("path", b"")).unwrap();
        assert_eq!(pax.path, None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"3 \n",
            b"0 a=b\n",
            b"6 ab=c",
            b"12 path=a\0c\n",
            b"9 size=-1\n",
            b"99999999999999999999999 a=b\n",
        ] {
            assert!(Pax::default().parse(bad).is_err(), "{bad:?}");
        }
    }
}

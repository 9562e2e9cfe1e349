//! Extended attributes as they stand behind an inode.
//!
//! **Source:** Linux, `fs/erofs/erofs_fs.h`, `struct erofs_xattr_ibody_header` and `struct erofs_xattr_entry`.

/// Bytes before the first attribute.
const HEAD_BYTES: usize = 12;
/// Units of attributes that an inode may have; the inode counts in 16 bits. Some are left for overlay's own.
const UNITS_MAX: usize = 65_500;

/// The beginnings of names that have a number instead; the names of the second and third end with it.
const PREFIXES: [(&[u8], u8); 5] =
    [(b"user.", 1), (b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3), (b"trusted.", 4), (b"security.", 6)];

/// Says whether the format has room for these attributes.
pub(super) fn fit(attributes: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let fits = |(name, value): &(Vec<u8>, Vec<u8>)| name.len() <= 255 && value.len() <= usize::from(u16::MAX);
    attributes.iter().all(fits) && with_head(attributes, false).len() / 4 <= UNITS_MAX
}

/// Writes the head and the attributes, nothing where there are none; those of a kind that the file system does not have
/// are left out.
pub(super) fn with_head(attributes: &[(Vec<u8>, Vec<u8>)], opaque: bool) -> Vec<u8> {
    if attributes.is_empty() && !opaque {
        return Vec::new();
    }
    let mut bytes = vec![0; HEAD_BYTES];
    for (name, value) in attributes {
        append(&mut bytes, name, value);
    }
    if opaque {
        append(&mut bytes, b"trusted.overlay.opaque", b"y");
    }
    if bytes.len() == HEAD_BYTES {
        bytes.clear();
    }
    bytes
}

/// Returns what the inode says of attributes that [`with_head`] wrote.
pub(super) fn count(bytes: &[u8]) -> u16 {
    match bytes.len() {
        0 => 0,
        length => u16::try_from(1 + (length - HEAD_BYTES) / 4).unwrap_or(u16::MAX),
    }
}

fn append(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let known = PREFIXES.iter().find_map(|(prefix, index)| name.strip_prefix(*prefix).map(|rest| (rest, *index)));
    let Some((rest, index)) = known.filter(|&(rest, index)| matches!(index, 2 | 3) == rest.is_empty()) else {
        return;
    };
    let (Ok(name_bytes), Ok(value_bytes)) = (u8::try_from(rest.len()), u16::try_from(value.len())) else {
        return;
    };
    bytes.extend([name_bytes, index]);
    bytes.extend(value_bytes.to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_strangers_left_out() {
        let some = |name: &[u8], value: &[u8]| with_head(&[(name.to_vec(), value.to_vec())], false);
        assert_eq!(some(b"user.ab", b"c")[HEAD_BYTES..], *b"\x02\x01\x01\x00abc\0");
        assert_eq!(some(b"system.posix_acl_access", b"")[HEAD_BYTES..], *b"\x00\x02\x00\x00");
        assert!(some(b"system.nfs4_acl", b"x").is_empty() && some(b"user.", b"x").is_empty());
        assert_eq!(count(&some(b"user.ab", b"c")), 3);
        assert!(!fit(&[(b"user.x".to_vec(), vec![0; 65536])]));
        assert!(fit(&[(b"user.x".to_vec(), vec![0; 65535])]));
    }
}

//! Headers of tars that we write.

use super::BLOCK;

/// Largest size in octal digits. **Source:** POSIX `pax`, "ustar Interchange Format", field `size`.
const OCTAL_MAX: u64 = 0o77_777_777_777;

/// Makes the header of a file or (with a name that ends in a slash) a directory of root.
///
/// The name must have at most 100 bytes; what is longer is cut.
pub(crate) fn header(name: &str, size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |offset: usize, bytes: &[u8], most: usize| {
        let bytes = &bytes[..bytes.len().min(most)];
        block[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let is_directory = name.ends_with('/');
    put(0, name.as_bytes(), 100);
    put(100, if is_directory { b"0000755" } else { b"0000644" }, 7);
    put(108, b"0000000", 7);
    put(116, b"0000000", 7);
    if size <= OCTAL_MAX {
        put(124, format!("{size:011o}").as_bytes(), 11);
    } else {
        put(124, &[0x80], 1);
        put(128, &size.to_be_bytes(), 8);
    }
    put(136, format!("{:011o}", mtime.min(OCTAL_MAX)).as_bytes(), 11);
    put(148, b"        ", 8);
    put(156, if is_directory { b"5" } else { b"0" }, 1);
    put(257, b"ustar\x0000", 8);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// Returns the zeros after content of `size` bytes.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    &[0; BLOCK][..usize::try_from(size.wrapping_neg() % 512).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::super::Archive;

    #[test]
    fn large_sizes_are_read_back() {
        for size in [0, 1, 1 << 32, super::OCTAL_MAX, super::OCTAL_MAX + 1, 1 << 40] {
            let block = super::header("blobs/x", size, 7);
            let entry = Archive::new(&block[..]).next_entry().unwrap().unwrap();
            assert_eq!((entry.size, entry.mtime), (size, (7, 0)));
        }
    }
}

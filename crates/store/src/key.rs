//! Keys as file names.

/// Longest file name a key may become; leaves room for the marks of temporary files.
const FILE_NAME_BYTES_MAX: usize = 220;
/// The end of a record's file name.
const SUFFIX: &str = ".json";

/// Returns the file name of `key`, or nothing when it is empty or too long.
///
/// Bytes other than letters, digits, `-`, `_` and inner dots are written `%XX`, so that no key leaves the directory.
pub(crate) fn to_file_name(key: &str) -> Option<String> {
    let mut name = String::with_capacity(key.len() + SUFFIX.len());
    for (index, byte) in key.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && index > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name.push_str(SUFFIX);
    (!key.is_empty() && name.len() <= FILE_NAME_BYTES_MAX).then_some(name)
}

/// Returns the key a file name stands for, or nothing when it stands for none.
pub(crate) fn from_file_name(name: &str) -> Option<String> {
    let stem = name.strip_suffix(SUFFIX)?;
    let mut bytes = Vec::with_capacity(stem.len());
    let mut rest = stem.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = tail.get(..2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let key = String::from_utf8(bytes).ok()?;
    (to_file_name(&key).as_deref() == Some(name)).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_come_back_and_never_leave_the_directory(key in "\\PC{1,40}|\\.\\.|\\.|[a-z/.%]{1,20}") {
            if let Some(name) = to_file_name(&key) {
                prop_assert!(!name.contains('/') && !name.starts_with('.'));
                prop_assert_eq!(from_file_name(&name), Some(key));
            }
        }
    }
}

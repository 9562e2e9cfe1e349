//! Names in archives as paths below the layer.

use super::error::UnpackError;

/// Longest path of an entry. **Source:** Linux, `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4095;

/// Start of the names of whiteouts.
const WHITEOUT: &[u8] = b".wh.";
/// Start of the names of AUFS' own files, which are skipped.
const WHITEOUT_META: &[u8] = b".wh..wh.";
/// Marks a directory that hides the lower one.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a path says by its name alone. **Source:** OCI image specification, `layer.md`, "Whiteouts".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteout<'a> {
    /// Its directory hides the lower one.
    Opaque,
    /// Nothing that belongs to the layer.
    Ignored,
    /// This name is hidden.
    Of(&'a [u8]),
    /// It is a file of the layer.
    None,
}

impl<'a> Whiteout<'a> {
    /// Reads a clean path.
    pub(crate) fn of(path: &'a [u8]) -> Self {
        let (_, name) = split(path);
        if name == OPAQUE {
            return Self::Opaque;
        }
        if path.split(|&b| b == b'/').any(|part| part.starts_with(WHITEOUT_META)) {
            return Self::Ignored;
        }
        name.strip_prefix(WHITEOUT).map_or(Self::None, Self::Of)
    }
}

/// Resolves `.`, `..` and repeated slashes by the text alone; the result is relative, and empty for the root.
///
/// An absolute name means the same below the layer. A name that climbs above it is refused.
pub(crate) fn clean(path: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() {
                    return Err(UnpackError::Outside { path: show(path) });
                }
            }
            part => parts.push(part),
        }
    }
    if path.is_empty() {
        return Err(invalid(path, "an entry has no name"));
    }
    let clean = parts.join(&b'/');
    if clean.len() > PATH_BYTES_MAX {
        return Err(invalid(path, "the path is too long"));
    }
    Ok(clean)
}

/// Splits a clean path into directory and name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Joins a clean directory and a name.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// Prints a path for an error, cut to a sensible length.
pub(crate) fn show(path: &[u8]) -> String {
    let shown = &path[..path.len().min(200)];
    String::from_utf8_lossy(shown).escape_debug().to_string()
}

pub(crate) fn invalid(path: &[u8], reason: &'static str) -> UnpackError {
    UnpackError::Invalid { path: show(path), reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cleaned() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(clean(b"/etc/passwd").unwrap(), b"etc/passwd");
        assert_eq!(clean(b"a/../b").unwrap(), b"b");
        assert_eq!(clean(b"./").unwrap(), b"");
        for bad in [&b".."[..], b"a/../../b", b"/..", b""] {
            assert!(clean(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn clean_paths_never_climb(path in "[a./]{1,30}") {
            if let Ok(clean) = clean(path.as_bytes()) {
                prop_assert!(!clean.starts_with(b"/"));
                prop_assert!(clean.is_empty() || clean.split(|&b| b == b'/').all(|part| !matches!(part, b"" | b"." | b"..")));
            }
        }
    }
}

//! What must hold for bytes of strangers; the fuzzer and the tests below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

/// Reads any bytes as a layer's tar and writes its index, as a layer is staged.
pub fn tar_index(bytes: &[u8]) {
    let Ok(memory) = rustix::fs::memfd_create("layer", rustix::fs::MemfdFlags::CLOEXEC) else {
        return;
    };
    crate::layer::index_of(bytes, memory.into());
}

/// Reads any bytes as the path of an entry.
pub fn whiteout(bytes: &[u8]) {
    if let Ok(path) = crate::tree::clean(bytes) {
        let climbs = path.split(|&b| b == b'/').any(|part| matches!(part, b"." | b".."));
        assert!(!climbs && !path.starts_with(b"/"), "the path leads out of the layer");
        let _ = crate::tree::Whiteout::of(&path);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::tar::write::header;

    proptest! {
        #[test]
        fn any_tar_has_an_index_or_is_refused(
            entries in proptest::collection::vec(("[abc./]{1,12}", "[012345678SxLg]", 0_u64..2000), 0..12),
            cut in 0_usize..4096,
        ) {
            let mut tar = Vec::new();
            for (name, kind, size) in entries {
                let mut block = header(&name, size, 7);
                block[156] = kind.as_bytes()[0];
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
                tar.extend_from_slice(&block);
                tar.resize(tar.len() + usize::try_from(size.next_multiple_of(512)).unwrap_or_default(), b'x');
            }
            super::tar_index(&tar);
            super::tar_index(&tar[..tar.len().saturating_sub(cut)]);
        }

        #[test]
        fn any_path_stays_inside(path in proptest::collection::vec(proptest::sample::select(b"a./wh.opq".to_vec()), 0..30)) {
            super::whiteout(&path);
        }
    }
}

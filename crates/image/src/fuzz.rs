//! Bodies for fuzzing: whatever bytes come, these return, and nothing panics.

mod layers;

use std::io::Read as _;

use crate::archive::{Contents, plan};
use crate::tar::Archive;
use crate::tar::write::headers;
pub use layers::{tar_index, whiteout};

/// Most entries that are looked at.
const ENTRIES_MAX: usize = 1000;

/// Reads bytes as a tar, entry by entry; the header of what was read says the same when it is written and read again.
pub fn tar(bytes: &[u8]) {
    let mut archive = Archive::new(bytes);
    for _ in 0..ENTRIES_MAX {
        let Ok(Some(entry)) = archive.next_entry() else { return };
        let mut content = Vec::new();
        // An end in the middle is an error and no panic.
        let _ = archive.by_ref().take(1 << 16).read_to_end(&mut content);
        if let Ok(blocks) = headers(&entry)
            && let Ok(Some(again)) = Archive::new(&blocks[..]).next_entry()
        {
            assert_eq!(
                (again.kind, again.mode, again.uid, again.gid, again.mtime.0),
                (entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime.0)
            );
        }
    }
}

/// Takes bytes as the documents of an archive: its `manifest.json` or `index.json`, and whatever they name.
pub fn documents(manifest: &[u8], index: &[u8], blobs: &[Vec<u8>]) {
    let mut contents = Contents::default();
    for (name, bytes) in [("manifest.json", manifest), ("index.json", index)] {
        if !bytes.is_empty() {
            contents.put(name, bytes);
        }
    }
    for blob in blobs {
        contents.put(&format!("blobs/sha256/{}", oci::Digest::of(blob).hex()), blob);
    }
    for known in [true, false] {
        // What makes no sense is refused; what is planned names only layers that are there or known.
        if let Ok(planned) = plan(&contents, None, &|_| known) {
            assert!(planned.iter().flat_map(|image| &image.layers).all(|&index| contents.diff_id(index).is_some()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Documents that nearly make sense.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-z/.:]{0,12}".prop_map(Value::from),
            Just(json!("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
            Just(json!("blobs/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
        ];
        leaf.prop_recursive(5, 60, 5, |inner| {
            let key = prop_oneof![
                Just("Config"),
                Just("RepoTags"),
                Just("Layers"),
                Just("manifests"),
                Just("digest"),
                Just("size"),
                Just("mediaType"),
                Just("config"),
                Just("layers"),
                Just("rootfs"),
                Just("diff_ids"),
                Just("platform"),
                Just("annotations"),
                Just("os"),
                Just("architecture"),
                Just("schemaVersion"),
                Just("type"),
                Just("history"),
            ];
            let key = key.prop_map(str::to_owned);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn documents_never_panic(manifest in value(), index in value(), blobs in proptest::collection::vec(value(), 0..4)) {
            let text = |value: &Value| value.to_string().into_bytes();
            let blobs: Vec<Vec<u8>> = blobs.iter().map(text).collect();
            documents(&text(&manifest), b"", &blobs);
            documents(b"", &text(&index), &blobs);
            let listed: Vec<Value> = blobs.iter().map(|blob| json!({"digest": oci::Digest::of(blob).to_string(), "size": 1})).collect();
            documents(b"", &text(&json!({"schemaVersion": 2, "manifests": listed})), &blobs);
        }

        #[test]
        fn bytes_of_documents_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            documents(&bytes, b"", &[]);
            documents(b"", &bytes, std::slice::from_ref(&bytes));
            tar(&bytes);
        }
    }
}

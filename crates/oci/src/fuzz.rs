//! What must hold for bytes of strangers; the fuzzer and the tests below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use crate::ImageRef;
use crate::runtime::Spec;

/// A runtime specification that can be read is written as something that reads as the same.
pub fn runtime_spec(bytes: &[u8]) {
    if let Ok(spec) = serde_json::from_slice::<Spec>(bytes) {
        let again = serde_json::to_vec(&spec).ok().and_then(|text| serde_json::from_slice(&text).ok());
        assert_eq!(Some(spec), again);
    }
}

/// An image reference is written as something that is the same reference, in full and as people write it.
pub fn image_reference(bytes: &[u8]) {
    let Some(reference) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<ImageRef>().ok()) else {
        return;
    };
    let again = |text: String| text.parse::<ImageRef>().ok();
    assert_eq!(again(reference.to_string()).as_ref(), Some(&reference));
    assert_eq!(again(reference.familiar()).as_ref(), Some(&reference));
    assert_eq!(again(reference.repository().to_string()), Some(reference.repository()));
    let named = reference.or_latest();
    assert!(named.tag().is_some() || named.digest().is_some());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// A document with parts of it replaced.
    const SPEC: &str = r#"{"ociVersion":"1.2.0","process":{"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}]},
        "linux":{"namespaces":[{"type":"pid"},{"type":"user","path":"/x"}],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},
        "resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":-1}}}}"#;

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::runtime_spec(&bytes);
            super::image_reference(&bytes);
        }

        #[test]
        fn nearly_a_specification(at in 0..SPEC.len(), bytes in prop::collection::vec(any::<u8>(), 0..4), cut in 0..4_usize) {
            let mut text = SPEC.as_bytes().to_vec();
            text.splice(at..(at + cut).min(SPEC.len()), bytes);
            super::runtime_spec(&text);
        }

        #[test]
        fn a_name_like_an_id(digits in "[0-9a-f]{64}", tag in "(:[a-z]{1,3})?") {
            super::image_reference(format!("library/{digits}{tag}").as_bytes());
        }

        #[test]
        fn nearly_a_reference(text in "([a-zA-Z0-9.:-]{1,8}/)?[a-z0-9._/-]{1,12}(:[A-Za-z0-9_.-]{1,6})?(@sha256:[0-9a-f]{62,66})?") {
            super::image_reference(text.as_bytes());
        }
    }
}

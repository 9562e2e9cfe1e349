//! Names of images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

/// The registry meant when a name has none.
const DEFAULT_DOMAIN: &str = "docker.io";
/// The folder meant when a name on the default registry has none.
const OFFICIAL: &str = "library/";
/// Longest path of a repository in bytes.
const PATH_BYTES_MAX: usize = 255;
/// Longest tag in bytes.
const TAG_BYTES_MAX: usize = 128;

/// The name of an image, normalised: `docker.io/library/debian:12` for `debian:12`.
///
/// `Display` prints the full form, [`ImageRef::familiar`] the short one.
/// **Source:** distribution/reference, `reference.go` (grammar) and `normalize.go`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Says why a text names no image; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// The text does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The path has upper-case letters.
    #[error("invalid reference format: repository name ({name}) must be lowercase")]
    Uppercase {
        /// The path as given.
        name: String,
    },
    /// The path is longer than 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// The name is an image id.
    #[error("invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")]
    Hexadecimal {
        /// The name as given.
        name: String,
    },
    /// The digest is not one.
    #[error("invalid reference format: {0}")]
    Digest(crate::ParseDigestError),
}

impl ImageRef {
    /// Returns the registry, such as `docker.io` or `localhost:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the path in the registry, such as `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag, where the name has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, where the name has one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the name without tag and digest.
    #[must_use]
    pub fn repository(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// Returns the name with `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// Returns the name with another tag and no digest.
    ///
    /// # Errors
    /// [`ParseReferenceError::Format`] when `tag` is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), ..self.repository() })
    }

    /// Returns the repository with a digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.repository() }
    }

    /// Returns the short form Docker shows: without `docker.io` and `library`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_repository();
        self.push_suffix(&mut text);
        text
    }

    /// Returns the short form without tag and digest.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            // `docker.io/library/a/b` must not become `a/b`, which means another path, nor a name an id.
            Some(rest) if !rest.contains('/') && Digest::from_hex(rest).is_err() => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

/// Splits the registry off, as Docker does: the first part is one when it has a dot, a colon,
/// an upper-case letter or is `localhost`.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) => {
            (if first == "index.docker.io" { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= TAG_BYTES_MAX && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else {
            return false;
        };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match rest.strip_prefix(':') {
            Some(port) => return is_port(port),
            None => return rest.is_empty(),
        }
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        }
    };
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        label.bytes().all(inner) && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// One part of a path: runs of letters and digits joined by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = |b: Option<&u8>| b.copied().is_some_and(alphanumeric);
    if !ends(bytes.first()) || !ends(bytes.last()) {
        return false;
    }
    bytes
        .split(|&b| alphanumeric(b))
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-'))
}

impl FromStr for ImageRef {
    type Err = ParseReferenceError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 64 && Digest::from_hex(text).is_ok() {
            return Err(ParseReferenceError::Hexadecimal { name: text.to_owned() });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ParseReferenceError::Digest)?)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(rest);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest.as_str(), None),
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) && path.to_ascii_lowercase().split('/').all(is_component) {
            return Err(ParseReferenceError::Uppercase { name: path.to_owned() });
        }
        if !is_domain(&domain) || !path.split('/').all(is_component) || !tag.is_none_or(is_tag) {
            return Err(ParseReferenceError::Format);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(ParseReferenceError::TooLong);
        }
        Ok(Self { domain: domain.clone(), path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut suffix = String::new();
        self.push_suffix(&mut suffix);
        write!(f, "{}/{}{suffix}", self.domain, self.path)
    }
}

impl Serialize for ImageRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(text: &str) -> String {
        text.parse::<ImageRef>().map_or_else(|error| error.to_string(), |name| name.or_latest().to_string())
    }

    #[test]
    fn names_are_normalised_as_docker_does() {
        assert_eq!(full("debian"), "docker.io/library/debian:latest");
        assert_eq!(full("debian:12"), "docker.io/library/debian:12");
        assert_eq!(full("index.docker.io/debian"), "docker.io/library/debian:latest");
        assert_eq!(full("me/app"), "docker.io/me/app:latest");
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/app:1"), "localhost:5000/app:1");
        assert_eq!(full("ghcr.io/a/b__c/d---e"), "ghcr.io/a/b__c/d---e:latest");
        assert_eq!(full("[::1]:5000/app"), "[::1]:5000/app:latest");
        let digest = Digest::of(b"");
        assert_eq!(full(&format!("app@{digest}")), format!("docker.io/library/app@{digest}"));
    }

    #[test]
    fn wrong_names_get_dockers_texts() {
        assert_eq!(full("App"), "invalid reference format: repository name (library/App) must be lowercase");
        for bad in ["", ":", "a:", ":a", "a//b", "/a", "a/", "../a", "a/../b", "a b", "-a", "a___b", "a:b:c", "a@sha256:1", "a:-x", "ä"] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
        assert!(full(&"a".repeat(64)).contains("64-byte hexadecimal"));
        assert_eq!(full(&"z".repeat(300)), "repository name must not be more than 255 characters");
    }

    #[test]
    fn familiar_names_are_short() {
        let name: ImageRef = "docker.io/library/debian:12".parse().unwrap();
        assert_eq!(name.familiar(), "debian:12");
        let nested: ImageRef = "docker.io/library/a/b".parse().unwrap();
        assert_eq!(nested.familiar().parse::<ImageRef>(), Ok(nested));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_read_back(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<ImageRef>() {
                prop_assert_eq!(name.to_string().parse::<ImageRef>(), Ok(name.clone()));
                prop_assert_eq!(name.familiar().parse::<ImageRef>(), Ok(name));
            }
        }

        #[test]
        fn sound_names_are_parsed(text in "[a-z0-9]{1,8}(\\.[a-z]{2,3}(:[0-9]{2,4})?/)?([a-z0-9]{1,5}(-|_|__|\\.)[a-z0-9]{1,5})(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?") {
            let name = text.parse::<ImageRef>();
            prop_assert!(name.is_ok(), "{}", text);
            let name = name.unwrap();
            prop_assert_eq!(name.familiar().parse::<ImageRef>(), Ok(name));
        }
    }
}

//! How an image is built.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Bytes, FileReference, Hosts, Mapping, OptionalMapping, Ulimit, record};

record! {
    /// How an image is built.
    Build {
        /// A folder or a URL.
        context: String,
        dockerfile: String,
        dockerfile_inline: String,
        entitlements: Vec<String>,
        args: OptionalMapping,
        provenance: String,
        sbom: String,
        ssh: Vec<SshKey>,
        labels: Mapping,
        cache_from: Vec<String>,
        cache_to: Vec<String>,
        no_cache: bool,
        no_cache_filter: Vec<String>,
        additional_contexts: Mapping,
        pull: bool,
        extra_hosts: Hosts,
        isolation: String,
        network: String,
        target: String,
        secrets: Vec<FileReference>,
        shm_size: Bytes,
        tags: Vec<String>,
        ulimits: BTreeMap<String, Ulimit>,
        platforms: Vec<String>,
        privileged: bool,
    }
}

/// A key of an SSH agent that a build may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshKey {
    /// What the build calls it.
    pub id: String,
    /// The agent's socket or the key's file; empty for the caller's agent.
    pub path: String,
}

impl Serialize for SshKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.path.is_empty() {
            serializer.serialize_str(&self.id)
        } else {
            serializer.collect_str(&format_args!("{}: {}", self.id, self.path))
        }
    }
}

impl<'de> Deserialize<'de> for SshKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (id, path) = text.split_once(": ").unwrap_or((&text, ""));
        Ok(Self { id: id.to_owned(), path: path.to_owned() })
    }
}

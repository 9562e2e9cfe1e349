//! What is mounted into a container.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Bytes, Mapping, OptOut, record};

record! {
    /// A mount of a service.
    ServiceVolume {
        /// `bind`, `volume`, `tmpfs`, `image`, `cluster` or `npipe`.
        #[serde(rename = "type")]
        kind: String,
        source: String,
        target: String,
        read_only: bool,
        consistency: String,
        bind: Option<BindOptions>,
        volume: Option<VolumeOptions>,
        tmpfs: Option<TmpfsOptions>,
        image: Option<ImageOptions>,
    }
}

record! {
    /// Options of a bind mount.
    BindOptions {
        selinux: String,
        propagation: String,
        create_host_path: OptOut,
        recursive: String,
    }
}

record! {
    /// Options of a volume's mount.
    VolumeOptions {
        labels: Mapping,
        nocopy: bool,
        subpath: String,
    }
}

record! {
    /// Options of a tmpfs.
    TmpfsOptions {
        size: Bytes,
        mode: u32,
    }
}

record! {
    /// Options of an image's mount.
    ImageOptions {
        subpath: String,
    }
}

record! {
    /// A secret or config in a container or a build.
    FileReference {
        source: String,
        target: String,
        uid: String,
        gid: String,
        mode: Option<FileMode>,
    }
}

/// Permission bits; printed in octal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMode(pub i64);

impl fmt::Display for FileMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "0{:o}", self.0)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        i64::from_str_radix(&text, 8).map(Self).map_err(|_| de::Error::custom(format!("`{text}` is no octal mode")))
    }
}

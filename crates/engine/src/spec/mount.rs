//! Mounts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A mount that cannot be used; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMountError {
    /// Not `source:destination[:options]`.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// The destination is not absolute.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    RelativeTarget(String),
    /// The destination is the root.
    #[error("invalid specification: destination can't be '/'")]
    Root,
    /// An option that is unknown or said twice.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// A volume name with signs that are not allowed.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    VolumeName(String),
    /// A type that is unknown.
    #[error("invalid mount config for type \"{kind}\": {reason}")]
    Config {
        /// Type.
        kind: String,
        /// Why.
        reason: String,
    },
}

/// How mounts move between the host and the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Nothing was said: `rprivate`.
    #[default]
    Default,
    /// `private`.
    Private,
    /// `rprivate`.
    Rprivate,
    /// `shared`.
    Shared,
    /// `rshared`.
    Rshared,
    /// `slave`.
    Slave,
    /// `rslave`.
    Rslave,
}

impl FromStr for Propagation {
    type Err = ParseMountError;
    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        Ok(match text {
            "" => Self::Default,
            "private" => Self::Private,
            "rprivate" => Self::Rprivate,
            "shared" => Self::Shared,
            "rshared" => Self::Rshared,
            "slave" => Self::Slave,
            "rslave" => Self::Rslave,
            _ => return Err(ParseMountError::Mode(text.to_owned())),
        })
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "",
            Self::Private => "private",
            Self::Rprivate => "rprivate",
            Self::Shared => "shared",
            Self::Rshared => "rshared",
            Self::Slave => "slave",
            Self::Rslave => "rslave",
        })
    }
}

/// Where a bind or volume comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Path(String),
    /// A named volume.
    Volume(String),
    /// A new volume without a name.
    Anonymous,
}

/// A mount in the form of `-v`; a missing path is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bind {
    /// From where.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// The options as written, such as `ro,z`.
    pub mode: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether the image's files are not copied into a new volume.
    pub no_copy: bool,
    /// Propagation.
    pub propagation: Propagation,
}

/// Removes `.` and doubled or trailing slashes; `..` goes up, not above the root.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn target(path: &str) -> Result<String, ParseMountError> {
    if !path.starts_with('/') {
        return Err(ParseMountError::RelativeTarget(path.to_owned()));
    }
    match clean(path) {
        root if root == "/" => Err(ParseMountError::Root),
        path => Ok(path),
    }
}

fn volume_name(name: &str) -> Result<String, ParseMountError> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if first && name.len() >= 2 && characters.all(rest) { Ok(name.to_owned()) } else { Err(ParseMountError::VolumeName(name.to_owned())) }
}

impl FromStr for Bind {
    type Err = ParseMountError;
    /// Takes `source:target[:options]` and `target` alone.
    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, to, mode) = match parts.as_slice() {
            [to] => ("", *to, ""),
            [source, to] => (*source, *to, ""),
            [source, to, mode] => (*source, *to, *mode),
            _ => return Err(ParseMountError::Specification(text.to_owned())),
        };
        if to.is_empty() || (parts.len() > 1 && source.is_empty()) {
            return Err(ParseMountError::Specification(text.to_owned()));
        }
        let source = match source {
            "" => MountSource::Anonymous,
            path if path.starts_with('/') => MountSource::Path(clean(path)),
            name => MountSource::Volume(volume_name(name)?),
        };
        let mut bind = Self {
            source,
            target: target(to)?,
            mode: mode.to_owned(),
            read_only: false,
            no_copy: false,
            propagation: Propagation::Default,
        };
        for option in mode.split(',').filter(|o| !o.is_empty()) {
            match option {
                "ro" => bind.read_only = true,
                "nocopy" if !matches!(bind.source, MountSource::Path(_)) => bind.no_copy = true,
                "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
                other => {
                    bind.propagation = other.parse().map_err(|_| ParseMountError::Mode(mode.to_owned()))?;
                }
            }
        }
        Ok(bind)
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            MountSource::Path(source) | MountSource::Volume(source) => write!(f, "{source}:")?,
            MountSource::Anonymous => {}
        }
        f.write_str(&self.target)?;
        if !self.mode.is_empty() {
            write!(f, ":{}", self.mode)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Bind {
    type Error = ParseMountError;
    fn try_from(text: String) -> Result<Self, ParseMountError> {
        text.parse()
    }
}

impl From<Bind> for String {
    fn from(bind: Bind) -> Self {
        bind.to_string()
    }
}

/// A mount in the form of `--mount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Consistency, kept for display.
    pub consistency: String,
    /// What is mounted.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute path.
        source: String,
        /// Propagation.
        propagation: Propagation,
        /// Whether mounts below the source stay away.
        non_recursive: bool,
        /// Whether a missing source is made.
        create_source: bool,
        /// Whether mounts below stay writable in a read-only one.
        read_only_non_recursive: bool,
        /// Whether it must fail where mounts below cannot be made read-only.
        read_only_force_recursive: bool,
    },
    /// A volume.
    Volume {
        /// Name; none makes a new one without a name.
        name: Option<String>,
        /// Whether the image's files are not copied into a new volume.
        no_copy: bool,
        /// Labels of a new volume.
        labels: BTreeMap<String, String>,
        /// Path inside the volume.
        subpath: String,
        /// Driver of a new volume; empty is `local`.
        driver: String,
        /// Options of the driver.
        driver_options: BTreeMap<String, String>,
    },
    /// A temporary file system.
    Tmpfs {
        /// Bytes; 0 is unlimited.
        bytes_max: u64,
        /// Permission bits; 0 is 1777.
        mode: u32,
        /// Further mount options.
        options: Vec<Vec<String>>,
    },
    /// An image's files, read-only.
    Image {
        /// Reference.
        source: String,
        /// Path inside the image.
        subpath: String,
    },
}

impl Mount {
    /// Checks the target and source.
    ///
    /// # Errors
    /// [`ParseMountError::Config`] with Docker's text.
    pub fn parse(mut self) -> Result<Self, ParseMountError> {
        let (name, problem) = match &self.kind {
            MountKind::Bind { source, .. } if source.is_empty() => ("bind", Some("field Source must not be empty".to_owned())),
            MountKind::Bind { source, .. } if !source.starts_with('/') => {
                ("bind", Some(format!("invalid mount path: '{source}' mount path must be absolute")))
            }
            MountKind::Bind { .. } => ("bind", None),
            MountKind::Volume { name: Some(name), .. } => ("volume", volume_name(name).err().map(|e| e.to_string())),
            MountKind::Volume { name: None, .. } => ("volume", None),
            MountKind::Tmpfs { .. } => ("tmpfs", None),
            MountKind::Image { source, .. } if source.is_empty() => ("image", Some("field Source must not be empty".to_owned())),
            MountKind::Image { .. } => ("image", None),
        };
        let problem = problem.or_else(|| match self.target.as_str() {
            "" => Some("field Target must not be empty".to_owned()),
            _ => target(&self.target).err().map(|e| e.to_string()),
        });
        match problem {
            Some(reason) => Err(ParseMountError::Config { kind: name.to_owned(), reason }),
            None => {
                self.target = clean(&self.target);
                Ok(self)
            }
        }
    }
}

/// A container whose mounts are taken over, `name[:ro]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFrom {
    /// Name or id.
    pub container: String,
    /// Whether they become read-only.
    pub read_only: bool,
    /// The mode as written.
    pub mode: String,
}

impl FromStr for VolumeFrom {
    type Err = ParseMountError;
    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        let (container, mode) = text.split_once(':').unwrap_or((text, ""));
        let read_only = match mode {
            "ro" => true,
            "" | "rw" | "z" | "Z" => false,
            _ => return Err(ParseMountError::Mode(mode.to_owned())),
        };
        if container.is_empty() {
            return Err(ParseMountError::Specification(text.to_owned()));
        }
        Ok(Self { container: container.to_owned(), read_only, mode: mode.to_owned() })
    }
}

impl fmt::Display for VolumeFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode.as_str() {
            "" => f.write_str(&self.container),
            mode => write!(f, "{}:{mode}", self.container),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_survive_their_text() {
        for text in ["/a:/b", "/a:/b:ro", "data:/b:nocopy", "/b", "/a:/b:rshared,ro"] {
            assert_eq!(text.parse::<Bind>().unwrap().to_string(), text);
        }
        for text in ["", "/a:b", "/a:/", "/a:/b:zz", "a/b:/c", ":/b", "/a:/b:ro:x"] {
            assert!(text.parse::<Bind>().is_err(), "{text}");
        }
        assert_eq!("/a//c/../b/:/x/".parse::<Bind>().unwrap().to_string(), "/a/b:/x");
    }
}

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
    #[error("create {name}: {reason}")]
    VolumeName {
        /// The name.
        name: String,
        /// Why.
        reason: volume::ParseNameError,
    },
    /// Parts that do not go together.
    #[error("invalid volume specification: '{text}': {config}")]
    Combination {
        /// The whole text.
        text: String,
        /// What is wrong with the mount it describes.
        config: Box<ParseMountError>,
    },
    /// Owners to be shown that are no numbers.
    #[error("invalid idmap: '{0}': say idmap, or idmap=UID:GID with the owner of the files on the host")]
    IdMap(String),
    /// An empty `--volumes-from`.
    #[error("volumes-from specification cannot be an empty string")]
    VolumesFrom,
    /// A `--volumes-from` with a mode and no container.
    #[error("invalid name or ID supplied: \"\"")]
    VolumesFromNobody,
    /// An option of tmpfs that is unknown.
    #[error("invalid tmpfs option \"{0}\"")]
    Tmpfs(String),
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
        /// Whether its files show other owners.
        #[serde(default)]
        id_map: Option<IdMap>,
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
    /// Checks all that can be checked without the host.
    ///
    /// # Errors
    /// [`ParseMountError::Config`] with Docker's text.
    pub fn parse(mut self) -> Result<Self, ParseMountError> {
        let problem = match self.target.as_str() {
            "" => Some("field Target must not be empty".to_owned()),
            _ => target(&self.target).err().map(|e| e.to_string()),
        };
        let empty = || Some("field Source must not be empty".to_owned());
        let (name, problem) = match &self.kind {
            MountKind::Bind { source, read_only_non_recursive, read_only_force_recursive, .. } => {
                ("bind", problem.or_else(|| self.bind_problem(source, *read_only_non_recursive, *read_only_force_recursive)))
            }
            MountKind::Volume { name, subpath, .. } => ("volume", problem.or_else(|| subpath_problem(name.is_none(), subpath))),
            MountKind::Tmpfs { options, .. } => ("tmpfs", problem.or_else(|| tmpfs_problem(options))),
            MountKind::Image { source, .. } if source.is_empty() => ("image", problem.or_else(empty)),
            MountKind::Image { subpath, .. } => ("image", problem.or_else(|| subpath_problem(false, subpath))),
        };
        if let Some(reason) = problem {
            return Err(ParseMountError::Config { kind: name.to_owned(), reason });
        }
        if let MountKind::Volume { name: Some(name), .. } = &self.kind {
            volume_name(name)?;
        }
        if let MountKind::Bind { source, .. } = &mut self.kind {
            *source = clean(source);
        }
        self.target = clean(&self.target);
        Ok(self)
    }

    fn bind_problem(&self, source: &str, writable_below: bool, force: bool) -> Option<String> {
        if source.is_empty() {
            return Some("field Source must not be empty".to_owned());
        }
        if !source.starts_with('/') {
            return Some(ParseMountError::RelativeTarget(source.to_owned()).to_string());
        }
        let conflict = |what: &str| Some(format!("mount options conflict: {what}"));
        match (self.read_only, writable_below, force) {
            (false, true, _) => conflict("!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
            (false, _, true) => conflict("!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
            (_, true, true) => conflict("ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
            _ => None,
        }
    }
}

fn subpath_problem(anonymous: bool, subpath: &str) -> Option<String> {
    if subpath.is_empty() {
        return None;
    }
    if anonymous {
        return Some("must not set Subpath when using anonymous volumes".to_owned());
    }
    (!is_local(subpath)).then(|| "subpath must be a relative path within the volume".to_owned())
}

/// Whether a path, read as text, stays below where it begins. **Source:** Go, `filepath.IsLocal`.
fn is_local(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    !path.starts_with('/')
}

/// **Source:** moby, `volume/mounts/linux_parser.go`, `validateTmpfsOptions`.
fn tmpfs_problem(options: &[Vec<String>]) -> Option<String> {
    options.iter().find_map(|option| match option.as_slice() {
        [word] | [word, _] if matches!(word.as_str(), "exec" | "noexec") => None,
        [word] | [word, _] => Some(format!("invalid option: {word}")),
        _ => Some("invalid option array length".to_owned()),
    })
}

/// Checks one entry of `Tmpfs`, which is also `--tmpfs`: target and options.
///
/// # Errors
/// [`ParseMountError`] with Docker's text.
pub fn check_tmpfs(place: &str, options: &str) -> Result<(), ParseMountError> {
    /// **Source:** moby, `sys/mount/flags_linux.go`, `validFlags` and the words of flags.
    const WORDS: [&str; 36] = [
        "defaults",
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "huge",
        "swap",
        "noswap",
    ];
    const KEYS: [&str; 8] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"];
    target(place)?;
    for word in options.split(',').filter(|word| !word.is_empty()) {
        let known = match word.split_once('=') {
            Some((key, _)) => KEYS.contains(&key),
            None => WORDS.contains(&word),
        };
        if !known {
            return Err(ParseMountError::Tmpfs(word.to_owned()));
        }
    }
    Ok(())
}

/// Which owner of the host's files is root in the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Owner and group on the host; none takes those of the source.
    pub owner: Option<(u32, u32)>,
}

impl FromStr for IdMap {
    type Err = ParseMountError;
    /// Takes nothing, or `uid:gid`.
    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        if text.is_empty() {
            return Ok(Self { owner: None });
        }
        let wrong = || ParseMountError::IdMap(text.to_owned());
        // The last id is no owner. **Source:** chown(2): −1 leaves the owner as it is.
        let id = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(wrong);
        let (uid, gid) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self { owner: Some((id(uid)?, id(gid)?)) })
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Some((uid, gid)) => write!(f, "{uid}:{gid}"),
            None => Ok(()),
        }
    }
}

/// Removes `.` and doubled or trailing slashes; `..` goes up, not above the root.
pub(super) fn clean(path: &str) -> String {
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

/// Cleans a path in the container, which must be absolute and not the root.
///
/// # Errors
/// [`ParseMountError`].
pub(super) fn target(path: &str) -> Result<String, ParseMountError> {
    // Docker looks for the root first.
    if path.starts_with('/') && clean(path) == "/" {
        return Err(ParseMountError::Root);
    }
    if path.starts_with('/') { Ok(clean(path)) } else { Err(ParseMountError::RelativeTarget(path.to_owned())) }
}

pub(super) fn volume_name(name: &str) -> Result<String, ParseMountError> {
    match name.parse::<volume::Name>() {
        Ok(_) => Ok(name.to_owned()),
        Err(reason) => Err(ParseMountError::VolumeName { name: name.to_owned(), reason }),
    }
}

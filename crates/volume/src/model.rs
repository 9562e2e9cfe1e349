//! What the other crates see of volumes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::error::ParseNameError;

/// The name of a volume: a letter or digit, then letters, digits, `_`, `.`, `-`; at least two characters.
///
/// **Source:** moby, `volume/local`, `ValidateName`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Makes up the name of an anonymous volume: sixty-four hex digits.
    #[must_use]
    pub fn anonymous() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0_u8; 32];
        let mut filled = 0;
        while filled < bytes.len() {
            // getrandom(2) fails only before the kernel's pool is ready; it then waits, so trying again ends.
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
        }
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Self(digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 1 {
            return Err(ParseNameError::Short { name: text.to_owned() });
        }
        let mut bytes = text.bytes();
        let sound = text.len() <= 200
            && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
            && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if sound { Ok(Self(text.to_owned())) } else { Err(ParseNameError::Characters { name: text.to_owned() }) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The label of a volume that nobody gave a name.
///
/// **Source:** moby, `daemon/volume/service/service.go`, `AnonymousLabel`.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// What a volume is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Its name; absent makes an anonymous one.
    pub name: Option<Name>,
    /// Only `local` (or empty).
    pub driver: String,
    /// `type`, `device`, `o`, `size`.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume as it is at the moment of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: Name,
    /// Whether nobody gave it a name: it has [`ANONYMOUS_LABEL`].
    pub anonymous: bool,
    /// Where its files are on the host.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created: SystemTime,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Holders (containers' ids) that use it, sorted.
    pub holders: Vec<String>,
}

/// Effects of a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of the removed volumes.
    pub removed: Vec<Name>,
    /// Bytes their files took.
    pub reclaimed: u64,
}

/// How much lies in a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its files as their lengths say.
    pub bytes: u64,
    /// Bytes that they take on the disk; a file with several names counts once.
    pub disk_bytes: u64,
    /// Files that are no directories.
    pub files: u64,
    /// Directories below its own.
    pub directories: u64,
}

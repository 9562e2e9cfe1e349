//! Platforms of images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, written `os/architecture` or `os/architecture/variant`.
///
/// **Source:** OCI image specification, `image-index.md`; names are Go's `GOOS` and `GOARCH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`; absent for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Windows' build number.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Says that a text names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is an invalid platform: expected os/architecture or os/architecture/variant")]
pub struct ParsePlatformError {
    text: String,
}

impl Platform {
    /// Returns the platform this program was built for.
    #[must_use]
    pub fn host() -> Self {
        Self::normalised("linux", std::env::consts::ARCH, None)
    }

    fn normalised(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = architecture.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386" | "i686" | "x86", _) => ("386", None),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("amd64", Some("v1")) => ("amd64", None),
            ("powerpc64le", variant) => ("ppc64le", variant),
            (other, variant) => (other, variant),
        };
        Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_ascii_lowercase),
            os_version: None,
        }
    }

    /// Says whether an image of platform `offered` runs where `self` is wanted, after both names are normalised.
    #[must_use]
    pub fn matches(&self, offered: &Self) -> bool {
        let wanted = Self::normalised(&self.os, &self.architecture, self.variant.as_deref());
        let offered = Self::normalised(&offered.os, &offered.architecture, offered.variant.as_deref());
        wanted == offered
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let sound = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        match parts.as_slice() {
            parts if !parts.iter().all(sound) => Err(ParsePlatformError { text: text.to_owned() }),
            [one] if *one == "linux" => Ok(Self::host()),
            [one] => Ok(Self::normalised("linux", one, None)),
            [os, architecture] => Ok(Self::normalised(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::normalised(os, architecture, Some(variant))),
            _ => Err(ParsePlatformError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_same_processor_match() {
        let arm: Platform = "linux/arm64/v8".parse().unwrap();
        assert!(arm.matches(&"linux/aarch64".parse().unwrap()));
        assert!(!arm.matches(&"linux/amd64".parse().unwrap()));
        assert_eq!(arm.to_string(), "linux/arm64");
        assert!("a/b/c/d".parse::<Platform>().is_err());
        assert!("linux/".parse::<Platform>().is_err());
    }
}

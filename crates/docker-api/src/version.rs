//! API versions and the gates that depend on them.

use std::fmt;
use std::str::FromStr;

/// A version of the Engine API, such as 1.51.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The number before the dot.
    pub major: u16,
    /// The number behind the dot.
    pub minor: u16,
}

impl ApiVersion {
    /// Makes version 1.`minor`.
    pub const fn v1(minor: u16) -> Self {
        Self { major: 1, minor }
    }
}

/// The newest version that is spoken, Docker 28.5's.
/// **Source:** Engine API version history, v1.51.
pub const API_VERSION_MAX: ApiVersion = ApiVersion::v1(51);
/// The oldest version that is accepted, as Docker 28 accepts it.
pub const API_VERSION_MIN: ApiVersion = ApiVersion::v1(24);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is no API version.
#[derive(Debug, thiserror::Error)]
#[error("invalid API version `{0}`")]
pub struct ParseVersionError(String);

impl FromStr for ApiVersion {
    type Err = ParseVersionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseVersionError(text.to_owned());
        let digits = |part: &str| {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(fail());
            }
            part.parse::<u16>().map_err(|_| fail())
        };
        let (major, minor) = text.split_once('.').ok_or_else(fail)?;
        Ok(Self { major: digits(major)?, minor: digits(minor)? })
    }
}

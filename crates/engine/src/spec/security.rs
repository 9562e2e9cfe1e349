//! Security options.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One value of `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecurityOption {
    /// `no-new-privileges`.
    NoNewPrivileges(bool),
    /// `seccomp=…`.
    Seccomp(SeccompProfile),
    /// `apparmor=…`; of no effect where the kernel lacks it.
    AppArmor(String),
    /// `label=…`; of no effect where the kernel lacks SELinux.
    Label(String),
    /// `systempaths=unconfined`: nothing is masked or made read-only.
    SystemPathsUnconfined,
    /// `writable-cgroups`: `/sys/fs/cgroup` can be written.
    WritableCgroups(bool),
}

/// A seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompProfile {
    /// No filter.
    Unconfined,
    /// The engine's own.
    Builtin,
    /// Docker's JSON form of a profile, as text.
    Json(String),
}

/// A security option that cannot be used; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid --security-opt {number}: \"{0}\"", number = if .0.contains(['=', ':']) { 2 } else { 1 })]
pub struct ParseSecurityOptionError(pub String);

impl FromStr for SecurityOption {
    type Err = ParseSecurityOptionError;
    fn from_str(text: &str) -> Result<Self, ParseSecurityOptionError> {
        let invalid = || ParseSecurityOptionError(text.to_owned());
        let flag = |value: &str| match value.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Ok(true),
            "0" | "f" | "false" => Ok(false),
            _ => Err(invalid()),
        };
        match text {
            "no-new-privileges" => return Ok(Self::NoNewPrivileges(true)),
            "writable-cgroups" => return Ok(Self::WritableCgroups(true)),
            _ => {}
        }
        // Docker took a colon first and still does.
        let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(invalid)?;
        match key {
            "no-new-privileges" => flag(value).map(Self::NoNewPrivileges),
            "writable-cgroups" => flag(value).map(Self::WritableCgroups),
            "seccomp" => Ok(Self::Seccomp(match value {
                "unconfined" => SeccompProfile::Unconfined,
                "builtin" => SeccompProfile::Builtin,
                json => SeccompProfile::Json(json.to_owned()),
            })),
            "apparmor" => Ok(Self::AppArmor(value.to_owned())),
            "label" => Ok(Self::Label(value.to_owned())),
            "systempaths" if value == "unconfined" => Ok(Self::SystemPathsUnconfined),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for SecurityOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNewPrivileges(true) => f.write_str("no-new-privileges"),
            Self::NoNewPrivileges(false) => f.write_str("no-new-privileges=false"),
            Self::Seccomp(SeccompProfile::Unconfined) => f.write_str("seccomp=unconfined"),
            Self::Seccomp(SeccompProfile::Builtin) => f.write_str("seccomp=builtin"),
            Self::Seccomp(SeccompProfile::Json(json)) => write!(f, "seccomp={json}"),
            Self::AppArmor(profile) => write!(f, "apparmor={profile}"),
            Self::Label(label) => write!(f, "label={label}"),
            Self::SystemPathsUnconfined => f.write_str("systempaths=unconfined"),
            Self::WritableCgroups(true) => f.write_str("writable-cgroups"),
            Self::WritableCgroups(false) => f.write_str("writable-cgroups=false"),
        }
    }
}

impl TryFrom<String> for SecurityOption {
    type Error = ParseSecurityOptionError;
    fn try_from(text: String) -> Result<Self, ParseSecurityOptionError> {
        text.parse()
    }
}

impl From<SecurityOption> for String {
    fn from(option: SecurityOption) -> Self {
        option.to_string()
    }
}

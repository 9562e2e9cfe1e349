//! Which namespaces a container has of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A mode that is not known; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} mode: {value}")]
pub struct ParseModeError {
    /// Which namespace.
    pub what: &'static str,
    /// What was written.
    pub value: String,
}

/// Text forms for serde.
macro_rules! convert {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ParseModeError;
            fn try_from(text: String) -> Result<Self, ParseModeError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(mode: $name) -> Self {
                mode.to_string()
            }
        }
    };
}

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkMode {
    /// Nothing was said: the default bridge.
    #[default]
    Default,
    /// The default bridge, by name.
    Bridge,
    /// Only a loopback.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
    /// A network made by a person, by name or id.
    Network(String),
}

impl FromStr for NetworkMode {
    type Err = ParseModeError;
    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match text {
            "" | "default" => Ok(Self::Default),
            "bridge" => Ok(Self::Bridge),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some("") => Err(ParseModeError { what: "network", value: text.to_owned() }),
                Some(id) => Ok(Self::Container(id.to_owned())),
                None => Ok(Self::Network(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Bridge => f.write_str("bridge"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Network(name) => f.write_str(name),
        }
    }
}

convert!(NetworkMode);

/// The IPC namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IpcMode {
    /// The default: private.
    #[default]
    Default,
    /// Private, without `/dev/shm`.
    None,
    /// Its own.
    Private,
    /// Its own, which others may join.
    Shareable,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

impl FromStr for IpcMode {
    type Err = ParseModeError;
    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match text {
            "" => Ok(Self::Default),
            "none" => Ok(Self::None),
            "private" => Ok(Self::Private),
            "shareable" => Ok(Self::Shareable),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some(id) if !id.is_empty() => Ok(Self::Container(id.to_owned())),
                _ => Err(ParseModeError { what: "IPC", value: text.to_owned() }),
            },
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(""),
            Self::None => f.write_str("none"),
            Self::Private => f.write_str("private"),
            Self::Shareable => f.write_str("shareable"),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
        }
    }
}

convert!(IpcMode);

/// The process id namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

impl FromStr for PidMode {
    type Err = ParseModeError;
    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match text {
            "" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some(id) if !id.is_empty() => Ok(Self::Container(id.to_owned())),
                _ => Err(ParseModeError { what: "PID", value: text.to_owned() }),
            },
        }
    }
}

impl fmt::Display for PidMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str(""),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
        }
    }
}

convert!(PidMode);

/// The host name namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UtsMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

impl FromStr for UtsMode {
    type Err = ParseModeError;
    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match text {
            "" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => Err(ParseModeError { what: "UTS", value: text.to_owned() }),
        }
    }
}

impl fmt::Display for UtsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str(""),
            Self::Host => f.write_str("host"),
        }
    }
}

convert!(UtsMode);

/// The user namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UsernsMode {
    /// As the engine is configured.
    #[default]
    Default,
    /// The host's.
    Host,
}

impl FromStr for UsernsMode {
    type Err = ParseModeError;
    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match text {
            "" => Ok(Self::Default),
            "host" => Ok(Self::Host),
            _ => Err(ParseModeError { what: "userns", value: text.to_owned() }),
        }
    }
}

impl fmt::Display for UsernsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(""),
            Self::Host => f.write_str("host"),
        }
    }
}

convert!(UsernsMode);

/// The control group namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CgroupnsMode {
    /// The default: host on version 1, private on version 2.
    #[default]
    Default,
    /// Its own.
    Private,
    /// The host's.
    Host,
}

impl FromStr for CgroupnsMode {
    type Err = ParseModeError;
    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        match text {
            "" => Ok(Self::Default),
            "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => Err(ParseModeError { what: "cgroup namespace", value: text.to_owned() }),
        }
    }
}

impl fmt::Display for CgroupnsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(""),
            Self::Private => f.write_str("private"),
            Self::Host => f.write_str("host"),
        }
    }
}

convert!(CgroupnsMode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_survive_their_text() {
        for text in ["default", "bridge", "none", "host", "container:a", "shop"] {
            assert_eq!(text.parse::<NetworkMode>().unwrap().to_string(), text);
        }
        for text in ["", "none", "private", "shareable", "host", "container:a"] {
            assert_eq!(text.parse::<IpcMode>().unwrap().to_string(), text);
        }
        assert_eq!("x".parse::<PidMode>().unwrap_err().to_string(), "invalid PID mode: x");
        assert!("container:".parse::<IpcMode>().is_err());
    }
}

//! Mounts in the form of `-v` and of `--volumes-from`.
//!
//! **Source:** moby, `volume/mounts/linux_parser.go`, `ParseMountRaw`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mount::{IdMap, ParseMountError, Propagation, clean, target, volume_name};

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
    /// Whether its files show other owners.
    pub id_map: Option<IdMap>,
}

/// What a mode says; each kind of word may stand once.
#[derive(Debug, Default)]
struct Mode {
    read_only: Option<bool>,
    label: bool,
    propagation: Option<Propagation>,
    no_copy: bool,
    consistency: bool,
    id_map: Option<IdMap>,
}

impl Mode {
    /// None if a word is unknown or a kind stands twice.
    fn parse(text: &str) -> Result<Option<Self>, ParseMountError> {
        let mut mode = Self::default();
        if text.is_empty() {
            return Ok(Some(mode));
        }
        for word in text.split(',') {
            let again = match word {
                "ro" | "rw" => mode.read_only.replace(word == "ro").is_some(),
                "z" | "Z" => std::mem::replace(&mut mode.label, true),
                "nocopy" => std::mem::replace(&mut mode.no_copy, true),
                "consistent" | "cached" | "delegated" => std::mem::replace(&mut mode.consistency, true),
                "idmap" => mode.id_map.replace(IdMap::default()).is_some(),
                "" => true,
                word => match (word.strip_prefix("idmap="), word.parse::<Propagation>()) {
                    (Some(ids), _) => mode.id_map.replace(ids.parse()?).is_some(),
                    (None, Ok(propagation)) => mode.propagation.replace(propagation).is_some(),
                    (None, Err(_)) => true,
                },
            };
            if again {
                return Ok(None);
            }
        }
        Ok(Some(mode))
    }
}

impl FromStr for Bind {
    type Err = ParseMountError;
    /// Takes `source:target[:options]` and `target` alone.
    fn from_str(text: &str) -> Result<Self, ParseMountError> {
        let malformed = || ParseMountError::Specification(text.to_owned());
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let (source, to, words) = match parts.as_slice() {
            [to] => ("", *to, ""),
            // A target with a mode is no mount.
            [_, mode] if Mode::parse(mode).is_ok_and(|mode| mode.is_some()) => return Err(malformed()),
            [source, to] => (*source, *to, ""),
            [source, to, words] => (*source, *to, *words),
            _ => return Err(malformed()),
        };
        if to.is_empty() && parts.len() == 1 || parts.len() > 1 && source.is_empty() {
            return Err(malformed());
        }
        // Only our own word has a colon in it.
        if words.split(',').any(|word| word.contains(':') && !word.starts_with("idmap=")) {
            return Err(malformed());
        }
        let mode = Mode::parse(words)?.ok_or_else(|| ParseMountError::Mode(words.to_owned()))?;
        let is_path = source.starts_with('/');
        let combined = |reason: String| ParseMountError::Combination {
            text: text.to_owned(),
            config: Box::new(ParseMountError::Config { kind: if is_path { "bind" } else { "volume" }.to_owned(), reason }),
        };
        let foreign = |field: &str| combined(format!("field {field} must not be specified"));
        if !is_path && (mode.propagation.is_some() || mode.id_map.is_some()) {
            return Err(foreign("BindOptions"));
        }
        if is_path && mode.no_copy {
            return Err(foreign("VolumeOptions"));
        }
        let target = match to {
            "" => return Err(combined("field Target must not be empty".to_owned())),
            to => target(to).map_err(|error| combined(error.to_string()))?,
        };
        let source = match source {
            "" => MountSource::Anonymous,
            path if is_path => MountSource::Path(clean(path)),
            name => MountSource::Volume(volume_name(name)?),
        };
        Ok(Self {
            source,
            target,
            mode: words.to_owned(),
            read_only: mode.read_only.unwrap_or(false),
            no_copy: mode.no_copy,
            propagation: mode.propagation.unwrap_or_default(),
            id_map: mode.id_map,
        })
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
        let wrong = || ParseMountError::Mode(mode.to_owned());
        let parsed = Mode::parse(mode)?.ok_or_else(wrong)?;
        if parsed.propagation.is_some() || parsed.no_copy || parsed.id_map.is_some() {
            return Err(wrong());
        }
        match (text, container) {
            ("", _) => return Err(ParseMountError::VolumesFrom),
            (_, "") => return Err(ParseMountError::VolumesFromNobody),
            _ => {}
        }
        Ok(Self { container: container.to_owned(), read_only: parsed.read_only.unwrap_or(false), mode: mode.to_owned() })
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
        for text in ["/a:/b", "/a:/b:ro", "data:/b:nocopy", "/b", "/a:/b:rshared,ro", "/a:/b:idmap", "/a:/b:idmap=1000:100,ro"] {
            assert_eq!(text.parse::<Bind>().unwrap().to_string(), text);
        }
        assert_eq!("/a//c/../b/:/x/".parse::<Bind>().unwrap().to_string(), "/a/b:/x");
        assert_eq!("/a:/b:idmap=5:6".parse::<Bind>().unwrap().id_map, Some(IdMap { owner: Some((5, 6)) }));
    }

    #[test]
    fn refusals_have_docker_texts() {
        let cases = [
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            ("/a:/b:zz", "invalid mode: zz"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:z,Z", "invalid mode: z,Z"),
            ("/foo:rw", "invalid volume specification: '/foo:rw'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            (":/b", "invalid volume specification: ':/b'"),
            ("", "invalid volume specification: ''"),
            (
                "vv:/x:rshared",
                "invalid volume specification: 'vv:/x:rshared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                "/a:/x:nocopy",
                "invalid volume specification: '/a:/x:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
            (
                "a/b:/c",
                "create a/b: \"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
            ),
            ("/a:/b:idmap=x", "invalid idmap: 'x': say idmap, or idmap=UID:GID with the owner of the files on the host"),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Bind>().unwrap_err().to_string(), error, "{text}");
        }
        assert_eq!("c:zz".parse::<VolumeFrom>().unwrap_err().to_string(), "invalid mode: zz");
        assert!("c:ro,z".parse::<VolumeFrom>().unwrap().read_only);
    }

    proptest::proptest! {
        /// Nothing panics, and what is taken means the same when it is written and read again.
        #[test]
        fn any_text_is_refused_or_survives(text in "[/a:,.z=0-9 ]{0,24}|\\PC{0,40}|(/a|v1|)(:/b|:b|)(:(ro|rw|z|Z|nocopy|rslave|idmap|idmap=1:2|,){0,6}|)") {
            if let Ok(bind) = text.parse::<Bind>() {
                let again: Bind = bind.to_string().parse().unwrap();
                proptest::prop_assert_eq!(&again, &bind);
                proptest::prop_assert!(bind.target.starts_with('/') && bind.target.len() > 1);
                proptest::prop_assert!(!bind.target.split('/').any(|part| part == ".." || part == "."));
            }
            let _ = text.parse::<VolumeFrom>();
            let _ = text.parse::<IdMap>();
        }
    }
}

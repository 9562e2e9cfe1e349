//! Which images may be pulled: the administrator's file of trust.
//!
//! The form is that of Podman and Skopeo, as far as it is kept here: `insecureAcceptAnything`, `reject` and
//! `sigstoreSigned` with keys. What this engine does not verify (GPG signatures, Fulcio, Rekor) is refused when the file is read,
//! for a requirement that is left out silently would let unsigned images pass.
//! **Source:** containers/image, `docs/containers-policy.json.5.md`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::ImageRef;
use serde::Deserialize;

use crate::Settings;
use crate::signature::{Key, KeyError};

/// Says why a file of trust cannot be used; nothing is pulled then.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the signature policy `{}`", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file makes no sense.
    #[error("the signature policy `{}` makes no sense: {source}", .file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A list of requirements is empty.
    #[error("the signature policy `{}` has no requirement for `{scope}`: say `insecureAcceptAnything` or `reject`", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// The registry or repository.
        scope: String,
    },
    /// A requirement names no key, or more than one way.
    #[error("the signature policy `{}` must name exactly one of keyPath, keyPaths, keyData and keyDatas for `{scope}`", .file.display())]
    Keys {
        /// The file.
        file: PathBuf,
        /// The registry or repository.
        scope: String,
    },
    /// A key cannot be used.
    #[error("the signature policy `{}` has a wrong key for `{scope}`: {key}: {source}", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The registry or repository.
        scope: String,
        /// The key's file.
        key: String,
        /// The cause.
        source: KeyError,
    },
}

/// What is asked of an image before any layer of it is fetched.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// Nothing.
    Accept,
    /// It is never pulled.
    Reject,
    /// A signature by one of these keys, over the digest of its manifest or index.
    Signed {
        /// The keys.
        keys: Vec<Key>,
        /// What the signature must say about the name.
        identity: Identity,
    },
}

/// What a signature must say about the name of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The very name, with its tag.
    Exact,
    /// The very name, or where a digest is pulled, the repository.
    RepoDigestOrExact,
    /// The repository.
    Repository,
    /// This name.
    Reference(ImageRef),
    /// This repository.
    OtherRepository(ImageRef),
}

impl Identity {
    /// Says whether a signature over `signed` is one for `wanted`.
    #[must_use]
    pub fn fits(&self, wanted: &ImageRef, signed: &ImageRef) -> bool {
        let same_repository = signed.repository() == wanted.repository();
        match self {
            Self::Repository => same_repository,
            Self::Exact => same_repository && signed.tag().is_some() && signed.tag() == wanted.tag(),
            Self::RepoDigestOrExact if wanted.digest().is_some() => same_repository,
            Self::RepoDigestOrExact => Self::Exact.fits(wanted, signed),
            Self::Reference(reference) => signed == reference,
            Self::OtherRepository(repository) => signed.repository() == repository.repository(),
        }
    }
}

/// The file of trust.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Where nothing else fits; absent accepts everything, as where there is no file.
    default: Option<Vec<Requirement>>,
    /// By registry, name space, repository or whole name.
    scopes: BTreeMap<String, Vec<Requirement>>,
}

impl Policy {
    /// Reads the file that the settings name. Where it is missing and need not be there, everything is accepted.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn read(settings: &Settings) -> Result<Self, PolicyError> {
        let file = &settings.policy_file;
        match fs_err::read(file) {
            Ok(text) => Self::parse(&text, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !settings.policy_required => Ok(Self::default()),
            Err(source) => Err(PolicyError::Read { file: file.clone(), source }),
        }
    }

    fn parse(text: &[u8], file: &Path) -> Result<Self, PolicyError> {
        let written: File = serde_json::from_slice(text).map_err(|source| PolicyError::Parse { file: file.to_owned(), source })?;
        let mut policy = Self { default: Some(requirements(written.default, "default", file)?), scopes: BTreeMap::new() };
        // Other transports, such as archives, are no registries.
        for (scope, list) in written.transports.docker {
            let requirements = requirements(list, &scope, file)?;
            if scope.is_empty() {
                policy.default = Some(requirements);
            } else {
                policy.scopes.insert(scope, requirements);
            }
        }
        Ok(policy)
    }

    /// Finds what is asked of `name`: by its whole name, its repository, the name spaces above, its registry, and the
    /// wildcards `*.example.org` of the registry.
    #[must_use]
    pub fn requirements(&self, name: &ImageRef) -> &[Requirement] {
        let mut scope = name.to_string();
        loop {
            if let Some(found) = self.scopes.get(&scope) {
                return found;
            }
            let shorter = match scope.rfind(['/', ':', '@']) {
                Some(end) if end > name.domain().len() => &scope[..end],
                Some(_) | None => name.domain(),
            };
            if shorter.len() >= scope.len() {
                break;
            }
            scope = shorter.to_owned();
        }
        let mut domain = name.domain();
        while let Some((_, above)) = domain.split_once('.') {
            if let Some(found) = self.scopes.get(&format!("*.{above}")) {
                return found;
            }
            domain = above;
        }
        self.default.as_deref().unwrap_or_default()
    }
}

fn requirements(list: Vec<Written>, scope: &str, file: &Path) -> Result<Vec<Requirement>, PolicyError> {
    if list.is_empty() {
        return Err(PolicyError::Empty { file: file.to_owned(), scope: scope.to_owned() });
    }
    list.into_iter().map(|written| requirement(written, scope, file)).collect()
}

fn requirement(written: Written, scope: &str, file: &Path) -> Result<Requirement, PolicyError> {
    let signed = match written {
        Written::InsecureAcceptAnything {} => return Ok(Requirement::Accept),
        Written::Reject {} => return Ok(Requirement::Reject),
        Written::SigstoreSigned(signed) => *signed,
    };
    let WrittenSigned { key_path, key_paths, key_data, key_datas, signed_identity } = signed;
    let ways = [key_path.is_some(), !key_paths.is_empty(), key_data.is_some(), !key_datas.is_empty()];
    if ways.iter().filter(|way| **way).count() != 1 {
        return Err(PolicyError::Keys { file: file.to_owned(), scope: scope.to_owned() });
    }
    let bad = |key: &str, source| PolicyError::Key { file: file.to_owned(), scope: scope.to_owned(), key: key.to_owned(), source };
    let mut keys = Vec::new();
    for path in key_path.into_iter().chain(key_paths) {
        let text = fs_err::read(&path).map_err(|source| bad(&path, KeyError::Read(source)))?;
        keys.push(Key::from_pem(&text).map_err(|source| bad(&path, source))?);
    }
    for data in key_data.into_iter().chain(key_datas) {
        let text = STANDARD.decode(&data).map_err(|_| bad("keyData", KeyError::Encoding))?;
        keys.push(Key::from_pem(&text).map_err(|source| bad("keyData", source))?);
    }
    let identity = match signed_identity {
        None | Some(WrittenIdentity::MatchRepoDigestOrExact {}) => Identity::RepoDigestOrExact,
        Some(WrittenIdentity::MatchExact {}) => Identity::Exact,
        Some(WrittenIdentity::MatchRepository {}) => Identity::Repository,
        Some(WrittenIdentity::ExactReference { docker_reference }) => Identity::Reference(docker_reference),
        Some(WrittenIdentity::ExactRepository { docker_repository }) => Identity::OtherRepository(docker_repository),
    };
    Ok(Requirement::Signed { keys, identity })
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Vec<Written>,
    #[serde(default)]
    transports: Transports,
}

#[derive(Default, Deserialize)]
struct Transports {
    #[serde(default)]
    docker: BTreeMap<String, Vec<Written>>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum Written {
    InsecureAcceptAnything {},
    Reject {},
    SigstoreSigned(Box<WrittenSigned>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenSigned {
    key_path: Option<String>,
    #[serde(default)]
    key_paths: Vec<String>,
    key_data: Option<String>,
    #[serde(default)]
    key_datas: Vec<String>,
    signed_identity: Option<WrittenIdentity>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum WrittenIdentity {
    MatchExact {},
    MatchRepoDigestOrExact {},
    MatchRepository {},
    ExactReference {
        #[serde(deserialize_with = "reference")]
        docker_reference: ImageRef,
    },
    ExactRepository {
        #[serde(deserialize_with = "reference")]
        docker_repository: ImageRef,
    },
}

fn reference<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ImageRef, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes(), Path::new("policy.json"))
    }

    #[test]
    fn the_nearest_scope_counts() {
        let policy = parse(
            r#"{"default":[{"type":"reject"}],"transports":{"docker":{
                "r.example/team":[{"type":"insecureAcceptAnything"}],
                "r.example/team/app:1":[{"type":"reject"}],
                "localhost:5000":[{"type":"insecureAcceptAnything"}],
                "*.trusted.example":[{"type":"insecureAcceptAnything"}]}}}"#,
        )
        .unwrap();
        let accepts = |name: &str| matches!(policy.requirements(&name.parse().unwrap()), [Requirement::Accept]);
        for (name, expected) in [
            ("r.example/team/app:2", true),
            ("r.example/team/app:1", false),
            ("r.example/team/deep/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true),
            ("r.example/teamwork/app:1", false),
            ("localhost:5000/x:1", true),
            ("localhost:5001/x:1", false),
            ("a.b.trusted.example/x:1", true),
            ("trusted.example/x:1", false),
            ("busybox", false),
        ] {
            assert_eq!(accepts(name), expected, "{name}");
        }
    }

    #[test]
    fn without_a_file_everything_is_accepted() {
        let mut settings = Settings { policy_file: "/nonexistent/policy.json".into(), ..Settings::default() };
        assert!(Policy::read(&settings).unwrap().requirements(&"busybox".parse().unwrap()).is_empty());
        settings.policy_required = true;
        assert!(Policy::read(&settings).unwrap_err().to_string().contains("`/nonexistent/policy.json`"));
    }

    #[test]
    fn what_is_not_verified_is_refused_when_it_is_read() {
        for (text, reason) in [
            (r#"{"default":[]}"#, "has no requirement for `default`"),
            (r#"{"default":[{"type":"signedBy","keyPath":"/k"}]}"#, "unknown variant `signedBy`"),
            (r#"{"default":[{"type":"sigstoreSigned"}]}"#, "exactly one of"),
            (r#"{"default":[{"type":"sigstoreSigned","fulcio":{}}]}"#, "unknown field `fulcio`"),
            (r#"{"default":[{"type":"sigstoreSigned","keyData":"aGVsbG8="}]}"#, "wrong key for `default`"),
            (r#"{"defaults":[]}"#, "unknown field `defaults`"),
            ("[", "makes no sense"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_signature_for_another_name_does_not_fit() {
        let name = |text: &str| text.parse::<ImageRef>().unwrap();
        let (wanted, digest) = (name("r/x:1"), "r/x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(Identity::RepoDigestOrExact.fits(&wanted, &name("r/x:1")));
        assert!(!Identity::RepoDigestOrExact.fits(&wanted, &name("r/x")), "a name without a tag is not the name");
        assert!(Identity::RepoDigestOrExact.fits(&name(digest), &name("r/x")));
        assert!(Identity::Repository.fits(&wanted, &name("r/x")) && !Identity::Repository.fits(&wanted, &name("r/y:1")));
        assert!(!Identity::Exact.fits(&name(digest), &name("r/x")));
    }
}

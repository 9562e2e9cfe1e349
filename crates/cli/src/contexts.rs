//! Docker's store of contexts: a name for an engine, and the keys to it.
//! **Source:** docker/cli, `cli/context/store`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config;
use crate::error::{Failure, Outcome};
use crate::remote::Keys;

/// The files of an encrypted connection, by Docker's names.
pub const FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// Longest archive of a context that is read. **Source:** docker/cli, `maxAllowedFileSizeToImport`.
pub const ARCHIVE_BYTES_MAX: u64 = 10 << 20;

/// What `meta.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Description and whatever else other programs keep there.
    pub metadata: Map<String, Value>,
    /// Endpoints by kind; Docker's is `docker`.
    pub endpoints: Map<String, Value>,
}

impl Meta {
    /// Host of the engine, or empty.
    #[must_use]
    pub fn host(&self) -> &str {
        self.docker("Host").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether anybody is believed to be the host.
    #[must_use]
    pub fn skip_verify(&self) -> bool {
        self.docker("SkipTLSVerify").and_then(Value::as_bool).unwrap_or_default()
    }

    /// What people wrote of it.
    #[must_use]
    pub fn description(&self) -> &str {
        self.metadata.get("Description").and_then(Value::as_str).unwrap_or_default()
    }

    fn docker(&self, field: &str) -> Option<&Value> {
        self.endpoints.get("docker")?.get(field)
    }
}

/// The folder whose name is the name's digest.
fn folder_name(name: &str) -> String {
    Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Folder of a context's `meta.json`.
#[must_use]
pub fn meta_folder(name: &str) -> PathBuf {
    config::folder().join("contexts/meta").join(folder_name(name))
}

/// Folder of a context's keys.
#[must_use]
pub fn tls_folder(name: &str) -> PathBuf {
    config::folder().join("contexts/tls").join(folder_name(name))
}

/// Reads a context; none if there is none of this name.
///
/// # Errors
/// The file is damaged or cannot be read.
pub fn read(name: &str) -> Outcome<Option<Meta>> {
    let path = meta_folder(name).join("meta.json");
    match std::fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|error| Failure::new(format!("parsing {}: {error}", path.display())))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}

/// All contexts but the default one, by name; those that are damaged are left out.
#[must_use]
pub fn all() -> Vec<Meta> {
    let entries = std::fs::read_dir(config::folder().join("contexts/meta")).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| serde_json::from_slice::<Meta>(&std::fs::read(entry.path().join("meta.json")).ok()?).ok();
    let mut all: Vec<Meta> = entries.filter_map(read).collect();
    all.sort_by(|left, right| left.name.cmp(&right.name));
    all
}

/// Writes a context whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub fn write(meta: &Meta) -> Outcome<()> {
    let folder = meta_folder(&meta.name);
    std::fs::create_dir_all(&folder)?;
    replace(&folder.join("meta.json"), &serde_json::to_vec(meta)?, 0o644)
}

/// Replaces the keys of a context.
///
/// # Errors
/// The folder cannot be written.
pub fn write_keys(name: &str, files: &[(String, Vec<u8>)]) -> Outcome<()> {
    let folder = tls_folder(name);
    let _absent = std::fs::remove_dir_all(&folder);
    if files.is_empty() {
        return Ok(());
    }
    let folder = folder.join("docker");
    std::fs::create_dir_all(&folder)?;
    for (name, content) in files {
        replace(&folder.join(name), content, 0o600)?;
    }
    Ok(())
}

/// Keys of a context: name and content.
#[must_use]
pub fn key_files(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = tls_folder(name).join("docker");
    FILES.iter().filter_map(|file| Some(((*file).to_owned(), std::fs::read(folder.join(file)).ok()?))).collect()
}

/// The keys as a connection needs them; none if it has none.
#[must_use]
pub fn keys(meta: &Meta) -> Option<Keys> {
    let folder = tls_folder(&meta.name).join("docker");
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    let [ca, cert, key] = FILES.map(file);
    let any = ca.is_some() || cert.is_some() || meta.skip_verify();
    any.then(|| Keys { ca, cert, key, skip_verify: meta.skip_verify() })
}

/// Removes a context and its keys.
///
/// # Errors
/// A folder cannot be removed.
pub fn remove(name: &str) -> Outcome<()> {
    for folder in [meta_folder(name), tls_folder(name)] {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::new(format!("{}: {error}", folder.display()))),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a context the current one; `default` takes the choice away. Other settings stay as they are.
///
/// # Errors
/// The configuration is damaged or cannot be written.
pub fn choose(name: &str) -> Outcome<()> {
    let path = config::folder().join("config.json");
    let mut settings: Map<String, Value> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error.into()),
    };
    if name == "default" {
        settings.remove("currentContext");
    } else {
        settings.insert("currentContext".to_owned(), name.into());
    }
    std::fs::create_dir_all(config::folder())?;
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    settings.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    replace(&path, &text, 0o600)
}

fn replace(path: &Path, content: &[u8], mode: u32) -> Outcome<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(std::fs::rename(&beside, path)?)
}

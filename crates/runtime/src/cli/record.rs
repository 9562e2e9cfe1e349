//! What is remembered of a container between commands: one folder with a record, and a FIFO while it waits.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci::runtime::{Spec, State};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::error::During as _;
use super::{CliError, Global};
use crate::cgroup::Cgroup;

/// A container's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) pid: i32,
    /// Start time of the first process in clock ticks since boot: tells it from a later one with its number.
    pub(super) pid_start: u64,
    /// RFC 3339.
    pub(super) created: String,
    pub(super) spec: Spec,
    #[serde(skip)]
    pub(super) folder: PathBuf,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// An id that is also a file name. **Source:** runc, `libcontainer/factory_linux.go`.
pub(super) fn parse_id(id: &str) -> Result<String, CliError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
    if id.is_empty() || id == "." || id == ".." || id.len() > 255 || !id.bytes().all(good) {
        return Err(CliError::Usage(format!("invalid container ID format: \"{id}\"")));
    }
    Ok(id.to_owned())
}

/// Takes an id: makes its folder.
pub(super) fn claim(global: &Global, id: &str) -> Result<PathBuf, CliError> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).recursive(true);
    builder.create(&global.root).during(|| format!("cannot make {}", global.root.display()))?;
    let folder = global.root.join(id);
    match builder.recursive(false).create(&folder) {
        Ok(()) => Ok(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::Exists),
        Err(error) => Err(error).during(|| format!("cannot make {}", folder.display())),
    }
}

impl Record {
    pub(super) fn load(global: &Global, id: &str) -> Result<Self, CliError> {
        let folder = global.root.join(id);
        let path = folder.join("state.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CliError::NotFound);
            }
            Err(error) => return Err(error).during(|| format!("cannot read {}", path.display())),
        };
        let mut record: Self =
            serde_json::from_slice(&text).map_err(|source| CliError::Json { what: format!("cannot read {}", path.display()), source })?;
        record.folder = folder;
        Ok(record)
    }

    /// Writes the record; a reader sees the old one or the new one.
    pub(super) fn save(&self) -> Result<(), CliError> {
        let text = serde_json::to_vec(self).map_err(|source| CliError::Json { what: "cannot write the record".into(), source })?;
        let (path, draft) = (self.folder.join("state.json"), self.folder.join("state.json.new"));
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).during(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn all(global: &Global) -> Result<Vec<Self>, CliError> {
        let entries = match fs::read_dir(&global.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).during(|| format!("cannot read {}", global.root.display()));
            }
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        // One that is being made or removed is not there.
        let mut records: Vec<Self> = names.filter_map(|id| Self::load(global, &id).ok()).collect();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(records)
    }

    /// The FIFO that the first process waits at; it is there until the start.
    pub(super) fn fifo(&self) -> PathBuf {
        self.folder.join("exec.fifo")
    }

    pub(super) fn cgroup(&self) -> Cgroup {
        Cgroup::open(&self.id, self.spec.linux.as_ref())
    }

    /// The first process, if it lives.
    pub(super) fn process(&self) -> Option<Pid> {
        let (state, start) = stat(self.pid)?;
        if matches!(state, 'Z' | 'X') || start != self.pid_start {
            return None;
        }
        Pid::from_raw(self.pid)
    }

    pub(super) fn status(&self) -> Status {
        if self.process().is_none() {
            Status::Stopped
        } else if self.fifo().exists() {
            Status::Created
        } else if self.cgroup().frozen() {
            Status::Paused
        } else {
            Status::Running
        }
    }

    pub(super) fn state(&self, status: Status) -> State {
        State {
            oci_version: oci::runtime::VERSION.into(),
            id: self.id.clone(),
            status: status.name().into(),
            pid: Some(if status == Status::Stopped { 0 } else { self.pid.into() }),
            bundle: self.bundle.clone(),
            annotations: self.spec.annotations.clone(),
        }
    }

    /// Name of the user who made it, or the number.
    pub(super) fn owner(&self) -> String {
        let uid = fs::metadata(&self.folder).map(|data| data.uid()).unwrap_or_default();
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        });
        name.unwrap_or_else(|| uid.to_string())
    }
}

/// State letter and start time of a process. **Source:** proc(5), `/proc/pid/stat`, fields 3 and 22.
pub(super) fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

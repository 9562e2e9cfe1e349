//! What all actors share.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use image::Images;
use network::Networks;
use store::Table;
use supervisor::protocol::Bytes;
use supervisor::spawner::Spawner;
use volume::Volumes;

use crate::damaged::Damaged;
use crate::event::Events;
use crate::id::{ContainerId, ExecId};
use crate::record::Record;
use crate::registry::{Cell, Registry, lock};
use crate::spec::Spec;
use crate::writer;

/// What all actors share.
#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) root: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) cgroup_parent: String,
    pub(crate) spawner: Spawner,
    pub(crate) images: Arc<Images>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) table: Table<Record>,
    pub(crate) registry: Registry,
    pub(crate) events: Events,
    pub(crate) execs: Mutex<HashMap<ExecId, Arc<Cell>>>,
    pub(crate) filters: Mutex<HashMap<String, Bytes>>,
    pub(crate) damaged: Mutex<Vec<Damaged>>,
    /// True when the containers of an earlier engine are found again.
    pub(crate) settled: tokio::sync::watch::Sender<bool>,
    pub(crate) closing: AtomicBool,
}

/// Compiled filters that are kept.
const FILTERS_MAX: usize = 64;

/// Makes a directory and those above it for root alone.
///
/// # Errors
/// As mkdir(2).
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

impl Deps {
    /// The directory of a container's state that a reboot may take; it is the bundle, too.
    pub(crate) fn run_directory(&self, id: &ContainerId) -> PathBuf {
        self.run.join("containers").join(id.to_string())
    }

    /// The directory of a container's log and exit record.
    pub(crate) fn data_directory(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.to_string())
    }

    /// The compiled filter of a specification, from the cache if it is there.
    ///
    /// # Errors
    /// The text of what is wrong with the profile.
    pub(crate) fn filter(&self, spec: &Spec) -> Result<Option<Bytes>, String> {
        let host = &spec.host;
        if host.privileged {
            return Ok(None);
        }
        let key = format!("{:?} {:?} {:?}", host.security_options, host.cap_add, host.cap_drop);
        if let Some(bytes) = lock(&self.filters).get(&key) {
            return Ok(Some(bytes.clone()));
        }
        let Some(profile) = writer::seccomp(spec) else {
            return Ok(None);
        };
        let bytes = supervisor::compile_seccomp(&profile?).map_err(|error| crate::error::chain(&error))?;
        let mut filters = lock(&self.filters);
        if filters.len() >= FILTERS_MAX {
            filters.clear();
        }
        filters.insert(key, bytes.clone());
        Ok(Some(bytes))
    }
}

//! Containers whose record cannot be read: shown, never lost, removed when asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::actor::clear;
use crate::deps::Deps;
use crate::engine::Engine;
use crate::error::{LookupError, RemoveError};
use crate::id::ContainerId;
use crate::open;
use crate::registry::lock;

/// A record that was set aside when the engine started, with all that its container holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The container's id, or the file's name where that is none.
    pub key: String,
    /// The record's file, for whoever wants to save something of it.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl From<store::Damaged> for Damaged {
    fn from(store::Damaged { key, path, reason }: store::Damaged) -> Self {
        Self { key, path, reason }
    }
}

impl Engine {
    /// Containers whose record is damaged.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damaged> {
        lock(&self.0.damaged).clone()
    }

    /// Removes what is left of a container with a damaged record: its processes, its files and the record.
    ///
    /// # Errors
    /// `unknown` when no such record begins with `reference`, or the record's file cannot be deleted.
    pub(crate) async fn remove_damaged(&self, reference: &str, unknown: LookupError) -> Result<(), RemoveError> {
        let found = lock(&self.0.damaged).iter().find(|damaged| !reference.is_empty() && damaged.key.starts_with(reference)).cloned();
        let Some(found) = found else {
            return Err(unknown.into());
        };
        if let Ok(id) = found.key.parse::<ContainerId>() {
            open::end_orphan(&self.0.run_directory(&id).join("control")).await;
            let deps = self.0.clone();
            let work = move || {
                clear(&deps, id, &[], false);
                // What is left of its network is swept at the next start, at the latest.
                drop(deps.networks.sweep(&known(&deps, &id.to_string())));
            };
            // A panic there has been shown already.
            let _ = tokio::task::spawn_blocking(work).await;
        }
        match std::fs::remove_file(&found.path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(RemoveError::Record(store::RemoveError { key: found.key, source }));
            }
            Ok(()) | Err(_) => {}
        }
        if let Some(aside) = found.path.parent() {
            // Others may be in it.
            let _ = std::fs::remove_dir(aside);
        }
        lock(&self.0.damaged).retain(|damaged| damaged.path != found.path);
        Ok(())
    }
}

/// The holders of all containers but `gone`.
fn known(deps: &Deps, gone: &str) -> BTreeSet<String> {
    let damaged = lock(&deps.damaged).iter().map(|damaged| damaged.key.clone()).collect::<Vec<_>>();
    let live = deps.registry.list().into_iter().map(|cell| cell.id.to_string());
    live.chain(damaged).filter(|holder| holder != gone).collect()
}

//! Who uses a volume: *holders* keep it from being removed, *users* also keep what it needs mounted.
//!
//! Neither is recorded: after a restart the engine says again who holds and uses what. A mount itself outlives the
//! engine; it is found by looking at the directory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Volumes, find};
use crate::error::{AttachError, MountError};
use crate::model::{Name, Spec};
use crate::{mounting, options};

type Users = Arc<Mutex<BTreeSet<String>>>;

/// Locks the users of a volume; a change is complete before anything can panic.
pub(super) fn lock(users: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    users.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Volumes {
    /// Notes that `holder` uses the volume, which is made where it is missing; true when it was.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, name: &Name, holder: &str) -> Result<bool, AttachError> {
        let mut state = self.state();
        let made = !state.volumes.contains_key(name);
        if made {
            self.make_new(&mut state, Spec { name: Some(name.clone()), ..Spec::default() })?;
        }
        state.holders.entry(name.clone()).or_default().insert(holder.to_owned());
        Ok(made)
    }

    /// Makes a volume as `spec` says, or takes the one of that name, and notes that `holder` uses it; true when it was made.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach_new(&self, spec: Spec, holder: &str) -> Result<(Name, bool), AttachError> {
        let (volume, made) = self.make(spec)?;
        self.hold(&volume.name, holder);
        Ok((volume.name, made))
    }

    /// Notes that `holder` uses the volume, if it exists.
    pub fn hold(&self, name: &Name, holder: &str) {
        let mut state = self.state();
        if state.volumes.contains_key(name) {
            state.holders.entry(name.clone()).or_default().insert(holder.to_owned());
        }
    }

    /// Ends the use of all volumes by `holder`, with their mounts.
    pub fn detach(&self, holder: &str) {
        self.unmount(holder);
        self.state().holders.retain(|_, holders| {
            holders.remove(holder);
            !holders.is_empty()
        });
    }

    /// Returns where the files of a volume are, mounted if its options ask for that, for `user`.
    ///
    /// May take long: a server of files may be far away.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn mount(&self, name: &Name, user: &str) -> Result<PathBuf, MountError> {
        let data = self.data(name);
        let (record, users) = {
            let mut state = self.state();
            let record = find(&state, name.as_str())?.1.clone();
            if !options::needs_mount(&record.driver_opts) {
                drop(state);
                self.limit(name, &record).map_err(|source| MountError::Quota { name: name.clone(), source })?;
                return Ok(data);
            }
            (record, state.users.entry(name.clone()).or_default().clone())
        };
        let mut users = lock(&users);
        let text = |name: &str| record.driver_opts.get(name).map_or("", String::as_str);
        let failed = |source| {
            let words: Vec<&str> =
                text("o").split(',').map(|word| if word.starts_with("password=") { "password=********" } else { word }).collect();
            let words = words.join(",");
            let words = if words.is_empty() { words } else { format!(", data: {words}") };
            MountError::Mount { path: data.clone(), what: format!("{}:{}{words}", text("device"), data.display()), source }
        };
        if !mounting::is_mounted(&data).map_err(failed)? {
            mounting::mount(&record.driver_opts, &data).map_err(failed)?;
        }
        users.insert(user.to_owned());
        Ok(data)
    }

    /// Notes after a restart that `user` uses the mount of a volume, if it has one.
    pub fn adopt_user(&self, name: &Name, user: &str) {
        let mut state = self.state();
        if state.volumes.get(name).is_some_and(|record| options::needs_mount(&record.driver_opts)) {
            lock(state.users.entry(name.clone()).or_default()).insert(user.to_owned());
        }
    }

    /// Ends the use of mounts by `user`; the last one unmounts. What the host keeps busy stays, and is used again.
    pub fn unmount(&self, user: &str) {
        let all: Vec<(Name, Users)> = self.state().users.iter().map(|(name, users)| (name.clone(), users.clone())).collect();
        for (name, users) in all {
            let mut users = lock(&users);
            if users.remove(user) && users.is_empty() {
                // One that is busy is found mounted by the next use, or by the removal.
                let _ = mounting::unmount(&self.data(&name));
            }
        }
    }

    /// Whether `user` uses a mount, so that [`Volumes::unmount`] has something to do.
    #[must_use]
    pub fn has_mounts(&self, user: &str) -> bool {
        let all: Vec<Users> = self.state().users.values().cloned().collect();
        all.iter().any(|users| lock(users).contains(user))
    }

    /// Unmounts what an earlier run left mounted and nobody uses; call it once all users are known again.
    pub fn settle(&self) {
        let special: Vec<(Name, Users)> = {
            let mut state = self.state();
            let names: Vec<Name> = state
                .volumes
                .iter()
                .filter(|(_, record)| options::needs_mount(&record.driver_opts))
                .map(|(name, _)| name.clone())
                .collect();
            names.into_iter().map(|name| (name.clone(), state.users.entry(name).or_default().clone())).collect()
        };
        for (name, users) in special {
            let users = lock(&users);
            if users.is_empty() {
                // As in `unmount`.
                let _ = mounting::unmount(&self.data(&name));
            }
        }
    }
}

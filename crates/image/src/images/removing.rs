//! Removing images, with the conflicts and texts of Docker.
//!
//! **Source:** moby, `daemon/images/image_delete.go`.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Digest, ImageRef, Platform};
use store::Durability;

use super::Images;
use super::indexes::default_image;
use super::naming::find;
use crate::error::{PruneError, RemoveError};
use crate::model::{Image, ImageId, Pruned, RemoveOptions, Removed};
use crate::state::{LayerRecord, MemberContent, State};

/// Why an image is kept.
struct Conflict {
    text: String,
    /// A holder uses it, so that taking the name alone is a full answer.
    used: bool,
}

/// Which conflicts count.
#[derive(Clone, Copy)]
struct Mask {
    /// Those that force overrules.
    soft: bool,
    /// Names count as a conflict.
    names: bool,
}

impl Images {
    /// Removes a name, and the image with its last one; `running` says whether a holder runs now.
    ///
    /// # Errors
    /// [`RemoveError`], with Docker's texts for conflicts.
    pub fn remove(&self, name: &str, options: RemoveOptions, running: &dyn Fn(&str) -> bool) -> Result<Vec<Removed>, RemoveError> {
        let mut state = self.state();
        let id = find(&state, name)?;
        let mut removed = Vec::new();
        let names = state.names_of(&id);
        let force = options.force;
        let mut by_name = false;
        let is_id = id.to_string().starts_with(name) || id.0.hex().starts_with(name);
        if is_id {
            if is_single(&names) {
                let mask = Mask { soft: !force, names: false };
                if let Some(conflict) = conflict(&state, &id, mask, running) {
                    return Err(RemoveError::Conflict { text: conflict.text });
                }
                self.untag(&mut state, names, &mut removed)?;
            }
        } else {
            if !force
                && is_single(&names)
                && let Some(holder) = holders(&state, &id).first()
            {
                let text = format!(
                    "unable to remove repository reference \"{name}\" (must force) - container {} is using its referenced image {}",
                    short(holder),
                    id.short()
                );
                return Err(RemoveError::Conflict { text });
            }
            let given = name.parse::<ImageRef>().map_err(crate::error::ResolveError::Name)?.or_latest();
            let mut gone: Vec<ImageRef> = names.iter().filter(|known| **known == given).cloned().collect();
            let mut rest: Vec<&ImageRef> = names.iter().filter(|known| **known != given).collect();
            // Digests of the repository go with its last tag.
            let repository = given.repository();
            let same = |known: &&ImageRef| known.repository() == repository;
            if given.digest().is_none() && rest.iter().filter(|known| same(known)).all(|known| known.digest().is_some()) {
                gone.extend(rest.iter().filter(|known| same(known)).map(|known| (*known).clone()));
                rest.retain(|known| !same(known));
            }
            let remain = !rest.is_empty();
            let siblings = if remain { BTreeSet::new() } else { state.siblings(&id) };
            self.untag(&mut state, gone, &mut removed)?;
            if remain {
                return Ok(removed);
            }
            by_name = true;
            for sibling in siblings {
                self.delete(&mut state, sibling, options, true, running, &mut removed)?;
            }
        }
        self.delete(&mut state, id, options, by_name, running, &mut removed)?;
        Ok(removed)
    }

    /// Removes the image of one platform from the index that a name leads to; the name goes with the last one.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove_platform(
        &self,
        name: &str,
        platform: &Platform,
        options: RemoveOptions,
        running: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Removed>, RemoveError> {
        let id = self.resolve_for(name, Some(platform))?.id;
        let mut state = self.state();
        let other = state.indexes.iter().find_map(|(digest, index)| {
            let mut rest = index.clone();
            rest.members.retain(|_, member| member.content != MemberContent::Image(id));
            let is_member = rest.members.len() < index.members.len();
            Some((*digest, default_image(&state, &rest, None).filter(|_| is_member)?))
        });
        let Some((index, other)) = other else {
            drop(state);
            return self.remove(name, options, running);
        };
        let holders = state.holders_of(&id);
        let conflict = holders.iter().find(|holder| !options.force || running(holder)).map(|holder| {
            let how = if running(holder) { "running" } else { "stopped" };
            format!("unable to delete {} (must be forced) - image is being used by {how} container {}", id.short(), short(holder))
        });
        let mut removed = Vec::new();
        let (with, without): (Vec<ImageRef>, Vec<ImageRef>) =
            state.names_of(&id).into_iter().partition(|name| state.names.get(name).is_some_and(|record| record.index == Some(index)));
        let named = format!("unable to delete {} (must be forced) - image is referenced in multiple repositories", id.short());
        if let Some(text) = conflict.or_else(|| (without.iter().any(|name| name.tag().is_some()) && !options.force).then_some(named)) {
            return Err(RemoveError::Conflict { text });
        }
        for name in with {
            self.put_name(&mut state, &name, other, Some(index)).map_err(RemoveError::Name)?;
        }
        self.untag(&mut state, without, &mut removed)?;
        self.delete_image(&mut state, &id, &mut removed)?;
        Ok(removed)
    }

    #[expect(clippy::too_many_arguments, reason = "the walk over parents carries all of them on")]
    fn delete(
        &self,
        state: &mut State,
        id: ImageId,
        options: RemoveOptions,
        quiet: bool,
        running: &dyn Fn(&str) -> bool,
        removed: &mut Vec<Removed>,
    ) -> Result<(), RemoveError> {
        let mask = Mask { soft: !options.force, names: true };
        if let Some(conflict) = conflict(state, &id, mask, running) {
            let dangling = state.names_of(&id).is_empty() && !state.has_children(&id);
            if quiet && (!dangling || conflict.used) {
                return Ok(());
            }
            return Err(RemoveError::Conflict { text: conflict.text });
        }
        let parent = state.images.get(&id).and_then(|entry| entry.record.parent);
        let names = state.names_of(&id);
        self.untag(state, names, removed)?;
        self.delete_image(state, &id, removed)?;
        match parent {
            Some(parent) if !options.no_prune && state.visible(&parent).is_some() => {
                let options = RemoveOptions { force: false, ..options };
                self.delete(state, parent, options, true, running, removed)
            }
            _ => Ok(()),
        }
    }

    fn untag(&self, state: &mut State, names: Vec<ImageRef>, removed: &mut Vec<Removed>) -> Result<(), RemoveError> {
        for name in names {
            self.names.remove(&name.to_string(), Durability::Durable).map_err(RemoveError::Record)?;
            state.names.remove(&name);
            removed.push(Removed::Untagged(name));
        }
        self.drop_unnamed_indexes(state);
        Ok(())
    }

    /// Deletes an image without names: its record first, then the layers nothing else needs.
    fn delete_image(&self, state: &mut State, id: &ImageId, removed: &mut Vec<Removed>) -> Result<(), RemoveError> {
        let held = !state.holders_of(id).is_empty();
        if !state.images.contains_key(id) {
            return Ok(());
        }
        state.files.retain(|(image, _), _| image != id);
        self.forget_member(state, id);
        let Some(entry) = state.images.get_mut(id) else {
            return Ok(());
        };
        removed.push(Removed::Deleted(id.0));
        if held {
            entry.record.hidden = true;
            let put = self.records.put(&id.0.hex(), &entry.record, Durability::Durable);
            // The record that says less is still true; the next start shows the image again.
            drop(put);
            return Ok(());
        }
        let layers = entry.record.layers.clone();
        self.records.remove(&id.0.hex(), Durability::Durable).map_err(RemoveError::Record)?;
        state.images.remove(id);
        self.delete_layers(state, &layers, Some(removed))
    }

    fn delete_layers(&self, state: &State, layers: &[LayerRecord], mut removed: Option<&mut Vec<Removed>>) -> Result<(), RemoveError> {
        let chain = chain_ids(layers);
        for (layer, chain_id) in layers.iter().zip(chain).rev() {
            if state.needs(&layer.diff_id) {
                continue;
            }
            self.mounts.forget(&layer.diff_id);
            // A tape without its layer is swept.
            let _ = self.disk.discard(&self.disk.tape(&layer.diff_id));
            let path = self.disk.layer(&layer.diff_id);
            match self.disk.discard(&path) {
                Ok(true) => {
                    if let Some(removed) = removed.as_deref_mut() {
                        removed.push(Removed::Deleted(chain_id));
                    }
                }
                Ok(false) => {}
                Err(source) => return Err(RemoveError::Io { path, source }),
            }
        }
        Ok(())
    }

    /// Deletes an image that was removed by force when the last holder has let go of it.
    pub(super) fn collect_hidden(&self, state: &mut State, id: &ImageId) {
        let hidden = state.images.get(id).is_some_and(|entry| entry.record.hidden);
        if hidden && state.holders_of(id).is_empty() {
            // What fails here is found again by the next sweep.
            let _ = self.delete_image(state, id, &mut Vec::new());
        }
    }

    /// Deletes those of `layers` that nothing needs.
    pub(super) fn collect_layers(&self, state: &State, layers: &[Digest]) {
        let records: Vec<LayerRecord> = layers.iter().map(|&diff_id| LayerRecord { diff_id, size: 0, opaque_root: false }).collect();
        // What fails here is found again by the next sweep.
        let _ = self.delete_layers(state, &records, None);
    }

    /// Removes images without holders: those without names, or with `dangling_only` false all; `keep` excepts some.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn prune(&self, dangling_only: bool, keep: &dyn Fn(&Image) -> bool) -> Result<Pruned, PruneError> {
        let mut pruned = Pruned::default();
        // Removing a child may free its parent, so until nothing more goes.
        loop {
            let mut state = self.state();
            let victim = state.images.keys().copied().find(|id| {
                let Some(image) = state.image(id) else {
                    return false;
                };
                if state.is_secondary(id) {
                    return false;
                }
                let named = !image.repo_tags.is_empty() || !image.repo_digests.is_empty();
                holders(&state, id).is_empty() && (!dangling_only || !named) && !state.has_children(id) && !keep(&image)
            });
            let Some(id) = victim else {
                return Ok(pruned);
            };
            let mut victims = state.siblings(&id);
            victims.insert(id);
            let records = victims.iter().filter_map(|id| state.images.get(id)).flat_map(|entry| &entry.record.layers);
            let layers: BTreeMap<Digest, LayerRecord> = records.map(|layer| (layer.diff_id, *layer)).collect();
            let names = state.names_of(&id);
            self.untag(&mut state, names, &mut pruned.removed)?;
            for victim in victims {
                if !state.has_children(&victim) && state.names_of(&victim).is_empty() {
                    self.delete_image(&mut state, &victim, &mut pruned.removed)?;
                }
            }
            let freed = layers.values().filter(|layer| !state.needs(&layer.diff_id));
            pruned.reclaimed = pruned.reclaimed.saturating_add(freed.map(|layer| layer.size).sum());
        }
    }
}

fn conflict(state: &State, id: &ImageId, mask: Mask, running: &dyn Fn(&str) -> bool) -> Option<Conflict> {
    let make = |how: &str, why: String, used: bool| {
        Some(Conflict { text: format!("unable to delete {} ({how} be forced) - {why}", id.short()), used })
    };
    if state.has_children(id) {
        return make("cannot", "image has dependent child images".to_owned(), false);
    }
    let holders = holders(state, id);
    if let Some(holder) = holders.iter().find(|holder| running(holder)) {
        return make("cannot", format!("image is being used by running container {}", short(holder)), true);
    }
    if !mask.soft {
        return None;
    }
    if mask.names && !state.names_of(id).is_empty() {
        return make("must", "image is referenced in multiple repositories".to_owned(), false);
    }
    let holder = holders.first()?;
    make("must", format!("image is being used by stopped container {}", short(holder)), true)
}

/// Who holds an image, or another platform of its index that would go with it.
fn holders(state: &State, id: &ImageId) -> BTreeSet<String> {
    let all = std::iter::once(*id).chain(state.siblings(id));
    all.flat_map(|id| state.holders_of(&id).into_iter().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Says whether the names are one tag at most, and digests of its repository.
fn is_single(names: &[ImageRef]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let repository = names[0].repository();
    tags <= 1 && names.iter().all(|name| name.repository() == repository)
}

/// Cuts the id of a holder as Docker prints it.
fn short(holder: &str) -> &str {
    holder.get(..12).unwrap_or(holder)
}

/// Returns the chain ids of layers, the lowest first.
///
/// **Source:** OCI image specification, `config.md`, section "Layer ChainID".
fn chain_ids(layers: &[LayerRecord]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(layers.len());
    for layer in layers {
        let next = match chain.last() {
            None => layer.diff_id,
            Some(below) => Digest::of(format!("{below} {}", layer.diff_id).as_bytes()),
        };
        chain.push(next);
    }
    chain
}

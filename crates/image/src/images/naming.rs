//! Finding and naming images.

use oci::{Digest, ImageRef};
use store::Durability;

use super::Images;
use crate::error::{ResolveError, TagError};
use crate::model::{Image, ImageId};
use crate::state::{NameRecord, State};

impl Images {
    /// Finds an image by name, tag, digest, id or the first digits of an id.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, name: &str) -> Result<Image, ResolveError> {
        let state = self.state();
        let id = find(&state, name)?;
        state.image(&id).ok_or_else(|| ResolveError::NotFound { name: name.to_owned() })
    }

    /// As [`Self::resolve`] for those who need no more than the id: nothing is put together.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn identify(&self, name: &str) -> Result<ImageId, ResolveError> {
        find(&self.state(), name)
    }

    /// Gives an image a further name, taking it from another image where needed.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn tag(&self, id: &ImageId, name: &ImageRef) -> Result<(), TagError> {
        if name.digest().is_some() {
            return Err(TagError::Digest);
        }
        let mut state = self.state();
        if state.visible(id).is_none() {
            return Err(TagError::NotFound { id: *id });
        }
        let index = state.index_of(id);
        self.put_name(&mut state, &name.clone().or_latest(), *id, index)
    }

    pub(crate) fn put_name(&self, state: &mut State, name: &ImageRef, id: ImageId, index: Option<Digest>) -> Result<(), TagError> {
        let record = NameRecord::now(id, index);
        self.names
            .put(&name.to_string(), &record, Durability::Durable)
            .map_err(|source| TagError::Record { name: name.to_string(), source })?;
        let former = state.names.insert(name.clone(), record);
        if former.is_some_and(|former| former.index.is_some() && former.index != index) {
            self.drop_unnamed_indexes(state);
        }
        Ok(())
    }
}

/// Finds an id, in Docker's order: a whole id, a name, then the beginning of an id.
///
/// **Source:** moby, `daemon/images/image.go`, `GetImage`.
pub(super) fn find(state: &State, text: &str) -> Result<ImageId, ResolveError> {
    let not_found = |name: String| ResolveError::NotFound { name };
    let whole = text.parse::<Digest>().or_else(|_| Digest::from_hex(text)).ok().map(ImageId);
    if let Some(id) = whole {
        let of_index = || state.names.values().find(|record| record.index == Some(id.0)).map(|record| record.image);
        return state.visible(&id).map(|_| id).or_else(of_index).ok_or_else(|| not_found(id.to_string()));
    }
    let name = text.parse::<ImageRef>()?.or_latest();
    if let Some(record) = state.names.get(&name) {
        return Ok(record.image);
    }
    // A name with tag and digest means the digest.
    if let Some(record) = name.digest().and_then(|digest| state.names.get(&name.with_digest(*digest))) {
        return Ok(record.image);
    }
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_hex {
        let mut ids = state.images.keys().filter(|id| id.0.hex().starts_with(prefix) && state.visible(id).is_some());
        match (ids.next(), ids.next()) {
            (Some(id), None) => return Ok(*id),
            (Some(_), Some(_)) => {
                return Err(ResolveError::Ambiguous { prefix: prefix.to_owned() });
            }
            (None, _) => {}
        }
    }
    Err(not_found(name.familiar()))
}

//! What a push needs of an image.

use std::io::{self, Write};

use oci::{Digest, ImageRef};
use sha2::Digest as _;

use super::KnownBlob;
use crate::error::{SaveError, TagError};
use crate::images::Images;
use crate::images::loading::Lease;
use crate::layer::Layer;
use crate::model::ImageId;

/// An image to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushable {
    /// Its configuration, byte for byte.
    pub config: String,
    /// The manifest that it was pulled or loaded with.
    pub manifest: Option<String>,
    /// Its layers by the digest of their tar, the lowest first.
    pub layers: Vec<Digest>,
}

/// A layer that was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

impl Images {
    /// Gives what is pushed of an image.
    #[must_use]
    pub fn pushable(&self, id: &ImageId) -> Option<Pushable> {
        let state = self.state();
        let record = &state.visible(id)?.record;
        let layers = record.layers.iter().map(|layer| layer.diff_id).collect();
        Some(Pushable { config: record.config.clone(), manifest: record.manifest.clone(), layers })
    }

    /// Gives the compressed blobs that hold a layer, the newest first.
    #[must_use]
    pub fn known_blobs(&self, diff_id: &Digest) -> Vec<KnownBlob> {
        self.known.of(diff_id)
    }

    /// Remembers a compressed blob that holds a layer.
    pub fn note_blob(&self, diff_id: &Digest, blob: KnownBlob) {
        self.known.note(diff_id, blob);
    }

    /// Records the digest under which a repository has an image.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn note_digest(&self, id: &ImageId, name: &ImageRef) -> Result<(), TagError> {
        let mut state = self.state();
        if state.visible(id).is_none() {
            return Err(TagError::NotFound { id: *id });
        }
        let index = name.digest().filter(|digest| state.indexes.contains_key(digest)).copied();
        self.put_name(&mut state, name, *id, index)
    }

    /// Writes a layer as gzip, the same bytes each time, and checks that it is what it was.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn pack_layer(&self, diff_id: &Digest, out: &mut dyn Write) -> Result<Packed, SaveError> {
        let failed = |source| SaveError::Io { act: format!("write layer {diff_id}"), source };
        let lease = Lease::new(self);
        lease.take(&mut self.state(), *diff_id);
        let layer = Layer::find(&self.disk, diff_id).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut counted = Digesting { out, hash: sha2::Sha256::new(), size: 0 };
        let mut encoder = flate2::write::GzEncoder::new(&mut counted, flate2::Compression::default());
        let mut plain = Digesting { out: &mut encoder, hash: sha2::Sha256::new(), size: 0 };
        layer.write_tar(&mut plain).map_err(failed)?;
        let actual = Digest::from_bytes(plain.hash.finalize().into());
        if actual != *diff_id {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, format!("its files were changed: digest {actual}"))));
        }
        encoder.finish().map_err(failed)?;
        Ok(Packed { digest: Digest::from_bytes(counted.hash.finalize().into()), size: counted.size })
    }
}

/// Passes bytes on, digests and counts them.
struct Digesting<'a, W: Write + ?Sized> {
    out: &'a mut W,
    hash: sha2::Sha256,
    size: u64,
}

impl<W: Write + ?Sized> Write for Digesting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += u64::try_from(count).unwrap_or_default();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

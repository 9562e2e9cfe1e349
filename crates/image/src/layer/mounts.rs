//! Layers that are mounted: each once, for all containers, so that they share what the kernel has read of it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::Digest;

use super::{Backend, Layer};
use crate::overlay::Lower;

/// Most mounts that are kept.
const KEPT_MAX: u64 = 4096;

/// Detached mounts by the digest of the layer's tar.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Mutex<HashMap<Digest, Arc<OwnedFd>>>);

impl Mounts {
    /// Returns a layer as overlay takes it.
    pub(crate) fn lower(&self, diff_id: &Digest, layer: &Layer) -> io::Result<Lower> {
        match layer.backend {
            Backend::Dir => Ok(Lower::Directory(layer.path.clone())),
            Backend::Erofs => {
                let mut mounts = self.mounts();
                if let Some(mount) = mounts.get(diff_id) {
                    return Ok(Lower::Mount(Arc::clone(mount)));
                }
                let mount = Arc::new(super::erofs::mount(&layer.path)?);
                if mounts.len() >= kept_max() {
                    // What containers use is theirs.
                    mounts.clear();
                }
                mounts.insert(*diff_id, Arc::clone(&mount));
                Ok(Lower::Mount(mount))
            }
        }
    }

    /// Lets go of a layer that is removed.
    pub(crate) fn forget(&self, diff_id: &Digest) {
        self.mounts().remove(diff_id);
    }

    fn mounts(&self) -> MutexGuard<'_, HashMap<Digest, Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each takes a descriptor, and others need some, too.
fn kept_max() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(KEPT_MAX * 2);
    usize::try_from(KEPT_MAX.min(descriptors / 2)).unwrap_or(1)
}

//! Who may fetch which blobs: one pull at a time for each.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use oci::Digest;

/// Blobs that are being fetched.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    busy: Mutex<BTreeSet<Digest>>,
    freed: Condvar,
}

/// The right to fetch some blobs.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    blobs: BTreeSet<Digest>,
}

impl Turns {
    /// Waits until nobody fetches any of the blobs. All are taken at once, so two that wait never wait for each other.
    pub(crate) fn take(&self, blobs: BTreeSet<Digest>) -> Turn<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.is_disjoint(&blobs) {
            busy = self.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        busy.extend(&blobs);
        Turn { turns: self, blobs }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.turns.busy.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in &self.blobs {
            busy.remove(blob);
        }
        self.turns.freed.notify_all();
    }
}

//! Looking whether all is as it was.

use std::io;

use oci::Digest;

use super::Images;
use super::loading::Lease;
use crate::disk::names;
use crate::layer::Layer;
use crate::model::{Fault, Verified};

impl Images {
    /// Reads all layers back and compares them with their digests; names of images and strangers on the disk are looked at, too.
    ///
    /// # Errors
    /// If a directory cannot be read; what is wrong with an image or a layer is in the answer.
    pub fn verify(&self) -> io::Result<Verified> {
        let lease = Lease::new(self);
        let mut verified = Verified::default();
        let layers: Vec<Digest> = {
            let mut state = self.state();
            verified.images = state.images.len();
            let damaged = state.damaged.iter().map(|text| Fault { what: "records".to_owned(), reason: text.clone() });
            verified.faults.extend(damaged);
            for (id, entry) in &state.images {
                if Digest::of(entry.record.config.as_bytes()) != id.0 {
                    verified.faults.push(Fault { what: format!("image {id}"), reason: "its configuration has another digest".to_owned() });
                }
            }
            for (digest, index) in &state.indexes {
                if Digest::of(index.document.as_bytes()) != *digest {
                    verified.faults.push(Fault { what: format!("index {digest}"), reason: "it has another digest".to_owned() });
                }
                for (digest, member) in &index.members {
                    if Digest::of(member.document.as_bytes()) != *digest {
                        let reason = "it has another digest".to_owned();
                        verified.faults.push(Fault { what: format!("manifest {digest}"), reason });
                    }
                }
                let wrong = index.files().filter_map(|file| Some((file, self.document(file).err()?)));
                let wrong = wrong.map(|(file, error)| Fault { what: format!("document {file}"), reason: error.to_string() });
                verified.faults.extend(wrong);
            }
            let all = state.images.values().flat_map(|entry| &entry.record.layers);
            let all: std::collections::BTreeSet<Digest> = all.map(|layer| layer.diff_id).collect();
            for diff_id in &all {
                lease.take(&mut state, *diff_id);
            }
            all.into_iter().collect()
        };
        for diff_id in layers {
            verified.layers += 1;
            let reason = match Layer::find(&self.disk, &diff_id) {
                Some(layer) => layer.fault(&diff_id).unwrap_or_else(|error| Some(error.to_string())),
                None => Some("it is missing".to_owned()),
            };
            verified.faults.extend(reason.map(|reason| Fault { what: format!("layer {diff_id}"), reason }));
        }
        self.find_strangers(&mut verified)?;
        Ok(verified)
    }

    /// Finds layers that no image and no running load owns.
    fn find_strangers(&self, verified: &mut Verified) -> io::Result<()> {
        let found = names(&self.disk.layers)?;
        let state = self.state();
        for name in found {
            let digest = name.to_str().and_then(|hex| Digest::from_hex(hex).ok());
            let known = digest.is_some_and(|digest| state.needs(&digest) || Layer::find(&self.disk, &digest).is_none());
            if !known && name != crate::disk::EMPTY {
                let reason = "no image has it; the next start of the engine deletes it".to_owned();
                verified.faults.push(Fault { what: format!("layer {}", name.to_string_lossy()), reason });
            }
        }
        Ok(())
    }
}

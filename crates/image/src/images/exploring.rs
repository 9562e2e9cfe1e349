//! What is in the layers of an image, and what of it is in vain.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::AsFd as _;

use oci::Digest;

use super::Images;
use super::loading::Lease;
use crate::error::SnapshotError;
use crate::layer::Layer;
use crate::model::{Explored, ExploredLayer, ImageId, Wasted};
use crate::walk::{Node, Step, Walk};

/// A file of a layer that can be seen so far.
struct Visible {
    bytes: u64,
}

/// What the layers read so far come to.
#[derive(Default)]
struct Merged {
    /// By path; directories are not among them.
    files: BTreeMap<Vec<u8>, Visible>,
    /// Copies that nothing shows any more, by path: their number and their bytes.
    wasted: HashMap<Vec<u8>, (usize, u64)>,
}

impl Merged {
    /// Hides a file.
    fn hide(&mut self, path: &[u8]) -> u64 {
        let Some(file) = self.files.remove(path) else {
            return 0;
        };
        let entry = self.wasted.entry(path.to_vec()).or_default();
        entry.0 += 1;
        entry.1 += file.bytes;
        file.bytes
    }

    /// Hides all files below a directory.
    fn hide_below(&mut self, directory: &[u8]) -> u64 {
        let start = if directory.is_empty() { Vec::new() } else { [directory, b"/"].concat() };
        let below = self.files.range(start.clone()..).take_while(|(path, _)| path.starts_with(&start));
        let below: Vec<Vec<u8>> = below.map(|(path, _)| path.clone()).collect();
        below.iter().map(|path| self.hide(path)).sum()
    }

    /// Puts one entry of a layer on top; returns the bytes that it hides.
    fn put(&mut self, node: &Node, bytes: u64) -> u64 {
        if node.is_directory() {
            let hidden = self.hide(&node.path);
            return if node.is_opaque() { hidden + self.hide_below(&node.path) } else { hidden };
        }
        let hidden = self.hide(&node.path) + self.hide_below(&node.path);
        if !node.is_whiteout() {
            self.files.insert(node.path.clone(), Visible { bytes });
        }
        hidden
    }
}

impl Images {
    /// Walks through the layers of an image.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn explore(&self, id: &ImageId) -> Result<Explored, SnapshotError> {
        let failed = |source| SnapshotError::Io { holder: id.to_string(), source };
        let lease = Lease::new(self);
        let (layers, mut steps) = {
            let mut state = self.state();
            let entry = state.visible(id).ok_or(SnapshotError::Image { id: *id })?;
            let steps: Vec<String> = entry
                .config
                .history
                .iter()
                .filter(|step| !step.empty_layer)
                .map(|step| step.created_by.clone().unwrap_or_default())
                .collect();
            let layers: Vec<Digest> = entry.record.layers.iter().map(|layer| layer.diff_id).collect();
            layers.iter().for_each(|diff_id| lease.take(&mut state, *diff_id));
            (layers, steps.into_iter())
        };
        let mut merged = Merged::default();
        let mut explored = Explored::default();
        for diff_id in layers {
            let mut layer = self.explore_layer(&diff_id, &mut merged).map_err(failed)?;
            layer.created_by = steps.next().unwrap_or_default();
            explored.bytes += layer.bytes;
            explored.wasted_bytes += layer.hidden_bytes;
            explored.layers.push(layer);
        }
        let shown = |path: Vec<u8>| format!("/{}", String::from_utf8_lossy(&path));
        let wasted = merged.wasted.into_iter().map(|(path, (copies, bytes))| Wasted { path: shown(path), copies, bytes });
        explored.wasted = wasted.filter(|wasted| wasted.bytes > 0).collect();
        explored.wasted.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
        Ok(explored)
    }

    fn explore_layer(&self, diff_id: &Digest, merged: &mut Merged) -> io::Result<ExploredLayer> {
        let layer = Layer::find(&self.disk, diff_id).ok_or(io::ErrorKind::NotFound)?;
        let root = self.mounts.lower(diff_id, &layer)?.open()?;
        let mut found = ExploredLayer::new(*diff_id, layer.backend());
        if crate::walk::is_opaque_root(&root)? {
            found.hidden_bytes += merged.hide_below(b"");
        }
        let mut linked = HashSet::new();
        let mut walk = Walk::new(root.as_fd())?;
        while let Some(step) = walk.next()? {
            let Step::Node(node) = step else {
                continue;
            };
            let is_file = node.kind() == rustix::fs::FileType::RegularFile;
            // A file with several names counts once.
            let first = node.stat.st_nlink < 2 || linked.insert(node.stat.st_ino);
            let bytes = if is_file && first { u64::try_from(node.stat.st_size).unwrap_or_default() } else { 0 };
            found.bytes += bytes;
            let counter = match (node.is_directory(), node.is_whiteout()) {
                (true, _) => &mut found.directories,
                (false, true) => &mut found.whiteouts,
                (false, false) => &mut found.files,
            };
            *counter += 1;
            found.hidden_bytes += merged.put(&node, bytes);
            if node.is_directory() {
                walk.enter(&node)?;
            }
        }
        Ok(found)
    }
}

//! What a container changed: `diff`, `export` and `commit`.
//!
//! Overlay's upper directory holds what was changed, whole. What an engine lays down before the container's first
//! program runs (mount points, `.dockerenv`) is no change of the container's.
//! **Source:** moby, `daemon/initlayer/setup_unix.go`; `daemon/commit.go`; `image/image.go`, `NewChildImage`.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use oci::Digest;
use oci::image::ImageConfig;
use serde_json::{Map, Value, json};
use sha2::Digest as _;

use super::Images;
use super::loading::Lease;
use crate::archive::{LayerBlob, Planned, bad_layer};
use crate::compression::Compression;
use crate::error::{CommitError, LoadError, SnapshotError};
use crate::model::{Change, ChangeKind, CommitOptions, ImageId};
use crate::stream::{CHUNK, Feed};
use crate::walk::{Node, Packer, Step, Walk, differ, look, names, open_root};

/// What is laid down before a container starts; it is no change as long as it is empty.
const LAID_DOWN: [&[u8]; 12] = [
    b".dockerenv",
    b"dev",
    b"dev/console",
    b"dev/pts",
    b"dev/shm",
    b"etc",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/mtab",
    b"etc/resolv.conf",
    b"proc",
    b"sys",
];

/// The directories of a snapshot.
struct Layers {
    image: ImageId,
    upper: OwnedFd,
    /// All layers below, as one directory.
    lower: OwnedFd,
}

impl Images {
    /// Returns what differs between the snapshot of `holder` and its image, sorted by path.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn changes(&self, holder: &str) -> Result<Vec<Change>, SnapshotError> {
        let layers = self.layers(holder)?;
        changes(&layers).map_err(|source| SnapshotError::Io { holder: holder.to_owned(), source })
    }

    /// Writes all files of the snapshot of `holder` as a tar, without what is mounted into it.
    ///
    /// # Errors
    /// [`SnapshotError`]; what was written by then is no whole archive.
    pub fn export(&self, holder: &str, archive: impl Write) -> Result<(), SnapshotError> {
        let failed = |source| SnapshotError::Io { holder: holder.to_owned(), source };
        let snapshot = self.open_snapshot(holder, crate::SnapshotOptions::default())?;
        let root = self.open_root(&snapshot)?;
        let write = || -> io::Result<()> {
            let mut packer = Packer::new(io::BufWriter::with_capacity(CHUNK, archive));
            let mut walk = Walk::new(root.as_fd())?;
            while let Some(step) = walk.next()? {
                if let Step::Node(node) = step {
                    packer.add(&node)?;
                    if node.is_directory() {
                        walk.enter(&node)?;
                    }
                }
            }
            packer.finish().map(drop)
        };
        write().map_err(failed)
    }

    /// Makes an image of the snapshot of `holder`: its image, and its changes as one layer more.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is kept then.
    pub fn commit_snapshot(&self, holder: &str, options: CommitOptions) -> Result<ImageId, CommitError> {
        let failed = |act: &str, source| CommitError::Load(LoadError::Io { act: act.to_owned(), source });
        let layers = self.layers(holder)?;
        let lease = Lease::new(self);
        let (parent, mut document, below) = {
            let mut state = self.state();
            let entry = state.images.get(&layers.image).ok_or(SnapshotError::Image { id: layers.image })?;
            let parent = (!entry.record.hidden).then_some(layers.image);
            let document: Map<String, Value> =
                serde_json::from_str(&entry.record.config).map_err(|source| failed("read the image's configuration", source.into()))?;
            let below: Vec<Digest> = entry.record.layers.iter().map(|layer| layer.diff_id).collect();
            below.iter().for_each(|diff_id| lease.take(&mut state, *diff_id));
            (parent, document, below)
        };
        let staging = self.disk.stage().map_err(|source| failed("make a staging directory", source))?;
        let layer = self.stage_upper(&layers, staging.path.join("layer"))?;
        let mut blobs: Vec<LayerBlob> = below.into_iter().map(|diff_id| LayerBlob { diff_id, staged: None }).collect();
        let diff_id = layer.as_ref().map(|layer| layer.diff_id);
        blobs.extend(layer);
        describe(&mut document, options, diff_id).map_err(|source| failed("write the configuration", source))?;
        let config = Value::Object(document).to_string();
        let planned = Planned { config, names: Vec::new(), layers: (0..blobs.len()).collect(), manifest: None, parent, index: None };
        let loaded = self.commit(&lease, &blobs, vec![planned]).map_err(CommitError::Load)?;
        Ok(loaded[0].id)
    }

    fn layers(&self, holder: &str) -> Result<Layers, SnapshotError> {
        let failed = |source| SnapshotError::Io { holder: holder.to_owned(), source };
        let snapshot = self.open_snapshot(holder, crate::SnapshotOptions::default())?;
        let upper = open_root(&snapshot.upper).map_err(failed)?;
        let lower = self.open_base(&snapshot)?;
        Ok(Layers { image: snapshot.image, upper, lower })
    }

    /// Turns the upper directory into a staged layer; nothing where there is no change.
    fn stage_upper(&self, layers: &Layers, directory: std::path::PathBuf) -> Result<Option<LayerBlob>, CommitError> {
        let failed = |source| CommitError::Load(LoadError::Io { act: "read the container's files".to_owned(), source });
        std::thread::scope(|scope| {
            let feed = Feed::start(scope, directory, Compression::Plain, self.storage());
            let mut sender = Sender { feed: &feed, hash: sha2::Sha256::new(), chunk: Vec::with_capacity(CHUNK), closed: false };
            let packed = pack_changes(layers, &mut sender);
            let (hash, closed) = (sender.hash, sender.closed);
            match packed {
                Ok(false) => Ok(None),
                // What ended the other side is the cause.
                Err(error) if !closed => Err(failed(error)),
                Ok(true) | Err(_) => {
                    let staged = feed.end().wait().map_err(bad_layer).map_err(CommitError::Load)?;
                    let diff_id = Digest::from_bytes(hash.finalize().into());
                    Ok(Some(LayerBlob { diff_id, staged: Some(staged) }))
                }
            }
        })
    }
}

/// Hands a tar on in chunks, and digests it.
struct Sender<'a, 'scope> {
    feed: &'a Feed<'scope>,
    hash: sha2::Sha256,
    chunk: Vec<u8>,
    closed: bool,
}

impl Write for Sender<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.hash.update(&chunk);
        if self.feed.send(Arc::new(chunk)) {
            return Ok(());
        }
        self.closed = true;
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes the changes as a layer's tar; false where there are none.
fn pack_changes(layers: &Layers, out: impl Write) -> io::Result<bool> {
    let mut packer = Packer::new(out);
    let mut walk = Walk::new(layers.upper.as_fd())?;
    // Directories that are written only if something in them is.
    let mut pending: Vec<Node> = Vec::new();
    while let Some(step) = walk.next()? {
        let node = match step {
            Step::Node(node) => node,
            Step::Left(path) => {
                pending.pop_if(|node| node.path == path);
                continue;
            }
        };
        let old = look(layers.lower.as_fd(), &node.path)?;
        if old.is_none() && is_laid_down(&node) {
            if node.is_directory() {
                walk.enter(&node)?;
                pending.push(node);
            }
            continue;
        }
        let opaque = node.is_opaque();
        if node.is_directory() {
            walk.enter(&node)?;
            let same = match &old {
                Some(old) => old.is_directory() && !opaque && !differ(old, &node)?,
                None => false,
            };
            if same {
                pending.push(node);
                continue;
            }
        }
        for directory in pending.drain(..) {
            packer.add(&directory)?;
        }
        if node.is_whiteout() {
            packer.whiteout(&node)?;
            continue;
        }
        packer.add(&node)?;
        if opaque && old.is_some() {
            packer.opaque(&node)?;
        }
    }
    packer.finish()
}

fn is_laid_down(node: &Node) -> bool {
    let empty = node.kind() == rustix::fs::FileType::RegularFile && node.stat.st_size == 0;
    (empty || node.is_directory()) && LAID_DOWN.contains(&node.path.as_slice())
}

/// A directory of the walk in [`changes`].
struct Level {
    /// How many changes there were when it was entered.
    before: usize,
    /// Whether it is among them.
    told: bool,
    /// Whether it is in the image.
    old: bool,
}

fn changes(layers: &Layers) -> io::Result<Vec<Change>> {
    let mut found: Vec<(Vec<u8>, ChangeKind)> = Vec::new();
    let mut levels: Vec<Level> = Vec::new();
    let mut walk = Walk::new(layers.upper.as_fd())?;
    while let Some(step) = walk.next()? {
        let node = match step {
            Step::Node(node) => node,
            Step::Left(path) => {
                // A directory is told for the sake of what it holds.
                if levels.pop().is_some_and(|level| !level.told && found.len() > level.before) {
                    found.push((path, ChangeKind::Modified));
                }
                continue;
            }
        };
        let old = if levels.last().is_none_or(|level| level.old) { look(layers.lower.as_fd(), &node.path)? } else { None };
        let before = found.len();
        let laid_down = old.is_none() && is_laid_down(&node);
        match &old {
            None if laid_down || node.is_whiteout() => {}
            None => found.push((node.path.clone(), ChangeKind::Added)),
            Some(_) if node.is_whiteout() => found.push((node.path.clone(), ChangeKind::Deleted)),
            Some(old) if differ(old, &node)? => found.push((node.path.clone(), ChangeKind::Modified)),
            Some(_) => {}
        }
        if !node.is_directory() {
            continue;
        }
        let told = found.len() > before;
        let old = old.filter(Node::is_directory);
        if let Some(old) = old.as_ref().filter(|_| node.is_opaque()) {
            let new = names(&node)?;
            let gone = names(old)?.into_iter().filter(|name| new.binary_search(name).is_err());
            found.extend(gone.map(|name| ([&node.path[..], b"/", &name].concat(), ChangeKind::Deleted)));
        }
        levels.push(Level { before, told, old: old.is_some() });
        walk.enter(&node)?;
    }
    found.sort_unstable();
    let change = |(path, kind): (Vec<u8>, ChangeKind)| Change { path: format!("/{}", String::from_utf8_lossy(&path)), kind };
    Ok(found.into_iter().map(change).collect())
}

/// Turns the configuration of an image into that of its child.
fn describe(document: &mut Map<String, Value>, options: CommitOptions, diff_id: Option<Digest>) -> io::Result<()> {
    let old: ImageConfig = serde_json::from_value(Value::Object(document.clone()))?;
    let told = options.created_at.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let created = told.unwrap_or_else(jiff::Timestamp::now).to_string();
    let mut step = Map::new();
    for (key, text) in [("author", &options.author), ("comment", &options.comment), ("created_by", &options.created_by)] {
        if !text.is_empty() {
            step.insert(key.to_owned(), json!(text));
        }
    }
    step.insert("created".to_owned(), json!(created));
    if diff_id.is_none() {
        step.insert("empty_layer".to_owned(), json!(true));
    }
    let mut history = serde_json::to_value(&old.history)?;
    if let Value::Array(steps) = &mut history {
        steps.extend(
            options
                .steps_before
                .iter()
                .map(|step| json!({"created": created, "created_by": step, "comment": options.comment, "empty_layer": true})),
        );
        steps.push(Value::Object(step));
    }
    let diff_ids: Vec<String> = old.rootfs.diff_ids.iter().chain(&diff_id).map(ToString::to_string).collect();
    for key in ["id", "parent", "comment", "author"] {
        document.remove(key);
    }
    if !options.author.is_empty() {
        document.insert("author".to_owned(), json!(options.author));
    }
    for (key, value) in [
        ("created", json!(created)),
        ("history", history),
        ("rootfs", json!({"type": "layers", "diff_ids": diff_ids})),
        ("config", options.config),
    ] {
        document.insert(key.to_owned(), value);
    }
    for key in ["container", "container_config", "docker_version"] {
        document.remove(key);
    }
    // A build has no container that is worth a word.
    if !options.container.is_empty() {
        document.insert("container".to_owned(), json!(options.container));
        document.insert("container_config".to_owned(), options.container_config);
        document.insert("docker_version".to_owned(), json!(options.engine_version));
    }
    Ok(())
}

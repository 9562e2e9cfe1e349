//! The first pass: everything in the archive by its name.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use oci::Digest;
use sha2::Digest as _;

use crate::compression::Compression;
use crate::error::LoadError;
use crate::layer::Storage;
use crate::model::Progress;
use crate::stream::{Feed, Pending, StageError, StagedLayer, read_chunk};
use crate::tar::{Archive, Kind, TarError, looks_like_tar};
use crate::unpack::clean;

/// Largest JSON document: a bill of materials among the attestations may be long.
const DOCUMENT_BYTES_MAX: u64 = 32 << 20;
/// Bytes of all JSON documents of an archive together.
const DOCUMENTS_BYTES_MAX: u64 = 64 << 20;
/// Most entries of an archive.
const ENTRIES_MAX: usize = 100_000;
/// Layers that are unpacked at the same time.
const PENDING_MAX: usize = 4;
/// Longest chain of links from name to name.
const ALIASES_MAX: usize = 8;

/// A layer in the archive.
#[derive(Debug)]
pub(crate) struct LayerBlob {
    /// Digest of its plain tar.
    pub(crate) diff_id: Digest,
    /// Its files; absent when the layer was here before.
    pub(crate) staged: Option<StagedLayer>,
}

#[derive(Debug)]
enum Blob {
    Document(Vec<u8>),
    Layer(usize),
    Unsupported(&'static str),
    Other,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    blobs: HashMap<Vec<u8>, Blob>,
    aliases: HashMap<Vec<u8>, Vec<u8>>,
    pub(crate) layers: Vec<LayerBlob>,
    /// Layers that the archive does not hold and that are here.
    present: RefCell<Vec<Digest>>,
}

/// Where layers go and what is known.
pub(crate) struct Source<'a> {
    /// The staging directory.
    pub(crate) staging: &'a Path,
    /// What layers are stored with.
    pub(crate) storage: Storage,
    /// Says whether a layer is here already, and keeps it until the load has ended.
    pub(crate) known: &'a dyn Fn(&Digest) -> bool,
    /// Finds the layer that a compressed blob became, and keeps it as well.
    pub(crate) known_blob: &'a dyn Fn(&Digest) -> Option<Digest>,
}

/// A layer that is read, being unpacked, or done.
enum Slot<'scope> {
    Known(Digest),
    Pending { blob: Digest, pending: Pending<'scope> },
    Done(LayerBlob),
}

impl Contents {
    /// Reads the whole archive.
    pub(crate) fn read(archive: impl Read, source: &Source<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Self, LoadError> {
        std::thread::scope(|scope| {
            let mut pass = Pass {
                scope,
                source,
                progress,
                archive: Archive::new(archive),
                contents: Self::default(),
                slots: Vec::new(),
                document_bytes: 0,
                read_bytes: 0,
            };
            let result = pass.run();
            // Also after an error: the workers must have ended before staging is deleted.
            let finished = pass.finish();
            result?;
            finished
        })
    }

    /// Adds a document without an archive, for fuzzing.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) {
        self.blobs.insert(name.as_bytes().to_vec(), Blob::Document(bytes.to_vec()));
    }

    /// Returns a document, or nothing where there is none of that name.
    pub(crate) fn document(&self, name: &str) -> Option<&[u8]> {
        match self.find(name)? {
            Blob::Document(bytes) => Some(bytes),
            Blob::Layer(_) | Blob::Unsupported(_) | Blob::Other => None,
        }
    }

    /// Returns the index of a layer in `layers`; one that the archive leaves out may be here.
    pub(crate) fn layer(&self, name: &str, expected: &Digest, known: &dyn Fn(&Digest) -> bool) -> Result<usize, LoadError> {
        let found = self.find(name);
        if found.is_none() && known(expected) {
            let mut present = self.present.borrow_mut();
            present.push(*expected);
            return Ok(self.layers.len() + present.len() - 1);
        }
        let reason = match found {
            Some(Blob::Layer(index)) => return Ok(*index),
            Some(Blob::Unsupported(kind)) => {
                format!("layer {name} is compressed with {kind}, which is not supported")
            }
            Some(Blob::Document(_) | Blob::Other) => format!("layer {name} is no tar archive"),
            None => format!("layer {name} is missing in the archive"),
        };
        Err(LoadError::Invalid { reason })
    }

    /// Returns the digest of a layer's tar.
    pub(crate) fn diff_id(&self, index: usize) -> Option<Digest> {
        let here = self.layers.get(index).map(|layer| layer.diff_id);
        here.or_else(|| self.present.borrow().get(index - self.layers.len()).copied())
    }

    /// Returns the layers, those that the archive left out behind the others.
    pub(crate) fn into_layers(self) -> Vec<LayerBlob> {
        let present = self.present.into_inner().into_iter().map(|diff_id| LayerBlob { diff_id, staged: None });
        self.layers.into_iter().chain(present).collect()
    }

    fn find(&self, name: &str) -> Option<&Blob> {
        let mut name = clean(name.as_bytes()).ok()?;
        for _ in 0..ALIASES_MAX {
            if let Some(blob) = self.blobs.get(&name) {
                return Some(blob);
            }
            name = self.aliases.get(&name)?.clone();
        }
        None
    }
}

struct Pass<'scope, 'env, 'a, R> {
    scope: &'scope std::thread::Scope<'scope, 'env>,
    source: &'a Source<'a>,
    progress: &'a mut dyn FnMut(Progress),
    archive: Archive<R>,
    contents: Contents,
    slots: Vec<Slot<'scope>>,
    document_bytes: u64,
    read_bytes: u64,
}

impl<R: Read> Pass<'_, '_, '_, R> {
    fn run(&mut self) -> Result<(), LoadError> {
        while let Some(entry) = self.archive.next_entry().map_err(broken)? {
            if self.contents.blobs.len() + self.contents.aliases.len() >= ENTRIES_MAX {
                return Err(LoadError::Invalid { reason: "the archive has too many entries".to_owned() });
            }
            let wrong_name = |error: crate::unpack::UnpackError| LoadError::Invalid { reason: error.to_string() };
            let name = clean(&entry.path).map_err(wrong_name)?;
            match entry.kind {
                Kind::File => {
                    let blob = self.blob(&name, entry.size)?;
                    self.contents.blobs.insert(name, blob);
                }
                Kind::SymbolicLink => {
                    let above = name.iter().rposition(|&b| b == b'/').map_or(&[][..], |slash| &name[..slash]);
                    let target = if entry.link.starts_with(b"/") { entry.link } else { [above, b"/", &entry.link].concat() };
                    // A link that leads outside names nothing in the archive.
                    if let Ok(target) = clean(&target) {
                        self.contents.aliases.insert(name, target);
                    }
                }
                Kind::HardLink => {
                    let target = clean(&entry.link).map_err(wrong_name)?;
                    self.contents.aliases.insert(name, target);
                }
                Kind::Directory | Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo => {}
            }
        }
        self.archive.drain().map_err(|error| broken(error.into()))
    }

    /// Reads one file of the archive.
    fn blob(&mut self, name: &[u8], size: u64) -> Result<Blob, LoadError> {
        let first = self.chunk()?;
        let named = digest_in(name);
        let compression = Compression::of(&first);
        if let Compression::Unsupported(kind) = compression {
            return Ok(Blob::Unsupported(kind));
        }
        if compression != Compression::Plain || looks_like_tar(&first) {
            return self.layer(first, named, compression, size).map(Blob::Layer);
        }
        if size > DOCUMENT_BYTES_MAX {
            return Ok(Blob::Other);
        }
        self.document_bytes += size;
        if self.document_bytes > DOCUMENTS_BYTES_MAX {
            return Err(LoadError::Invalid { reason: "the documents in the archive are too large".to_owned() });
        }
        let mut bytes = first;
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                break;
            }
            bytes.extend_from_slice(&chunk);
        }
        check(named, Digest::of(&bytes))?;
        Ok(Blob::Document(bytes))
    }

    fn layer(&mut self, first: Vec<u8>, named: Option<Digest>, compression: Compression, size: u64) -> Result<usize, LoadError> {
        let index = self.slots.len();
        let known = named.and_then(|digest| match compression {
            Compression::Plain => (self.source.known)(&digest).then_some(digest),
            Compression::Gzip | Compression::Zstd | Compression::Unsupported(_) => (self.source.known_blob)(&digest),
        });
        if let Some(diff_id) = known {
            // Its bytes are of no use, so they are not even digested.
            self.slots.push(Slot::Known(diff_id));
            return Ok(index);
        }
        self.wait_for_room()?;
        let directory = self.source.staging.join(index.to_string());
        let feed = Feed::start(self.scope, directory, compression, self.source.storage);
        let mut hash = sha2::Sha256::new();
        let mut chunk = first;
        let mut bytes = 0;
        while !chunk.is_empty() {
            hash.update(&chunk);
            bytes += u64::try_from(chunk.len()).unwrap_or_default();
            if let Some(diff_id) = named {
                (self.progress)(Progress::Layer { diff_id, bytes, total: size });
            }
            if !feed.send(Arc::new(chunk)) {
                break;
            }
            chunk = self.chunk()?;
        }
        let failed = bytes < size;
        let blob = Digest::from_bytes(hash.finalize().into());
        self.slots.push(Slot::Pending { blob, pending: feed.end() });
        if failed {
            self.wait(index)?;
        }
        check(named, blob)?;
        Ok(index)
    }

    fn chunk(&mut self) -> Result<Vec<u8>, LoadError> {
        let chunk = read_chunk(&mut self.archive).map_err(|error| broken(error.into()))?;
        self.read_bytes += u64::try_from(chunk.len()).unwrap_or_default();
        (self.progress)(Progress::Read { bytes: self.read_bytes });
        Ok(chunk)
    }

    fn wait_for_room(&mut self) -> Result<(), LoadError> {
        let pending: Vec<usize> = (0..self.slots.len()).filter(|&index| matches!(self.slots[index], Slot::Pending { .. })).collect();
        if pending.len() >= PENDING_MAX { self.wait(pending[0]) } else { Ok(()) }
    }

    /// Waits for the worker of a layer.
    fn wait(&mut self, index: usize) -> Result<(), LoadError> {
        // While it is waited for the place is taken by what it becomes if it fails.
        let slot = std::mem::replace(&mut self.slots[index], Slot::Known(Digest::from_bytes([0; 32])));
        self.slots[index] = match slot {
            Slot::Pending { blob, pending } => {
                let staged = pending.wait().map_err(bad_layer)?;
                let diff_id = staged.diff_id.unwrap_or(blob);
                (self.progress)(Progress::LayerDone { diff_id, existed: false });
                Slot::Done(LayerBlob { diff_id, staged: Some(staged) })
            }
            Slot::Known(diff_id) => {
                (self.progress)(Progress::LayerDone { diff_id, existed: true });
                Slot::Done(LayerBlob { diff_id, staged: None })
            }
            Slot::Done(layer) => Slot::Done(layer),
        };
        Ok(())
    }

    fn finish(mut self) -> Result<Contents, LoadError> {
        let mut result = Ok(());
        for index in 0..self.slots.len() {
            result = result.and(self.wait(index));
        }
        result?;
        for slot in self.slots {
            if let Slot::Done(layer) = slot {
                self.contents.layers.push(layer);
            }
        }
        Ok(self.contents)
    }
}

/// Returns the digest that a blob's name in an OCI layout promises.
fn digest_in(name: &[u8]) -> Option<Digest> {
    let hex = name.strip_prefix(b"blobs/sha256/")?;
    Digest::from_hex(std::str::from_utf8(hex).ok()?).ok()
}

fn check(expected: Option<Digest>, actual: Digest) -> Result<(), LoadError> {
    match expected {
        Some(expected) if expected != actual => Err(LoadError::Digest { expected, actual }),
        _ => Ok(()),
    }
}

/// The archive itself is broken.
fn broken(error: TarError) -> LoadError {
    match error {
        TarError::Read(source) => LoadError::Io { act: "read the archive".to_owned(), source },
        error @ (TarError::Invalid(_) | TarError::Truncated) => LoadError::Invalid { reason: error.to_string() },
    }
}

/// A layer in it is broken, or cannot be stored.
pub(crate) fn bad_layer(error: StageError) -> LoadError {
    use crate::unpack::UnpackError;
    let act = error.to_string();
    match error {
        StageError::Unpack(UnpackError::Entry { source, .. } | UnpackError::Tape { source } | UnpackError::Prepare { source }) => {
            LoadError::Io { act: act.trim_start_matches("cannot ").to_owned(), source }
        }
        StageError::Unpack(UnpackError::Tar(TarError::Read(source))) | StageError::Decompress(source) => {
            LoadError::Invalid { reason: format!("{act}: {source}") }
        }
        StageError::Unpack(
            UnpackError::Tar(TarError::Invalid(_) | TarError::Truncated)
            | UnpackError::Outside { .. }
            | UnpackError::Invalid { .. }
            | UnpackError::Limit { .. },
        )
        | StageError::Thread => LoadError::Invalid { reason: act },
    }
}

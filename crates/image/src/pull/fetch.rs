//! Layers on their way: some at a time, each read, kept, digested, decompressed and unpacked at once.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oci::Digest;
use sha2::Digest as _;

use super::ingest::{self, Ingest};
use super::{BlobSource, PullError, PullLimits, PullStep, Report, Wanted};
use crate::archive::{LayerBlob, bad_layer};
use crate::compression::Compression;
use crate::disk::Disk;
use crate::layer::Storage;
use crate::stream::Feed;
use crate::unpack::Limits;

/// Most bytes that are handed on at a time.
const PIECE: usize = 256 << 10;

/// Bytes at the start that tell the compression.
const MAGIC: usize = 6;

/// All layers of a pull.
pub(super) struct Job<'a> {
    pub(super) disk: &'a Disk,
    pub(super) storage: Storage,
    pub(super) staging: &'a Path,
    pub(super) wanted: &'a [Wanted],
    pub(super) source: &'a dyn BlobSource,
    pub(super) limits: PullLimits,
    pub(super) report: &'a Report<'a>,
}

/// What the workers share.
#[derive(Default)]
struct Shared {
    next: AtomicUsize,
    stopped: AtomicBool,
    failure: Mutex<Option<PullError>>,
    done: Mutex<Vec<(usize, LayerBlob)>>,
}

impl Shared {
    fn fail(&self, error: PullError) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // The first one is the cause; what follows is that all stop.
        failure.get_or_insert(error);
    }
}

impl Job<'_> {
    /// Refuses a pull that cannot fit.
    pub(super) fn check_space(&self) -> Result<(), PullError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let failed = |source: rustix::io::Errno| PullError::Io { act: "ask for the free space of the disk", source: source.into() };
        let disk = rustix::fs::statvfs(self.staging).map_err(failed)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let missing = self.wanted.iter().map(|layer| layer.blob.size.saturating_sub(ingest::length(self.disk, &layer.blob.digest)));
        let needed = missing.fold(0u64, u64::saturating_add);
        let reserve = self.limits.reserve_bytes;
        if needed.saturating_add(reserve) > free {
            return Err(PullError::Space { needed, free, reserve });
        }
        Ok(())
    }

    /// Fetches all layers; they come back in their order.
    pub(super) fn run(&self) -> Result<Vec<LayerBlob>, PullError> {
        let shared = Shared::default();
        let workers = self.limits.parallel.clamp(1, self.wanted.len().max(1));
        for waiting in self.wanted.iter().skip(workers) {
            (self.report)(&waiting.blob.digest, PullStep::Waiting);
        }
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&shared));
            }
        });
        if let Some(error) = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut done = shared.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        if done.len() != self.wanted.len() {
            return Err(PullError::Invalid { reason: "a thread that unpacks ended early".to_owned() });
        }
        Ok(done.into_iter().map(|(_, layer)| layer).collect())
    }

    fn work(&self, shared: &Shared) {
        while !shared.stopped.load(Ordering::Relaxed) {
            let index = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(wanted) = self.wanted.get(index) else {
                return;
            };
            match self.layer(index, wanted, shared) {
                Ok(layer) => shared.done.lock().unwrap_or_else(PoisonError::into_inner).push((index, layer)),
                Err(error) => shared.fail(error),
            }
        }
    }

    /// Brings one layer in; kept bytes that turn out to be wrong are fetched again once.
    fn layer(&self, index: usize, wanted: &Wanted, shared: &Shared) -> Result<LayerBlob, PullError> {
        let failed = |source| PullError::Io { act: "keep the bytes of a layer", source };
        let mut ingest = Ingest::open(self.disk, &wanted.blob.digest, wanted.blob.size).map_err(failed)?;
        let resumed = ingest.length > 0;
        match self.attempt(&format!("{index}"), wanted, &mut ingest, shared) {
            // What was kept may be wrong without the registry's fault, such as after a power cut.
            Err(error) if resumed && is_wrong(&error) => {
                ingest.clear().map_err(failed)?;
                self.attempt(&format!("{index}-again"), wanted, &mut ingest, shared)
            }
            result => result,
        }
        .inspect_err(|error| {
            // What cannot be right is not kept for the next attempt.
            if is_wrong(error) {
                ingest::remove(self.disk, &wanted.blob.digest);
            }
        })
    }

    fn attempt(&self, place: &str, wanted: &Wanted, ingest: &mut Ingest, shared: &Shared) -> Result<LayerBlob, PullError> {
        let (digest, size) = (wanted.blob.digest, wanted.blob.size);
        let bad = |error| PullError::Layer { digest, source: bad_layer(error) };
        std::thread::scope(|scope| {
            let mut input = Input { job: self, wanted, ingest, kept: None, live: None, position: 0, buffer: vec![0; PIECE] };
            let mut hash = sha2::Sha256::new();
            let mut feed = None;
            let mut accepted = true;
            // Also when unpacking has failed: whether the bytes are right tells whose fault it is.
            while input.position < size {
                let piece = if feed.is_none() { input.start()? } else { input.piece()? };
                hash.update(&piece);
                if feed.is_none() {
                    feed = Some(Feed::start(scope, self.staging.join(place), self.compression(wanted, &piece)?, self.storage(size)));
                }
                accepted = accepted && feed.as_ref().is_some_and(|feed| feed.send(Arc::new(piece)));
                let step = PullStep::Downloading { current: input.position, total: size };
                if shared.stopped.load(Ordering::Relaxed) || !(self.report)(&digest, step) {
                    return Err(PullError::Cancelled);
                }
            }
            (self.report)(&digest, PullStep::Verifying);
            let actual = Digest::from_bytes(hash.finalize().into());
            if actual != digest {
                return Err(PullError::Digest { expected: digest, actual });
            }
            (self.report)(&digest, PullStep::Downloaded);
            let Some(feed) = feed else {
                return Err(PullError::Invalid { reason: format!("layer {digest} is empty") });
            };
            let staged = feed.end().wait().map_err(bad)?;
            let actual = staged.diff_id.unwrap_or(digest);
            if actual != wanted.diff_id {
                return Err(PullError::DiffId { blob: digest, expected: wanted.diff_id, actual });
            }
            (self.report)(&digest, PullStep::Complete);
            Ok(LayerBlob { diff_id: actual, staged: Some(staged) })
        })
    }

    /// Tells the kind by the bytes, not by what the manifest calls it: both are seen to differ.
    fn compression(&self, wanted: &Wanted, start: &[u8]) -> Result<Compression, PullError> {
        match Compression::of(start) {
            Compression::Unsupported(kind) => {
                let reason = format!("layer {} is compressed with {kind}, which is not supported", wanted.blob.digest);
                Err(PullError::Invalid { reason })
            }
            compression @ (Compression::Plain | Compression::Gzip | Compression::Zstd) => Ok(compression),
        }
    }

    fn storage(&self, size: u64) -> Storage {
        let usual = self.storage.limits;
        let bytes_max = size.saturating_mul(self.limits.ratio_max).saturating_add(self.limits.unpacked_bytes_min);
        let limits = Limits { bytes_max: usual.bytes_max.min(bytes_max), free_bytes_min: self.limits.reserve_bytes, ..usual };
        Storage { limits, ..self.storage }
    }
}

/// Tells whether the bytes themselves are to blame.
fn is_wrong(error: &PullError) -> bool {
    matches!(
        error,
        PullError::Digest { .. } | PullError::DiffId { .. } | PullError::Layer { .. } | PullError::Size { .. } | PullError::Invalid { .. }
    )
}

/// The bytes of a layer: first those that are kept, then those that come.
struct Input<'a> {
    job: &'a Job<'a>,
    wanted: &'a Wanted,
    ingest: &'a mut Ingest,
    kept: Option<fs_err::File>,
    live: Option<Box<dyn Read + Send>>,
    position: u64,
    buffer: Vec<u8>,
}

impl Input<'_> {
    /// Reads the first bytes, as many as tell the compression.
    fn start(&mut self) -> Result<Vec<u8>, PullError> {
        let mut start = self.piece()?;
        while start.len() < MAGIC && self.position < self.wanted.blob.size {
            start.extend(self.piece()?);
        }
        Ok(start)
    }

    fn piece(&mut self) -> Result<Vec<u8>, PullError> {
        let blob = &self.wanted.blob;
        let failed = |source| PullError::Io { act: "keep the bytes of a layer", source };
        let fetch = |source| PullError::Fetch { digest: blob.digest, source };
        let buffer = &mut self.buffer[..];
        let is_kept = self.position < self.ingest.length;
        let piece = if is_kept {
            if self.kept.is_none() {
                self.kept = Some(self.ingest.reader().map_err(failed)?);
            }
            let left = self.ingest.length - self.position;
            self.kept.as_mut().map_or(Ok(Vec::new()), |kept| fill(&mut kept.take(left), buffer)).map_err(failed)?
        } else {
            if self.live.is_none() {
                self.live = Some(self.job.source.open(blob, self.position).map_err(fetch)?);
            }
            let piece = self.live.as_mut().map_or(Ok(Vec::new()), |live| fill(live, buffer)).map_err(fetch)?;
            self.ingest.append(&piece).map_err(failed)?;
            piece
        };
        self.position = self.position.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if piece.is_empty() || self.position > blob.size {
            return Err(PullError::Size { digest: blob.digest, expected: blob.size, actual: self.position });
        }
        Ok(piece)
    }
}

/// Reads what is there, at most a piece, and never waits for more once something has come; empty at the end.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<Vec<u8>> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.map(|count| buffer[..count].to_vec()),
        }
    }
}

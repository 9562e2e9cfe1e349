//! Layers as streams: one thread reads, others decompress, digest and unpack at the same time.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use oci::Digest;
use sha2::Digest as _;

use crate::compression::{Compression, decoder};
use crate::layer::{Staged, Storage, stage};
use crate::unpack::UnpackError;

/// Bytes handed from thread to thread at a time.
pub(crate) const CHUNK: usize = 512 << 10;
/// Chunks that may wait between two threads.
const QUEUE: usize = 8;

type Chunk = Arc<Vec<u8>>;

/// A layer that is staged, and what it is.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    /// Digest of the plain tar; absent when the layer was not compressed, where it is the stream's own.
    pub(crate) diff_id: Option<Digest>,
    pub(crate) layer: Staged,
}

/// Says why a layer was not staged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("cannot read the compressed layer")]
    Decompress(#[source] io::Error),
    #[error("a thread that unpacks ended early")]
    Thread,
}

/// The sending end of a layer that is being unpacked.
#[derive(Debug)]
pub(crate) struct Feed<'scope> {
    sender: SyncSender<Option<Chunk>>,
    worker: ScopedJoinHandle<'scope, Result<StagedLayer, StageError>>,
}

impl<'scope> Feed<'scope> {
    /// Starts to stage a layer in the new directory `directory`; its bytes come with [`Feed::send`].
    pub(crate) fn start<'env>(scope: &'scope Scope<'scope, 'env>, directory: PathBuf, compression: Compression, storage: Storage) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let worker = scope.spawn(move || run(&directory, compression, storage, receiver));
        Self { sender, worker }
    }

    /// Passes bytes on; false when the layer has failed already, which [`Feed::finish`] explains.
    pub(crate) fn send(&self, chunk: Chunk) -> bool {
        self.sender.send(Some(chunk)).is_ok()
    }

    /// Says that the stream is complete; the worker goes on by itself until it is waited for.
    pub(crate) fn end(self) -> Pending<'scope> {
        // A worker that has ended already says why when it is joined.
        let _ = self.sender.send(None);
        Pending { worker: self.worker }
    }
}

/// A layer whose bytes are all on their way.
#[derive(Debug)]
pub(crate) struct Pending<'scope> {
    worker: ScopedJoinHandle<'scope, Result<StagedLayer, StageError>>,
}

impl Pending<'_> {
    pub(crate) fn wait(self) -> Result<StagedLayer, StageError> {
        self.worker.join().unwrap_or(Err(StageError::Thread))
    }
}

fn run(directory: &Path, compression: Compression, storage: Storage, receiver: Receiver<Option<Chunk>>) -> Result<StagedLayer, StageError> {
    let input = ChunkReader::new(receiver);
    if compression == Compression::Plain {
        return Ok(StagedLayer { diff_id: None, layer: stage(input, directory, storage)? });
    }
    let mut plain = decoder(input, compression).map_err(StageError::Decompress)?;
    std::thread::scope(|scope| {
        let (to_hash, for_hash) = sync_channel::<Option<Chunk>>(QUEUE);
        let (to_unpack, for_unpack) = sync_channel(QUEUE);
        let hash = scope.spawn(move || {
            let mut hash = sha2::Sha256::new();
            while let Ok(Some(chunk)) = for_hash.recv() {
                hash.update(&chunk[..]);
            }
            Digest::from_bytes(hash.finalize().into())
        });
        let staging = scope.spawn(move || stage(ChunkReader::new(for_unpack), directory, storage));
        let inflated = loop {
            match read_chunk(&mut plain) {
                Ok(chunk) if chunk.is_empty() => break Ok(()),
                Ok(chunk) => {
                    let chunk = Arc::new(chunk);
                    // A closed queue means that the other side failed and will say so.
                    if to_hash.send(Some(Arc::clone(&chunk))).is_err() || to_unpack.send(Some(chunk)).is_err() {
                        break Ok(());
                    }
                }
                Err(error) => break Err(StageError::Decompress(error)),
            }
        };
        if inflated.is_ok() {
            let _ = (to_hash.send(None), to_unpack.send(None));
        }
        drop((to_hash, to_unpack));
        let diff_id = hash.join().map_err(|_| StageError::Thread)?;
        let layer = staging.join().map_err(|_| StageError::Thread)?;
        inflated?;
        Ok(StagedLayer { diff_id: Some(diff_id), layer: layer? })
    })
}

/// Reads up to a chunk; empty at the end.
pub(crate) fn read_chunk(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK];
    let mut filled = 0;
    while filled < CHUNK {
        match input.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok(chunk)
}

/// Reads what another thread sends; a sender that ends without saying so is an error.
struct ChunkReader {
    receiver: Receiver<Option<Chunk>>,
    chunk: Chunk,
    position: usize,
    ended: bool,
}

impl ChunkReader {
    fn new(receiver: Receiver<Option<Chunk>>) -> Self {
        Self { receiver, chunk: Arc::default(), position: 0, ended: false }
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.chunk.len() && !self.ended {
            match self.receiver.recv() {
                Ok(Some(chunk)) => (self.chunk, self.position) = (chunk, 0),
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

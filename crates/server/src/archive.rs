//! `/containers/{name}/archive`: what `cp` sends and fetches.
//! **Source:** moby, `daemon/archive_unix.go`, `api/server/router/container/copy.go`.

use crate::app::App;
use crate::error::of_kind;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::upload::Upload;
use crate::{ApiError, time};
use bytes::Bytes;
use docker_api::archive::{ExtractError, ExtractOptions, Owner, PathStat, Source, Tree, extract, go_mode, go_text, pack, path};
use engine::Container;
use http::StatusCode;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use tokio::sync::{mpsc, oneshot};

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 128 << 10;

/// Why something was not copied.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is not there.
    Missing,
    /// The request makes no sense.
    Invalid(String),
    /// The system refused.
    Internal(String),
}

impl Failure {
    fn of(act: &str, path: &str, cause: Errno) -> Self {
        match cause {
            Errno::NOENT => Self::Missing,
            cause => Self::Internal(format!("{act} {path}: {}", go_text(&cause.into()))),
        }
    }

    fn answer(self, name: &str, path: &str) -> ApiError {
        match self {
            Self::Missing => ApiError::not_found(format!("Could not find the file {path} in container {name}")),
            Self::Invalid(text) => ApiError::invalid(text),
            Self::Internal(text) => ApiError::internal(text),
        }
    }
}

fn wanted(call: &Call) -> Result<String, ApiError> {
    match call.query.text("path") {
        "" => Err(ApiError::invalid("bad parameter: pathcannot be empty")),
        text => Ok(text.to_owned()),
    }
}

fn stat(tree: &Tree, path: &str) -> Result<PathStat, Failure> {
    let stat = tree.stat(path).map_err(|cause| Failure::of("lstat", path, cause))?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let link_target = if is_link { tree.follow(path).map_err(|cause| Failure::of("lstat", path, cause))? } else { String::new() };
    let nanos = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    Ok(PathStat { name: path::base(path).to_owned(), size: stat.st_size, mode: go_mode(&stat), mtime: time::rfc3339(nanos), link_target })
}

fn with_stat(mut reply: Reply, stat: &PathStat) -> Reply {
    if let Ok(value) = http::HeaderValue::from_str(&stat.to_header()) {
        reply.headers_mut().insert("X-Docker-Container-Path-Stat", value);
    }
    reply
}

impl App {
    pub(crate) async fn archive_stat(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let path = wanted(call)?;
        let asked = path.clone();
        let job = move |_: &Container, root| stat(&Tree::of_container(root), &asked);
        let found = self.engine.with_files(name, job).await.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let found = found.map_err(|failure| failure.answer(name, &path))?;
        Ok(with_stat(reply::empty(StatusCode::OK), &found))
    }

    pub(crate) async fn archive_get(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let path = wanted(call)?;
        self.lookup(name)?;
        let (pieces, answer) = reply::stream("application/x-tar");
        let (started, first) = oneshot::channel();
        let mut output = Some((pieces, started));
        let (engine, container, asked) = (self.engine.clone(), name.to_owned(), path.clone());
        let job = move |_: &Container, root| {
            let Some((pieces, started)) = output.take() else { return };
            let tree = Tree::of_container(root);
            // A client that is gone hears nothing more.
            match stat(&tree, &path::preserve_ending(path::join("/", &asked), &asked)) {
                Err(failure) => drop(started.send(Err(failure))),
                Ok(found) => {
                    let folder = docker_api::archive::is_directory(found.mode);
                    drop(started.send(Ok(found)));
                    send_archive(&tree, &asked, folder, pieces);
                }
            }
        };
        let work = tokio::spawn(async move { engine.with_files(&container, job).await });
        match first.await {
            Ok(found) => Ok(with_stat(answer, &found.map_err(|failure| failure.answer(name, &path))?)),
            Err(_) => match work.await {
                Ok(Err(cause)) => Err(of_kind(cause.kind(), &cause)),
                Ok(Ok(())) | Err(_) => Err(ApiError::internal("the copy has ended without a result")),
            },
        }
    }

    pub(crate) async fn archive_put(&self, name: &str, call: Call) -> Result<Reply, ApiError> {
        let path = wanted(&call)?;
        self.lookup(name)?;
        let keep_kinds = call.query.flag("noOverwriteDirNonDir");
        let owner = if call.query.flag("copyUIDGID") {
            let (uid, gid) = self.engine.process_owner(name).map_err(|cause| of_kind(cause.kind(), &cause))?;
            Owner::Ids(uid, gid)
        } else {
            Owner::Archive
        };
        let mut body = Some(Upload::new(call.into_body()));
        let asked = path.clone();
        let job = move |view: &Container, root| {
            let Some(body) = body.take() else { return Ok(()) };
            let tree = Tree::of_container(root);
            let folder = extraction_point(&tree, view, &asked)?;
            receive_archive(&tree, ExtractOptions { folder, keep_kinds, owner, rename: None }, body)
        };
        let done = self.engine.with_files(name, job).await.map_err(|cause| of_kind(cause.kind(), &cause))?;
        done.map_err(|failure| failure.answer(name, &path))?;
        Ok(reply::empty(StatusCode::OK))
    }
}

/// Finds the directory that is written to, and whether it may be.
fn extraction_point(tree: &Tree, view: &Container, asked: &str) -> Result<String, Failure> {
    let path = path::join("/", asked);
    let opened = tree.open(path.as_bytes(), OFlags::PATH).map_err(|cause| Failure::of("lstat", &path, cause))?;
    let mode = rustix::fs::fstat(&opened).map_err(|cause| Failure::of("lstat", &path, cause))?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::Directory {
        return Err(Failure::Invalid("extraction point is not a directory".to_owned()));
    }
    let folder = tree.follow(&path).map_err(|cause| Failure::of("lstat", &path, cause))?;
    let inside = |destination: &str| {
        let destination = destination.trim_end_matches('/');
        folder.strip_prefix(destination).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match view.mounts.iter().find(|mount| inside(&mount.destination)) {
        Some(mount) if !mount.writable => Err(Failure::Invalid("mounted volume is marked read-only".to_owned())),
        None if view.spec.host.readonly_rootfs => Err(Failure::Invalid("container rootfs is marked read-only".to_owned())),
        Some(_) | None => Ok(folder),
    }
}

fn send_archive(tree: &Tree, asked: &str, is_directory: bool, pieces: mpsc::Sender<Bytes>) {
    let whole = path::preserve_ending(path::join("/", asked), asked);
    let name = path::base(&whole).to_owned();
    let (folder, entry) = match whole.rfind('/') {
        Some(at) if !is_directory => (&whole[..=at], &whole[at + 1..]),
        _ => (whole.as_str(), "."),
    };
    let name = if name == "/" { "" } else { &name };
    let mut output = Pieces::new(pieces);
    // The head is sent: all that is left to say is that the archive breaks off.
    let _ = pack(Source { tree, folder, entry, name }, &mut output);
}

/// Extracts an archive, which may be compressed, and reads what stands behind it.
pub(crate) fn receive_archive(tree: &Tree, options: ExtractOptions, body: impl Read) -> Result<(), Failure> {
    let mut body = io::BufReader::with_capacity(PIECE_BYTES, body);
    let start = io::BufRead::fill_buf(&mut body).map_err(|cause| Failure::Internal(go_text(&cause)))?;
    let done = match start {
        [0x1f, 0x8b, ..] => extract(tree, &options, flate2::read::MultiGzDecoder::new(&mut body)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let plain = zstd::Decoder::new(&mut body).map_err(|cause| Failure::Internal(go_text(&cause)))?;
            extract(tree, &options, plain)
        }
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            return Err(Failure::Invalid("archives in bzip2 or xz are not taken: decompress this one first".to_owned()));
        }
        _ => extract(tree, &options, &mut body),
    };
    match done {
        Ok(_) => {
            // What stands behind the end of the archive is read, so that the client hears the answer.
            io::copy(&mut body.by_ref(), &mut io::sink()).map_err(|cause| Failure::Internal(go_text(&cause)))?;
            Ok(())
        }
        Err(ExtractError::Entry { source, .. }) if source.kind() == io::ErrorKind::NotFound => Err(Failure::Missing),
        Err(cause) => Err(Failure::Internal(cause.to_string())),
    }
}

/// A writer into a body.
pub(crate) struct Pieces {
    pieces: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Pieces {
    pub(crate) fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { pieces, buffer: Vec::with_capacity(PIECE_BYTES) }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.pieces.blocking_send(Bytes::from(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

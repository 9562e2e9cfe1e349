//! From a client's question to an image.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use builder::Sources;
use buildkit::{Ask, Build, Session, Solved, Status, Wanted};
use docker_api::archive::{ExtractOptions, Owner, Tree, extract};
use tokio::sync::mpsc;

use super::sources::{Client, Holders, files};
use super::{options, progress};
use crate::app::App;

/// Updates that wait for a slow client before the build waits, too.
const UPDATES_MAX: usize = 256;
/// Bytes of a Dockerfile or a `.dockerignore`.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// The directories of one build, which go with it.
pub(super) struct Scratch {
    root: PathBuf,
    serial: AtomicUsize,
}

impl Scratch {
    /// A new one.
    pub(super) fn directory(&self) -> std::io::Result<PathBuf> {
        let path = self.root.join(self.serial.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is cleared at the next start.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

pub(super) async fn solve(app: App, build: Arc<Build>, ask: Ask) -> Result<Solved, Status> {
    let mut options = options::parse(&ask)?;
    if let Some(question) = &options.question {
        return Err(Status::unimplemented(format!("{question} is not served")));
    }
    let holders = Holders { build: Arc::clone(&build), session: build.session(None).await?, others: std::mem::take(&mut options.sessions) };
    let scratch = Arc::new(Scratch { root: app.builder.work(), serial: AtomicUsize::new(0) });
    let (dockerfile, context) = options.directories.clone();
    let here = match &options.context {
        None => None,
        Some(url) => Some(upload(&holders, &scratch, url).await?),
    };
    let place = (&build, &*scratch);
    // A Dockerfile beside an uploaded context has a directory of its own.
    let given = ask.options.contains_key("dockerfilekey");
    let file = if let (Some(here), false) = (&here, given) {
        std::fs::File::open(here).map(OwnedFd::from).map_err(|cause| Status::internal(format!("cannot open the context: {cause}")))?
    } else {
        let session = holders.of(&dockerfile).await?;
        let name = options.file.clone();
        let follow = vec![name.clone(), format!("{name}.dockerignore"), name.to_ascii_lowercase()];
        let wanted = Wanted { name: dockerfile, follow: Some(follow), ..Wanted::default() };
        files(place, &session, &format!("[internal] load build definition from {name}"), wanted).await?
    };
    let bytes = match read(&file, &options.file)? {
        Some(bytes) => bytes,
        None => read(&file, &options.file.to_ascii_lowercase())?
            .ok_or_else(|| Status::not_found(format!("failed to read dockerfile: open {}: no such file or directory", options.file)))?,
    };
    let exclude = match read(&file, &format!("{}.dockerignore", options.file))? {
        Some(text) => patterns(&text),
        // All that was uploaded is meant.
        None if here.is_some() => Vec::new(),
        None => ignored(place, &*holders.of(&context).await?, &context).await?,
    };
    options.request.dockerfile.clone_from(&bytes);
    let client = Client { app: app.clone(), holders, scratch: Arc::clone(&scratch), context, exclude, here, locals: options.locals };
    let sources: Arc<dyn Sources> = Arc::new(client);
    let (updates, told) = mpsc::channel(UPDATES_MAX);
    let (built, failed) = tokio::join!(app.builder.build(options.request, sources, updates), progress::carry(&build, told));
    let image = built.map_err(|error| progress::fault(&error, failed, (&options.file, &bytes)).status())?;
    let config = app.images.raw_config(&image).unwrap_or_default();
    Ok(Solved {
        images: vec![(None, image.to_string())],
        metadata: HashMap::from([("containerimage.config".to_owned(), config.into_bytes())]),
    })
}

/// Unpacks a context that the client has as an archive, such as one on its standard input.
/// **Source:** moby/buildkit, `session/upload`.
async fn upload(holders: &Holders, scratch: &Scratch, url: &str) -> Result<PathBuf, Status> {
    let Some(rest) = url.strip_prefix("http://buildkit-session/") else {
        return Err(Status::unimplemented(format!("the context {url} is not served: give a directory or an archive")));
    };
    let failed = |cause: std::io::Error| Status::internal(format!("cannot unpack the context: {cause}"));
    let vertex = holders.build.vertex("[internal] load remote build context").await;
    let directory = scratch.directory().map_err(failed)?;
    let mut bytes = holders.session.upload("buildkit-session", &format!("/{rest}")).await?;
    let (sender, queue) = mpsc::channel::<Vec<u8>>(16);
    let into = directory.clone();
    let unpacking = tokio::task::spawn_blocking(move || unpack(&into, Arriving { queue, current: Vec::new(), at: 0 }));
    while let Some(piece) = bytes.next().await? {
        // The reader has all it wants, or says why not.
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    unpacking.await.map_err(|panic| Status::internal(panic.to_string()))?.map_err(failed)?;
    vertex.done().await;
    Ok(directory)
}

/// Unpacks an archive; what is none is the Dockerfile itself.
fn unpack(directory: &std::path::Path, bytes: Arriving) -> std::io::Result<()> {
    let mut plain = image::sniffing(bytes)?;
    let mut head = Vec::new();
    plain.by_ref().take(512).read_to_end(&mut head)?;
    let archive = head.get(257..262) == Some(b"ustar");
    let whole = std::io::Cursor::new(head).chain(plain);
    if !archive {
        let mut file = std::fs::File::create(directory.join("Dockerfile"))?;
        return std::io::copy(&mut whole.take(TEXT_BYTES_MAX), &mut file).map(drop);
    }
    let root: OwnedFd = std::fs::File::open(directory)?.into();
    let options = ExtractOptions { folder: "/".to_owned(), keep_kinds: false, owner: Owner::Caller, rename: None };
    extract(&Tree::of_container(root), &options, whole).map(drop).map_err(|cause| std::io::Error::other(cause.to_string()))
}

/// Pieces that come as a reader that blocks.
struct Arriving {
    queue: mpsc::Receiver<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl std::io::Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.current.len() {
            match self.queue.blocking_recv() {
                Some(piece) => (self.current, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The patterns of a directory's `.dockerignore`.
pub(super) async fn ignored(place: (&Arc<Build>, &Scratch), session: &Session, directory: &str) -> Result<Vec<String>, Status> {
    let wanted = Wanted { name: directory.to_owned(), follow: Some(vec![".dockerignore".to_owned()]), ..Wanted::default() };
    let found = files(place, session, "[internal] load .dockerignore", wanted).await?;
    Ok(read(&found, ".dockerignore")?.map(|text| patterns(&text)).unwrap_or_default())
}

/// Reads a file of a client; none if there is none.
fn read(directory: &OwnedFd, path: &str) -> Result<Option<Vec<u8>>, Status> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let failed = |cause: std::io::Error| Status::internal(format!("cannot read {path}: {cause}"));
    let file = match rustix::fs::openat2(directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// The patterns of a `.dockerignore`. **Source:** moby/patternmatcher, `ignorefile.ReadAll`.
fn patterns(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).into_owned();
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.trim();
        let (mark, path) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                ".." if path.starts_with('/') => {}
                part => parts.push(part),
            }
        }
        let clean = if parts.is_empty() { "." } else { &parts.join("/") };
        if !line.is_empty() {
            all.push(format!("{mark}{clean}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_are_cleaned_as_by_docker() {
        let text = b"\xef\xbb\xbf# note\n\n /a/../b/ \n!c//d\n.\n#x\n**/*.o\r\n";
        assert_eq!(super::patterns(text), ["b", "!c/d", ".", "**/*.o"]);
    }
}

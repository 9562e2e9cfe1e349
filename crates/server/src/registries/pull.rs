//! `POST /images/create?fromImage=`.

use super::{credentials, failure, pull_failure};
use crate::app::App;
use crate::jobs::{Output, stream_job};
use crate::reply::Reply;
use crate::request::Call;
use crate::{ApiError, images};
use bytes::{Buf, Bytes};
use docker_api::types::{Progress, ProgressDetail};
use image::{BlobSource, IndexPlan, ListedKind, Member, PullLimits, PullPlan, PullStep};
use oci::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use oci::{Digest, ImageRef, Platform};
use registry::{Document, Policy, Session, TrustError};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Largest image configuration.
const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Deepest nesting of indexes.
const INDEX_DEPTH_MAX: usize = 4;
/// Largest statement of an attestation.
const STATEMENT_BYTES_MAX: u64 = 64 << 20;
/// Most manifests of an index that are pulled at once.
const MANIFESTS_MAX: usize = 100;
/// Pause between two lines of progress of a layer.
const PROGRESS: Duration = Duration::from_millis(100);

/// What one pull works with.
struct Pull {
    app: App,
    session: Session,
    handle: Handle,
    /// As asked for; absent means this host's.
    platform: Option<Platform>,
}

/// Which platforms are wanted.
enum Wanted {
    /// This one, or this host's.
    One(Option<Platform>),
    /// Each of these: `linux/amd64,linux/arm64`.
    Several(Vec<Platform>),
    /// All that the index has, with their attestations.
    All,
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "all" => Ok(Self::All),
            text if text.contains(',') && !text.starts_with('{') => {
                let platforms = text.split(',').map(images::platform).collect::<Result<Vec<_>, _>>()?;
                Ok(Self::Several(platforms.into_iter().flatten().collect()))
            }
            text => Ok(Self::One(images::platform(text)?)),
        }
    }
}

/// What became of a tag.
struct Pulled {
    digest: Digest,
    /// Whether anything was fetched.
    is_new: bool,
    /// What a person should know.
    warning: Option<String>,
}

impl App {
    pub(crate) async fn image_pull(&self, call: &Call) -> Result<Reply, ApiError> {
        let (text, tag) = (call.query.text("fromImage"), call.query.text("tag"));
        let bare: ImageRef = text.parse().map_err(|cause: oci::ParseReferenceError| ApiError::invalid(cause.to_string()))?;
        let all_tags = tag.is_empty() && bare.tag().is_none() && bare.digest().is_none();
        let name = images::reference(text, tag)?;
        let session = self.registries.session(name.domain(), credentials(call));
        let session = session.map_err(|cause| failure(&cause, &name))?;
        let wanted = Wanted::parse(call.query.text("platform"))?;
        let pull = Pull { app: self.clone(), session, handle: Handle::current(), platform: None };
        stream_job(move |output| pull.wanted(&name, wanted, all_tags, output)).await
    }
}

impl App {
    /// Pulls one image without telling how far it is.
    pub(crate) async fn pull_quietly(&self, name: &ImageRef, auth: &str, platform: Option<Platform>) -> Result<(), ApiError> {
        let credentials = registry::Credentials::from_header(auth).unwrap_or_default();
        let session = self.registries.session(name.domain(), credentials).map_err(|cause| failure(&cause, name))?;
        let pull = Pull { app: self.clone(), session, handle: Handle::current(), platform };
        let name = name.clone();
        crate::jobs::quiet_job(move |output| pull.one(&name, output)).await
    }
}

impl Pull {
    fn wanted(mut self, name: &ImageRef, wanted: Wanted, all_tags: bool, output: &mut Output) -> Result<(), ApiError> {
        let platforms = match wanted {
            Wanted::One(platform) => vec![platform],
            Wanted::Several(platforms) => platforms.into_iter().map(Some).collect(),
            Wanted::All if all_tags => return Err(ApiError::invalid("all platforms are pulled of one tag at a time")),
            Wanted::All => return self.every(name, output),
        };
        for platform in platforms {
            self.platform = platform;
            if all_tags { self.all(name, output) } else { self.one(name, output) }?;
        }
        Ok(())
    }

    /// Pulls all images of an index for Linux, and its attestations.
    fn every(mut self, name: &ImageRef, output: &mut Output) -> Result<(), ApiError> {
        let top = self.handle.block_on(self.session.manifest(name)).map_err(|cause| failure(&cause, name))?;
        if !top.is_index() {
            return self.one(name, output);
        }
        let index: Index = parse(&top.bytes, name, "index", &top.digest)?;
        if index.manifests.len() > MANIFESTS_MAX {
            return Err(ApiError::internal(format!(
                "cannot use {}: its index lists {} manifests, at most {MANIFESTS_MAX} are pulled at once",
                name.familiar(),
                index.manifests.len()
            )));
        }
        for entry in index.manifests.iter().filter(|entry| ListedKind::of(entry) == ListedKind::Image) {
            if let Some(platform) = entry.platform.clone().filter(|platform| platform.os == "linux") {
                status(output, format!("Platform: {platform}"));
                self.platform = Some(platform);
                self.one(name, output)?;
            }
        }
        let mut members = Vec::new();
        for entry in index.manifests.iter().filter(|entry| matches!(ListedKind::of(entry), ListedKind::Attestation(_))) {
            members.push(self.attestation(name, entry)?);
        }
        let plan = IndexPlan { document: text(&top.bytes, name)?, members };
        let mut names = vec![name.with_digest(top.digest)];
        names.extend(name.digest().is_none().then(|| name.clone()));
        let put = self.app.images.put_index(&plan, &names);
        put.map(drop).map_err(|cause| ApiError::internal(crate::error::chain(&cause)))
    }

    /// Fetches the manifest of an attestation and its statements.
    fn attestation(&self, name: &ImageRef, entry: &Descriptor) -> Result<Member, ApiError> {
        let name = name.with_digest(entry.digest);
        let failed = |cause: registry::Error| failure(&cause, &name);
        let document = self.handle.block_on(self.session.manifest(&name)).map_err(failed)?;
        let manifest: Manifest = parse(&document.bytes, &name, "manifest", &document.digest)?;
        let mut blobs = Vec::new();
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            blobs.push(self.handle.block_on(self.session.small_blob(&name, blob, STATEMENT_BYTES_MAX)).map_err(failed)?.to_vec());
        }
        Ok(Member::Artifact { manifest: text(&document.bytes, &name)?, blobs })
    }

    fn one(&self, name: &ImageRef, output: &mut Output) -> Result<(), ApiError> {
        let pulled = self.tag(name, output)?;
        status(output, format!("Digest: {}", pulled.digest));
        status(output, summary(pulled.is_new, &name.familiar()));
        if let Some(warning) = pulled.warning {
            status(output, format!("WARNING: {warning}"));
        }
        Ok(())
    }

    fn all(&self, name: &ImageRef, output: &mut Output) -> Result<(), ApiError> {
        let tags = self.handle.block_on(self.session.tags(name)).map_err(|cause| failure(&cause, name))?;
        let mut is_new = false;
        for tag in tags {
            let name = name.with_tag(&tag).map_err(|cause| ApiError::internal(cause.to_string()))?;
            let pulled = self.tag(&name, output)?;
            status(output, format!("Digest: {}", pulled.digest));
            is_new |= pulled.is_new;
        }
        status(output, summary(is_new, &name.familiar_repository()));
        Ok(())
    }

    /// Pulls one name, unless what it leads to is here already.
    fn tag(&self, name: &ImageRef, output: &mut Output) -> Result<Pulled, ApiError> {
        let label = name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), ToString::to_string);
        let begin = Progress { status: format!("Pulling from {}", name.path()), id: label, ..Progress::default() };
        let policy = self.policy()?;
        self.session.permit(&policy, name).map_err(|cause| distrusted(&cause, name))?;
        if self.app.images.resolve(&name.to_string()).is_ok() {
            let head = self.handle.block_on(self.session.head(name)).map_err(|cause| failure(&cause, name))?;
            if let Some(digest) = head.map(|found| found.digest)
                && self.is_here(name, digest)
            {
                self.trust(&policy, name, &[digest])?;
                output.line(&begin);
                return Ok(Pulled { digest, is_new: false, warning: None });
            }
        }
        let top = self.handle.block_on(self.session.manifest(name)).map_err(|cause| failure(&cause, name))?;
        output.line(&begin);
        let digest = top.digest;
        let mut indexes = Vec::new();
        let document = self.choose(name, top, &mut indexes)?;
        // An index that is signed vouches for its manifests; else the manifest itself may be.
        let digests = if document.digest == digest { vec![digest] } else { vec![digest, document.digest] };
        self.trust(&policy, name, &digests)?;
        let plan = self.plan(name, digest, &document, indexes)?;
        let here = self.app.images.resolve(&name.with_digest(digest).to_string()).ok().map(|image| image.id);
        let warning = self.mismatch(name, &plan)?;
        let source = Source { session: self.session.clone(), name: name.clone(), handle: self.handle.clone() };
        let report = Lines { output: Mutex::new((output, HashMap::new())) };
        let loaded = self.app.images.pull(plan, &source, PullLimits::default(), &|digest, step| report.step(digest, step));
        let loaded = loaded.map_err(|cause| pull_failure(&cause))?;
        self.app.image_event("pull", &loaded.id, &name.familiar());
        Ok(Pulled { digest, is_new: here != Some(loaded.id), warning })
    }

    fn policy(&self) -> Result<Policy, ApiError> {
        let policy = Policy::read(self.app.registries.settings());
        policy.map_err(|cause| ApiError::internal(crate::error::chain(&cause)))
    }

    fn trust(&self, policy: &Policy, name: &ImageRef, digests: &[Digest]) -> Result<(), ApiError> {
        self.handle.block_on(self.session.trust(policy, name, digests)).map_err(|cause| distrusted(&cause, name))
    }

    /// Says so if the image is for another platform than the one that was asked for; Docker takes it nevertheless.
    fn mismatch(&self, name: &ImageRef, plan: &PullPlan) -> Result<Option<String>, ApiError> {
        let Some(wanted) = &self.platform else {
            return Ok(None);
        };
        let config: ImageConfig = parse(plan.config.as_bytes(), name, "configuration", &Digest::of(plan.config.as_bytes()))?;
        let found = config.platform();
        let text = || {
            let name = name.familiar();
            format!("image with reference {name} was found but its platform ({found}) does not match the specified platform ({wanted})")
        };
        Ok((!wanted.matches(&found)).then(text))
    }

    /// Whether the image of this digest is here, for the platform; if so the tag leads to it afterwards.
    fn is_here(&self, name: &ImageRef, digest: Digest) -> bool {
        let Ok(image) = self.app.images.resolve_for(&name.with_digest(digest).to_string(), self.platform.as_ref()) else {
            return false;
        };
        let is_named = self.app.images.resolve_for(&name.to_string(), self.platform.as_ref()).is_ok_and(|named| named.id == image.id);
        name.digest().is_some() || is_named || self.app.images.tag(&image.id, name).is_ok()
    }

    /// Follows indexes to the manifest for the platform; gives the indexes, the first one first.
    fn choose(&self, name: &ImageRef, mut document: Document, indexes: &mut Vec<String>) -> Result<Document, ApiError> {
        let wanted = self.platform.clone().unwrap_or_else(Platform::host);
        for _ in 0..INDEX_DEPTH_MAX {
            if !document.is_index() {
                return Ok(document);
            }
            let index: Index = parse(&document.bytes, name, "index", &document.digest)?;
            let chosen = registry::choose(&index, &wanted);
            let chosen = chosen.map_err(|cause| ApiError::not_found(format!("{}: {cause}", name.familiar())))?.clone();
            indexes.push(text(&document.bytes, name)?);
            let next = name.with_digest(chosen.digest);
            document = self.handle.block_on(self.session.manifest(&next)).map_err(|cause| failure(&cause, &next))?;
        }
        Err(ApiError::internal(format!("cannot use {}: its indexes are nested deeper than {INDEX_DEPTH_MAX}", name.familiar())))
    }

    fn plan(&self, name: &ImageRef, top: Digest, document: &Document, indexes: Vec<String>) -> Result<PullPlan, ApiError> {
        let manifest: Manifest = parse(&document.bytes, name, "manifest", &document.digest)?;
        if !matches!(manifest.config.media_type.as_str(), "" | media_type::CONFIG | media_type::DOCKER_CONFIG) {
            let kind = manifest.config.media_type.escape_debug().to_string();
            return Err(ApiError::internal(format!("cannot use {}: `{kind}` is no image that can be run", name.familiar())));
        }
        let config = self.handle.block_on(self.session.small_blob(name, &manifest.config, CONFIG_BYTES_MAX));
        let config = text(&config.map_err(|cause| failure(&cause, name))?, name)?;
        let mut names = vec![name.with_digest(top)];
        if name.digest().is_none() {
            names.push(name.clone());
        }
        let manifest_text = text(&document.bytes, name)?;
        let mut indexes = indexes.into_iter();
        let index = indexes.next().map(|document| {
            let members = indexes.map(|document| Member::Index { document }).collect();
            IndexPlan { document, members }
        });
        Ok(PullPlan { config, manifest: manifest_text, layers: manifest.layers, names, repository: name.repository(), index })
    }
}

fn distrusted(cause: &TrustError, name: &ImageRef) -> ApiError {
    match cause {
        TrustError::Registry(cause) => failure(cause, name),
        TrustError::Rejected { .. } | TrustError::Unsigned { .. } | TrustError::Untrusted { .. } => {
            ApiError::new(http::StatusCode::FORBIDDEN, cause.to_string())
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], name: &ImageRef, what: &str, digest: &Digest) -> Result<T, ApiError> {
    let wrong =
        |cause: serde_json::Error| ApiError::internal(format!("cannot use {}: {what} {digest} makes no sense: {cause}", name.familiar()));
    serde_json::from_slice(bytes).map_err(wrong)
}

fn text(bytes: &[u8], name: &ImageRef) -> Result<String, ApiError> {
    let wrong = |_| ApiError::internal(format!("cannot use {}: a document of it is not UTF-8", name.familiar()));
    String::from_utf8(bytes.to_vec()).map_err(wrong)
}

fn status(output: &mut Output, text: String) {
    output.line(&Progress { status: text, ..Progress::default() });
}

fn summary(is_new: bool, name: &str) -> String {
    if is_new { format!("Status: Downloaded newer image for {name}") } else { format!("Status: Image is up to date for {name}") }
}

/// Lines of progress, from several threads.
struct Lines<'a> {
    output: Mutex<(&'a mut Output, HashMap<Digest, Instant>)>,
}

impl Lines<'_> {
    fn step(&self, digest: &Digest, step: PullStep) -> bool {
        let mut guard = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, last) = &mut *guard;
        let word = match step {
            PullStep::Exists => "Already exists",
            PullStep::Pending => "Pulling fs layer",
            PullStep::Waiting => "Waiting",
            PullStep::Verifying => "Verifying Checksum",
            PullStep::Downloaded => "Download complete",
            PullStep::Complete => "Pull complete",
            PullStep::Downloading { current, total } => {
                let now = Instant::now();
                let due = last.get(digest).is_none_or(|last| now.duration_since(*last) >= PROGRESS);
                if due {
                    last.insert(*digest, now);
                    output.hint(&progress("Downloading", digest, current, total));
                }
                return !output.is_gone();
            }
        };
        let detail = Some(ProgressDetail::default());
        output.line(&Progress { status: word.to_owned(), id: digest.short(), progress_detail: detail, ..Progress::default() });
        !output.is_gone()
    }
}

/// A line that tells how far something is.
pub(super) fn progress(word: &str, digest: &Digest, current: u64, total: u64) -> Progress {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let detail = ProgressDetail { current: number(current), total: number(total) };
    Progress { status: word.to_owned(), id: digest.short(), progress_detail: Some(detail), ..Progress::default() }
}

/// Layers of a repository.
struct Source {
    session: Session,
    name: ImageRef,
    handle: Handle,
}

impl BlobSource for Source {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let blob = self.session.blob(&self.name, blob, offset);
        Ok(Box::new(Reader { blob, handle: self.handle.clone(), current: Bytes::new() }))
    }
}

/// A blob for threads that block.
struct Reader {
    blob: registry::Blob,
    handle: Handle,
    current: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.handle.block_on(self.blob.next()).map_err(io::Error::other)? {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

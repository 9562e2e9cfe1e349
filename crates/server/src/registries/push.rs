//! `POST /images/{name}/push`.

mod index;

use super::{credentials, pull, status};
use crate::app::App;
use crate::jobs::{Output, quiet_job, stream_job};
use crate::reply::Reply;
use crate::request::Call;
use crate::{ApiError, error, images};
use bytes::{Bytes, BytesMut};
use docker_api::types::{Progress, ProgressDetail};
use image::{ImageId, KnownBlob, Pushable, ResolveError};
use oci::image::{Descriptor, Manifest, media_type};
use oci::{Digest, ImageRef, Platform};
use registry::{Kind, Mounted, Session, Upload};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;

/// Bytes that are sent in one request, and kept in memory until they have arrived.
const PIECE: usize = 8 << 20;
/// Layers that are sent at the same time.
const PARALLEL: usize = 3;
/// Known blobs of a layer that are asked for.
const ASKED_MAX: usize = 4;

/// What one push works with.
struct Push {
    app: App,
    session: Session,
    handle: Handle,
    repository: ImageRef,
    platform: Option<Platform>,
}

impl App {
    pub(crate) async fn image_push(&self, text: &str, call: &Call) -> Result<Reply, ApiError> {
        let bare: ImageRef = text.parse().map_err(|cause: oci::ParseReferenceError| ApiError::invalid(cause.to_string()))?;
        let tag = Some(call.query.text("tag")).filter(|tag| !tag.is_empty()).or(bare.tag());
        if bare.digest().is_some() {
            return Err(ApiError::invalid("cannot push a digest reference"));
        }
        let wrong = |cause: oci::ParseReferenceError| ApiError::invalid(cause.to_string());
        let tag = tag.map(|tag| bare.with_tag(tag)).transpose().map_err(wrong)?;
        let repository = bare.repository();
        let session = self.registries.session(repository.domain(), credentials(call));
        let session = session.map_err(|cause| ApiError::internal(cause.to_string()))?;
        let platform = images::platform(call.query.text("platform"))?;
        let push = Push { app: self.clone(), session, handle: Handle::current(), repository, platform };
        stream_job(move |output| push.run(tag, output)).await
    }

    /// Pushes one name with the account of a header, and tells nobody how far it is.
    pub(crate) async fn push_quietly(&self, name: &ImageRef, auth: &str) -> Result<(), ApiError> {
        let credentials = registry::Credentials::from_header(auth).unwrap_or_default();
        let repository = name.repository();
        let session = self.registries.session(repository.domain(), credentials);
        let session = session.map_err(|cause| ApiError::internal(cause.to_string()))?;
        let push = Push { app: self.clone(), session, handle: Handle::current(), repository, platform: None };
        let name = name.clone();
        quiet_job(move |output| push.run(Some(name), output)).await
    }
}

impl Push {
    fn run(&self, tag: Option<ImageRef>, output: &mut Output) -> Result<(), ApiError> {
        let repository = &self.repository;
        line(output, format!("The push refers to repository [{repository}]"));
        let all = self.app.images.list().into_iter().flat_map(|image| image.repo_tags.clone().into_iter().map(move |tag| (tag, image.id)));
        let mut chosen: Vec<(ImageRef, ImageId)> = all.filter(|(tag, _)| tag.repository() == *repository).collect();
        chosen.sort();
        if chosen.is_empty() {
            let text = format!("An image does not exist locally with the tag: {}", repository.familiar_repository());
            return Err(ApiError::not_found(text));
        }
        if let Some(name) = tag {
            chosen.retain(|(tag, _)| *tag == name);
            if chosen.is_empty() {
                return Err(ApiError::not_found(format!("tag does not exist: {}", name.familiar())));
            }
        }
        for (name, id) in chosen {
            self.image(&name, id, output)?;
        }
        Ok(())
    }

    fn image(&self, name: &ImageRef, id: ImageId, output: &mut Output) -> Result<(), ApiError> {
        let listed = self.app.images.index_named(name).and_then(|digest| self.app.images.listed(&digest));
        let whole = listed.as_ref().filter(|listed| self.platform.is_none() && listed.has_more());
        let pushed = match whole {
            Some(listed) => index::push(self, name, listed, output)?,
            None => {
                let image = self.app.images.resolve_for(&name.to_string(), self.platform.as_ref());
                let image = image.map_err(|cause| self.not_here(name, &cause))?;
                let pushable = self.app.images.pushable(&image.id).ok_or_else(|| gone(name))?;
                let pushed = self.manifest_of(name, &pushable, output)?;
                if listed.is_some_and(|listed| listed.entries.len() > 1) && self.platform.is_none() {
                    let platform = image.config.platform();
                    line(output, format!("Of the platforms of {} only {platform} is here: it is pushed alone", name.familiar()));
                }
                pushed
            }
        };
        // The image is where it should be; a name that is not recorded is only not shown.
        let _ = self.app.images.note_digest(&id, &name.with_digest(pushed.digest));
        let tag = name.tag().unwrap_or("latest");
        line(output, format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
        let aux = serde_json::json!({"Tag": tag, "Digest": pushed.digest, "Size": pushed.size});
        output.line(&Progress { progress_detail: Some(ProgressDetail::default()), aux: Some(aux), ..Progress::default() });
        self.app.image_event("push", &id, &name.familiar());
        Ok(())
    }

    fn not_here(&self, name: &ImageRef, cause: &ResolveError) -> ApiError {
        match (cause, &self.platform) {
            (ResolveError::Platform { .. }, Some(wanted)) => ApiError::not_found(format!(
                "image with reference {} was found but does not provide the specified platform ({wanted})",
                name.familiar()
            )),
            _ => gone(name),
        }
    }

    /// Pushes one image; `name` has a tag, or a digest where an index will name it.
    fn manifest_of(&self, name: &ImageRef, pushable: &Pushable, output: &mut Output) -> Result<Descriptor, ApiError> {
        let layers = self.layers(&pushable.layers, output)?;
        let (bytes, kind) = self.manifest(pushable, &layers)?;
        let name = if name.tag().is_some() { name.clone() } else { name.with_digest(Digest::of(&bytes)) };
        let digest = self.handle.block_on(self.session.put_manifest(&name, &kind, &bytes)).map_err(|cause| self.refused(&cause))?;
        for (diff_id, layer) in pushable.layers.iter().zip(&layers) {
            self.app.images.note_blob(diff_id, KnownBlob::of(layer, &self.repository));
        }
        Ok(plain(digest, u64::try_from(bytes.len()).unwrap_or(u64::MAX), &kind))
    }

    /// Stores a small blob that the registry lacks.
    fn ensure(&self, digest: &Digest, bytes: Bytes) -> Result<(), ApiError> {
        let exists = self.handle.block_on(self.session.has_blob(&self.repository, digest)).map_err(|cause| self.refused(&cause))?;
        if exists.is_none() {
            self.handle.block_on(self.small(digest, bytes)).map_err(|cause| self.refused(&cause))?;
        }
        Ok(())
    }

    /// Brings all layers to the registry; gives their descriptors in the order of `diff_ids`.
    fn layers(&self, diff_ids: &[Digest], output: &mut Output) -> Result<Vec<Descriptor>, ApiError> {
        let unique: Vec<Digest> = {
            let mut seen = BTreeSet::new();
            diff_ids.iter().rev().filter(|diff_id| seen.insert(**diff_id)).copied().collect()
        };
        for diff_id in &unique {
            step(output, "Preparing", diff_id);
        }
        let (next, output) = (AtomicUsize::new(0), Mutex::new(output));
        let (done, failure) = (Mutex::new(BTreeMap::new()), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(unique.len()) {
                scope.spawn(|| {
                    while let Some(diff_id) = unique.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.layer(diff_id, &output) {
                            Ok(layer) => drop(lock(&done).insert(*diff_id, layer)),
                            Err(error) => {
                                next.store(unique.len(), Ordering::Relaxed);
                                lock(&failure).get_or_insert(error);
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = lock(&failure).take() {
            return Err(error);
        }
        let done = lock(&done);
        let found: Option<Vec<Descriptor>> = diff_ids.iter().map(|diff_id| done.get(diff_id).cloned()).collect();
        found.ok_or_else(|| ApiError::internal("a layer was not pushed"))
    }

    /// Brings one layer to the registry, with as few bytes as that takes.
    fn layer(&self, diff_id: &Digest, output: &Mutex<&mut Output>) -> Result<Descriptor, ApiError> {
        let domain = self.repository.domain();
        let own = self.repository.to_string();
        let here = |blob: &KnownBlob| blob.repositories.iter().any(|name| name.starts_with(&format!("{domain}/")));
        let mut known: Vec<KnownBlob> = self.app.images.known_blobs(diff_id);
        known.sort_by_key(|blob| (!blob.repositories.contains(&own), !here(blob)));
        for blob in known.iter().take(ASKED_MAX) {
            let exists =
                self.handle.block_on(self.session.has_blob(&self.repository, &blob.digest)).map_err(|cause| self.refused(&cause))?;
            if exists == Some(blob.size) {
                step(&mut lock(output), "Layer already exists", diff_id);
                return Ok(descriptor(blob));
            }
        }
        for blob in known.iter().filter(|blob| here(blob)).take(ASKED_MAX) {
            let from = blob.repositories.iter().filter_map(|name| name.parse::<ImageRef>().ok()).find(|name| name.domain() == domain);
            let Some(from) = from.filter(|from| *from != self.repository) else {
                continue;
            };
            // A repository that may not be read only means that the bytes are sent.
            let mounted = self.handle.block_on(self.session.upload(&self.repository, Some((&blob.digest, from.path()))));
            if let Ok(Mounted::Yes) = mounted {
                step(&mut lock(output), &format!("Mounted from {}", from.path()), diff_id);
                return Ok(descriptor(blob));
            }
        }
        let mut sink = Sink { push: self, diff_id: *diff_id, output, upload: None, pending: BytesMut::new(), sent: 0, failure: None };
        let packed = self.app.images.pack_layer(diff_id, &mut sink);
        if let Some(failure) = sink.failure.take() {
            return Err(self.refused(&failure));
        }
        let packed = packed.map_err(|cause| ApiError::internal(error::chain(&cause)))?;
        sink.finish(&packed.digest).map_err(|cause| self.refused(&cause))?;
        step(&mut lock(output), "Pushed", diff_id);
        let blob = KnownBlob {
            digest: packed.digest,
            size: packed.size,
            media_type: media_type::DOCKER_LAYER_GZIP.to_owned(),
            repositories: vec![own],
        };
        Ok(descriptor(&blob))
    }

    /// The manifest the image came with if its layers went as they are, else a new one.
    fn manifest(&self, pushable: &Pushable, layers: &[Descriptor]) -> Result<(Bytes, String), ApiError> {
        let config = Bytes::from(pushable.config.clone().into_bytes());
        let config_digest = Digest::of(&config);
        let size = u64::try_from(config.len()).unwrap_or(u64::MAX);
        self.ensure(&config_digest, config)?;
        let original = pushable.manifest.as_ref().and_then(|text| Some((text, serde_json::from_str::<Manifest>(text).ok()?)));
        if let Some((text, manifest)) = &original {
            let same = manifest.layers.iter().map(|layer| layer.digest).eq(layers.iter().map(|layer| layer.digest));
            if same && manifest.config.digest == config_digest {
                let kind = manifest.media_type.clone().unwrap_or_else(|| media_type::MANIFEST.to_owned());
                return Ok((Bytes::from((*text).clone().into_bytes()), kind));
            }
        }
        let is_oci = original.is_some_and(|(_, manifest)| manifest.media_type.as_deref() == Some(media_type::MANIFEST));
        let (kind, config_kind) =
            if is_oci { (media_type::MANIFEST, media_type::CONFIG) } else { (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG) };
        let layers = layers.iter().map(|layer| Descriptor { media_type: translated(&layer.media_type, is_oci), ..layer.clone() });
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(kind.to_owned()),
            config: plain(config_digest, size, config_kind),
            layers: layers.collect(),
            annotations: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|cause| ApiError::internal(cause.to_string()))?;
        Ok((Bytes::from(bytes), kind.to_owned()))
    }

    /// Stores a blob that is in memory.
    async fn small(&self, digest: &Digest, bytes: Bytes) -> Result<(), registry::Error> {
        match self.session.upload(&self.repository, None).await? {
            Mounted::Yes => Ok(()),
            Mounted::No(upload) => upload.finish(digest, bytes).await,
        }
    }

    /// Says in Docker's words why a registry took nothing.
    fn refused(&self, cause: &registry::Error) -> ApiError {
        let unnamed = cause.kind() == Kind::Denied && cause.code().is_empty();
        let text = if unnamed { format!("denied: {cause}") } else { cause.to_string() };
        ApiError::new(status(cause), text)
    }
}

fn gone(name: &ImageRef) -> ApiError {
    ApiError::not_found(format!("No such image: {}", name.familiar()))
}

/// Media types of one family for those of the other.
fn translated(kind: &str, to_oci: bool) -> String {
    let pairs = [(media_type::DOCKER_LAYER_GZIP, media_type::LAYER_GZIP), (media_type::DOCKER_LAYER, media_type::LAYER)];
    for (docker, oci) in pairs {
        if kind == docker || kind == oci {
            return if to_oci { oci } else { docker }.to_owned();
        }
    }
    kind.to_owned()
}

fn descriptor(blob: &KnownBlob) -> Descriptor {
    plain(blob.digest, blob.size, &blob.media_type)
}

fn plain(digest: Digest, size: u64, kind: &str) -> Descriptor {
    Descriptor {
        media_type: kind.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

fn line(output: &mut Output, text: String) {
    output.line(&Progress { status: text, ..Progress::default() });
}

fn step(output: &mut Output, word: &str, diff_id: &Digest) {
    let detail = Some(ProgressDetail::default());
    output.line(&Progress { status: word.to_owned(), id: diff_id.short(), progress_detail: detail, ..Progress::default() });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a layer's compressed bytes and sends them in pieces; a small layer goes in one request with its digest.
struct Sink<'a, 'b> {
    push: &'a Push,
    diff_id: Digest,
    output: &'a Mutex<&'b mut Output>,
    upload: Option<Upload>,
    pending: BytesMut,
    sent: u64,
    failure: Option<registry::Error>,
}

impl Sink<'_, '_> {
    fn flush_piece(&mut self) -> Result<(), registry::Error> {
        let piece = self.pending.split().freeze();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => match self.push.handle.block_on(self.push.session.upload(&self.push.repository, None))? {
                Mounted::No(upload) => self.upload.insert(upload),
                Mounted::Yes => return Ok(()),
            },
        };
        self.sent += u64::try_from(piece.len()).unwrap_or_default();
        self.push.handle.block_on(upload.append(piece))?;
        lock(self.output).hint(&pull::progress("Pushing", &self.diff_id, self.sent, 0));
        Ok(())
    }

    fn finish(self, digest: &Digest) -> Result<(), registry::Error> {
        let rest = self.pending.freeze();
        self.push.handle.block_on(async {
            let upload = match self.upload {
                Some(upload) => upload,
                None => match self.push.session.upload(&self.push.repository, None).await? {
                    Mounted::No(upload) => upload,
                    Mounted::Yes => return Ok(()),
                },
            };
            upload.finish(digest, rest).await
        })
    }
}

impl Write for Sink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if lock(self.output).is_gone() {
            return Err(io::Error::other("context canceled"));
        }
        let count = bytes.len().min(PIECE - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == PIECE
            && let Err(failure) = self.flush_piece()
        {
            let text = failure.to_string();
            self.failure = Some(failure);
            return Err(io::Error::other(text));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

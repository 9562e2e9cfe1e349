//! The client and its sessions: manifests, tags, logins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use oci::image::Descriptor;
use oci::{Digest, ImageRef};
use serde::Deserialize;

use crate::auth::{Credentials, challenges};
use crate::endpoint::{Endpoint, Origin, Purpose};
use crate::error::Error;
use crate::hosts;
use crate::manifest::{ACCEPT, Document, Found, MANIFEST_BYTES_MAX, kind};
use crate::send::{Call, escape};
use crate::settings::Settings;

/// Most tags of a repository that are listed.
const TAGS_MAX: usize = 100_000;
/// Largest page of tags.
const TAGS_BYTES_MAX: u64 = 8 << 20;
/// Manifests of the first schema, which no longer can be pulled.
const SCHEMA_ONE: &str = "application/vnd.docker.distribution.manifest.v1+";

/// What reaches registries; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// Insecure registries that answered without TLS.
    plain: Mutex<HashMap<String, ()>>,
}

/// One client's way to one registry; cheap to clone.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    domain: String,
    credentials: Credentials,
    endpoints: Vec<Arc<Endpoint>>,
    /// Answers to challenges, by host and scope.
    authorizations: Mutex<HashMap<(Origin, String), HeaderValue>>,
}

impl Client {
    /// Makes a client.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { shared: Arc::new(Shared { settings, plain: Mutex::default() }) }
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Opens a session with the registry `domain`, such as `docker.io`; no request is sent.
    ///
    /// # Errors
    /// [`Error::Settings`] when the files about the registry are wrong.
    pub fn session(&self, domain: &str, credentials: Credentials) -> Result<Session, Error> {
        let settings = self.settings();
        let mut hosts = hosts::hosts(domain, settings).map_err(|bad| Error::Settings { file: bad.file, reason: bad.reason })?;
        if self.is_plain(domain) {
            hosts.sort_by_key(|host| !host.mirror && host.base.starts_with("https:"));
        }
        let open = |host| Endpoint::open(host, settings).map(Arc::new);
        let endpoints = hosts.iter().map(open).collect::<Result<_, _>>();
        let endpoints = endpoints.map_err(|reason| Error::Settings { file: domain.to_owned(), reason })?;
        let inner = Inner { client: self.clone(), domain: domain.to_owned(), credentials, endpoints, authorizations: Mutex::default() };
        Ok(Session { inner: Arc::new(inner) })
    }

    fn is_plain(&self, domain: &str) -> bool {
        self.shared.plain.lock().unwrap_or_else(PoisonError::into_inner).contains_key(domain)
    }

    /// Notes how a registry answered, so that the next session asks that way first.
    fn note(&self, domain: &str, endpoint: &Endpoint) {
        let mut plain = self.shared.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoint.origin.secure {
            plain.remove(domain);
        } else if !endpoint.mirror {
            plain.insert(domain.to_owned(), ());
        }
    }
}

impl Session {
    pub(crate) fn settings(&self) -> &Settings {
        self.inner.client.settings()
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    /// The hosts that may be asked.
    pub(crate) fn endpoints(&self, purpose: Purpose) -> Vec<Arc<Endpoint>> {
        self.inner.endpoints.iter().filter(|endpoint| endpoint.capabilities.allow(purpose)).cloned().collect()
    }

    pub(crate) fn authorization(&self, origin: &Origin, scope: &str) -> Option<HeaderValue> {
        let known = self.inner.authorizations.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(origin.clone(), scope.to_owned())).cloned()
    }

    pub(crate) fn remember(&self, origin: Origin, scope: &str, value: HeaderValue) {
        self.inner.authorizations.lock().unwrap_or_else(PoisonError::into_inner).insert((origin, scope.to_owned()), value);
    }

    /// Tries again what may succeed a little later.
    pub(crate) async fn retrying<T>(&self, act: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let times = self.settings().times;
        let begin = Instant::now();
        let mut attempt = 0;
        loop {
            match act().await {
                Err(error) if error.is_passing() && attempt + 1 < times.attempts && begin.elapsed() < times.give_up => {
                    attempt += 1;
                    let wanted = if let Error::RateLimited { retry_after, .. } = error { retry_after } else { None };
                    tokio::time::sleep(wanted.map_or_else(|| times.pause(attempt), std::time::Duration::from_secs)).await;
                }
                result => return result,
            }
        }
    }

    /// Asks one host after the other: what a mirror lacks, or who cannot be reached, leads to the next.
    pub(crate) async fn first<T>(&self, purpose: Purpose, act: impl AsyncFn(&Arc<Endpoint>) -> Result<T, Error>) -> Result<T, Error> {
        let mut failure = None;
        for endpoint in self.endpoints(purpose) {
            match self.retrying(async || act(&endpoint).await).await {
                Ok(value) => {
                    self.note(&endpoint);
                    return Ok(value);
                }
                Err(error) if endpoint.mirror || error.kind() == crate::Kind::Unreachable => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::Settings { file: self.inner.domain.clone(), reason: "no host may be asked for this".to_owned() }))
    }

    pub(crate) fn note(&self, endpoint: &Endpoint) {
        self.inner.client.note(&self.inner.domain, endpoint);
    }

    /// Asks what a name leads to; `None` when the registry does not tell by headers alone.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn head(&self, name: &ImageRef) -> Result<Option<Found>, Error> {
        let scope = pull_scope(name);
        self.first(purpose(name), async |endpoint| {
            let mut call = Call::new(Method::HEAD, manifest_url(endpoint, name), &scope, self.settings().times.stall);
            call.accept = &ACCEPT;
            let answer = match self.send(endpoint, &call).await {
                Err(Error::Refused { status: StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, .. }) => return Ok(None),
                result => result?,
            };
            let size = answer.header("content-length").parse().unwrap_or(0);
            let media_type = answer.header("content-type").split(';').next().unwrap_or_default().to_owned();
            let digest = answer.header("docker-content-digest").parse::<Digest>().ok().filter(|_| ACCEPT.contains(&media_type.as_str()));
            Ok(digest.map(|digest| Found { digest, media_type, size }))
        })
        .await
    }

    /// Fetches a manifest or index; a digest in the name, or in the answer, must fit.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn manifest(&self, name: &ImageRef) -> Result<Document, Error> {
        let scope = pull_scope(name);
        self.first(purpose(name), async |endpoint| {
            let mut call = Call::new(Method::GET, manifest_url(endpoint, name), &scope, self.settings().times.stall);
            call.accept = &ACCEPT;
            let answer = self.send(endpoint, &call).await?;
            let url = answer.url.clone();
            let header = answer.header("content-type").to_owned();
            let told = answer.header("docker-content-digest").parse::<Digest>().ok();
            if header.starts_with(SCHEMA_ONE) {
                let reason =
                    "Docker Image manifest version 2, schema 1 is not supported: ask the author to push the image again".to_owned();
                return Err(Error::Invalid { url, reason });
            }
            let bytes = self.read(answer.response, &url, MANIFEST_BYTES_MAX).await?;
            let digest = Digest::of(&bytes);
            if let Some(expected) = name.digest().copied().or(told)
                && expected != digest
            {
                return Err(Error::Digest { url, expected, actual: digest });
            }
            let kind_of = kind(&header, &bytes);
            let media_type = kind_of.ok_or(Error::Kind { url, kind: header, wanted: "a manifest" })?;
            Ok(Document { digest, media_type, bytes })
        })
        .await
    }

    /// Fetches a small blob, such as a configuration, whole.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn small_blob(&self, name: &ImageRef, blob: &Descriptor, max: u64) -> Result<Bytes, Error> {
        if blob.size > max {
            return Err(Error::TooLarge { url: format!("{}@{}", name.repository(), blob.digest), max });
        }
        let mut stream = self.blob(name, blob, 0);
        let mut bytes = bytes::BytesMut::new();
        while let Some(piece) = stream.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let actual = Digest::of(&bytes);
        if actual != blob.digest {
            return Err(Error::Digest { url: stream.url(), expected: blob.digest, actual });
        }
        Ok(bytes.freeze())
    }

    /// Stores a manifest or index under the name's tag or digest.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put_manifest(&self, name: &ImageRef, media_type: &str, bytes: &Bytes) -> Result<Digest, Error> {
        let scope = push_scope(name, None);
        let expected = Digest::of(bytes);
        self.first(Purpose::Push, async |endpoint| {
            let mut call = Call::new(Method::PUT, manifest_url(endpoint, name), &scope, self.settings().times.give_up);
            call = call.header(CONTENT_TYPE, media_type);
            call.body = bytes.clone();
            let answer = self.send(endpoint, &call).await?;
            match answer.header("docker-content-digest").parse::<Digest>() {
                Ok(actual) if actual != expected => Err(Error::Digest { url: answer.url, expected, actual }),
                _ => Ok(expected),
            }
        })
        .await
    }

    /// Lists what refers to a manifest; `None` where the registry cannot tell. **Source:** OCI distribution specification 1.1,
    /// "Listing Referrers".
    ///
    /// # Errors
    /// [`Error`].
    pub async fn referrers(&self, name: &ImageRef, digest: &Digest) -> Result<Option<oci::image::Index>, Error> {
        let scope = pull_scope(name);
        self.first(Purpose::Resolve, async |endpoint| {
            let url = with_namespace(endpoint, format!("{}/{}/referrers/{digest}", endpoint.base, name.path()));
            let answer = match self.send(endpoint, &Call::new(Method::GET, url.clone(), &scope, self.settings().times.stall)).await {
                Err(error) if error.kind() == crate::Kind::NotFound => return Ok(None),
                Err(Error::Refused { status: StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, .. }) => return Ok(None),
                result => result?,
            };
            let bytes = self.read(answer.response, &url, MANIFEST_BYTES_MAX).await?;
            Ok(serde_json::from_slice(&bytes).ok())
        })
        .await
    }

    /// Lists the tags of a repository.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tags(&self, name: &ImageRef) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let scope = pull_scope(name);
        self.first(Purpose::Resolve, async |endpoint| {
            let mut url = with_namespace(endpoint, format!("{}/{}/tags/list", endpoint.base, name.path()));
            let mut tags = Vec::new();
            loop {
                let answer = self.send(endpoint, &Call::new(Method::GET, url.clone(), &scope, self.settings().times.stall)).await?;
                let next = answer.header("link").split_once('>').map(|(before, _)| before.trim_start_matches('<').to_owned());
                let bytes = self.read(answer.response, &url, TAGS_BYTES_MAX).await?;
                let page: Page =
                    serde_json::from_slice(&bytes).map_err(|error| Error::Invalid { url: url.clone(), reason: error.to_string() })?;
                tags.extend(page.tags.unwrap_or_default());
                match next.filter(|next| !next.is_empty()).map(|next| crate::send::join(&url, &next)) {
                    Some(next) if next != url && tags.len() < TAGS_MAX => url = next,
                    _ => return Ok(tags),
                }
            }
        })
        .await
    }

    /// Checks the credentials; gives an identity token where the registry hands one out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn login(&self) -> Result<Option<String>, Error> {
        self.first(Purpose::Push, async |endpoint| {
            let url = format!("{}/", endpoint.base);
            let call = Call::new(Method::GET, url.clone(), "", self.settings().times.stall);
            let (status, found) = self.challenge(endpoint, &call).await?;
            if status.is_success() {
                return Ok(None);
            }
            let challenge = found.iter().find(|challenge| challenge.scheme == "bearer");
            if let Some(challenge) = challenge.filter(|_| status == StatusCode::UNAUTHORIZED) {
                let answer = self.token(endpoint, challenge, "", true).await?;
                return Ok(Some(answer.refresh_token).filter(|token| !token.is_empty()));
            }
            match self.send(endpoint, &call).await {
                Err(Error::Refused { status, .. }) => Err(Error::Login { url, status: status.to_string() }),
                result => result.map(|_| None),
            }
        })
        .await
    }

    /// Asks without credentials and returns what is wanted.
    async fn challenge(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<(StatusCode, Vec<crate::auth::Challenge>), Error> {
        let response = self.ask(endpoint, call).await?;
        let headers = response.headers().get_all(http::header::WWW_AUTHENTICATE);
        let found = headers.iter().filter_map(|value| value.to_str().ok()).flat_map(challenges).collect();
        Ok((response.status(), found))
    }
}

/// A tag is resolved, a digest is only fetched.
fn purpose(name: &ImageRef) -> Purpose {
    if name.digest().is_some() { Purpose::Pull } else { Purpose::Resolve }
}

pub(crate) fn pull_scope(name: &ImageRef) -> String {
    format!("repository:{}:pull", name.path())
}

/// What a push needs; `from` is a further repository that is read.
pub(crate) fn push_scope(name: &ImageRef, from: Option<&str>) -> String {
    let own = format!("repository:{}:pull,push", name.path());
    from.map_or(own.clone(), |from| format!("{own} repository:{from}:pull"))
}

fn manifest_url(endpoint: &Endpoint, name: &ImageRef) -> String {
    let reference = name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), ToString::to_string);
    with_namespace(endpoint, format!("{}/{}/manifests/{reference}", endpoint.base, name.path()))
}

/// Tells a mirror which registry is meant.
pub(crate) fn with_namespace(endpoint: &Endpoint, url: String) -> String {
    match &endpoint.namespace {
        Some(namespace) => format!("{url}?ns={}", escape(namespace)),
        None => url,
    }
}

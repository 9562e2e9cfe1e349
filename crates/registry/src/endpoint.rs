//! One host that serves a registry's content: the registry itself, or a mirror.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::Connector;
use crate::settings::Settings;
use crate::tls::{Tls, TlsSpec};

/// What a host may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Blobs and manifests by digest.
    pub(crate) pull: bool,
    /// Manifests by tag.
    pub(crate) resolve: bool,
    /// Uploads.
    pub(crate) push: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Pull,
    Resolve,
    Push,
}

impl Capabilities {
    pub(crate) const ALL: Self = Self { pull: true, resolve: true, push: true };
    pub(crate) const MIRROR: Self = Self { pull: true, resolve: true, push: false };

    pub(crate) fn allow(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Pull => self.pull,
            Purpose::Resolve => self.resolve,
            Purpose::Push => self.push,
        }
    }
}

/// A host by the settings, not yet spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Scheme, authority and the path before the repository, without a slash at the end: `https://a.example/v2`.
    pub(crate) base: String,
    pub(crate) capabilities: Capabilities,
    pub(crate) tls: TlsSpec,
    /// Sent with each request.
    pub(crate) headers: Vec<(String, String)>,
    /// The registry that a mirror is asked for.
    pub(crate) namespace: Option<String>,
    /// Whether it stands in for the registry.
    pub(crate) mirror: bool,
}

/// A host with its connections.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) base: String,
    /// Scheme, host and port, to tell whether an address leads elsewhere.
    pub(crate) origin: Origin,
    pub(crate) capabilities: Capabilities,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) namespace: Option<String>,
    /// Whether it stands in for the registry: its failures lead to the next host.
    pub(crate) mirror: bool,
    pub(crate) http: Client<Connector, Full<Bytes>>,
    /// Connections to where redirects lead: without the client's certificate.
    pub(crate) foreign: Client<Connector, Full<Bytes>>,
}

/// Scheme, host and port: what credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host: uri.host()?.to_lowercase(), port })
    }
}

impl Endpoint {
    pub(crate) fn open(host: &Host, settings: &Settings) -> Result<Self, String> {
        let uri: Uri = host.base.parse().map_err(|_| format!("`{}` is no address", host.base))?;
        let origin = Origin::of(&uri).ok_or_else(|| format!("`{}` is no http address", host.base))?;
        let proxy = Arc::new(settings.proxy.clone());
        let client = |spec: TlsSpec| {
            let tls = Arc::new(Tls::new(spec));
            let connector = Connector { tls, proxy: Arc::clone(&proxy), timeout: settings.times.connect };
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
        };
        // Others than the host itself are trusted by their certificates only, and do not learn who the client is.
        let foreign = client(TlsSpec { identity: None, skip_verify: false, ..host.tls.clone() });
        let mut headers = Vec::new();
        for (name, value) in &host.headers {
            let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header"))?;
            let value = HeaderValue::from_str(value).map_err(|_| format!("the value of header `{name}` has wrong characters"))?;
            headers.push((name, value));
        }
        if let Ok(Some(hop)) = settings.proxy.hop(origin.secure, &origin.host, origin.port)
            && !origin.secure
            && let Some(value) = hop.authorization.and_then(|value| HeaderValue::from_str(&value).ok())
        {
            headers.push((http::header::PROXY_AUTHORIZATION, value));
        }
        let (base, namespace) = (host.base.clone(), host.namespace.clone());
        let http = client(host.tls.clone());
        Ok(Self { base, origin, capabilities: host.capabilities, headers, namespace, mirror: host.mirror, http, foreign })
    }
}

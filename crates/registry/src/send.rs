//! One request: its credentials, redirects, waiting and refusals.
//!
//! Secrets are bound to scheme, host and port: neither credentials nor headers nor a client's certificate
//! follow a redirect that leads elsewhere.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::auth::{Challenge, TokenAnswer, bearer, challenges, refuse_realm};
use crate::client::Session;
use crate::connect::{ConnectError, plain};
use crate::endpoint::{Endpoint, Origin};
use crate::error::{Error, words};

/// Longest chain of redirects. **Source:** Go, `net/http`, `defaultCheckRedirect`.
const REDIRECTS_MAX: usize = 10;
/// Largest body of a refusal that is read.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;
/// Largest answer of a token server.
const TOKEN_BYTES_MAX: u64 = 1 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) accept: &'a [&'a str],
    pub(crate) body: Bytes,
    /// What a token must allow; several are separated by spaces.
    pub(crate) scope: &'a str,
    /// How long the head of the answer may take.
    pub(crate) wait: Duration,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, url: String, scope: &'a str, wait: Duration) -> Self {
        Self { method, url, headers: Vec::new(), accept: &[], body: Bytes::new(), scope, wait }
    }

    /// Adds a header whose value is known to be sound.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }
}

/// A successful answer and the address that it came from.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) url: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        text(self.response.headers(), name)
    }
}

/// Which connections a request takes, and whether secrets go along.
struct Way<'a> {
    uri: Uri,
    own: bool,
    authorization: Option<HeaderValue>,
    endpoint: &'a Endpoint,
}

impl Session {
    /// Sends a request, answers a challenge once, follows redirects, and turns refusals into errors.
    pub(crate) async fn send(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<Answer, Error> {
        let mut url = call.url.clone();
        let (mut answered, mut redirects) = (false, 0);
        loop {
            let uri: Uri = url.parse().map_err(|_| Error::Invalid { url: url.clone(), reason: "this is no address".to_owned() })?;
            let origin =
                Origin::of(&uri).ok_or_else(|| Error::Redirect { url: url.clone(), reason: "this is no http address".to_owned() })?;
            let own = origin == endpoint.origin;
            let authorization = if own { self.authorization(&origin, call.scope) } else { None };
            let response = self.request(call, Way { uri: uri.clone(), own, authorization, endpoint }).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && own && !answered {
                answered = true;
                let found: Vec<Challenge> = response
                    .headers()
                    .get_all(WWW_AUTHENTICATE)
                    .iter()
                    .filter_map(|value| value.to_str().ok())
                    .flat_map(challenges)
                    .collect();
                if !found.is_empty() {
                    let value = self.authorize(endpoint, &found, call, &url).await?;
                    self.remember(origin, call.scope, value);
                    continue;
                }
            }
            if follows(status, &call.method)
                && let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok())
            {
                redirects += 1;
                let next = join(&url, location);
                if redirects > REDIRECTS_MAX {
                    return Err(Error::Redirect { url: call.url.clone(), reason: format!("stopped after {REDIRECTS_MAX} redirects") });
                }
                if origin.secure && !next.starts_with("https://") {
                    return Err(Error::Redirect { url, reason: format!("refused to follow a redirect from TLS to `{next}`") });
                }
                url = next;
                continue;
            }
            if status.is_success() {
                return Ok(Answer { response, url });
            }
            return Err(self.refusal(call, &url, response).await);
        }
    }

    /// Sends a request without credentials and gives whatever is answered.
    pub(crate) async fn ask(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<Response<Incoming>, Error> {
        let uri: Uri = call.url.parse().map_err(|_| Error::Invalid { url: call.url.clone(), reason: "this is no address".to_owned() })?;
        self.request(call, Way { uri, own: true, authorization: None, endpoint }).await
    }

    async fn request(&self, call: &Call<'_>, way: Way<'_>) -> Result<Response<Incoming>, Error> {
        let Way { uri, own, authorization, endpoint } = way;
        let url = uri.to_string();
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.extend(HeaderValue::from_str(&self.settings().agent).ok().map(|value| (USER_AGENT, value)));
        for kind in call.accept {
            headers.append(ACCEPT, HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("*/*")));
        }
        headers.extend(call.headers.iter().cloned());
        if own {
            headers.extend(endpoint.headers.iter().cloned());
            headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        }
        let http = if own { &endpoint.http } else { &endpoint.foreign };
        match tokio::time::timeout(call.wait, http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(reach(&call.method, url, own.then_some(endpoint), &error)),
            Err(_) => Err(Error::Stalled { url, seconds: call.wait.as_secs() }),
        }
    }

    /// Makes the answer to a challenge.
    async fn authorize(&self, endpoint: &Endpoint, found: &[Challenge], call: &Call<'_>, url: &str) -> Result<HeaderValue, Error> {
        let refused = |reason: &str| Error::Unauthorized { verb: verb(&call.method), url: url.to_owned(), reason: reason.to_owned() };
        let credentials = self.credentials();
        if let Some(challenge) = found.iter().find(|challenge| challenge.scheme == "bearer") {
            if !credentials.registrytoken.is_empty() {
                return bearer(&credentials.registrytoken).ok_or_else(|| refused("the registry token has wrong characters"));
            }
            let answer = self.token(endpoint, challenge, call.scope, false).await?;
            return answer.token().and_then(bearer).ok_or_else(|| refused("authorization server did not include a token in the response"));
        }
        if found.iter().any(|challenge| challenge.scheme == "basic") {
            if !credentials.has_account() {
                return Err(refused("no basic auth credentials"));
            }
            return credentials.basic().ok_or_else(|| refused("the credentials have wrong characters"));
        }
        Err(refused("the registry asks for a kind of authentication that is not known"))
    }

    /// Fetches a token; with `offline` also one to keep.
    pub(crate) async fn token(&self, endpoint: &Endpoint, challenge: &Challenge, scope: &str, offline: bool) -> Result<TokenAnswer, Error> {
        let realm = challenge.get("realm").unwrap_or_default();
        let invalid = |reason: String| Error::Invalid { url: realm.to_owned(), reason };
        let uri: Uri = realm.parse().map_err(|_| invalid("the token server's address makes no sense".to_owned()))?;
        let origin = Origin::of(&uri).ok_or_else(|| invalid("the token server's address makes no sense".to_owned()))?;
        if let Some(reason) = refuse_realm(&endpoint.origin, &origin) {
            return Err(invalid(format!("no token is fetched: {reason}")));
        }
        let credentials = self.credentials();
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        pairs.extend(challenge.get("service").map(|service| ("service", service)));
        pairs.extend(scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
        let wait = self.settings().times.stall;
        let own = origin == endpoint.origin;
        let (call, authorization) = if credentials.identitytoken.is_empty() {
            if credentials.has_account() {
                pairs.push(("account", &credentials.username));
            }
            if offline {
                pairs.extend([("offline_token", "true"), ("client_id", "docker")]);
            }
            let separator = if realm.contains('?') { '&' } else { '?' };
            let url = format!("{realm}{separator}{}", form(&pairs));
            (Call::new(Method::GET, url, "", wait), credentials.basic().filter(|_| credentials.has_account()))
        } else {
            let scopes = scope.to_owned();
            pairs.retain(|(name, _)| *name != "scope");
            pairs.extend([
                ("grant_type", "refresh_token"),
                ("refresh_token", &credentials.identitytoken),
                ("client_id", "docker"),
                ("scope", &scopes),
            ]);
            let mut call = Call::new(Method::POST, realm.to_owned(), "", wait).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            call.body = Bytes::from(form(&pairs));
            (call, None)
        };
        let url = call.url.clone();
        // The account goes to the realm whatever its host: that is what a realm is for. The registry's own headers do not.
        let mut call = call;
        call.headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let uri: Uri = url.parse().map_err(|_| invalid("the token server's address makes no sense".to_owned()))?;
        let response = self.request(&call, Way { uri, own, authorization: None, endpoint }).await?;
        let status = response.status();
        if !status.is_success() {
            let refusal = self.refusal(&call, realm, response).await;
            if status == StatusCode::UNAUTHORIZED && credentials.has_account() {
                let text = refusal.to_string();
                let reason =
                    if text.starts_with("unauthorized") { text } else { "unauthorized: incorrect username or password".to_owned() };
                return Err(Error::Unauthorized { verb: "Get".to_owned(), url: format!("{}/", endpoint.base), reason });
            }
            return Err(refusal);
        }
        let bytes = self.read(response, realm, TOKEN_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the token server's answer is no token: {error}")))
    }

    /// Reads a body to its end.
    pub(crate) async fn read(&self, response: Response<Incoming>, url: &str, max: u64) -> Result<Bytes, Error> {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        let stall = self.settings().times.stall;
        loop {
            let frame = match tokio::time::timeout(stall, body.frame()).await {
                Err(_) => return Err(Error::Stalled { url: url.to_owned(), seconds: stall.as_secs() }),
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(Err(error))) => {
                    let received = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    return Err(Error::Cut { url: url.to_owned(), received, expected: max, reason: cause(&error) });
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data);
            }
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
                return Err(Error::TooLarge { url: url.to_owned(), max });
            }
        }
    }

    /// Says what a refusal means.
    async fn refusal(&self, call: &Call<'_>, url: &str, response: Response<Incoming>) -> Error {
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            errors: Vec<Entry>,
            #[serde(default)]
            details: String,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read(response, url, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let refusal = serde_json::from_slice::<Refusal>(&body).ok();
        let details = refusal.as_ref().map(|refusal| refusal.details.clone()).unwrap_or_default();
        let first = refusal.and_then(|refusal| refusal.errors.into_iter().next()).filter(|entry| !entry.code.is_empty());
        if status == StatusCode::TOO_MANY_REQUESTS {
            let message = first.map(|entry| entry.message).filter(|message| !message.is_empty());
            return rate_limited(url, message.unwrap_or_else(|| "too many requests".to_owned()), &headers);
        }
        let (code, text) = match first {
            Some(entry) if entry.message.is_empty() => (entry.code.clone(), words(&entry.code)),
            Some(entry) => (entry.code.clone(), format!("{}: {}", words(&entry.code), entry.message)),
            None if status == StatusCode::UNAUTHORIZED && !details.is_empty() => {
                ("UNAUTHORIZED".to_owned(), format!("unauthorized: {details}"))
            }
            None => {
                let kind = text(&headers, "content-type");
                let hint = if kind.starts_with("text/html") { ": a web page answers, is this a registry?" } else { "" };
                (String::new(), format!("unexpected status from {} request to {url}: {status}{hint}", call.method))
            }
        };
        Error::Refused { url: url.to_owned(), status, code, text }
    }
}

/// Whether a redirect keeps the request what it is.
fn follows(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        307 | 308 => true,
        301..=303 => *method == Method::GET || *method == Method::HEAD,
        _ => false,
    }
}

/// An address seen from another.
pub(crate) fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    let path = rest.find('/').unwrap_or(rest.len());
    if let Some(other) = location.strip_prefix("//") {
        return format!("{scheme}://{other}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{}{location}", &rest[..path]);
    }
    let folder = rest.split(['?', '#']).next().unwrap_or(rest);
    let folder = folder.rfind('/').map_or(folder, |slash| &folder[..slash]);
    format!("{scheme}://{folder}/{location}")
}

/// A method as Go's client names it.
pub(crate) fn verb(method: &Method) -> String {
    let text = method.as_str().to_lowercase();
    text[..1].to_uppercase() + &text[1..]
}

/// Turns a failure without an answer into an error. One without a connection is told as Docker tells it, which asks for `/v2/` first.
fn reach(method: &Method, url: String, endpoint: Option<&Endpoint>, error: &hyper_util::client::legacy::Error) -> Error {
    let mut source = error.source();
    while let Some(found) = source {
        if let Some(connect) = found.downcast_ref::<ConnectError>() {
            let passing = matches!(connect, ConnectError::Timeout { .. });
            let (verb, url) = endpoint.map_or((verb(method), url), |endpoint| ("Get".to_owned(), format!("{}/", endpoint.base)));
            return Error::Reach { verb, url, reason: connect.to_string(), passing };
        }
        source = found.source();
    }
    Error::Reach { verb: verb(method), url, reason: cause(error), passing: true }
}

/// The innermost cause in one line.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        Some(error) => plain(error),
        None => innermost.to_string(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the headers say of limits, in plain words.
///
/// **Source:** Docker Hub, "Usage and limits": `ratelimit-limit: 100;w=21600`.
fn rate_limited(url: &str, message: String, headers: &HeaderMap) -> Error {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::authority).map_or_else(|| url.to_owned(), ToString::to_string);
    let number = |name: &str| text(headers, name).split(';').next().and_then(|number| number.trim().parse::<u64>().ok());
    let window = text(headers, "ratelimit-limit").split("w=").nth(1).and_then(|seconds| seconds.trim().parse::<u64>().ok());
    let retry_after = text(headers, RETRY_AFTER.as_str()).parse::<u64>().ok();
    let mut parts = Vec::new();
    if let Some(limit) = number("ratelimit-limit") {
        parts.push(format!("{host} allows {limit} requests{}", window.map_or(String::new(), |window| format!(" in {}", duration(window)))));
    }
    parts.extend(number("ratelimit-remaining").map(|left| format!("{left} are left")));
    parts.extend(retry_after.map(|seconds| format!("try again in {}", duration(seconds))));
    let limits = if parts.is_empty() { format!(" ({host})") } else { format!(" ({})", parts.join(", ")) };
    Error::RateLimited { host, message, limits, retry_after }
}

fn duration(seconds: u64) -> String {
    let plural = |count: u64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..120 => plural(seconds, "second"),
        120..7200 => plural(seconds.div_ceil(60), "minute"),
        _ => plural(seconds.div_ceil(3600), "hour"),
    }
}

/// Pairs as a form or a query.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&")
}

/// Escapes what a query may not hold.
pub(crate) fn escape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            result.push(char::from(byte));
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_the_request() {
        let base = "http://a.example:5000/v2/x/blobs/uploads/?a=b/c";
        assert_eq!(join(base, "https://b.example/c"), "https://b.example/c");
        assert_eq!(join(base, "/v2/y?z=1"), "http://a.example:5000/v2/y?z=1");
        assert_eq!(join(base, "1234"), "http://a.example:5000/v2/x/blobs/uploads/1234");
        assert_eq!(join(base, "//b.example/c"), "http://b.example/c");
    }

    #[test]
    fn limits_are_told_in_plain_words() {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", HeaderValue::from_static("100;w=21600"));
        headers.insert("ratelimit-remaining", HeaderValue::from_static("0;w=21600"));
        headers.insert("retry-after", HeaderValue::from_static("90"));
        let error = rate_limited("https://r.example/v2/", "You have reached your limit".to_owned(), &headers);
        assert_eq!(
            error.to_string(),
            "toomanyrequests: You have reached your limit (r.example allows 100 requests in 6 hours, 0 are left, try again in 90 seconds)"
        );
    }
}

//! Files at addresses that are no registry's: what `ADD` and contexts of builds fetch.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_DISPOSITION, LAST_MODIFIED, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::Connector;
use crate::send::join;
use crate::tls::{Tls, TlsSpec};
use crate::{Client, Error};

/// Redirects that are followed. **Source:** Go, `net/http`, `Client.CheckRedirect`.
const REDIRECTS_MAX: usize = 10;

/// A file that comes.
#[derive(Debug)]
pub struct Download {
    url: String,
    body: Incoming,
    stall: std::time::Duration,
    /// The name that the server gives it, or the last part of the address; empty where there is none.
    pub name: String,
    /// When it was changed, in Unix seconds.
    pub modified: Option<i64>,
}

impl Client {
    /// Begins to fetch what is at an address, without any credentials; redirects are followed.
    ///
    /// # Errors
    /// There is no connection, or the answer is no success.
    pub async fn get(&self, url: &str) -> Result<Download, Error> {
        let failed = |url: &str, reason: String| Error::Reach { verb: "Get".to_owned(), url: url.to_owned(), reason, passing: false };
        let settings = self.settings();
        let tls = Arc::new(Tls::new(TlsSpec::default()));
        let connector = Connector { tls, proxy: Arc::new(settings.proxy.clone()), timeout: settings.times.connect };
        let http: Http<Connector, Full<Bytes>> = Http::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let mut at = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let uri: Uri = at.split('#').next().unwrap_or_default().parse().map_err(|_| failed(&at, "this is no address".to_owned()))?;
            let request = Request::get(uri).header(USER_AGENT, &settings.agent).header(ACCEPT_ENCODING, "identity");
            let request = request.body(Full::default()).map_err(|error| failed(&at, error.to_string()))?;
            let answer = tokio::time::timeout(settings.times.give_up, http.request(request)).await;
            let answer = answer.map_err(|_| Error::Stalled { url: at.clone(), seconds: settings.times.give_up.as_secs() })?;
            let answer = answer.map_err(|error| failed(&at, crate::send::cause(&error)))?;
            if answer.status().is_redirection()
                && let Some(next) = header(&answer, &LOCATION)
            {
                at = join(&at, next);
                continue;
            }
            if answer.status() != StatusCode::OK {
                return Err(failed(&at, format!("invalid response status {}", answer.status().as_u16())));
            }
            let modified = header(&answer, &LAST_MODIFIED).and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
            let named = header(&answer, &CONTENT_DISPOSITION).and_then(file_name);
            let last = |at: &str| at.split(['?', '#']).next()?.split_once("://")?.1.split('/').skip(1).last().map(str::to_owned);
            return Ok(Download {
                name: named.or_else(|| last(url)).unwrap_or_default(),
                url: at,
                body: answer.into_body(),
                stall: settings.times.give_up,
                modified: modified.map(|time| time.timestamp().as_second()),
            });
        }
        Err(failed(url, format!("stopped after {REDIRECTS_MAX} redirects")))
    }
}

impl Download {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// The connection was cut, or nothing came for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = tokio::time::timeout(self.stall, self.body.frame()).await;
            let frame = frame.map_err(|_| Error::Stalled { url: self.url.clone(), seconds: self.stall.as_secs() })?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    let reason = crate::send::cause(&error);
                    return Err(Error::Reach { verb: "Get".to_owned(), url: self.url.clone(), reason, passing: true });
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

fn header<'a>(answer: &'a Response<Incoming>, name: &http::HeaderName) -> Option<&'a str> {
    answer.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The name in `attachment; filename="x"`; never one with a folder.
fn file_name(text: &str) -> Option<String> {
    let value = text.split(';').find_map(|part| part.trim().strip_prefix("filename="))?.trim_matches('"');
    value.rsplit('/').next().filter(|name| !name.is_empty() && *name != "." && *name != "..").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_have_no_folders() {
        assert_eq!(super::file_name("attachment; filename=\"../../x.tar\"").as_deref(), Some("x.tar"));
        assert_eq!(super::file_name("attachment; filename=a").as_deref(), Some("a"));
        assert_eq!(super::file_name("inline"), None);
    }
}

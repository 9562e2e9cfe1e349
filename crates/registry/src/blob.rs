//! A blob as it comes: begun again where it stopped, on the next host if need be.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::RANGE;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use oci::ImageRef;
use oci::image::Descriptor;

use crate::client::{Session, pull_scope, with_namespace};
use crate::endpoint::{Endpoint, Purpose};
use crate::error::Error;
use crate::send::{Call, cause};

/// The bytes of a blob from some offset on. Their digest is for the reader to check.
#[derive(Debug)]
pub struct Blob {
    session: Session,
    name: ImageRef,
    blob: Descriptor,
    endpoints: Vec<Arc<Endpoint>>,
    /// Which of the hosts is asked.
    at: usize,
    offset: u64,
    body: Option<Incoming>,
    /// Bytes to pass over: the host did not begin where it was asked to.
    skip: u64,
    /// Attempts on this host since the last byte.
    attempts: u32,
    /// When the last byte came from this host, or it was turned to.
    progress: Instant,
}

impl Session {
    /// Reads a blob from `offset` on; nothing is sent before the first [`Blob::next`].
    #[must_use]
    pub fn blob(&self, name: &ImageRef, blob: &Descriptor, offset: u64) -> Blob {
        Blob {
            session: self.clone(),
            name: name.clone(),
            blob: blob.clone(),
            endpoints: self.endpoints(Purpose::Pull),
            at: 0,
            offset,
            body: None,
            skip: 0,
            attempts: 0,
            progress: Instant::now(),
        }
    }
}

impl Blob {
    /// The address that is read from.
    #[must_use]
    pub fn url(&self) -> String {
        match self.endpoints.get(self.at.min(self.endpoints.len().saturating_sub(1))) {
            Some(endpoint) => format!("{}/{}/blobs/{}", endpoint.base, self.name.path(), self.blob.digest),
            None => format!("{}@{}", self.name.repository(), self.blob.digest),
        }
    }

    /// Gives the next bytes; `None` when all have come.
    ///
    /// # Errors
    /// [`Error`], after every host was tried as long as the settings say.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let result = match self.body.take() {
                None if self.offset == self.blob.size => return Ok(None),
                None => self.open().await,
                Some(body) => match self.piece(body).await {
                    Ok(Some(piece)) => return Ok(Some(piece)),
                    Ok(None) if self.offset == self.blob.size && self.body.is_none() => return Ok(None),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                self.body = None;
                self.recover(error).await?;
            }
        }
    }

    async fn piece(&mut self, mut body: Incoming) -> Result<Option<Bytes>, Error> {
        let stall = self.session.settings().times.stall;
        let frame = match tokio::time::timeout(stall, body.frame()).await {
            Err(_) => return Err(Error::Stalled { url: self.url(), seconds: stall.as_secs() }),
            Ok(None) if self.offset == self.blob.size => return Ok(None),
            Ok(None) => return Err(self.cut("unexpected EOF".to_owned())),
            Ok(Some(Err(error))) => return Err(self.cut(cause(&error))),
            Ok(Some(Ok(frame))) => frame,
        };
        self.body = Some(body);
        let Ok(mut data) = frame.into_data() else {
            return Ok(None);
        };
        let length = |data: &Bytes| u64::try_from(data.len()).unwrap_or(u64::MAX);
        if self.skip > 0 {
            let passed = self.skip.min(length(&data));
            let _ = data.split_to(usize::try_from(passed).unwrap_or(usize::MAX));
            self.skip -= passed;
        }
        self.progress = Instant::now();
        if data.is_empty() {
            return Ok(None);
        }
        self.attempts = 0;
        if length(&data) > self.blob.size - self.offset {
            return Err(self.size("more".to_owned()));
        }
        self.offset += length(&data);
        Ok(Some(data))
    }

    /// Asks for what is missing.
    async fn open(&mut self) -> Result<(), Error> {
        let Some(endpoint) = self.endpoints.get(self.at).cloned() else {
            return Err(Error::Settings { file: self.name.domain().to_owned(), reason: "no host may be asked for this".to_owned() });
        };
        let scope = pull_scope(&self.name);
        let url = with_namespace(&endpoint, self.url());
        let mut call = Call::new(Method::GET, url, &scope, self.session.settings().times.stall);
        if self.offset > 0 {
            call = call.header(RANGE, &format!("bytes={}-", self.offset));
        }
        let answer = self.session.send(&endpoint, &call).await?;
        let declared = answer.header("content-length").parse::<u64>().ok();
        let begin = match answer.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header("content-range").trim_start_matches("bytes ");
                range.split('-').next().and_then(|begin| begin.parse::<u64>().ok()).unwrap_or(self.offset)
            }
            _ => 0,
        };
        if begin > self.offset {
            let reason = format!("bytes from {} were asked for, but the answer begins at {begin}", self.offset);
            return Err(Error::Invalid { url: self.url(), reason });
        }
        if let Some(declared) = declared
            && begin.saturating_add(declared) != self.blob.size
        {
            let kind = answer.header("content-type").to_owned();
            if kind.starts_with("text/html") {
                return Err(Error::Kind { url: self.url(), kind, wanted: "a blob" });
            }
            return Err(self.size(begin.saturating_add(declared).to_string()));
        }
        self.skip = self.offset - begin;
        self.body = Some(answer.response.into_body());
        Ok(())
    }

    /// Waits and lets the same host be asked again, or turns to the next, or gives up with `error`.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        let times = self.session.settings().times;
        self.attempts += 1;
        let patient = self.attempts < times.attempts && self.progress.elapsed() < times.give_up;
        if error.is_passing() && patient {
            // What stalled has waited long enough.
            if !matches!(error, Error::Stalled { .. }) {
                tokio::time::sleep(times.pause(self.attempts)).await;
            }
            return Ok(());
        }
        if self.at + 1 < self.endpoints.len() {
            self.at += 1;
            self.attempts = 0;
            self.progress = Instant::now();
            return Ok(());
        }
        Err(error)
    }

    fn cut(&self, reason: String) -> Error {
        Error::Cut { url: self.url(), received: self.offset, expected: self.blob.size, reason }
    }

    fn size(&self, actual: String) -> Error {
        Error::Size { url: self.url(), digest: self.blob.digest, expected: self.blob.size, actual }
    }
}

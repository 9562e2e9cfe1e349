//! Uploads: a blob that is there already, in another repository, or comes in pieces.
//!
//! **Source:** OCI distribution specification, "Pushing blobs".

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{Method, StatusCode};
use oci::{Digest, ImageRef};

use crate::client::{Session, push_scope};
use crate::endpoint::{Endpoint, Purpose};
use crate::error::Error;
use crate::send::{Call, escape, join};

/// A blob that is being stored.
#[derive(Debug)]
pub struct Upload {
    session: Session,
    scope: String,
    endpoint: Arc<Endpoint>,
    /// Where the next piece goes.
    location: String,
    /// Bytes that the registry has.
    offset: u64,
}

/// What became of a mount.
#[derive(Debug)]
pub enum Mounted {
    /// The blob is in the repository now.
    Yes,
    /// It must be uploaded.
    No(Upload),
}

impl Session {
    /// Tells whether a repository has a blob, and how large it is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn has_blob(&self, name: &ImageRef, digest: &Digest) -> Result<Option<u64>, Error> {
        let scope = push_scope(name, None);
        self.first(Purpose::Push, async |endpoint| {
            let url = format!("{}/{}/blobs/{digest}", endpoint.base, name.path());
            let call = Call::new(Method::HEAD, url, &scope, self.settings().times.stall);
            match self.send(endpoint, &call).await {
                Ok(answer) => Ok(Some(answer.header("content-length").parse().unwrap_or(0))),
                Err(Error::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Begins an upload; `mount` names a blob and another repository of the registry that has it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn upload(&self, name: &ImageRef, mount: Option<(&Digest, &str)>) -> Result<Mounted, Error> {
        let scope = push_scope(name, mount.map(|(_, from)| from));
        self.first(Purpose::Push, async |endpoint| {
            let mut url = format!("{}/{}/blobs/uploads/", endpoint.base, name.path());
            if let Some((digest, from)) = mount {
                url = format!("{url}?mount={}&from={}", escape(&digest.to_string()), escape(from));
            }
            let answer = self.send(endpoint, &Call::new(Method::POST, url, &scope, self.settings().times.give_up)).await?;
            if answer.response.status() == StatusCode::CREATED {
                return Ok(Mounted::Yes);
            }
            let location = join(&answer.url, answer.header("location"));
            if answer.header("location").is_empty() {
                return Err(Error::Invalid { url: answer.url, reason: "the registry does not say where to upload to".to_owned() });
            }
            Ok(Mounted::No(Upload { session: self.clone(), scope: scope.clone(), endpoint: Arc::clone(endpoint), location, offset: 0 }))
        })
        .await
    }
}

impl Upload {
    /// Sends a piece; what the registry got of it before a failure is not sent again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn append(&mut self, piece: Bytes) -> Result<(), Error> {
        let end = self.offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let begin = self.offset;
        let times = self.session.settings().times;
        let mut attempt = 0;
        while self.offset < end {
            let sent = usize::try_from(self.offset - begin).unwrap_or(usize::MAX);
            match self.patch(piece.slice(sent.min(piece.len())..), end).await {
                Ok(()) => {}
                Err(error) if error.is_passing() && attempt + 1 < times.attempts => {
                    attempt += 1;
                    tokio::time::sleep(times.pause(attempt)).await;
                    self.ask_offset(begin, end).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn patch(&mut self, piece: Bytes, end: u64) -> Result<(), Error> {
        let wait = self.session.settings().times.give_up;
        let call = Call::new(Method::PATCH, self.location.clone(), &self.scope, wait)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, &format!("{}-{}", self.offset, end.saturating_sub(1)));
        let answer = self.session.send(&self.endpoint, &Call { body: piece, ..call }).await?;
        if !answer.header("location").is_empty() {
            self.location = join(&answer.url, answer.header("location"));
        }
        self.offset = end;
        Ok(())
    }

    /// Asks how much has arrived.
    async fn ask_offset(&mut self, begin: u64, end: u64) -> Result<(), Error> {
        let wait = self.session.settings().times.stall;
        let call = Call::new(Method::GET, self.location.clone(), &self.scope, wait);
        let answer = self.session.retrying(async || self.session.send(&self.endpoint, &call).await).await?;
        let range = answer.header("range").trim_start_matches("bytes=");
        let last = range.split('-').nth(1).and_then(|last| last.parse::<u64>().ok());
        let offset = last.map_or(0, |last| if last == 0 { 0 } else { last + 1 });
        if !(begin..=end).contains(&offset) {
            let reason = format!("the registry has {offset} bytes of the upload, {begin} to {end} were expected");
            return Err(Error::Invalid { url: answer.url, reason });
        }
        if !answer.header("location").is_empty() {
            self.location = join(&answer.url, answer.header("location"));
        }
        self.offset = offset;
        Ok(())
    }

    /// Sends the rest and says which digest all of it has.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn finish(self, digest: &Digest, rest: Bytes) -> Result<(), Error> {
        let separator = if self.location.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}digest={}", self.location, escape(&digest.to_string()));
        let wait = self.session.settings().times.give_up;
        let call = Call::new(Method::PUT, url, &self.scope, wait).header(CONTENT_TYPE, "application/octet-stream");
        self.session.send(&self.endpoint, &Call { body: rest, ..call }).await?;
        Ok(())
    }
}

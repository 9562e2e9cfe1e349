//! Registries as the API shows them: logins, searches, pulls and pushes.
//!
//! The joint between `registry`, which speaks HTTP, and `image`, which has the disk: jobs that block read blobs through the
//! runtime that carries the requests.

mod manifests;
mod pull;
mod push;

use crate::app::App;
use crate::error;
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, images};
use http::{HeaderName, StatusCode};
use oci::ImageRef;
use registry::{Credentials, Kind};
use serde_json::json;
use tokio::runtime::Handle;

/// Docker's header with credentials.
const AUTH_HEADER: HeaderName = HeaderName::from_static("x-registry-auth");
/// Most results of a search. **Source:** moby, `daemon/pkg/registry/search.go`.
const SEARCH_MAX: u32 = 100;
/// Results of a search without a number.
const SEARCH_USUAL: u32 = 25;

/// The credentials that came with a request; what cannot be read counts as none, as Docker has it.
fn credentials(call: &Call) -> Credentials {
    Credentials::from_header(call.header(AUTH_HEADER)).unwrap_or_default()
}

/// The registry in a server's address: `https://index.docker.io/v1/` is `docker.io`.
fn domain(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "" | "index.docker.io" | "registry-1.docker.io" | "docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

/// Says in Docker's words why something of a registry is not to be had.
///
/// **Source:** moby, `daemon/internal/distribution/errors.go`, `translatePullError`.
pub(crate) fn failure(error: &registry::Error, name: &ImageRef) -> ApiError {
    let cause = error.to_string();
    let text = match (error.kind(), error.code()) {
        (Kind::Denied, _) => {
            let repository = name.familiar_repository();
            format!("pull access denied for {repository}, repository does not exist or may require 'docker login': {cause}")
        }
        (Kind::NotFound, "NAME_UNKNOWN") => format!("repository {} not found: {cause}", name.familiar_repository()),
        (Kind::NotFound, _) => format!("manifest for {} not found: {cause}", name.familiar()),
        (Kind::Invalid, _) => format!("cannot use {}: {cause}", name.familiar()),
        _ => cause,
    };
    ApiError::new(status(error), text)
}

fn status(error: &registry::Error) -> StatusCode {
    match error.kind() {
        Kind::NotFound | Kind::Denied => StatusCode::NOT_FOUND,
        Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unauthorized | Kind::Unreachable | Kind::Invalid | Kind::Settings => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl App {
    pub(crate) async fn login(&self, mut call: Call) -> Result<Reply, ApiError> {
        let credentials: Credentials = call.json_with(|text| serde_json::from_slice(text)).await?.unwrap_or_default();
        let session = self.registries.session(&domain(&credentials.serveraddress), credentials);
        let session = session.map_err(|cause| ApiError::internal(cause.to_string()))?;
        let handle = Handle::current();
        let answered = blocking(move || handle.block_on(session.login())).await?;
        let token = answered.map_err(|cause| {
            let status = if cause.kind() == Kind::Unauthorized { StatusCode::UNAUTHORIZED } else { StatusCode::INTERNAL_SERVER_ERROR };
            ApiError::new(status, cause.to_string())
        })?;
        let answer = json!({"IdentityToken": token.unwrap_or_default(), "Status": "Login Succeeded"});
        Ok(reply::json(StatusCode::OK, &answer))
    }

    pub(crate) async fn image_search(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["is-automated", "is-official", "stars"])?;
        let limit: u32 = call.query.number("limit")?.filter(|limit| *limit > 0).unwrap_or(SEARCH_USUAL);
        if limit > SEARCH_MAX {
            return Err(ApiError::invalid(format!("limit {limit} is outside the range of [1, {SEARCH_MAX}]")));
        }
        let (official, automated) = (filters.flag("is-official")?, filters.flag("is-automated")?);
        let mut stars = 0;
        for text in filters.get("stars") {
            let number = text.parse::<i64>().map_err(|_| ApiError::invalid(format!("invalid filter 'stars={text}'")))?;
            stars = stars.max(number);
        }
        let term = call.query.text("term").to_owned();
        let (server, term) = match term.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (domain(first), rest.to_owned()),
            _ => ("docker.io".to_owned(), term.strip_prefix("library/").unwrap_or(&term).to_owned()),
        };
        if term.is_empty() {
            return Err(ApiError::invalid("Search term is empty"));
        }
        let (client, credentials, handle) = (self.registries.clone(), credentials(call), Handle::current());
        let found = blocking(move || handle.block_on(client.search(&server, &term, limit, credentials))).await?;
        let mut found = found.map_err(|cause| ApiError::new(status(&cause), cause.to_string()))?;
        found.retain(|hit| {
            official.is_none_or(|wanted| hit.is_official == wanted)
                && automated.is_none_or(|wanted| hit.is_automated == wanted)
                && hit.star_count >= stars
        });
        Ok(reply::json(StatusCode::OK, &found))
    }
}

/// An error of `image` in one line.
fn pull_failure(cause: &image::PullError) -> ApiError {
    ApiError::internal(error::chain(cause))
}

/// Reads a name that must be whole.
fn name(text: &str, tag: &str) -> Result<ImageRef, ApiError> {
    images::reference(text, tag)
}

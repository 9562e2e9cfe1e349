//! Searching: Docker's first API, which the hub and a few registries still answer.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::auth::Credentials;
use crate::client::Client;
use crate::endpoint::Purpose;
use crate::error::Error;
use crate::send::{Call, form};

/// Largest answer.
const SEARCH_BYTES_MAX: u64 = 8 << 20;
/// Where the hub is searched.
const HUB_INDEX: &str = "index.docker.io";

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hit {
    /// Stars of the hub.
    pub star_count: i64,
    /// Whether it is one of the hub's own.
    pub is_official: bool,
    /// Its name.
    pub name: String,
    /// Always false since builds by the hub ended.
    pub is_automated: bool,
    /// What it is, in its author's words.
    pub description: String,
}

impl Client {
    /// Searches the registry `domain`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn search(&self, domain: &str, term: &str, limit: u32, credentials: Credentials) -> Result<Vec<Hit>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            results: Vec<Hit>,
        }
        let domain = if domain == "docker.io" { HUB_INDEX } else { domain };
        let session = self.session(domain, credentials)?;
        let limit = limit.to_string();
        session
            .first(Purpose::Resolve, async |endpoint| {
                let base = endpoint.base.trim_end_matches("/v2");
                let url = format!("{base}/v1/search?{}", form(&[("q", term), ("n", &limit)]));
                let answer = session.send(endpoint, &Call::new(Method::GET, url.clone(), "", self.settings().times.stall)).await?;
                let kind = answer.header("content-type").to_owned();
                let bytes = session.read(answer.response, &url, SEARCH_BYTES_MAX).await?;
                let found: Answer =
                    serde_json::from_slice(&bytes).map_err(|_| Error::Kind { url, kind, wanted: "a list of repositories" })?;
                Ok(found.results)
            })
            .await
    }
}

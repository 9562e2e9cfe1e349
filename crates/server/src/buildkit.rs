//! `POST /grpc`, `POST /session` and HTTP/2 at once: builds for clients of BuildKit.
//!
//! **Source:** moby, `api/server/router/grpc` and `api/server/router/session`; moby/buildkit, `client`.

mod export;
mod options;
mod progress;
mod solve;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use buildkit::proto::types::WorkerRecord;
use buildkit::proto::{Exporter, UsageRecord};
use buildkit::{Answer, Ask, Build, Engine, Solved, Status};
use http::{HeaderName, StatusCode};
use oci::Platform;
use tokio::net::UnixStream;

use crate::ApiError;
use crate::app::App;
use crate::connection::{Hijack, Outcome, Takeover};
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;

const SESSION_HEADER: HeaderName = HeaderName::from_static("x-docker-expose-session-uuid");
const METHOD_HEADER: HeaderName = HeaderName::from_static("x-docker-expose-session-grpc-method");

/// The engine as BuildKit's wire sees it.
struct Bridge {
    app: App,
}

/// Unix time in seconds.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

fn platform(platform: &Platform) -> buildkit::pb::Platform {
    buildkit::pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        ..buildkit::pb::Platform::default()
    }
}

impl Engine for Bridge {
    fn worker(&self) -> WorkerRecord {
        let bridge = self.app.networks.inspect("bridge").ok().and_then(|network| network.bridge);
        let gateway = bridge.map(|bridge| bridge.gateway.to_string()).unwrap_or_default();
        let labels = [
            ("org.mobyproject.buildkit.worker.executor", "teu".to_owned()),
            ("org.mobyproject.buildkit.worker.hostname", self.app.host.name.clone()),
            ("org.mobyproject.buildkit.worker.network", "host".to_owned()),
            // Clients that find this one know that images can leave as archives and be pushed from here.
            ("org.mobyproject.buildkit.worker.snapshotter", self.app.images.backend().to_string()),
            // What `--add-host NAME:host-gateway` stands for.
            ("org.mobyproject.buildkit.worker.moby.host-gateway-ip", gateway),
        ];
        WorkerRecord {
            id: "teu".to_owned(),
            labels: labels.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect(),
            platforms: vec![platform(&Platform::host())],
            ..WorkerRecord::default()
        }
    }

    fn solve(&self, build: Arc<Build>, ask: Ask) -> Answer<Solved> {
        Box::pin(solve::solve(self.app.clone(), build, ask))
    }

    fn export(&self, build: Arc<Build>, result: Solved, exporters: Vec<Exporter>) -> Answer<HashMap<String, String>> {
        Box::pin(export::export(self.app.clone(), build, result, exporters))
    }

    fn usage(&self) -> Answer<Vec<UsageRecord>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn prune(&self, all: bool, unused: i64) -> Answer<Vec<UsageRecord>> {
        let builder = Arc::clone(&self.app.builder);
        Box::pin(async move {
            let age = u64::try_from(unused / 1_000_000_000).unwrap_or_default();
            let before = (age > 0).then(|| now().saturating_sub(age));
            let pruned = blocking(move || builder.prune(before, all)).await.map_err(|cause| Status::internal(cause.message))?;
            let pruned = pruned.map_err(|cause| Status::internal(format!("cannot delete a cache mount: {cause}")))?;
            let size = i64::try_from(pruned.reclaimed).unwrap_or(i64::MAX);
            let mut records: Vec<_> = pruned.entries.into_iter().map(|id| UsageRecord { id, ..UsageRecord::default() }).collect();
            if size > 0 {
                records.push(UsageRecord { id: "mounts".to_owned(), size, mutable: true, ..UsageRecord::default() });
            }
            Ok(records)
        })
    }
}

impl App {
    /// Serves the calls of a client of BuildKit.
    pub(crate) async fn serve_builds(&self, io: UnixStream) {
        self.doors.serve(io, Arc::new(Bridge { app: self.clone() })).await;
    }

    pub(crate) fn grpc(&self, call: &Call) -> Result<Outcome, ApiError> {
        let app = self.clone();
        upgrade(
            call,
            Box::new(move |client| {
                Box::pin(async move {
                    if let Some(io) = joined(client) {
                        app.serve_builds(io).await;
                    }
                })
            }),
        )
    }

    pub(crate) fn session(&self, call: &Call) -> Result<Outcome, ApiError> {
        let id = call.header(SESSION_HEADER).to_owned();
        if id.is_empty() {
            return Err(ApiError::invalid("the request has no X-Docker-Expose-Session-Uuid"));
        }
        let methods = call.header_all(METHOD_HEADER);
        let sessions = Arc::clone(self.doors.sessions());
        upgrade(
            call,
            Box::new(move |client| {
                Box::pin(async move {
                    if let Some(io) = joined(client) {
                        // One that is refused finds its connection ended.
                        let _ = sessions.hold(io, &id, methods.into_iter()).await;
                    }
                })
            }),
        )
    }

    /// Builds end with their connection; there is nothing left to end.
    pub(crate) fn build_cancel(&self, _: &Call) -> Reply {
        reply::empty(StatusCode::OK)
    }
}

fn upgrade(call: &Call, takeover: Takeover) -> Result<Outcome, ApiError> {
    if !call.wants_upgrade() || !call.header(http::header::UPGRADE).eq_ignore_ascii_case("h2c") {
        return Err(ApiError::invalid("this route needs `Connection: Upgrade` and `Upgrade: h2c`"));
    }
    Ok(Outcome::Hijack(Hijack { content_type: "", container: None, websocket: None, upgrade: Some("h2c"), hold: false, takeover }))
}

/// A client's socket for this runtime.
fn joined(client: OwnedFd) -> Option<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(client);
    socket.set_nonblocking(true).ok()?;
    UnixStream::from_std(socket).ok()
}

/// Options whose name begins with `prefix`, without it.
fn prefixed(options: &HashMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    options.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
}

//! The services: `Control`, `LLBBridge` and `Health`.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::health::{HealthCheckRequest, HealthCheckResponse};
use bollard_buildkit_proto::moby::buildkit::v1::apicaps::ApiCap;
use bollard_buildkit_proto::moby::buildkit::v1::types::BuildkitVersion;
use bollard_buildkit_proto::moby::buildkit::v1::{self as proto, StatusResponse, frontend};
use bollard_buildkit_proto::pb;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

use crate::build::{Build, Builds};
use crate::engine::{Ask, Engine, Solved, image_of, private_image};
use crate::fault::returned;
use crate::rpc::{self, Later, Messages};
use crate::session::{CHUNK, Sessions};

/// The header of calls about a build with its name.
const BUILD_HEADER: &str = "buildkit-controlapi-buildid";

/// What a front end can ask for here. **Source:** moby/buildkit, `frontend/gateway/pb/caps.go`.
const FRONTEND_ABILITIES: [&str; 12] = [
    "solve.base",
    "solve.inlinereturn",
    "return",
    "returnmap",
    "proto.refarray",
    "importcaches",
    "reference.output",
    "frontend.inputs",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.evaluate",
];

/// What clients look for before they ask for it. **Source:** moby/buildkit, `solver/pb/caps.go`.
const BUILD_ABILITIES: [&str; 23] = [
    "source.image",
    "source.image.resolvemode",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.http",
    "exec.meta.base",
    "exec.meta.network",
    "exec.meta.proxyenv",
    "exec.mount.bind",
    "exec.mount.cache",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.mount.tmpfs",
    "file.base",
    "constraints",
    "platform",
    "exporter.multiple",
];

/// All doors that a client of BuildKit comes through, and what their calls have in common.
#[derive(Clone, Debug)]
pub struct Doors(Arc<State>);

/// The calls of one connection.
#[derive(Clone)]
struct Calls {
    engine: Arc<dyn Engine>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    sessions: Arc<Sessions>,
    builds: Builds,
    version: String,
}

fn abilities(ids: &[&str]) -> Vec<ApiCap> {
    ids.iter().map(|id| ApiCap { id: (*id).to_owned(), enabled: true, ..ApiCap::default() }).collect()
}

impl Doors {
    /// Opens the doors to an engine that calls itself `version`.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self(Arc::new(State { sessions: Arc::default(), builds: Builds::default(), version: version.to_owned() }))
    }

    /// The sessions of all clients.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    /// Serves the calls of one connection until the client ends it; `engine` does the work.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: S, engine: Arc<dyn Engine>) {
        let calls = Calls { engine, state: Arc::clone(&self.0) };
        rpc::serve(io, move |request| calls.call(request)).await;
    }
}

impl Calls {
    fn call(&self, request: http::Request<Incoming>) -> Later {
        let path = request.uri().path().to_owned();
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else { return unknown(&path) };
        match service {
            "moby.buildkit.v1.Control" => self.control(method, request),
            "moby.buildkit.v1.frontend.LLBBridge" => self.bridge(method, request),
            "grpc.health.v1.Health" if method == "Check" => {
                rpc::unary(request, |_: Request<HealthCheckRequest>| async { Ok(HealthCheckResponse { status: 1 }) })
            }
            _ => unknown(&path),
        }
    }

    fn control(&self, method: &str, request: http::Request<Incoming>) -> Later {
        let calls = self.clone();
        match method {
            "ListWorkers" => {
                let record = calls.worker();
                let answer = move |_: Request<proto::ListWorkersRequest>| {
                    std::future::ready(Ok(proto::ListWorkersResponse { record: vec![record.clone()] }))
                };
                rpc::unary(request, answer)
            }
            "Info" => {
                let version = calls.version();
                let answer = move |_: Request<proto::InfoRequest>| {
                    std::future::ready(Ok(proto::InfoResponse { buildkit_version: Some(version.clone()) }))
                };
                rpc::unary(request, answer)
            }
            "Solve" => rpc::unary(request, move |ask: Request<proto::SolveRequest>| calls.clone().solve(ask.into_inner())),
            "Status" => rpc::many(request, move |ask: Request<proto::StatusRequest>| calls.clone().status(ask.into_inner())),
            "Session" => rpc::both(request, move |ask| calls.clone().session(ask)),
            "DiskUsage" => {
                let answer = move |_: Request<proto::DiskUsageRequest>| {
                    let usage = calls.engine.usage();
                    async move { Ok(proto::DiskUsageResponse { record: usage.await? }) }
                };
                rpc::unary(request, answer)
            }
            "Prune" => {
                let answer = move |ask: Request<proto::PruneRequest>| {
                    let ask = ask.into_inner();
                    let pruned = calls.engine.prune(ask.all, ask.keep_duration);
                    async move {
                        let records = pruned.await?.into_iter().map(Ok);
                        Ok(Box::pin(futures_util::stream::iter(records)) as Messages<proto::UsageRecord>)
                    }
                };
                rpc::many(request, answer)
            }
            _ => unknown(method),
        }
    }

    fn bridge(&self, method: &str, request: http::Request<Incoming>) -> Later {
        let calls = self.clone();
        match method {
            "Ping" => rpc::unary(request, move |ask: Request<frontend::PingRequest>| calls.clone().ping(ask)),
            "Solve" => rpc::unary(request, move |ask: Request<frontend::SolveRequest>| calls.clone().ask(ask)),
            "Return" => rpc::unary(request, move |ask: Request<frontend::ReturnRequest>| calls.clone().take_back(ask)),
            "Evaluate" => {
                // What a result is, is known when it is there.
                let answer = move |_: Request<frontend::EvaluateRequest>| std::future::ready(Ok(frontend::EvaluateResponse {}));
                rpc::unary(request, answer)
            }
            _ => unknown(method),
        }
    }
}

fn unknown(method: &str) -> Later {
    let reply = Status::unimplemented(format!("{method} is not served")).into_http();
    Box::pin(std::future::ready(reply))
}

impl Calls {
    fn version(&self) -> BuildkitVersion {
        BuildkitVersion { package: "teu".to_owned(), version: self.state.version.clone(), revision: String::new() }
    }

    fn worker(&self) -> proto::types::WorkerRecord {
        proto::types::WorkerRecord { buildkit_version: Some(self.version()), ..self.engine.worker() }
    }

    fn find(&self, id: &str) -> Result<Arc<Build>, Status> {
        self.state.builds.find(id, &self.state.sessions).ok_or_else(|| Status::not_found(format!("no such job {id}")))
    }

    /// The build that a call is about, once it began.
    async fn build(&self, metadata: &MetadataMap) -> Result<Arc<Build>, Status> {
        let id = metadata.get(BUILD_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if id.is_empty() {
            return Err(Status::invalid_argument(format!("the call has no header {BUILD_HEADER}")));
        }
        let build = self.find(id)?;
        if let Err(status) = build.request().await {
            self.state.builds.never_began(&build);
            return Err(status);
        }
        Ok(build)
    }

    async fn solve(self, ask: proto::SolveRequest) -> Result<proto::SolveResponse, Status> {
        let build = self.find(&ask.r#ref)?;
        let ask = build.begin(ask)?;
        // However this call ends, the calls that wait for the build end with it.
        let _end = End { state: &self.state, build: &build };
        let exports = ask.cache.iter().flat_map(|cache| &cache.exports);
        if let Some(other) = exports.map(|it| it.r#type.as_str()).find(|kind| *kind != "inline") {
            return Err(Status::unimplemented(format!("the cache export {other} is not served")));
        }
        let solved = if ask.frontend.is_empty() {
            let name = build.given_back().await?;
            if name.is_empty() {
                Solved::default()
            } else {
                build.result(&name).ok_or_else(|| Status::not_found(format!("no result {name}")))?
            }
        } else {
            let inputs = inputs(&ask.frontend_inputs)?;
            let caches = ask.cache.as_ref().map(|cache| cache.imports.clone()).unwrap_or_default();
            let wanted = Ask { frontend: ask.frontend.clone(), options: ask.frontend_attrs.clone(), inputs, caches };
            self.engine.solve(Arc::clone(&build), wanted).await?
        };
        let mut response = if solved.images.is_empty() {
            HashMap::new()
        } else {
            let mut exporters = ask.exporters.clone();
            if exporters.is_empty() && !ask.exporter_deprecated.is_empty() {
                exporters.push(proto::Exporter { r#type: ask.exporter_deprecated.clone(), attrs: ask.exporter_attrs_deprecated.clone() });
            }
            self.engine.export(Arc::clone(&build), solved.clone(), exporters).await?
        };
        for (key, value) in solved.metadata.iter().filter(|(key, _)| key.starts_with("result.")) {
            response.insert(key.clone(), String::from_utf8_lossy(value).into_owned());
        }
        Ok(proto::SolveResponse { exporter_response: response })
    }

    async fn status(self, ask: proto::StatusRequest) -> Result<Messages<StatusResponse>, Status> {
        let Some(build) = self.state.builds.find(&ask.r#ref, &self.state.sessions) else {
            return Ok(Box::pin(futures_util::stream::empty()));
        };
        if let Err(status) = build.request().await {
            self.state.builds.never_began(&build);
            return Err(status);
        }
        let Some(mut told) = build.listen() else { return Ok(Box::pin(futures_util::stream::empty())) };
        let (sender, queue) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    biased;
                    next = told.recv() => next,
                    () = build.wait_end() => match told.try_recv() {
                        Ok(next) => Some(next),
                        Err(_) => return,
                    },
                };
                let Some(next) = next else { return };
                if sender.send(Ok(next)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::pin(rpc::stream(queue)))
    }

    /// A session inside of a call: its bytes are a connection.
    async fn session(self, ask: Request<Streaming<proto::BytesMessage>>) -> Result<Messages<proto::BytesMessage>, Status> {
        let text = |name: &str| ask.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let id = text("x-docker-expose-session-uuid");
        let methods: Vec<String> = ask
            .metadata()
            .get_all("x-docker-expose-session-grpc-method")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect();
        let (near, far) = tokio::io::duplex(2 * CHUNK);
        let (mut from, mut to) = tokio::io::split(near);
        let mut messages = ask.into_inner();
        let (sender, queue) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            let inwards = async {
                while let Ok(Some(message)) = messages.message().await {
                    if to.write_all(&message.data).await.is_err() {
                        return;
                    }
                }
            };
            let outwards = async {
                let mut buffer = vec![0; CHUNK];
                while let Ok(count @ 1..) = from.read(&mut buffer).await {
                    if sender.send(Ok(proto::BytesMessage { data: buffer[..count].to_vec() })).await.is_err() {
                        return;
                    }
                }
            };
            let holding = self.state.sessions.hold(far, &id, methods.into_iter());
            tokio::select! {
                () = inwards => {}
                () = outwards => {}
                held = holding => if let Err(status) = held {
                    // It may have gone.
                    let _ = sender.send(Err(status)).await;
                },
            }
        });
        Ok(Box::pin(rpc::stream(queue)))
    }

    async fn ping(self, ask: Request<frontend::PingRequest>) -> Result<frontend::PongResponse, Status> {
        self.build(ask.metadata()).await?;
        Ok(frontend::PongResponse {
            frontend_api_caps: abilities(&FRONTEND_ABILITIES),
            llb_caps: abilities(&BUILD_ABILITIES),
            workers: vec![self.worker()],
        })
    }

    async fn ask(self, ask: Request<frontend::SolveRequest>) -> Result<frontend::SolveResponse, Status> {
        let build = self.build(ask.metadata()).await?;
        let ask = ask.into_inner();
        let inputs = inputs(&ask.frontend_inputs)?;
        let caches = ask.cache_imports.into_iter().map(|it| proto::CacheOptionsEntry { r#type: it.r#type, attrs: it.attrs }).collect();
        let solved = match ask.definition.as_ref().filter(|it| !it.def.is_empty()) {
            // A result of another build, handed on as it is.
            Some(definition) => {
                let image =
                    image_of(definition).ok_or_else(|| Status::unimplemented("definitions of other front ends are not built here"))?;
                Solved { images: vec![(None, image)], metadata: HashMap::new() }
            }
            None if ask.frontend.is_empty() => Solved::default(),
            None => {
                self.engine.solve(Arc::clone(&build), Ask { frontend: ask.frontend, options: ask.frontend_opt, inputs, caches }).await?
            }
        };
        let name = build.keep(solved.clone());
        let refer = |image: Option<&String>| frontend::Ref { id: name.clone(), def: image.map(|image| private_image(image)) };
        let result = match &solved.images[..] {
            [] => frontend::result::Result::Ref(frontend::Ref::default()),
            [(None, image)] => frontend::result::Result::Ref(refer(Some(image))),
            several => {
                let refs = several.iter().map(|(platform, image)| (platform.clone().unwrap_or_default(), refer(Some(image)))).collect();
                frontend::result::Result::Refs(frontend::RefMap { refs })
            }
        };
        let result = frontend::Result { metadata: solved.metadata, attestations: HashMap::new(), result: Some(result) };
        Ok(frontend::SolveResponse { r#ref: String::new(), result: Some(result) })
    }

    async fn take_back(self, ask: Request<frontend::ReturnRequest>) -> Result<frontend::ReturnResponse, Status> {
        let build = self.build(ask.metadata()).await?;
        let ask = ask.into_inner();
        let given = match (ask.error, ask.result.and_then(|result| result.result)) {
            (Some(error), _) => Err(returned(&error)),
            (None, Some(frontend::result::Result::Ref(one))) => Ok(one.id),
            (None, Some(frontend::result::Result::RefDeprecated(id))) => Ok(id),
            (None, Some(frontend::result::Result::Refs(all))) => Ok(all.refs.into_values().next().unwrap_or_default().id),
            (None, Some(frontend::result::Result::RefsDeprecated(all))) => Ok(all.refs.into_values().next().unwrap_or_default()),
            (None, None) => Ok(String::new()),
        };
        build.give_back(given);
        Ok(frontend::ReturnResponse {})
    }
}

/// Contexts that are results of other builds.
fn inputs(definitions: &HashMap<String, pb::Definition>) -> Result<HashMap<String, String>, Status> {
    let one = |(name, definition): (&String, &pb::Definition)| {
        let image = image_of(definition)
            .ok_or_else(|| Status::unimplemented(format!("the context {name} is a definition that is not built here")))?;
        Ok((name.clone(), image))
    };
    definitions.iter().map(one).collect()
}

struct End<'a> {
    state: &'a State,
    build: &'a Build,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.state.builds.end(self.build);
    }
}

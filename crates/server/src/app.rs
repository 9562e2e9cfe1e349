//! From a request to its handler.

use crate::connection::Outcome;
use crate::host::Host;
use crate::remote::Remote;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::router::{self, ContainerVerb, Route};
use crate::{ApiError, connection, system};
use engine::Engine;
use http::{Method, Request};
use hyper::body::Incoming;
use network::Networks;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// What the handlers work with.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) host: Arc<Host>,
    pub(crate) engine: Engine,
    pub(crate) networks: Arc<Networks>,
    pub(crate) root: Arc<str>,
    pub(crate) images: Arc<image::Images>,
    pub(crate) volumes: Arc<volume::Volumes>,
    pub(crate) registries: registry::Client,
    pub(crate) builder: Arc<builder::Builder>,
    pub(crate) joining: Arc<crate::joining::Joining>,
    pub(crate) doors: buildkit::Doors,
}

impl App {
    /// Joins what the handlers work with.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the engine that only the caller has")]
    pub fn new(
        engine: Engine,
        images: Arc<image::Images>,
        networks: Arc<Networks>,
        volumes: Arc<volume::Volumes>,
        builder: builder::Builder,
        root: &std::path::Path,
    ) -> Self {
        let registries = registry::Client::new(registry::Settings::default());
        let doors = buildkit::Doors::new(reply::SERVER_VERSION);
        let (host, builder, joining) = (Arc::new(Host::read()), Arc::new(builder), Arc::default());
        Self { host, engine, networks, images, volumes, registries, builder, joining, doors, root: root.display().to_string().into() }
    }

    /// Reaches registries as the host's settings say.
    #[must_use]
    pub fn with_registries(self, settings: registry::Settings) -> Self {
        Self { registries: registry::Client::new(settings), ..self }
    }
}

/// Serves clients of this host and of others until `shutdown` is ready. Acts that have begun go on.
pub async fn serve(listener: UnixListener, remotes: Vec<Remote>, app: App, shutdown: impl Future<Output = ()>) {
    let app = Arc::new(app);
    let mut connections = JoinSet::new();
    let mut others = JoinSet::new();
    for remote in remotes {
        others.spawn(remote.serve(Arc::clone(&app)));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_client(Arc::clone(&app), stream));
                }
                // Out of descriptors: only the end of a connection can help.
                Err(_) => drop(connections.join_next().await),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

pub(crate) async fn serve_client(app: Arc<App>, stream: UnixStream) {
    if speaks_http2(&stream).await {
        return app.serve_builds(stream).await;
    }
    connection::serve(stream, move |request| handle(Arc::clone(&app), request)).await;
}

/// Whether a client begins with HTTP/2 at once, as clients of BuildKit do. **Source:** RFC 9113, 3.4.
async fn speaks_http2(stream: &UnixStream) -> bool {
    let mut first = [0; 3];
    let peeked = stream.readable().await.is_ok() && rustix::net::recv(stream, &mut first, rustix::net::RecvFlags::PEEK).is_ok();
    peeked && &first == b"PRI"
}

/// What the head of a request says, or why it is refused.
type Target = Result<(Route, Call), ApiError>;

/// Finds the handler. The first part says whether the request may end HTTP on its connection.
fn handle(app: Arc<App>, request: Request<Incoming>) -> (bool, impl Future<Output = Outcome> + Send + 'static) {
    let method = request.method().clone();
    let target = target(request);
    let may_hijack = matches!(
        target,
        Ok((
            Route::Run
                | Route::Grpc
                | Route::Session
                | Route::ExecStart(_)
                | Route::Container(ContainerVerb::Attach | ContainerVerb::AttachWebSocket, _),
            _
        ))
    );
    let outcome = async move {
        let outcome = match target {
            Ok((route, call)) => {
                if !matches!(route, Route::Ping | Route::Version) {
                    app.engine.settled().await;
                }
                app.dispatch(route, call).await
            }
            Err(cause) => Err(cause),
        };
        let mut outcome = outcome.unwrap_or_else(|cause| Outcome::Reply(reply::error(&cause)));
        if let (Method::HEAD, Outcome::Reply(reply)) = (method, &mut outcome) {
            *reply.body_mut() = reply::Payload::Whole(None);
        }
        outcome
    };
    (may_hijack, outcome)
}

fn target(request: Request<Incoming>) -> Target {
    let (parts, body) = request.into_parts();
    let (version, path) = router::split_version(parts.uri.path())?;
    let route = router::find(&parts.method, &path)?;
    Ok((route, Call::new(version, parts, body)))
}

impl App {
    #[allow(clippy::wildcard_enum_match_arm, reason = "`resource` names all that are left")]
    async fn dispatch(&self, route: Route, call: Call) -> Result<Outcome, ApiError> {
        let reply = match route {
            Route::Run => return self.run(call).await,
            Route::ExecStart(id) => return self.exec_start(id, call).await,
            Route::Grpc => return self.grpc(&call),
            Route::Session => return self.session(&call),
            Route::Container(ContainerVerb::Attach, name) => {
                return self.container_attach(&name, &call);
            }
            Route::Container(ContainerVerb::AttachWebSocket, name) => return self.attach_websocket(&name, &call),
            Route::Container(verb, name) => self.container(verb, &name, call).await?,
            Route::ContainerCreate => self.container_create(call).await?,
            Route::ContainerList => self.container_list(&call).await?,
            Route::ContainerPrune => self.container_prune(&call).await?,
            Route::ExecInspect(id) => self.exec_inspect(&id).await?,
            Route::ExecResize(id) => self.exec_resize(&id, &call).await?,
            Route::Why(name) => self.why(&name)?,
            Route::ImageVerify => self.image_verify().await?,
            Route::ImageExplore(name) => self.image_explore(&name).await?,
            Route::Ping => system::ping(),
            Route::Version => system::version(&self.host),
            Route::Info => self.info(),
            Route::DiskUsage => self.disk_usage(&call).await?,
            Route::Events => self.event_stream(&call)?,
            other => self.resource(other, call).await?,
        };
        Ok(Outcome::Reply(reply))
    }

    async fn container(&self, verb: ContainerVerb, name: &str, call: Call) -> Result<Reply, ApiError> {
        use ContainerVerb as Verb;
        match verb {
            Verb::Inspect => self.container_inspect(name, &call).await,
            Verb::Top => self.container_top(name, &call).await,
            Verb::Logs => self.container_logs(name, &call).await,
            Verb::Stats => self.container_stats(name, &call).await,
            Verb::Start => self.container_start(name).await,
            Verb::Stop => self.container_stop(name, &call).await,
            Verb::Restart => self.container_restart(name, &call).await,
            Verb::Kill => self.container_kill(name, &call).await,
            Verb::Pause => self.container_pause(name).await,
            Verb::Unpause => self.container_unpause(name).await,
            Verb::Wait => self.container_wait(name, &call),
            Verb::Resize => self.container_resize(name, &call).await,
            Verb::Exec => self.exec_create(name, call).await,
            Verb::Rename => self.container_rename(name, &call).await,
            Verb::Update => self.container_update(name, call).await,
            Verb::Remove => self.container_remove(name, &call).await,
            Verb::ArchiveStat => self.archive_stat(name, &call).await,
            Verb::ArchiveGet => self.archive_get(name, &call).await,
            Verb::ArchivePut => self.archive_put(name, call).await,
            Verb::Changes => self.container_changes(name).await,
            Verb::Export => self.container_export(name).await,
            Verb::Attach | Verb::AttachWebSocket => {
                // A container that is not there is said first, as Docker does.
                self.lookup(name)?;
                Err(ApiError::unsupported("this engine cannot do that yet"))
            }
        }
    }

    async fn resource(&self, route: Route, call: Call) -> Result<Reply, ApiError> {
        match route {
            Route::ImageList => self.image_list(&call),
            Route::ImageLoad => self.image_load(call).await,
            Route::ImageCreate => self.image_create(call).await,
            Route::ImagePrune => self.image_prune(&call).await,
            Route::ImageSave(name) => self.image_save(name, &call).await,
            Route::ImageInspect(name) => self.image_inspect(&name, &call),
            Route::ImageHistory(name) => self.image_history(&name, &call),
            Route::ImageTag(name) => self.image_tag(&name, &call),
            Route::ImageRemove(name) => self.image_remove(name, &call).await,
            Route::VolumeList => self.volume_list(&call),
            Route::VolumeCreate => self.volume_create(call).await,
            Route::VolumePrune => self.volume_prune(&call).await,
            Route::VolumeInspect(name) => self.volume_inspect(&name),
            Route::VolumeRemove(name) => self.volume_remove(name, &call).await,
            Route::VolumeUpdate => Err(ApiError::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                "volume update only valid for cluster volumes, but swarm is unavailable",
            )),
            Route::VolumeExport(name) => self.volume_export(name).await,
            Route::VolumeImport(name) => self.volume_import(name, call).await,
            Route::VolumeCopy(name) => self.volume_copy(name, call).await,
            Route::VolumeUsage(name) => self.volume_usage_of(name).await,
            Route::NetworkList => self.network_list(&call),
            Route::NetworkCreate => self.network_create(call).await,
            Route::NetworkPrune => self.network_prune(&call).await,
            Route::NetworkInspect(name) => self.network_inspect(&name),
            Route::NetworkRemove(name) => self.network_remove(name).await,
            Route::NetworkConnect(name) => self.network_connect(name, call).await,
            Route::NetworkDisconnect(name) => self.network_disconnect(name, call).await,
            Route::Policy(act) => self.policy(act, call).await,
            Route::PluginList => Ok(reply::json(http::StatusCode::OK, &[(); 0])),
            Route::Plugin(name) => Err(ApiError::not_found(format!("plugin \"{name}\" not found"))),
            Route::Swarm => Err(ApiError::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                 join\" to connect this node to swarm and try again.",
            )),
            Route::Auth => self.login(call).await,
            Route::ImageSearch => self.image_search(&call).await,
            Route::ImagePush(name) => self.image_push(&name, &call).await,
            Route::Distribution(name) => self.distribution(&name, &call).await,
            Route::ManifestGet(name) => self.manifest_get(&name, &call).await,
            Route::ManifestPut(name) => self.manifest_put(&name, call).await,
            Route::Commit => self.commit(call).await,
            Route::KnownLayers => self.known_layers(call).await,
            Route::Build => self.build(call).await,
            Route::BuildPrune => self.build_prune(&call).await,
            Route::BuildCancel => Ok(self.build_cancel(&call)),
            Route::Run
            | Route::Grpc
            | Route::Session
            | Route::ExecStart(_)
            | Route::ExecResize(_)
            | Route::ExecInspect(_)
            | Route::Container(..)
            | Route::ContainerCreate
            | Route::ContainerList
            | Route::ContainerPrune
            | Route::Why(_)
            | Route::ImageVerify
            | Route::ImageExplore(_)
            | Route::Ping
            | Route::Version
            | Route::Info
            | Route::DiskUsage
            | Route::Events => Err(ApiError::not_found("page not found")),
        }
    }

    fn info(&self) -> Reply {
        let overview = self.engine.overview();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let counts = system::Counts {
            running: count(overview.running),
            paused: count(overview.paused),
            stopped: count(overview.stopped),
            images: count(self.images.list().len()),
            listeners: 0,
        };
        let mut info = system::info(&self.host, &self.root, counts);
        let status = [("Supports d_type", "true".to_owned()), ("Storage Backend", self.images.backend().to_string())];
        info.driver_status = status.map(|(name, value)| [name.to_owned(), value]).into();
        let containers = overview.damaged.iter();
        let containers = containers
            .map(|it| format!("WARNING: damaged record of container {} set aside: {} ({})", it.key, it.reason, it.path.display()));
        let images = self.images.damaged();
        let images = images.iter().map(|text| format!("WARNING: damaged record set aside: {text}"));
        let support = engine::apparmor::support();
        if support == engine::apparmor::Support::Full {
            info.security_options.insert(0, "name=apparmor".to_owned());
        }
        let parser = (support == engine::apparmor::Support::NoParser).then(|| {
            "WARNING: the kernel enforces AppArmor, but apparmor_parser is missing: containers run without the profile docker-default"
                .to_owned()
        });
        let warnings: Vec<String> = containers.chain(images).chain(parser).collect();
        info.warnings = (!warnings.is_empty()).then_some(warnings);
        reply::json(http::StatusCode::OK, &info)
    }
}

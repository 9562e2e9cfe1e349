//! From a request to its handler.

use crate::connection::{Hijack, Outcome, Takeover};
use crate::host::Host;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::router::{self, ContainerVerb, Route};
use crate::{ApiError, connection};
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
    pub(crate) images: Arc<image::Images>,
    pub(crate) volumes: Arc<volume::Volumes>,
}

impl App {
    /// Joins what the handlers work with.
    pub fn new(
        engine: Engine,
        images: Arc<image::Images>,
        networks: Arc<Networks>,
        volumes: Arc<volume::Volumes>,
    ) -> Self {
        Self {
            host: Arc::new(Host::read()),
            engine,
            networks,
            images,
            volumes,
        }
    }
}

/// Serves clients until `shutdown` is ready. Acts that have begun go on.
pub async fn serve(listener: UnixListener, app: App, shutdown: impl Future<Output = ()>) {
    let app = Arc::new(app);
    let mut connections = JoinSet::new();
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

async fn serve_client(app: Arc<App>, stream: UnixStream) {
    connection::serve(stream, move |request| handle(Arc::clone(&app), request)).await;
}

/// What the head of a request says, or why it is refused.
type Target = Result<(Route, Call), ApiError>;

/// Finds the handler. The first part says whether the request may end HTTP on its connection.
fn handle(
    app: Arc<App>,
    request: Request<Incoming>,
) -> (bool, impl Future<Output = Outcome> + Send + 'static) {
    let method = request.method().clone();
    let target = target(request);
    let may_hijack = matches!(
        target,
        Ok((
            Route::Run | Route::ExecStart(_) | Route::Container(ContainerVerb::Attach, _),
            _
        ))
    );
    let outcome = async move {
        let outcome = match target {
            Ok((route, call)) => app.dispatch(route, call).await,
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
    async fn dispatch(&self, route: Route, call: Call) -> Result<Outcome, ApiError> {
        let reply = match route {
            Route::Ping => crate::system::ping(),
            Route::Version => crate::system::version(&self.host),
            Route::ImageList => self.image_list(&call)?,
            Route::ImageLoad => self.image_load(call).await?,
            Route::ImageCreate => self.image_create(call).await?,
            Route::ImagePrune => self.image_prune(&call).await?,
            Route::ImageSave(name) => self.image_save(name, &call)?,
            Route::ImageInspect(name) => self.image_inspect(&name, call.version)?,
            Route::ImageHistory(name) => self.image_history(&name)?,
            Route::ImageTag(name) => self.image_tag(&name, &call)?,
            Route::ImageRemove(name) => self.image_remove(name, &call).await?,
            Route::VolumeList => self.volume_list(&call)?,
            Route::VolumeCreate => self.volume_create(call).await?,
            Route::VolumePrune => self.volume_prune(&call).await?,
            Route::VolumeInspect(name) => self.volume_inspect(&name)?,
            Route::VolumeRemove(name) => self.volume_remove(name, &call).await?,
            _ => return Err(ApiError::unsupported("not implemented")),
        };
        Ok(Outcome::Reply(reply))
    }
}

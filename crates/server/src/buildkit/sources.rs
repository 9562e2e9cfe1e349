//! What a build asks its client's session for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use builder::{Agent, Fetch, Sources};
use buildkit::{Build, Session, Status, Wanted};
use image::ImageId;
use oci::{ImageRef, Platform};

use super::solve::Scratch;
use crate::app::App;
use crate::build::base_image;

/// How often a client hears how far a transfer is.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// The client's account for a name, in the form of the header of a pull; without one the registry says what is missing.
pub(super) async fn account(session: &Session, name: &ImageRef) -> String {
    let host = if name.domain() == "docker.io" { "registry-1.docker.io" } else { name.domain() };
    let Ok(Some((user, secret))) = session.account(host).await else { return String::new() };
    let account = match user.as_str() {
        "" => serde_json::json!({"identitytoken": secret}),
        user => serde_json::json!({"username": user, "password": secret}),
    };
    base64::engine::general_purpose::URL_SAFE.encode(account.to_string())
}

/// The sessions of one build.
#[derive(Clone)]
pub(super) struct Holders {
    pub(super) build: Arc<Build>,
    /// The one that the client named.
    pub(super) session: Arc<Session>,
    /// Others that hold directories, by the client's names of these.
    pub(super) others: BTreeMap<String, String>,
}

impl Holders {
    /// The session that holds a directory.
    pub(super) async fn of(&self, directory: &str) -> Result<Arc<Session>, Status> {
        match self.others.get(directory) {
            Some(id) => self.build.session(Some(id)).await,
            None => Ok(Arc::clone(&self.session)),
        }
    }
}

/// The client of one build.
pub(super) struct Client {
    pub(super) app: App,
    pub(super) holders: Holders,
    pub(super) scratch: Arc<Scratch>,
    /// The client's name of the context.
    pub(super) context: String,
    /// What is left out of the context.
    pub(super) exclude: Vec<String>,
    /// The context's directory, if it is here already.
    pub(super) here: Option<std::path::PathBuf>,
    /// The client's names of directories by the names of contexts.
    pub(super) locals: BTreeMap<String, String>,
}

fn text(status: &Status) -> String {
    status.message().to_owned()
}

/// Gets files of a client into a new directory and opens it.
pub(super) async fn files(
    (build, scratch): (&Arc<Build>, &Scratch),
    session: &Session,
    title: &str,
    wanted: Wanted,
) -> Result<OwnedFd, Status> {
    let vertex = build.vertex(title).await;
    let part = format!("transferring {}:", wanted.name);
    let directory = scratch.directory().map_err(|cause| Status::internal(format!("cannot make a directory: {cause}")))?;
    let open = || std::fs::File::open(&directory).map(OwnedFd::from).map_err(|cause| Status::internal(cause.to_string()));
    let mut last = Instant::now();
    let mut total = 0;
    let told = |bytes| {
        total = bytes;
        if last.elapsed() > TOLD_EVERY {
            last = Instant::now();
            vertex.part(&part, bytes, None, false);
        }
    };
    match session.receive(wanted, open()?, told).await {
        Ok(()) => {
            vertex.part(&part, total, None, true);
            vertex.done().await;
            open()
        }
        Err(status) => {
            vertex.failed(status.message()).await;
            Err(status)
        }
    }
}

impl Sources for Client {
    fn image(&self, name: &str, platform: Option<&Platform>, pull: bool) -> Fetch<ImageId> {
        let (app, name, platform, session) = (self.app.clone(), name.to_owned(), platform.cloned(), Arc::clone(&self.holders.session));
        Box::pin(async move { base_image(&app, &name, platform, pull, async |reference| account(&session, reference).await).await })
    }

    fn url(&self, url: &str, directory: &Path) -> Fetch<(String, Option<i64>)> {
        let (app, url, directory) = (self.app.clone(), url.to_owned(), directory.to_owned());
        Box::pin(async move { crate::build::download(&app, &url, &directory).await })
    }

    fn files(&self, context: Option<&str>, paths: Option<Vec<String>>) -> Fetch<OwnedFd> {
        let (holders, scratch) = (self.holders.clone(), Arc::clone(&self.scratch));
        if let (None, Some(path)) = (context, self.here.clone()) {
            return Box::pin(async move {
                std::fs::File::open(path).map(OwnedFd::from).map_err(|cause| format!("cannot open the context: {cause}"))
            });
        }
        let name = match context {
            None => self.context.clone(),
            Some(context) => self.locals.get(context).cloned().unwrap_or_else(|| context.to_owned()),
        };
        let (title, exclude) = match context {
            None => ("[internal] load build context".to_owned(), Some(self.exclude.clone())),
            Some(context) => (format!("[context {context}] load from client"), None),
        };
        Box::pin(async move {
            let session = holders.of(&name).await.map_err(|status| text(&status))?;
            let place = (&holders.build, &*scratch);
            let exclude = match exclude {
                Some(exclude) => exclude,
                None => super::solve::ignored(place, &session, &name).await.map_err(|status| text(&status))?,
            };
            let wanted = Wanted { name, exclude, follow: paths };
            files(place, &session, &title, wanted).await.map_err(|status| text(&status))
        })
    }

    fn secret(&self, id: &str) -> Fetch<Option<Vec<u8>>> {
        let (session, id) = (Arc::clone(&self.holders.session), id.to_owned());
        Box::pin(async move { session.secret(&id).await.map_err(|status| text(&status)) })
    }

    fn agent(&self, id: &str) -> Fetch<Option<Agent>> {
        let (session, id) = (Arc::clone(&self.holders.session), id.to_owned());
        Box::pin(async move {
            if !session.has_agent(&id).await.map_err(|status| text(&status))? {
                return Ok(None);
            }
            let agent: Agent = Arc::new(move |connection| {
                let (session, id) = (Arc::clone(&session), id.clone());
                Box::pin(async move { session.agent(&id, connection).await })
            });
            Ok(Some(agent))
        })
    }
}

//! Where a build gets images and files that are not in its Dockerfile.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder::{Agent, Fetch, GitRef, Sources};
use image::ImageId;
use oci::{ImageRef, Platform};
use tokio::net::UnixStream;

use crate::app::App;
use crate::images;

/// Files of a context.
#[derive(Debug)]
pub(super) enum Place {
    /// A directory of the engine's.
    Directory(PathBuf),
    /// A directory that the client has opened.
    Opened(OwnedFd),
    /// A repository of git or an archive, fetched into the directory when it is needed.
    Remote { url: String, into: PathBuf },
}

impl Place {
    async fn open(&self, app: &App) -> Result<OwnedFd, String> {
        let opened =
            |path: &Path| std::fs::File::open(path).map(OwnedFd::from).map_err(|cause| format!("cannot open the context: {cause}"));
        match self {
            Self::Directory(path) => opened(path),
            Self::Opened(fd) => fd.try_clone().map_err(|cause| format!("cannot open the context: {cause}")),
            Self::Remote { url, into } => opened(&remote(app, url, into).await?),
        }
    }
}

/// Fetches a context from a repository or an address into a directory; answers the folder of it.
pub(super) async fn remote(app: &App, url: &str, into: &Path) -> Result<PathBuf, String> {
    std::fs::create_dir_all(into).map_err(|cause| format!("cannot make {}: {cause}", into.display()))?;
    if let Some(repository) = GitRef::parse(url)? {
        return repository.checkout(into, false).await.map(|(_, folder)| folder);
    }
    let (name, _) = download(app, url, into).await?;
    let file = into.join(&name);
    let files = into.join("context");
    let unpacked = tokio::task::spawn_blocking(move || -> Result<PathBuf, String> {
        let mut head = [0; 512];
        let opened = std::fs::File::open(&file).map_err(|cause| cause.to_string())?;
        let plain = image::sniffing(opened);
        let archive = plain.is_ok_and(|mut plain| std::io::Read::read_exact(&mut plain, &mut head).is_ok()) && &head[257..262] == b"ustar";
        std::fs::create_dir_all(&files).map_err(|cause| cause.to_string())?;
        if !archive {
            // A lone file is a Dockerfile.
            std::fs::rename(&file, files.join("Dockerfile")).map_err(|cause| cause.to_string())?;
            return Ok(files);
        }
        let opened = std::fs::File::open(&file).map_err(|cause| cause.to_string())?;
        super::extract_into(&files, image::sniffing(opened).map_err(|cause| cause.to_string())?)?;
        Ok(files)
    });
    unpacked.await.map_err(|panic| panic.to_string())?.map_err(|cause| format!("cannot use {url} as a context: {cause}"))
}

/// Fetches what is at an address into a file of a directory; answers its name there and its time in Unix seconds.
pub(crate) async fn download(app: &App, url: &str, directory: &Path) -> Result<(String, Option<i64>), String> {
    let failed = |cause: std::io::Error| format!("cannot keep {url}: {cause}");
    let mut coming = app.registries.get(url).await.map_err(|cause| cause.to_string())?;
    if coming.name.is_empty() {
        return Err(format!("cannot tell the name of what is at {url}; give its whole address"));
    }
    let mut file = std::fs::File::create(directory.join(&coming.name)).map_err(failed)?;
    while let Some(piece) = coming.next().await.map_err(|cause| cause.to_string())? {
        file.write_all(&piece).map_err(failed)?;
    }
    Ok((coming.name, coming.modified))
}

/// Finds an image, or pulls it with the account that `header` answers, in the form of a pull's header.
pub(crate) async fn base_image(
    app: &App,
    name: &str,
    platform: Option<Platform>,
    pull: bool,
    header: impl AsyncFnOnce(&ImageRef) -> String,
) -> Result<ImageId, String> {
    let known = |app: &App| app.images.resolve_for(name, platform.as_ref()).ok();
    if let Some(image) = known(app).filter(|_| !pull) {
        return Ok(image.id);
    }
    let reference = images::reference(name, "").map_err(|cause| cause.message)?;
    let header = header(&reference).await;
    let pulled = app.pull_quietly(&reference, &header, platform.clone()).await;
    match (pulled, known(app).or_else(|| app.images.resolve(name).ok())) {
        (Ok(()), Some(image)) => Ok(image.id),
        (Ok(()), None) => Err(format!("{name} was pulled and has gone")),
        (Err(cause), _) => Err(cause.message),
    }
}

/// The images of this host, those of registries, and what came with the request.
#[derive(Clone)]
pub(super) struct Here(pub(super) Arc<Given>);

/// What came with the request.
pub(super) struct Given {
    pub(super) app: App,
    pub(super) auths: BTreeMap<String, String>,
    pub(super) context: Place,
    /// Contexts with names.
    pub(super) named: BTreeMap<String, Place>,
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
    /// Agents of ssh keys by name: the sockets that they listen on, opened by the client.
    pub(super) agents: BTreeMap<String, Arc<OwnedFd>>,
}

impl Sources for Here {
    fn image(&self, name: &str, platform: Option<&Platform>, pull: bool) -> Fetch<ImageId> {
        let (app, name, platform) = (self.0.app.clone(), name.to_owned(), platform.cloned());
        let auths = self.0.auths.clone();
        Box::pin(async move {
            base_image(&app, &name, platform, pull, async |reference| {
                let account = |server: &str| {
                    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
                    let host = host.split('/').next().unwrap_or(host);
                    host == reference.domain() || (reference.domain() == "docker.io" && host == "index.docker.io")
                };
                auths.iter().find(|(server, _)| account(server)).map(|(_, header)| header.clone()).unwrap_or_default()
            })
            .await
        })
    }

    fn url(&self, url: &str, directory: &Path) -> Fetch<(String, Option<i64>)> {
        let (app, url, directory) = (self.0.app.clone(), url.to_owned(), directory.to_owned());
        Box::pin(async move { download(&app, &url, &directory).await })
    }

    fn files(&self, context: Option<&str>, _: Option<Vec<String>>) -> Fetch<OwnedFd> {
        let this = self.clone();
        let context = context.map(str::to_owned);
        Box::pin(async move {
            match &context {
                None => this.0.context.open(&this.0.app).await,
                Some(name) => match this.0.named.get(name) {
                    Some(place) => place.open(&this.0.app).await,
                    None => Err(format!("the context {name} did not come with the request")),
                },
            }
        })
    }

    fn secret(&self, id: &str) -> Fetch<Option<Vec<u8>>> {
        let value = self.0.secrets.get(id).cloned();
        Box::pin(async move { Ok(value) })
    }

    fn agent(&self, id: &str) -> Fetch<Option<Agent>> {
        let agent = self.0.agents.get(id).cloned();
        let serve = |socket: Arc<OwnedFd>| -> Agent {
            Arc::new(move |mut command: UnixStream| {
                let socket = Arc::clone(&socket);
                Box::pin(async move {
                    // The descriptor is of the socket's file, whose name may lead elsewhere by now.
                    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*socket));
                    if let Ok(mut agent) = UnixStream::connect(path).await {
                        // Either side may end at any time.
                        let _ = tokio::io::copy_bidirectional(&mut command, &mut agent).await;
                    }
                })
            })
        };
        Box::pin(async move { Ok(agent.map(serve)) })
    }
}

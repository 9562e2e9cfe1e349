//! `POST /build` in the form that Docker calls classic, and `POST /build/prune`.
//!
//! A client that sends `teu=1` gets the steps as objects, for a display of its own; all others get Docker's texts.
//! **Source:** moby, `api/server/router/build/build_routes.go`.

use crate::app::App;
use crate::convert::host;
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::upload::Upload;
use crate::{ApiError, images};
use builder::{Agent, Event, Fetch, Request, Sources, Update};
use bytes::Bytes;
use docker_api::archive::{ExtractOptions, Owner, Tree, extract};
use docker_api::types::{ErrorDetail, HostConfig, Progress};
use http::{HeaderName, StatusCode};
use image::ImageId;
use oci::{ImageRef, Platform};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Docker's header with the credentials of all registries.
const CONFIG_HEADER: HeaderName = HeaderName::from_static("x-registry-config");
/// Our client's header with the secrets of a build.
const SECRETS_HEADER: HeaderName = HeaderName::from_static("x-teu-secrets");
/// Updates that wait for a slow client before the build waits, too.
const UPDATES_MAX: usize = 256;
/// Bytes of a Dockerfile.
const DOCKERFILE_BYTES_MAX: u64 = 16 << 20;
/// How progress lines end.
const LINE_END: &str = "\r\n";

/// The context's directory of one build, which goes with it.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is cleared at the next start.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the query says beside the request itself.
struct Wishes {
    names: Vec<ImageRef>,
    quiet: bool,
    objects: bool,
}

impl App {
    pub(crate) async fn build(&self, call: Call) -> Result<Reply, ApiError> {
        if !call.query.text("remote").is_empty() {
            return Err(ApiError::invalid("building from a remote context is not served: fetch it and build from the directory"));
        }
        if call.query.text("version") == "2" {
            return Err(ApiError::unsupported(
                "BuildKit over this route is not served: set DOCKER_BUILDKIT=0, or use the engine's own client",
            ));
        }
        if call.query.flag("squash") {
            return Err(ApiError::invalid("squash is not served: use stages and COPY --from"));
        }
        let mut request = request(&call)?;
        let names = call.query.all("t").map(|text| images::reference(text, "")).collect::<Result<Vec<_>, _>>()?;
        let wishes = Wishes { names, quiet: call.query.flag("q"), objects: call.query.flag("teu") };
        let dockerfile = match call.query.text("dockerfile") {
            "" => "Dockerfile".to_owned(),
            name => name.to_owned(),
        };
        let hidden = call.query.flag("teu");
        let auths = auths(call.header(CONFIG_HEADER));
        let secrets = secrets(call.header(SECRETS_HEADER))?;
        let directory = self.builder.work();
        let upload = Upload::new(call.into_body());
        let unpacked = blocking(move || unpack(directory, upload, &dockerfile, hidden)).await??;
        request.dockerfile = unpacked.1;
        let sources: Arc<dyn Sources> = Arc::new(Here { app: self.clone(), auths, context: unpacked.0.0.clone(), secrets });
        let (lines, answer) = reply::stream("application/json");
        let app = self.clone();
        tokio::spawn(async move {
            let _directory = unpacked.0;
            let (updates, mut told) = mpsc::channel(UPDATES_MAX);
            let building = app.builder.build(request, sources, updates);
            let telling = async {
                while let Some(update) = told.recv().await {
                    if lines.send(line(&update, &wishes)).await.is_err() {
                        break;
                    }
                }
            };
            let closed = lines.clone();
            let result = tokio::select! {
                // The client has gone: dropping the build ends its commands.
                () = closed.closed() => return,
                (result, ()) = async { tokio::join!(building, telling) } => result,
            };
            let last = match result {
                Ok(image) => app.finish(&image, &wishes),
                Err(error) => Err(ApiError::invalid(error.to_string())),
            };
            let last = last.unwrap_or_else(|cause| vec![failure(&cause.message)]);
            for line in last {
                // It may have gone by now.
                let _ = lines.send(reply::line(&line, LINE_END)).await;
            }
        });
        Ok(answer)
    }

    /// Names the image and says how it is called.
    fn finish(&self, image: &ImageId, wishes: &Wishes) -> Result<Vec<Value>, ApiError> {
        for name in &wishes.names {
            self.images.tag(image, name).map_err(|cause| images::tag_error(&cause))?;
            self.image_event("tag", image, &name.familiar());
        }
        if wishes.quiet && !wishes.objects {
            return Ok(vec![json!({"stream": format!("{image}\n")})]);
        }
        let mut lines = vec![json!({"aux": {"ID": image.to_string()}})];
        if !wishes.objects {
            lines.push(json!({"stream": format!("Successfully built {}\n", image.short())}));
            lines.extend(wishes.names.iter().map(|name| json!({"stream": format!("Successfully tagged {}\n", name.familiar())})));
        }
        Ok(lines)
    }

    pub(crate) async fn build_prune(&self, call: &Call) -> Result<Reply, ApiError> {
        call.query.filters()?.only(&[])?;
        let builder = Arc::clone(&self.builder);
        let all = call.query.flag("all");
        let pruned = blocking(move || builder.prune(None, all)).await?.map_err(|cause| ApiError::internal(cause.to_string()))?;
        let report = json!({"CachesDeleted": pruned.entries, "SpaceReclaimed": pruned.reclaimed});
        Ok(reply::json(StatusCode::OK, &report))
    }
}

fn json_map<T: serde::de::DeserializeOwned>(call: &Call, name: &str) -> Result<BTreeMap<String, T>, ApiError> {
    match call.query.text(name) {
        "" | "null" => Ok(BTreeMap::new()),
        text => serde_json::from_str(text).map_err(|cause| ApiError::invalid(format!("error reading {name}: {cause}"))),
    }
}

fn request(call: &Call) -> Result<Request, ApiError> {
    let query = &call.query;
    let number = |name: &str| query.number::<i64>(name).map(Option::unwrap_or_default);
    let network = match query.text("networkmode") {
        "" => "default",
        mode => mode,
    };
    let wanted = HostConfig {
        network_mode: network.to_owned(),
        extra_hosts: Some(query.all("extrahosts").map(str::to_owned).collect()),
        shm_size: number("shmsize")?,
        memory: number("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: number("cpushares")?,
        cpu_period: number("cpuperiod")?,
        cpu_quota: number("cpuquota")?,
        cpuset_cpus: query.text("cpusetcpus").to_owned(),
        cpuset_mems: query.text("cpusetmems").to_owned(),
        cgroup_parent: query.text("cgroupparent").to_owned(),
        ulimits: match query.text("ulimits") {
            "" | "null" => None,
            text => Some(serde_json::from_str(text).map_err(|cause| ApiError::invalid(format!("error reading ulimits: {cause}")))?),
        },
        ..HostConfig::default()
    };
    let target = query.text("target");
    Ok(Request {
        target: (!target.is_empty()).then(|| target.to_owned()),
        arguments: json_map(call, "buildargs")?,
        labels: json_map(call, "labels")?,
        no_cache: query.flag("nocache"),
        pull: query.flag("pull"),
        platform: images::platform(query.text("platform"))?,
        host: host::parse(wanted)?,
        ..Request::default()
    })
}

fn secrets(header: &str) -> Result<BTreeMap<String, Vec<u8>>, ApiError> {
    use base64::Engine as _;
    if header.is_empty() {
        return Ok(BTreeMap::new());
    }
    let decode = |text: &str| {
        base64::engine::general_purpose::STANDARD.decode(text).map_err(|cause| ApiError::invalid(format!("bad secrets: {cause}")))
    };
    let map: BTreeMap<String, String> =
        serde_json::from_slice(&decode(header)?).map_err(|cause| ApiError::invalid(format!("bad secrets: {cause}")))?;
    map.into_iter().map(|(id, value)| Ok((id, decode(&value)?))).collect()
}

/// Accounts by registry, each in the form of the header of a pull.
fn auths(header: &str) -> BTreeMap<String, String> {
    use base64::Engine as _;
    let plain = header.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(plain).unwrap_or_default();
    let map: BTreeMap<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    let encode = |value: Value| base64::engine::general_purpose::URL_SAFE.encode(value.to_string());
    map.into_iter().map(|(server, value)| (server, encode(value))).collect()
}

/// Unpacks the context and takes the Dockerfile out of it.
fn unpack(directory: PathBuf, upload: Upload, dockerfile: &str, hidden: bool) -> Result<(Directory, Vec<u8>), ApiError> {
    use std::io::Read as _;
    let failed = |cause: std::io::Error| ApiError::internal(format!("cannot unpack the context: {cause}"));
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let directory = Directory(directory);
    let root: std::os::fd::OwnedFd = std::fs::File::open(&directory.0).map_err(failed)?.into();
    let tree = Tree::of_container(root);
    let options = ExtractOptions { folder: "/".to_owned(), keep_kinds: false, owner: Owner::Caller, rename: None };
    let plain = image::sniffing(upload).map_err(|cause| ApiError::invalid(format!("the context is no archive: {cause}")))?;
    extract(&tree, &options, plain).map_err(|cause| ApiError::invalid(format!("cannot unpack the context: {cause}")))?;
    let missing = |_| ApiError::invalid(format!("Cannot locate specified Dockerfile: {dockerfile}"));
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let file = tree.open(dockerfile.as_bytes(), flags).map_err(missing)?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(DOCKERFILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    if hidden {
        // Our client sends it beside the context.
        std::fs::remove_file(directory.0.join(dockerfile)).map_err(failed)?;
    }
    Ok((directory, bytes))
}

fn failure(message: &str) -> Value {
    let progress = Progress {
        error: message.to_owned(),
        error_detail: Some(ErrorDetail { code: 1, message: message.to_owned() }),
        ..Progress::default()
    };
    serde_json::to_value(progress).unwrap_or_default()
}

fn line(update: &Update, wishes: &Wishes) -> Bytes {
    let value = if wishes.objects { object(update) } else { json!({"stream": text(update, wishes.quiet)}) };
    reply::line(&value, LINE_END)
}

fn object(update: &Update) -> Value {
    let (event, text) = match &update.event {
        Event::Started(name) => ("started", name.clone()),
        Event::Log(bytes) => ("log", String::from_utf8_lossy(bytes).into_owned()),
        Event::Cached => ("cached", String::new()),
        Event::Done => ("done", String::new()),
        Event::Failed(reason) => ("failed", reason.clone()),
        Event::Warning(text) => ("warning", text.clone()),
    };
    json!({"teu": {"vertex": update.vertex, "event": event, "text": text}})
}

fn text(update: &Update, quiet: bool) -> String {
    match &update.event {
        _ if quiet => String::new(),
        Event::Started(name) => format!("Step {} : {name}\n", update.vertex),
        Event::Log(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Event::Cached => " ---> Using cache\n".to_owned(),
        Event::Done | Event::Failed(_) => String::new(),
        Event::Warning(text) => format!("[Warning] {text}\n"),
    }
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
struct Here {
    app: App,
    auths: BTreeMap<String, String>,
    context: PathBuf,
    secrets: BTreeMap<String, Vec<u8>>,
}

impl Sources for Here {
    fn image(&self, name: &str, platform: Option<&Platform>, pull: bool) -> Fetch<ImageId> {
        let (app, name, platform) = (self.app.clone(), name.to_owned(), platform.cloned());
        let auths = self.auths.clone();
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

    fn url(&self, url: &str, _: &Path) -> Fetch<(String, Option<i64>)> {
        let url = url.to_owned();
        Box::pin(async move { Err(format!("{url} cannot be fetched: ADD of addresses is not served; use RUN with curl or wget")) })
    }

    fn files(&self, context: Option<&str>, _: Option<Vec<String>>) -> Fetch<OwnedFd> {
        let (name, path) = (context.map(str::to_owned), self.context.clone());
        Box::pin(async move {
            match name {
                Some(name) => Err(format!("the context {name} did not come with the request")),
                None => std::fs::File::open(path).map(OwnedFd::from).map_err(|cause| format!("cannot open the context: {cause}")),
            }
        })
    }

    fn secret(&self, id: &str) -> Fetch<Option<Vec<u8>>> {
        let value = self.secrets.get(id).cloned();
        Box::pin(async move { Ok(value) })
    }

    fn agent(&self, _: &str) -> Fetch<Option<Agent>> {
        Box::pin(async { Ok(None) })
    }
}

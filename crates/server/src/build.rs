//! `POST /build` in the form that Docker calls classic, and `POST /build/prune`.
//!
//! A client that sends `teu=1` gets the steps as objects, for a display of its own; all others get Docker's texts.
//! **Source:** moby, `api/server/router/build/build_routes.go`.

use self::sources::{Given, Here, Place};
use crate::app::App;
use crate::convert::host;
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::upload::Upload;
use crate::{ApiError, images};
use builder::{BuildError, Named, Request, Sources};
use docker_api::archive::{ExtractOptions, Owner, Tree, extract};
use docker_api::ignore::Ignore;
use docker_api::types::HostConfig;
use http::{HeaderName, StatusCode};
use image::ImageId;
use oci::ImageRef;
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
/// What is ignored, as our client sends it beside the context.
const IGNORE: &str = ".teu-dockerignore";
/// Where our client puts contexts with names into the archive.
const NAMED: &str = ".teu-contexts";

mod call;
mod sources;
mod tell;

pub(crate) use sources::{base_image, download};

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
    /// What people call the Dockerfile.
    title: String,
}

impl App {
    pub(crate) async fn build(&self, call: Call) -> Result<Reply, ApiError> {
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
        let (dockerfile, objects) = (given_or(&call, "dockerfile", "Dockerfile"), call.query.flag("teu"));
        let title = given_or(&call, "dockerfilename", &dockerfile);
        let wishes = Wishes { names, quiet: call.query.flag("q"), objects, title };
        let what = call.query.text("call").to_owned();
        let input = self.input(call, dockerfile).await?;
        request.dockerfile = input.dockerfile;
        request.ignore = Some(Arc::new(input.ignore));
        request.contexts = input.contexts;
        if !what.is_empty() {
            let line = call::answer(self, &request, &what, &wishes.title)?;
            return Ok(reply::json(StatusCode::OK, &line));
        }
        let sources: Arc<dyn Sources> = Arc::new(Here(Arc::new(input.given)));
        let (lines, answer) = reply::stream("application/json");
        let app = self.clone();
        tokio::spawn(async move {
            let _directory = input.directory;
            let (updates, mut told) = mpsc::channel(UPDATES_MAX);
            let (file, facts) = (request.dockerfile.clone(), call::Facts::of(&request));
            let refused = call::check(&app, &file, &facts, false).error;
            let building = async {
                match refused.filter(|error| error.message.starts_with("lint violation")) {
                    Some(error) => Err(BuildError::Parse(error)),
                    None => app.builder.build(request, sources, updates).await,
                }
            };
            let telling = async {
                while let Some(update) = told.recv().await {
                    if lines.send(tell::line(&update, wishes.objects, wishes.quiet)).await.is_err() {
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
            let mut last = Vec::new();
            if wishes.objects {
                // Now that the base images are here, their variables are known, too.
                last.extend(call::check(&app, &file, &facts, false).findings.iter().map(tell::finding));
            }
            let done = match result {
                Ok(image) => app.finish(&image, &wishes),
                Err(error) => {
                    let place = error.place().filter(|_| wishes.objects);
                    last.extend(place.map(|place| tell::excerpt(&file, &wishes.title, &place)));
                    Err(ApiError::invalid(error.to_string()))
                }
            };
            last.extend(done.unwrap_or_else(|cause| vec![tell::failure(&cause.message)]));
            for line in last {
                // It may have gone by now.
                let _ = lines.send(reply::line(&line, tell::LINE_END)).await;
            }
        });
        Ok(answer)
    }

    /// Takes the context and the Dockerfile from wherever they are.
    async fn input(&self, call: Call, dockerfile: String) -> Result<Input, ApiError> {
        let auths = auths(call.header(CONFIG_HEADER));
        let secrets = secrets(call.header(SECRETS_HEADER))?;
        let mut passed: Vec<Option<OwnedFd>> = call.take_passed().into_iter().map(Some).collect();
        let mut take = |index: &str| {
            let fd = index.parse::<usize>().ok().and_then(|index| passed.get_mut(index)?.take());
            fd.ok_or_else(|| {
                ApiError::invalid("no descriptor came with the request: the engine is not on this host, or serves another user")
            })
        };
        let own = call.query.flag("teu");
        let opened = (call.query.text("context") == "fd").then(|| take("0")).transpose()?;
        let mut agents = BTreeMap::new();
        for (id, index) in json_map::<String>(&call, "agents")? {
            agents.insert(id, Arc::new(take(&index)?));
        }
        let directory = Directory(self.builder.work());
        let (mut contexts, mut named) = (BTreeMap::new(), BTreeMap::new());
        for (number, (name, text)) in json_map::<String>(&call, "contexts")?.into_iter().enumerate() {
            let place = match text.split_once(':') {
                Some(("docker-image", image)) => {
                    contexts.insert(name, Named::Image(image.trim_start_matches('/').to_owned()));
                    continue;
                }
                Some(("fd", index)) => Place::Opened(take(index)?),
                Some(("tar", folder)) if folder.parse::<u32>().is_ok() => Place::Directory(directory.0.join("named").join(folder)),
                _ => Place::Remote { url: text, into: directory.0.join(format!("remote-{number}")) },
            };
            contexts.insert(name.clone(), Named::Files);
            named.insert(name, place);
        }
        let url = call.query.text("remote").to_owned();
        let files = directory.0.join("files");
        let (upload, into) = (Upload::new(call.into_body()), files.clone());
        let fetched = if url.is_empty() {
            blocking(move || unpack(&into, upload, own)).await??;
            files.clone()
        } else {
            sources::remote(self, &url, &directory.0.join("remote")).await.map_err(ApiError::invalid)?
        };
        let (remote, home) = (!url.is_empty(), directory.0.clone());
        let (bytes, ignore) = blocking(move || read(&home, &fetched, &dockerfile, own && !remote).map(|read| (read, fetched)))
            .await?
            .map(|((bytes, ignore), fetched)| ((bytes, fetched), ignore))?;
        let (dockerfile, fetched) = bytes;
        let context = opened.map_or(Place::Directory(fetched), Place::Opened);
        let given = Given { app: self.clone(), auths, context, named, secrets, agents };
        Ok(Input { directory, dockerfile, ignore, contexts, given })
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
        let filters = call.query.filters()?;
        filters.only(&["until", "unused-for"])?;
        let until = match filters.get("until").first().or(filters.get("unused-for").first()) {
            Some(text) => crate::time::moment(text)?,
            None => None,
        };
        let before = until.map(|seconds| u64::try_from(seconds).unwrap_or_default());
        let builder = Arc::clone(&self.builder);
        let all = call.query.flag("all");
        let pruned = blocking(move || builder.prune(before, all)).await?.map_err(|cause| ApiError::internal(cause.to_string()))?;
        let report = json!({"CachesDeleted": pruned.entries, "SpaceReclaimed": pruned.reclaimed});
        Ok(reply::json(StatusCode::OK, &report))
    }
}

/// What a build starts from.
struct Input {
    directory: Directory,
    dockerfile: Vec<u8>,
    ignore: Ignore,
    contexts: BTreeMap<String, Named>,
    given: Given,
}

fn given_or(call: &Call, name: &str, default: &str) -> String {
    match call.query.text(name) {
        "" => default.to_owned(),
        text => text.to_owned(),
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

/// Unpacks the context. What our client sends beside it stands in folders of its own.
fn unpack(files: &Path, upload: Upload, own: bool) -> Result<(), ApiError> {
    let failed = |cause: std::io::Error| ApiError::internal(format!("cannot unpack the context: {cause}"));
    std::fs::create_dir_all(files).map_err(failed)?;
    let plain = image::sniffing(upload).map_err(|cause| ApiError::invalid(format!("the context is no archive: {cause}")))?;
    extract_into(files, plain).map_err(|cause| ApiError::invalid(format!("cannot unpack the context: {cause}")))?;
    let (beside, named) = (files.join(NAMED), files.with_file_name("named"));
    if own && beside.exists() {
        std::fs::rename(beside, named).map_err(failed)?;
    }
    Ok(())
}

fn extract_into(directory: &Path, plain: impl std::io::Read) -> Result<(), String> {
    let root: OwnedFd = std::fs::File::open(directory).map_err(|cause| cause.to_string())?.into();
    let options = ExtractOptions { folder: "/".to_owned(), keep_kinds: false, owner: Owner::Caller, rename: None };
    extract(&Tree::of_container(root), &options, plain).map(drop).map_err(|cause| cause.to_string())
}

/// Reads the Dockerfile and what is ignored; those that our client sent beside the context are taken out of it.
fn read(home: &Path, files: &Path, dockerfile: &str, own: bool) -> Result<(Vec<u8>, Ignore), ApiError> {
    use std::io::Read as _;
    let failed = |cause: std::io::Error| ApiError::internal(format!("cannot read the context in {}: {cause}", home.display()));
    let root: OwnedFd = std::fs::File::open(files).map_err(failed)?.into();
    let tree = Tree::of_container(root);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let text = |name: &str| -> Option<std::io::Result<Vec<u8>>> {
        let file = tree.open(name.as_bytes(), flags).ok()?;
        let mut bytes = Vec::new();
        Some(std::fs::File::from(file).take(DOCKERFILE_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes))
    };
    let missing = || ApiError::invalid(format!("Cannot locate specified Dockerfile: {dockerfile}"));
    let bytes = text(dockerfile).ok_or_else(missing)?.map_err(failed)?;
    let ignore = if own { text(IGNORE) } else { text(&format!("{dockerfile}.dockerignore")).or_else(|| text(".dockerignore")) };
    let ignore = ignore.transpose().map_err(failed)?.unwrap_or_default();
    if own {
        std::fs::remove_file(files.join(dockerfile)).map_err(failed)?;
        // There is none where nothing is ignored.
        let _ = std::fs::remove_file(files.join(IGNORE));
    }
    Ok((bytes, Ignore::parse(&String::from_utf8_lossy(&ignore))))
}

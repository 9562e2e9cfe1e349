//! From a method and a path to a route.
//!
//! Names may hold slashes and colons, raw or escaped, so a route is found by its
//! first word and its last ones.
//! **Source:** moby, `api/server/router/*`.

use crate::ApiError;
use crate::query::percent_decode;
use docker_api::version::{API_VERSION_MAX, API_VERSION_MIN, ApiVersion};
use http::{Method, StatusCode};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `GET` or `HEAD /_ping`.
    Ping,
    /// `GET /version`.
    Version,
    /// `GET /info`.
    Info,
    /// `GET /events`.
    Events,
    /// `GET /system/df`.
    DiskUsage,
    /// `POST /auth`.
    Auth,
    /// `GET /distribution/{name}/json`.
    Distribution(String),
    /// `GET /teu/manifests/{name}`.
    ManifestGet(String),
    /// `PUT /teu/manifests/{name}`.
    ManifestPut(String),
    /// `POST /teu/run`.
    Run,
    /// `GET /teu/why/{name}`.
    Why(String),
    /// `POST /teu/layers`.
    KnownLayers,
    /// `POST /teu/images/verify`.
    ImageVerify,
    /// `GET /teu/images/{name}/explore`.
    ImageExplore(String),
    /// `POST /build`.
    Build,
    /// `POST /build/prune`.
    BuildPrune,
    /// `POST /build/cancel`.
    BuildCancel,
    /// `POST /grpc`.
    Grpc,
    /// `POST /session`.
    Session,
    /// `POST /commit`.
    Commit,
    /// `GET /containers/json`.
    ContainerList,
    /// `POST /containers/create`.
    ContainerCreate,
    /// `POST /containers/prune`.
    ContainerPrune,
    /// An act on one container.
    Container(ContainerVerb, String),
    /// `POST /exec/{id}/start`.
    ExecStart(String),
    /// `POST /exec/{id}/resize`.
    ExecResize(String),
    /// `GET /exec/{id}/json`.
    ExecInspect(String),
    /// `GET /images/json`.
    ImageList,
    /// `POST /images/load`.
    ImageLoad,
    /// `POST /images/create`.
    ImageCreate,
    /// `POST /images/prune`.
    ImagePrune,
    /// `GET /images/search`.
    ImageSearch,
    /// `GET /images/get` or `/images/{name}/get`.
    ImageSave(Option<String>),
    /// `GET /images/{name}/json`.
    ImageInspect(String),
    /// `GET /images/{name}/history`.
    ImageHistory(String),
    /// `POST /images/{name}/tag`.
    ImageTag(String),
    /// `POST /images/{name}/push`.
    ImagePush(String),
    /// `DELETE /images/{name}`.
    ImageRemove(String),
    /// `GET /networks`.
    NetworkList,
    /// `POST /networks/create`.
    NetworkCreate,
    /// `POST /networks/prune`.
    NetworkPrune,
    /// `GET /networks/{name}`.
    NetworkInspect(String),
    /// `DELETE /networks/{name}`.
    NetworkRemove(String),
    /// `POST /networks/{name}/connect`.
    NetworkConnect(String),
    /// `POST /networks/{name}/disconnect`.
    NetworkDisconnect(String),
    /// `/teu/policies…` and `/teu/paths`.
    Policy(PolicyAct),
    /// `GET /volumes`.
    VolumeList,
    /// `POST /volumes/create`.
    VolumeCreate,
    /// `POST /volumes/prune`.
    VolumePrune,
    /// `GET /volumes/{name}`.
    VolumeInspect(String),
    /// `DELETE /volumes/{name}`.
    VolumeRemove(String),
    /// `PUT /volumes/{name}`.
    VolumeUpdate,
    /// `GET /volumes/{name}/export`, ours.
    VolumeExport(String),
    /// `PUT /volumes/{name}/import`, ours.
    VolumeImport(String),
    /// `POST /volumes/{name}/copy`, ours.
    VolumeCopy(String),
    /// `GET /volumes/{name}/usage`, ours.
    VolumeUsage(String),
    /// `GET /plugins`.
    PluginList,
    /// Any other route of plugins.
    Plugin(String),
    /// A route of swarm mode.
    Swarm,
}

/// What is done with network policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyAct {
    /// `GET /teu/policies`.
    List,
    /// `POST /teu/policies`, or `PUT /teu/policies/{name}` to replace.
    Put(Option<String>),
    /// `GET /teu/policies/{name}`.
    Inspect(String),
    /// `DELETE /teu/policies/{name}`.
    Remove(String),
    /// `POST /teu/policies/test`.
    Test,
    /// `GET /teu/paths`.
    Paths,
}

/// What is done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the last word of its path")]
pub enum ContainerVerb {
    Inspect,
    Top,
    Logs,
    Changes,
    Export,
    Stats,
    ArchiveStat,
    ArchiveGet,
    ArchivePut,
    Start,
    Stop,
    Restart,
    Kill,
    Pause,
    Unpause,
    Wait,
    Resize,
    Attach,
    AttachWebSocket,
    Exec,
    Rename,
    Update,
    Remove,
}

/// Splits a path into the version, if it has one, and the rest, decoded.
///
/// # Errors
/// 400 for a version that is not spoken, in Docker's words.
pub fn split_version(path: &str) -> Result<(ApiVersion, String), ApiError> {
    let path = percent_decode(path, false);
    let version = path
        .strip_prefix("/v")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(version, rest)| Some((version.parse::<ApiVersion>().ok()?, rest)));
    let Some((version, rest)) = version else {
        return Ok((API_VERSION_MAX, path));
    };
    if version > API_VERSION_MAX {
        return Err(ApiError::invalid(format!("client version {version} is too new. Maximum supported API version is {API_VERSION_MAX}")));
    }
    if version < API_VERSION_MIN {
        return Err(ApiError::invalid(format!(
            "client version {version} is too old. Minimum supported API version is \
             {API_VERSION_MIN}, please upgrade your client to a newer version"
        )));
    }
    Ok((version, format!("/{rest}")))
}

/// Finds the route of a method and a path without its version.
///
/// # Errors
/// 404 `page not found`, also for a wrong method.
pub fn find(method: &Method, path: &str) -> Result<Route, ApiError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (area, rest) = path.split_once('/').unwrap_or((path, ""));
    let word = method_word(method);
    let found = match area {
        "containers" => containers(word, rest),
        "exec" => exec(word, rest),
        "images" => images(word, rest),
        "networks" => networks(word, rest),
        "volumes" => volumes(word, rest),
        "teu" if rest == "paths" || rest == "policies" || rest.starts_with("policies/") => policies(word, rest),
        "teu" if method == Method::GET => own(rest).or_else(|| single(word, path)),
        "teu" if rest == "images/verify" && method == Method::POST => Some(Route::ImageVerify),
        _ => single(word, path),
    };
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "page not found"))
}

/// What Docker has not.
fn own(path: &str) -> Option<Route> {
    if let Some(name) = path.strip_prefix("images/").and_then(|rest| rest.strip_suffix("/explore")) {
        return Some(Route::ImageExplore(name.to_owned()));
    }
    path.strip_prefix("why/").map(|name| Route::Why(name.to_owned()))
}

/// Network policies.
fn policies(method: &str, rest: &str) -> Option<Route> {
    let name = rest.strip_prefix("policies/").filter(|name| !name.is_empty() && !name.contains('/'));
    Some(Route::Policy(match (method, rest, name) {
        ("GET", "paths", _) => PolicyAct::Paths,
        ("GET", "policies", _) => PolicyAct::List,
        ("POST", "policies", _) => PolicyAct::Put(None),
        ("POST", "policies/test", _) => PolicyAct::Test,
        ("GET", _, Some(name)) => PolicyAct::Inspect(name.to_owned()),
        ("PUT", _, Some(name)) => PolicyAct::Put(Some(name.to_owned())),
        ("DELETE", _, Some(name)) => PolicyAct::Remove(name.to_owned()),
        _ => return None,
    }))
}

fn method_word(method: &Method) -> &str {
    method.as_str()
}

fn single(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("GET" | "HEAD", "_ping") => Route::Ping,
        ("GET", "version") => Route::Version,
        ("GET", "info") => Route::Info,
        ("GET", "events") => Route::Events,
        ("GET", "system/df") => Route::DiskUsage,
        ("POST", "auth") => Route::Auth,
        ("POST", "teu/run") => Route::Run,
        ("POST", "teu/layers") => Route::KnownLayers,
        ("POST", "commit") => Route::Commit,
        ("POST", "build" | "teu/build") => Route::Build,
        ("POST", "build/prune") => Route::BuildPrune,
        ("POST", "build/cancel") => Route::BuildCancel,
        ("POST", "grpc") => Route::Grpc,
        ("POST", "session") => Route::Session,
        ("GET", "plugins") => Route::PluginList,
        ("GET", path) if path.starts_with("distribution/") => {
            let name = path.strip_prefix("distribution/")?.strip_suffix("/json")?;
            Route::Distribution(name.to_owned())
        }
        ("GET", path) if path.starts_with("teu/manifests/") => Route::ManifestGet(path.strip_prefix("teu/manifests/")?.to_owned()),
        ("PUT", path) if path.starts_with("teu/manifests/") => Route::ManifestPut(path.strip_prefix("teu/manifests/")?.to_owned()),
        (_, path) if path.starts_with("plugins/") => {
            let name = path.split('/').nth(1).unwrap_or("");
            Route::Plugin(name.to_owned())
        }
        _ => {
            let area = path.split('/').next().unwrap_or("");
            let known = ["swarm", "services", "tasks", "nodes", "secrets", "configs"];
            return known.contains(&area).then_some(Route::Swarm);
        }
    })
}

/// Splits `name/verb` at the last slash.
fn name_and_verb(rest: &str) -> Option<(&str, &str)> {
    rest.rsplit_once('/').filter(|(name, verb)| !name.is_empty() && !verb.is_empty())
}

fn containers(method: &str, rest: &str) -> Option<Route> {
    use ContainerVerb as Verb;
    match (method, rest) {
        ("GET", "json" | "ps") => return Some(Route::ContainerList),
        ("POST", "create") => return Some(Route::ContainerCreate),
        ("POST", "prune") => return Some(Route::ContainerPrune),
        ("DELETE", name) if !name.is_empty() => {
            return Some(Route::Container(Verb::Remove, name.to_owned()));
        }
        _ => {}
    }
    if method == "GET"
        && let Some(name) = rest.strip_suffix("/attach/ws").filter(|name| !name.is_empty())
    {
        return Some(Route::Container(Verb::AttachWebSocket, name.to_owned()));
    }
    let (name, verb) = name_and_verb(rest)?;
    let verb = match (method, verb) {
        ("GET", "json") => Verb::Inspect,
        ("GET", "top") => Verb::Top,
        ("GET", "logs") => Verb::Logs,
        ("GET", "changes") => Verb::Changes,
        ("GET", "export") => Verb::Export,
        ("GET", "stats") => Verb::Stats,
        ("HEAD", "archive") => Verb::ArchiveStat,
        ("GET", "archive") => Verb::ArchiveGet,
        ("PUT", "archive") => Verb::ArchivePut,
        ("POST", "start") => Verb::Start,
        ("POST", "stop") => Verb::Stop,
        ("POST", "restart") => Verb::Restart,
        ("POST", "kill") => Verb::Kill,
        ("POST", "pause") => Verb::Pause,
        ("POST", "unpause") => Verb::Unpause,
        ("POST", "wait") => Verb::Wait,
        ("POST", "resize") => Verb::Resize,
        ("POST", "attach") => Verb::Attach,
        ("POST", "exec") => Verb::Exec,
        ("POST", "rename") => Verb::Rename,
        ("POST", "update") => Verb::Update,
        _ => return None,
    };
    Some(Route::Container(verb, name.to_owned()))
}

fn exec(method: &str, rest: &str) -> Option<Route> {
    let (id, verb) = name_and_verb(rest)?;
    let id = id.to_owned();
    match (method, verb) {
        ("POST", "start") => Some(Route::ExecStart(id)),
        ("POST", "resize") => Some(Route::ExecResize(id)),
        ("GET", "json") => Some(Route::ExecInspect(id)),
        _ => None,
    }
}

fn images(method: &str, rest: &str) -> Option<Route> {
    match (method, rest) {
        ("GET", "json") => return Some(Route::ImageList),
        ("GET", "get") => return Some(Route::ImageSave(None)),
        ("GET", "search") => return Some(Route::ImageSearch),
        ("POST", "load") => return Some(Route::ImageLoad),
        ("POST", "create") => return Some(Route::ImageCreate),
        ("POST", "prune") => return Some(Route::ImagePrune),
        ("DELETE", name) if !name.is_empty() => return Some(Route::ImageRemove(name.to_owned())),
        _ => {}
    }
    let (name, verb) = name_and_verb(rest)?;
    let name = name.to_owned();
    match (method, verb) {
        ("GET", "json") => Some(Route::ImageInspect(name)),
        ("GET", "history") => Some(Route::ImageHistory(name)),
        ("GET", "get") => Some(Route::ImageSave(Some(name))),
        ("POST", "tag") => Some(Route::ImageTag(name)),
        ("POST", "push") => Some(Route::ImagePush(name)),
        _ => None,
    }
}

fn networks(method: &str, rest: &str) -> Option<Route> {
    match (method, rest) {
        ("GET", "") => return Some(Route::NetworkList),
        ("POST", "create") => return Some(Route::NetworkCreate),
        ("POST", "prune") => return Some(Route::NetworkPrune),
        ("GET", name) => return Some(Route::NetworkInspect(name.to_owned())),
        ("DELETE", name) if !name.is_empty() => {
            return Some(Route::NetworkRemove(name.to_owned()));
        }
        _ => {}
    }
    let (name, verb) = name_and_verb(rest)?;
    match (method, verb) {
        ("POST", "connect") => Some(Route::NetworkConnect(name.to_owned())),
        ("POST", "disconnect") => Some(Route::NetworkDisconnect(name.to_owned())),
        _ => None,
    }
}

fn volumes(method: &str, rest: &str) -> Option<Route> {
    match (method, rest) {
        ("GET", "") => Some(Route::VolumeList),
        ("POST", "create") => Some(Route::VolumeCreate),
        ("POST", "prune") => Some(Route::VolumePrune),
        ("GET", name) if name.ends_with("/export") => Some(Route::VolumeExport(name.trim_end_matches("/export").to_owned())),
        ("GET", name) if name.ends_with("/usage") => Some(Route::VolumeUsage(name.trim_end_matches("/usage").to_owned())),
        ("PUT", name) if name.ends_with("/import") => Some(Route::VolumeImport(name.trim_end_matches("/import").to_owned())),
        ("POST", name) if name.ends_with("/copy") => Some(Route::VolumeCopy(name.trim_end_matches("/copy").to_owned())),
        ("PUT", name) if !name.is_empty() => Some(Route::VolumeUpdate),
        ("GET", name) => Some(Route::VolumeInspect(name.to_owned())),
        ("DELETE", name) if !name.is_empty() => Some(Route::VolumeRemove(name.to_owned())),
        _ => None,
    }
}

//! The options of the front end `dockerfile.v0` as a request of the builder.
//!
//! **Source:** moby/buildkit, `frontend/dockerui/attr.go` and `config.go`.

use std::collections::{BTreeMap, HashMap};

use builder::{Named, Request};
use buildkit::{Ask, Status};
use docker_api::types::{HostConfig, Ulimit};

use super::prefixed;
use crate::convert::host;
use crate::images;

/// What a client asks for, beside the request itself.
pub(super) struct Options {
    pub(super) request: Request,
    /// The Dockerfile's path.
    pub(super) file: String,
    /// The client's name of the directory with the Dockerfile, and of the context.
    pub(super) directories: (String, String),
    /// Where the context is, if it is no directory of the client.
    pub(super) context: Option<String>,
    /// The client's names of directories by the names of contexts.
    pub(super) locals: BTreeMap<String, String>,
    /// Sessions that hold directories, by the client's names of these.
    pub(super) sessions: BTreeMap<String, String>,
    /// What is asked for instead of an image, such as `frontend.lint`.
    pub(super) question: Option<String>,
}

/// Front ends that read Dockerfiles; all do here what the built-in one does.
fn reads_dockerfiles(ask: &Ask) -> bool {
    let image = ask.options.get("source").map_or("", String::as_str);
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let named = image.split([':', '@']).next().unwrap_or_default();
    ask.frontend == "dockerfile.v0" || (ask.frontend == "gateway.v0" && matches!(named, "docker/dockerfile" | "docker/dockerfile-upstream"))
}

pub(super) fn parse(ask: &Ask) -> Result<Options, Status> {
    let options = &ask.options;
    if !reads_dockerfiles(ask) {
        let name = options.get("source").unwrap_or(&ask.frontend);
        return Err(Status::unimplemented(format!("the front end {name} is not served: this engine builds Dockerfiles only")));
    }
    let get = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let or = |name: &str, default: &str| get(name).unwrap_or(default).to_owned();
    let mut contexts = BTreeMap::new();
    let mut locals = BTreeMap::new();
    for (name, value) in prefixed(options, "context:") {
        // One name for each platform: `name::platform`.
        let name = name.split("::").next().unwrap_or_default().to_owned();
        contexts.insert(name.clone(), named(&name, &value, &ask.inputs, &mut locals)?);
    }
    let request = Request {
        target: get("target").map(str::to_owned),
        arguments: prefixed(options, "build-arg:").into_iter().map(|(name, value)| (name, Some(value))).collect(),
        labels: prefixed(options, "label:"),
        no_cache: options.contains_key("no-cache"),
        pull: get("image-resolve-mode") == Some("pull"),
        platform: images::platform(&or("platform", "")).map_err(|cause| Status::invalid_argument(cause.message))?,
        host: host::parse(container(options)?).map_err(|cause| Status::invalid_argument(cause.message))?,
        contexts,
        ..Request::default()
    };
    Ok(Options {
        request,
        file: or("filename", "Dockerfile"),
        directories: (or("dockerfilekey", "dockerfile"), or("contextkey", "context")),
        context: get("context").map(str::to_owned),
        locals,
        sessions: prefixed(options, "local-sessionid:"),
        question: get("requestid").map(str::to_owned),
    })
}

/// What a context's address stands for.
fn named(name: &str, value: &str, inputs: &HashMap<String, String>, locals: &mut BTreeMap<String, String>) -> Result<Named, Status> {
    let (scheme, rest) = value.split_once(':').unwrap_or(("", value));
    match scheme {
        "docker-image" => Ok(Named::Image(rest.trim_start_matches("//").to_owned())),
        "local" => {
            locals.insert(name.to_owned(), rest.trim_start_matches("//").to_owned());
            Ok(Named::Files)
        }
        "input" => inputs
            .get(rest)
            .map(|image| Named::Image(image.clone()))
            .ok_or_else(|| Status::invalid_argument(format!("invalid input {rest} for {name}"))),
        _ => Err(Status::unimplemented(format!(
            "the context {name}={value} is not served: give a directory, docker-image:// or another target"
        ))),
    }
}

/// What `RUN` gets.
fn container(options: &HashMap<String, String>) -> Result<HostConfig, Status> {
    let get = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let number = |name: &str| match get(name) {
        None => Ok(0),
        Some(text) => text.parse::<i64>().map_err(|_| Status::invalid_argument(format!("invalid {name}: {text}"))),
    };
    let network = match get("force-network-mode") {
        None | Some("default" | "sandbox") => "default",
        Some(mode) => mode,
    };
    let hosts = get("add-hosts").unwrap_or_default().split(',').filter(|entry| !entry.is_empty());
    let ulimits =
        get("ulimit").unwrap_or_default().split(',').filter(|entry| !entry.is_empty()).map(ulimit).collect::<Result<Vec<_>, _>>()?;
    Ok(HostConfig {
        network_mode: network.to_owned(),
        extra_hosts: Some(hosts.map(|entry| entry.replacen('=', ":", 1)).collect()),
        shm_size: number("shm-size")?,
        memory: number("memory")?,
        memory_swap: number("memswap")?,
        cpu_shares: number("cpushares")?,
        cpu_period: number("cpuperiod")?,
        cpu_quota: number("cpuquota")?,
        cpuset_cpus: get("cpusetcpus").unwrap_or_default().to_owned(),
        cpuset_mems: get("cpusetmems").unwrap_or_default().to_owned(),
        cgroup_parent: get("cgroup-parent").unwrap_or_default().to_owned(),
        ulimits: Some(ulimits).filter(|all| !all.is_empty()),
        ..HostConfig::default()
    })
}

/// `name=soft[:hard]`.
fn ulimit(text: &str) -> Result<Ulimit, Status> {
    let parsed = || {
        let (name, values) = text.split_once('=')?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        Some(Ulimit { name: name.to_owned(), soft: soft.parse().ok()?, hard: hard.parse().ok()? })
    };
    parsed().ok_or_else(|| Status::invalid_argument(format!("invalid ulimit: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(options: &[(&str, &str)]) -> Ask {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ask { frontend: "dockerfile.v0".to_owned(), options, ..Ask::default() }
    }

    #[test]
    fn options_of_a_client_become_a_request() {
        let ask = ask(&[
            ("build-arg:A", "1"),
            ("label:l", "x=y"),
            ("target", "t"),
            ("no-cache", ""),
            ("image-resolve-mode", "pull"),
            ("add-hosts", "a=10.0.0.1,b=::1"),
            ("context:base", "docker-image://alpine:3"),
            ("context:src", "local:src"),
            ("local-sessionid:src", "s1"),
            ("filename", "d/Dockerfile"),
            ("ulimit", "nofile=1024:2048"),
        ]);
        let options = parse(&ask).unwrap();
        assert_eq!(options.request.arguments["A"].as_deref(), Some("1"));
        assert_eq!(options.request.labels["l"], "x=y");
        assert!(options.request.no_cache && options.request.pull);
        assert_eq!(options.request.contexts["base"], Named::Image("alpine:3".to_owned()));
        assert_eq!((options.request.contexts["src"].clone(), options.locals["src"].as_str()), (Named::Files, "src"));
        assert_eq!(options.sessions["src"], "s1");
        assert_eq!(options.file, "d/Dockerfile");
        assert_eq!(options.request.host.extra_hosts.len(), 2);
    }

    #[test]
    fn other_front_ends_are_refused_by_name() {
        let other = Ask { frontend: "gateway.v0".to_owned(), ..ask(&[("source", "tonistiigi/buildkit.dockerfile:x")]) };
        assert!(parse(&other).err().unwrap().message().contains("tonistiigi/buildkit.dockerfile:x"));
        let same = Ask { frontend: "gateway.v0".to_owned(), ..ask(&[("source", "docker.io/docker/dockerfile:1")]) };
        assert!(parse(&same).is_ok());
        assert!(parse(&ask(&[("context:x", "oci-layout://y")])).is_err());
        assert!(parse(&ask(&[("shm-size", "a")])).is_err());
    }
}

//! From a service's canonical form to the body of `POST /containers/create`, as Docker Compose fills it.
//!
//! **Source:** docker/compose, `pkg/compose/create.go`.

mod host;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::desired::{Condition, Desired, Service, text, texts};
use crate::labels;
use crate::plan::Replaced;

pub use host::{duration, size};
pub(crate) use host::{mode, target};

/// What is asked for beside the service.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// Number of the container.
    pub number: usize,
    /// What it replaces.
    pub replaces: Option<&'a Replaced>,
    /// For `run`: its slug, and what its words change.
    pub oneoff: Option<OneOff>,
    /// Ids of the containers of services whose namespaces or volumes are shared.
    pub shared: BTreeMap<String, String>,
}

/// A container of `run`.
#[derive(Clone, Debug, Default)]
pub struct OneOff {
    /// Random digits that tell it from others.
    pub slug: String,
    /// Whether it answers to the service's names.
    pub use_aliases: bool,
    /// Whether the engine removes it at its end.
    pub remove: bool,
    /// Whether standard input is attached.
    pub stdin: bool,
}

/// Name of a service's container.
#[must_use]
pub fn container_name(project: &Desired, service: &Service, number: usize) -> String {
    match text(&service.config, "container_name") {
        "" => format!("{}-{}-{number}", project.name, service.name),
        name => name.to_owned(),
    }
}

/// The labels of a container.
fn labels(project: &Desired, service: &Service, wish: &Wish<'_>) -> Map<String, Value> {
    let mut all = service.config.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut set = |name: &str, value: String| drop(all.insert(name.to_owned(), value.into()));
    let needs = service.needs(project);
    let word = |condition| match condition {
        Condition::Started | Condition::Ready => "service_started",
        Condition::Healthy => "service_healthy",
        Condition::Completed => "service_completed_successfully",
    };
    let needs: Vec<String> = needs.iter().map(|(name, need)| format!("{name}:{}:{}", word(need.condition), need.restart)).collect();
    set(labels::PROJECT, project.name.clone());
    set(labels::SERVICE, service.name.clone());
    set(labels::VERSION, labels::COMPOSE_VERSION.to_owned());
    set(labels::WORKING_DIR, project.origin.working_dir.clone());
    set(labels::CONFIG_FILES, project.origin.config_files.join(","));
    if !project.origin.environment_files.is_empty() {
        set(labels::ENVIRONMENT_FILE, project.origin.environment_files.join(","));
    }
    set(labels::DEPENDS_ON, needs.join(","));
    set(labels::IMAGE, service.image_id.clone());
    match &wish.oneoff {
        Some(oneoff) => {
            set(labels::ONEOFF, "True".to_owned());
            set(labels::SLUG, oneoff.slug.clone());
        }
        None => {
            set(labels::ONEOFF, "False".to_owned());
            set(labels::NUMBER, wish.number.to_string());
        }
    }
    set(labels::HASH, service.hash.clone());
    set(labels::CONFIG, service.config.to_string());
    if let Some(old) = wish.replaces {
        set(labels::REPLACE, old.id.clone());
    }
    all
}

/// The body of the request that makes a container.
#[must_use]
pub fn body(project: &Desired, service: &Service, wish: &Wish<'_>) -> Value {
    let config = &service.config;
    let flag = |field: &str| config.get(field).and_then(Value::as_bool).unwrap_or_default();
    let copy = |field: &str| config.get(field).cloned().unwrap_or(Value::Null);
    let (exposed, bindings) = host::ports(config);
    let stdin = wish.oneoff.as_ref().map_or_else(|| flag("stdin_open"), |oneoff| oneoff.stdin);
    let mut body = json!({
        "Image": service.image(&project.name),
        "Hostname": text(config, "hostname"),
        "Domainname": text(config, "domainname"),
        "User": text(config, "user"),
        "WorkingDir": text(config, "working_dir"),
        "Cmd": copy("command"),
        "Entrypoint": copy("entrypoint"),
        "Env": environment(config),
        "Tty": flag("tty"),
        "OpenStdin": stdin,
        "StdinOnce": stdin && wish.oneoff.is_some(),
        "AttachStdin": stdin && wish.oneoff.is_some(),
        "AttachStdout": true,
        "AttachStderr": true,
        "StopSignal": text(config, "stop_signal"),
        "ExposedPorts": exposed,
        "Labels": labels(project, service, wish),
        "HostConfig": host::host_config(project, service, bindings, wish),
        "NetworkingConfig": {"EndpointsConfig": endpoints(project, service, wish)},
    });
    if let Some(seconds) = config.get("stop_grace_period").and_then(Value::as_str).and_then(duration) {
        body["StopTimeout"] = (seconds / 1_000_000_000).into();
    }
    if let Some(address) = config.get("mac_address").and_then(Value::as_str) {
        body["MacAddress"] = address.into();
    }
    if let Some(check) = config.get("healthcheck").filter(|check| check.is_object()) {
        body["Healthcheck"] = health(check);
    }
    let anonymous = host::anonymous_volumes(config);
    if !anonymous.is_empty() {
        body["Volumes"] = anonymous.into_iter().map(|place| (place, json!({}))).collect::<Map<_, _>>().into();
    }
    body
}

/// `A=b` for each variable; one without a value is the engine's to leave out.
fn environment(config: &Value) -> Vec<String> {
    let variables = config.get("environment").and_then(Value::as_object).into_iter().flatten();
    variables
        .map(|(name, value)| match value {
            Value::Null => name.clone(),
            Value::String(value) => format!("{name}={value}"),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => format!("{name}={other}"),
        })
        .collect()
}

fn health(check: &Value) -> Value {
    if check.get("disable").and_then(Value::as_bool) == Some(true) {
        return json!({"Test": ["NONE"]});
    }
    let time = |field: &str| text_duration(check, field);
    let test = match check.get("test") {
        Some(Value::String(line)) => json!(["CMD-SHELL", line]),
        Some(list) => list.clone(),
        None => json!([]),
    };
    json!({
        "Test": test,
        "Interval": time("interval"),
        "Timeout": time("timeout"),
        "StartPeriod": time("start_period"),
        "StartInterval": time("start_interval"),
        "Retries": check.get("retries").and_then(Value::as_i64).unwrap_or_default(),
    })
}

fn text_duration(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_str).and_then(duration).unwrap_or_default()
}

/// Networks of a service in the order of their priority, the most important first.
pub(crate) fn networks_by_priority(service: &Service) -> Vec<String> {
    let priority =
        |key: &String| service.config.pointer(&format!("/networks/{}/priority", pointer(key))).and_then(Value::as_i64).unwrap_or_default();
    let mut keys = service.networks();
    keys.sort_by_key(|key| (-priority(key), key.clone()));
    keys
}

/// A key inside a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn endpoints(project: &Desired, service: &Service, wish: &Wish<'_>) -> Map<String, Value> {
    let mut endpoints = Map::new();
    for key in networks_by_priority(service) {
        let Some(network) = project.networks.get(&key) else { continue };
        let own = service.config.pointer(&format!("/networks/{}", pointer(&key))).cloned().unwrap_or(Value::Null);
        let mut aliases: Vec<String> = Vec::new();
        let answers = wish.oneoff.as_ref().is_none_or(|oneoff| oneoff.use_aliases);
        if wish.oneoff.is_none() {
            aliases.push(container_name(project, service, wish.number));
        }
        if answers {
            aliases.push(service.name.clone());
            aliases.extend(texts(&own, "aliases").map(str::to_owned));
        }
        let links = service.config.get("links").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let links: Vec<String> = links.chain(texts(&service.config, "external_links")).map(|link| link_of(project, link)).collect();
        let mut endpoint = json!({"Aliases": aliases});
        let mut addresses = Map::new();
        for (field, name) in [("ipv4_address", "IPv4Address"), ("ipv6_address", "IPv6Address")] {
            if let Some(address) = own.get(field).filter(|address| address.is_string()) {
                addresses.insert(name.to_owned(), address.clone());
            }
        }
        if let Some(list) = own.get("link_local_ips").filter(|list| list.is_array()) {
            addresses.insert("LinkLocalIPs".to_owned(), list.clone());
        }
        if !addresses.is_empty() {
            endpoint["IPAMConfig"] = addresses.into();
        }
        if !links.is_empty() {
            endpoint["Links"] = json!(links);
        }
        for (field, name) in [("mac_address", "MacAddress"), ("gw_priority", "GwPriority")] {
            if let Some(value) = own.get(field).filter(|value| !value.is_null()) {
                endpoint[name] = value.clone();
            }
        }
        let mut options = own.get("driver_opts").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(name) = own.get("interface_name").filter(|name| name.is_string()) {
            options.insert("com.docker.network.endpoint.ifname".to_owned(), name.clone());
        }
        if !options.is_empty() {
            endpoint["DriverOpts"] = options.into();
        }
        endpoints.insert(network.name.clone(), endpoint);
    }
    endpoints
}

/// `service:alias` as the engine takes it: the name of a container, and what it is called.
fn link_of(project: &Desired, link: &str) -> String {
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    match project.services.get(name) {
        Some(service) => format!("{}:{alias}", container_name(project, service, 1)),
        None => format!("{name}:{alias}"),
    }
}

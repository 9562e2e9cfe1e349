//! Containers, execs and events as the API shows them.

use super::show;
use crate::time;
use docker_api::types::{
    ContainerInspect, ContainerState, ContainerSummary, Event, EventActor, ExecInspect, ExecProcessConfig, GraphDriver, Health,
    HealthcheckResult, MountPoint, NetworkEndpoint, NetworkSettings, Port, PortBinding, SummaryHostConfig, SummaryNetworkSettings,
    TIME_ZERO,
};
use docker_api::version::ApiVersion;
use engine::{Container, Endpoint, ExecView, HealthStatus, Status};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

fn nanos(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}

fn moment(unix: Option<u64>) -> String {
    unix.map_or_else(|| TIME_ZERO.to_owned(), |unix| time::rfc3339(nanos(unix)))
}

/// Writes a row of a list.
pub(crate) fn summary(container: &Container, now: SystemTime) -> ContainerSummary {
    ContainerSummary {
        id: container.id.to_string(),
        names: vec![format!("/{}", container.name)],
        image: container.spec.config.image.clone(),
        image_id: container.image_id.to_string(),
        command: command(container),
        created: nanos(container.created_at) / 1_000_000_000,
        ports: ports(container),
        size_rw: None,
        size_root_fs: None,
        labels: container.spec.config.labels.clone(),
        state: container.status.name().to_owned(),
        status: status_text(container, now),
        host_config: SummaryHostConfig {
            network_mode: show::network_mode(&container.spec.host.network_mode),
            annotations: container.spec.host.annotations.clone(),
        },
        network_settings: SummaryNetworkSettings { networks: networks(container) },
        mounts: container.mounts.iter().map(mount_point).collect(),
    }
}

/// What a list shows of a container whose record cannot be read.
pub(crate) fn damaged(damaged: &engine::Damaged) -> ContainerSummary {
    ContainerSummary {
        id: damaged.key.clone(),
        names: vec![format!("/damaged-{}", damaged.key.get(..12).unwrap_or(&damaged.key))],
        state: Status::Dead.name().to_owned(),
        status: format!("Damaged record: {}", damaged.reason),
        ..ContainerSummary::default()
    }
}

/// **Source:** moby, `daemon/list.go`, `refreshImage` and `newSnapshot`.
fn command(container: &Container) -> String {
    let mut text = container.path.clone();
    for argument in &container.args {
        text.push(' ');
        if argument.contains(' ') {
            text.push_str(&format!("'{argument}'"));
        } else {
            text.push_str(argument);
        }
    }
    text
}

/// **Source:** moby, `container/state.go`, `String`.
fn status_text(container: &Container, now: SystemTime) -> String {
    let now = time::unix_nanos(now);
    let since = |unix: Option<u64>| {
        let elapsed = now.saturating_sub(unix.map_or(now, nanos));
        time::human(Duration::from_nanos(u64::try_from(elapsed).unwrap_or(0)))
    };
    match container.status {
        Status::Created => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Restarting => format!("Restarting ({}) {} ago", container.exit_code, since(container.finished_at)),
        Status::Exited => format!("Exited ({}) {} ago", container.exit_code, since(container.finished_at)),
        Status::Paused => format!("Up {} (Paused)", since(container.started_at)),
        Status::Running => {
            let up = format!("Up {}", since(container.started_at));
            match container.health.as_ref().map(|health| health.status) {
                None => up,
                Some(HealthStatus::Starting) => format!("{up} (health: starting)"),
                Some(status) => format!("{up} ({})", status.name()),
            }
        }
    }
}

fn ports(container: &Container) -> Vec<Port> {
    let mut rows = Vec::new();
    for (port, bindings) in port_map(container) {
        let (number, kind) = port.split_once('/').unwrap_or((&port, "tcp"));
        let row = Port { private_port: number.parse().unwrap_or(0), kind: kind.to_owned(), ..Port::default() };
        match bindings {
            None => rows.push(row),
            Some(bindings) => rows.extend(bindings.into_iter().map(|binding| Port {
                ip: binding.host_ip,
                public_port: binding.host_port.parse().unwrap_or(0),
                ..row.clone()
            })),
        }
    }
    rows.sort();
    rows
}

/// Gives the exposed ports of a running container and where they are published.
fn port_map(container: &Container) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut map: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    if container.endpoints.is_empty() {
        return map;
    }
    let spec = &container.spec;
    for port in spec.config.exposed_ports.iter().chain(spec.host.port_bindings.keys()) {
        map.insert(port.to_string(), None);
    }
    let mut bound: Vec<_> = container.endpoints.iter().flat_map(|endpoint| &endpoint.ports).collect();
    bound.sort();
    for port in bound {
        let bindings = map.entry(port.port.to_string()).or_default();
        bindings.get_or_insert_default().push(PortBinding { host_ip: port.host_ip.to_string(), host_port: port.host_port.to_string() });
    }
    map
}

fn mount_point(from: &engine::MountPoint) -> MountPoint {
    MountPoint {
        kind: from.kind.clone(),
        name: from.name.clone(),
        source: from.source.display().to_string(),
        destination: from.destination.clone(),
        driver: from.driver.clone(),
        mode: from.mode.clone(),
        rw: from.writable,
        propagation: match (from.kind.as_str(), from.propagation.to_string()) {
            ("bind", text) if text.is_empty() => "rprivate".to_owned(),
            (_, text) => text,
        },
    }
}

/// Writes an endpoint: what was asked for, and what it has while the container runs.
fn endpoint(name: &str, container: &Container, actual: Option<&Endpoint>) -> NetworkEndpoint {
    let mut shown = NetworkEndpoint::default();
    let list = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    if let Some(wanted) = container.spec.networks.get(name) {
        shown.aliases = list(&wanted.aliases);
        shown.links = list(&wanted.links);
        shown.gw_priority = wanted.gateway_priority;
        shown.mac_address = wanted.mac.clone().unwrap_or_default();
        shown.driver_opts = (!wanted.driver_options.is_empty()).then(|| wanted.driver_options.clone());
        shown.network_id.clone_from(&wanted.network_id);
        let ipam = docker_api::types::EndpointIpam {
            ipv4_address: wanted.ipv4.map(|ip| ip.to_string()).unwrap_or_default(),
            ipv6_address: wanted.ipv6.map(|ip| ip.to_string()).unwrap_or_default(),
            link_local_ips: list(&wanted.link_local.iter().map(ToString::to_string).collect::<Vec<_>>()),
        };
        shown.ipam_config = (ipam != docker_api::types::EndpointIpam::default()).then_some(ipam);
    }
    if let Some(actual) = actual {
        shown.network_id.clone_from(&actual.network_id);
        shown.endpoint_id.clone_from(&actual.endpoint_id);
        shown.mac_address.clone_from(&actual.mac);
        shown.gateway = actual.gateway.map(|ip| ip.to_string()).unwrap_or_default();
        shown.ip_address = actual.ip.map(|ip| ip.to_string()).unwrap_or_default();
        shown.ip_prefix_len = if actual.ip.is_some() { i64::from(actual.prefix) } else { 0 };
        shown.ipv6_gateway = actual.gateway6.map(|ip| ip.to_string()).unwrap_or_default();
        shown.global_ipv6_address = actual.six.map(|(ip, _)| ip.to_string()).unwrap_or_default();
        shown.global_ipv6_prefix_len = actual.six.map_or(0, |(_, prefix)| i64::from(prefix));
    }
    if !matches!(name, "bridge" | "host" | "none") {
        shown.dns_names = Some(engine::names_in_network(container, shown.aliases.as_deref().unwrap_or_default()));
    }
    shown
}

/// Gives the endpoints by network.
pub(crate) fn networks(container: &Container) -> BTreeMap<String, NetworkEndpoint> {
    let actual = |name: &str| container.endpoints.iter().find(|endpoint| endpoint.network == name);
    let names = container.spec.networks.keys();
    names.map(|name| (name.clone(), endpoint(name, container, actual(name)))).collect()
}

fn network_settings(container: &Container) -> NetworkSettings {
    let networks = networks(container);
    // The top-level fields are those of the default bridge alone.
    let default = networks.get("bridge").cloned().unwrap_or_default();
    let running = container.status.is_running();
    NetworkSettings {
        sandbox_id: if running { container.id.to_string() } else { String::new() },
        sandbox_key: container.pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
        ports: port_map(container),
        endpoint_id: default.endpoint_id,
        gateway: default.gateway,
        ip_address: default.ip_address,
        ip_prefix_len: default.ip_prefix_len,
        mac_address: default.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

fn state(container: &Container) -> ContainerState {
    let status = container.status;
    ContainerState {
        status: status.name().to_owned(),
        running: status.is_running() || status == Status::Restarting,
        paused: status == Status::Paused,
        restarting: status == Status::Restarting,
        oom_killed: container.oom_killed,
        dead: status == Status::Dead,
        pid: container.pid.map_or(0, i64::from),
        exit_code: if status.is_running() { 0 } else { i64::from(container.exit_code) },
        error: container.error.clone(),
        started_at: moment(container.started_at),
        finished_at: moment(container.finished_at),
        health: container.health.as_ref().map(|health| Health {
            status: health.status.name().to_owned(),
            failing_streak: i64::from(health.failing_streak),
            log: health
                .log
                .iter()
                .map(|probe| HealthcheckResult {
                    start: time::rfc3339(nanos(probe.start)),
                    end: time::rfc3339(nanos(probe.end)),
                    exit_code: i64::from(probe.exit_code),
                    output: probe.output.clone(),
                })
                .collect(),
        }),
    }
}

fn graph_driver(container: &Container) -> GraphDriver {
    let path = |path: &std::path::Path| path.display().to_string();
    let lower: Vec<String> = container.lower.iter().map(|layer| path(layer)).collect();
    let data = [
        ("ID", container.id.to_string()),
        ("LowerDir", lower.join(":")),
        // Where the files are seen merged, as long as it runs.
        ("MergedDir", container.pid.map(|pid| format!("/proc/{pid}/root")).unwrap_or_default()),
        ("UpperDir", path(&container.upper)),
        ("WorkDir", path(&container.work)),
    ];
    GraphDriver { data: Some(data.map(|(name, value)| (name.to_owned(), value)).into()), name: "overlay2".to_owned() }
}

/// Writes an inspected container.
pub(crate) fn inspect(container: &Container, cgroup_v2: bool) -> ContainerInspect {
    let path = |path: &std::path::Path| path.display().to_string();
    let mut config = show::config(&container.spec.config);
    if config.hostname.is_empty() {
        config.hostname = container.id.short();
    }
    ContainerInspect {
        id: container.id.to_string(),
        created: time::rfc3339(nanos(container.created_at)),
        path: container.path.clone(),
        args: container.args.clone(),
        state: state(container),
        image: container.image_id.to_string(),
        resolv_conf_path: path(&container.resolv_conf_path),
        app_armor_profile: engine::apparmor::shown(&container.spec),
        hostname_path: path(&container.hostname_path),
        hosts_path: path(&container.hosts_path),
        log_path: path(&container.log_path),
        name: format!("/{}", container.name),
        restart_count: i64::from(container.restart_count),
        driver: "overlay2".to_owned(),
        platform: "linux".to_owned(),
        exec_ids: (!container.exec_ids.is_empty()).then(|| container.exec_ids.iter().map(ToString::to_string).collect()),
        host_config: show::host_config(&container.spec.host, cgroup_v2),
        graph_driver: graph_driver(container),
        mounts: container.mounts.iter().map(mount_point).collect(),
        config,
        network_settings: network_settings(container),
        ..ContainerInspect::default()
    }
}

/// Writes an inspected exec.
pub(crate) fn exec(view: &ExecView) -> ExecInspect {
    let (entrypoint, arguments) = match view.spec.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments.to_vec()),
        None => (String::new(), Vec::new()),
    };
    ExecInspect {
        id: view.id.to_string(),
        running: view.running,
        exit_code: view.exit_code.map(i64::from),
        process_config: ExecProcessConfig {
            tty: view.spec.tty,
            entrypoint,
            arguments,
            privileged: view.spec.privileged,
            user: view.spec.user.clone(),
        },
        open_stdin: view.spec.attach_stdin,
        open_stderr: view.spec.attach_stderr,
        open_stdout: view.spec.attach_stdout,
        can_remove: false,
        container_id: view.container.to_string(),
        detach_keys: Some(view.spec.detach_keys.clone()),
        pid: i64::from(view.pid),
    }
}

/// Writes an event; before 1.52 with the fields of old.
pub(crate) fn event(event: &engine::Event, version: ApiVersion) -> Event {
    use engine::EventKind as Kind;
    let nanos = nanos(event.time);
    let legacy = version < ApiVersion::v1(52) && matches!(event.kind, Kind::Container | Kind::Image);
    let image = event.attributes.get("image").filter(|_| event.kind == Kind::Container);
    Event {
        status: if legacy { event.action.clone() } else { String::new() },
        id: if legacy { event.id.clone() } else { String::new() },
        from: image.filter(|_| legacy).cloned().unwrap_or_default(),
        kind: event.kind.name().to_owned(),
        action: event.action.clone(),
        actor: EventActor { id: event.id.clone(), attributes: event.attributes.clone() },
        scope: "local".to_owned(),
        time: nanos / 1_000_000_000,
        time_nano: nanos,
    }
}

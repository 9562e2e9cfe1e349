//! From the domain back to Docker's JSON, with its nulls and empty lists.
//! **Source:** answers of Docker 28.5.

use docker_api::types::{
    self, BindOptions, ContainerConfig, DeviceMapping, DeviceRequest, Empty, HealthConfig, HostConfig, ImageOptions, LogConfig, Mount,
    MountDriver, PortBinding, ThrottleDevice, TmpfsOptions, Ulimit, VolumeOptions, WeightDevice,
};
use engine::spec::{self, CgroupnsMode, Config, IpcMode, MountKind, NetworkMode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Paths that are hidden unless the container is privileged.
/// **Source:** moby, `oci/defaults.go`.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that cannot be written unless the container is privileged.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn or_null<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn texts<T: ToString>(list: &[T]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.iter().map(ToString::to_string).collect())
}

fn map_or_absent(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

fn set<T: ToString>(names: impl IntoIterator<Item = T>) -> BTreeMap<String, Empty> {
    names.into_iter().map(|name| (name.to_string(), Empty {})).collect()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Writes `Config`.
pub(crate) fn config(from: &Config) -> ContainerConfig {
    ContainerConfig {
        hostname: from.hostname.clone(),
        domainname: from.domainname.clone(),
        user: from.user.clone(),
        attach_stdin: from.attach_stdin,
        attach_stdout: from.attach_stdout,
        attach_stderr: from.attach_stderr,
        exposed_ports: set(&from.exposed_ports),
        tty: from.tty,
        open_stdin: from.open_stdin,
        stdin_once: from.stdin_once,
        env: or_null(&from.env),
        cmd: from.command.clone(),
        healthcheck: from.healthcheck.as_ref().map(|probe| HealthConfig {
            test: probe.test.clone(),
            interval: nanos(probe.interval),
            timeout: nanos(probe.timeout),
            start_period: nanos(probe.start_period),
            start_interval: nanos(probe.start_interval),
            retries: i64::from(probe.retries),
        }),
        args_escaped: false,
        image: from.image.clone(),
        volumes: (!from.volumes.is_empty()).then(|| set(&from.volumes)),
        working_dir: from.working_directory.clone(),
        entrypoint: from.entrypoint.clone(),
        network_disabled: from.network_disabled,
        mac_address: String::new(),
        on_build: from.on_build.clone(),
        labels: Some(from.labels.clone()),
        stop_signal: from.stop_signal_text.clone(),
        stop_timeout: from.stop_timeout,
        shell: from.shell.clone(),
    }
}

/// Tells what `HostConfig.NetworkMode` shows.
pub(crate) fn network_mode(mode: &NetworkMode) -> String {
    if *mode == NetworkMode::Default {
        return "bridge".to_owned();
    }
    mode.to_string()
}

fn log_config(from: &spec::LogConfig) -> LogConfig {
    LogConfig { kind: from.driver.clone(), config: Some(from.options.clone()) }
}

/// Writes a restart policy.
pub(crate) fn restart_policy(from: spec::RestartPolicy) -> types::RestartPolicy {
    types::RestartPolicy { name: from.name().to_owned(), maximum_retry_count: i64::from(from.retries_max()) }
}

fn port_bindings(from: &spec::HostConfig) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let ports = from.port_bindings.iter().map(|(port, bindings)| {
        let bindings = bindings.iter().map(|binding| PortBinding {
            host_ip: binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            host_port: binding.host_port_text(),
        });
        (port.to_string(), Some(bindings.collect()))
    });
    ports.collect()
}

fn throttles(list: &[spec::ThrottleDevice]) -> Option<Vec<ThrottleDevice>> {
    let devices = list.iter().map(|device| ThrottleDevice { path: device.path.clone(), rate: device.rate });
    Some(devices.collect())
}

fn paths(given: &Option<Vec<PathBuf>>, default: &[&str], open: bool) -> Option<Vec<String>> {
    match given {
        Some(paths) => Some(paths.iter().map(|path| path.display().to_string()).collect()),
        None if open => None,
        None => Some(default.iter().map(|path| (*path).to_owned()).collect()),
    }
}

/// Writes `HostConfig`.
pub(crate) fn host_config(from: &spec::HostConfig, cgroup_v2: bool) -> HostConfig {
    let open = from.privileged || from.security_options.contains(&spec::SecurityOption::SystemPathsUnconfined);
    let shm_bytes = if from.shm_bytes == 0 { 64 << 20 } else { from.shm_bytes };
    let shown = HostConfig {
        binds: texts(&from.binds),
        container_id_file: from.container_id_file.clone(),
        log_config: log_config(&from.log),
        port_bindings: Some(port_bindings(from)),
        restart_policy: restart_policy(from.restart_policy),
        auto_remove: from.auto_remove,
        volume_driver: from.volume_driver.clone(),
        volumes_from: texts(&from.volumes_from),
        console_size: from.console_size,
        annotations: map_or_absent(&from.annotations),
        cap_add: or_null(&from.cap_add),
        cap_drop: or_null(&from.cap_drop),
        dns: Some(from.dns.iter().map(ToString::to_string).collect()),
        dns_options: Some(from.dns_options.clone()),
        dns_search: Some(from.dns_search.clone()),
        extra_hosts: texts(&from.extra_hosts),
        group_add: or_null(&from.group_add),
        links: or_null(&from.links),
        oom_score_adj: from.oom_score_adj,
        privileged: from.privileged,
        publish_all_ports: from.publish_all_ports,
        readonly_rootfs: from.readonly_rootfs,
        security_opt: texts(&from.security_options),
        storage_opt: map_or_absent(&from.storage_options),
        tmpfs: map_or_absent(&from.tmpfs),
        shm_size: i64::try_from(shm_bytes).unwrap_or(i64::MAX),
        sysctls: map_or_absent(&from.sysctls),
        runtime: if from.runtime.is_empty() { "runc".to_owned() } else { from.runtime.clone() },
        isolation: from.isolation.clone(),
        cgroup_parent: from.cgroup_parent.clone(),
        mounts: (!from.mounts.is_empty()).then(|| from.mounts.iter().map(mount).collect()),
        masked_paths: paths(&from.masked_paths, &MASKED_PATHS, open),
        readonly_paths: paths(&from.readonly_paths, &READONLY_PATHS, open),
        init: from.init,
        ..HostConfig::default()
    };
    let shown = with_namespaces(shown, from, cgroup_v2);
    with_resources(shown, &from.resources, cgroup_v2)
}

fn with_namespaces(shown: HostConfig, from: &spec::HostConfig, cgroup_v2: bool) -> HostConfig {
    let cgroupns = match from.cgroupns_mode {
        CgroupnsMode::Default if cgroup_v2 => &CgroupnsMode::Private,
        CgroupnsMode::Default => &CgroupnsMode::Host,
        CgroupnsMode::Private | CgroupnsMode::Host => &from.cgroupns_mode,
    };
    let ipc = if from.ipc_mode == IpcMode::Default { &IpcMode::Private } else { &from.ipc_mode };
    HostConfig {
        cgroupns_mode: cgroupns.to_string(),
        ipc_mode: ipc.to_string(),
        pid_mode: from.pid_mode.to_string(),
        uts_mode: from.uts_mode.to_string(),
        userns_mode: from.userns_mode.to_string(),
        network_mode: network_mode(&from.network_mode),
        ..shown
    }
}

fn with_resources(shown: HostConfig, from: &spec::Resources, cgroup_v2: bool) -> HostConfig {
    let requests = from.device_requests.iter().map(|request| DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: or_null(&request.device_ids),
        capabilities: or_null(&request.capabilities),
        options: Some(request.options.clone()),
    });
    HostConfig {
        cpu_shares: from.cpu_shares,
        memory: from.memory,
        nano_cpus: from.nano_cpus,
        blkio_weight: from.blkio_weight,
        blkio_weight_device: Some(
            from.blkio_weight_device.iter().map(|device| WeightDevice { path: device.path.clone(), weight: device.weight }).collect(),
        ),
        blkio_device_read_bps: throttles(&from.blkio_device_read_bps),
        blkio_device_write_bps: throttles(&from.blkio_device_write_bps),
        blkio_device_read_iops: throttles(&from.blkio_device_read_iops),
        blkio_device_write_iops: throttles(&from.blkio_device_write_iops),
        cpu_period: from.cpu_period,
        cpu_quota: from.cpu_quota,
        cpu_realtime_period: from.cpu_realtime_period,
        cpu_realtime_runtime: from.cpu_realtime_runtime,
        cpuset_cpus: from.cpuset_cpus.clone(),
        cpuset_mems: from.cpuset_mems.clone(),
        devices: Some(
            from.devices
                .iter()
                .map(|device| DeviceMapping {
                    path_on_host: device.path_on_host.clone(),
                    path_in_container: device.path_in_container.clone(),
                    cgroup_permissions: device.permissions.clone(),
                })
                .collect(),
        ),
        device_cgroup_rules: texts(&from.device_cgroup_rules),
        device_requests: (!from.device_requests.is_empty()).then(|| requests.collect()),
        kernel_memory: from.kernel_memory,
        memory_reservation: from.memory_reservation,
        memory_swap: from.memory_swap,
        memory_swappiness: from.memory_swappiness.filter(|value| *value != -1),
        oom_kill_disable: match from.oom_kill_disable {
            None if !cgroup_v2 => Some(false),
            given => given,
        },
        pids_limit: from.pids_limit.filter(|value| *value != 0),
        ulimits: Some(from.ulimits.iter().map(|limit| Ulimit { name: limit.name.clone(), hard: limit.hard, soft: limit.soft }).collect()),
        ..shown
    }
}

fn mount(from: &spec::Mount) -> Mount {
    let shown = Mount { target: from.target.clone(), read_only: from.read_only, consistency: from.consistency.clone(), ..Mount::default() };
    match &from.kind {
        MountKind::Bind { source, .. } => {
            Mount { kind: "bind".to_owned(), source: source.clone(), bind_options: bind_options(&from.kind), ..shown }
        }
        MountKind::Volume { name, .. } => Mount {
            kind: "volume".to_owned(),
            source: name.clone().unwrap_or_default(),
            volume_options: volume_options(&from.kind),
            ..shown
        },
        MountKind::Tmpfs { bytes_max, mode, options } => {
            let options =
                TmpfsOptions { size_bytes: i64::try_from(*bytes_max).unwrap_or(i64::MAX), mode: *mode, options: or_null(options) };
            Mount { kind: "tmpfs".to_owned(), tmpfs_options: (options != TmpfsOptions::default()).then_some(options), ..shown }
        }
        MountKind::Image { source, subpath } => Mount {
            kind: "image".to_owned(),
            source: source.clone(),
            image_options: (!subpath.is_empty()).then(|| ImageOptions { subpath: subpath.clone() }),
            ..shown
        },
    }
}

fn bind_options(kind: &MountKind) -> Option<BindOptions> {
    let MountKind::Bind {
        source: _,
        propagation,
        non_recursive,
        create_source,
        read_only_non_recursive,
        read_only_force_recursive,
        id_map,
    } = kind
    else {
        return None;
    };
    let options = BindOptions {
        propagation: propagation.to_string(),
        non_recursive: *non_recursive,
        create_mountpoint: *create_source,
        read_only_non_recursive: *read_only_non_recursive,
        read_only_force_recursive: *read_only_force_recursive,
        id_map: id_map.map(|id_map| id_map.to_string()),
    };
    (options != BindOptions::default()).then_some(options)
}

fn volume_options(kind: &MountKind) -> Option<VolumeOptions> {
    let MountKind::Volume { name: _, no_copy, labels, subpath, driver, driver_options } = kind else {
        return None;
    };
    let driver_config = MountDriver { name: driver.clone(), options: map_or_absent(driver_options) };
    let options = VolumeOptions {
        no_copy: *no_copy,
        labels: map_or_absent(labels),
        subpath: subpath.clone(),
        driver_config: (driver_config != MountDriver::default()).then_some(driver_config),
    };
    (options != VolumeOptions::default()).then_some(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use docker_api::types::ContainerCreateBody;

    fn shown(text: &str) -> (ContainerConfig, HostConfig) {
        let body = ContainerCreateBody::from_slice(text.as_bytes()).unwrap();
        let spec = crate::convert::create::spec(body).unwrap();
        (config(&spec.config), host_config(&spec.host, false))
    }

    fn refusal(text: &str) -> String {
        let body = ContainerCreateBody::from_slice(text.as_bytes()).unwrap();
        let error = crate::convert::create::spec(body).unwrap_err();
        assert_eq!(error.status, http::StatusCode::BAD_REQUEST);
        error.message
    }

    #[test]
    fn defaults_are_those_of_docker() {
        let (config, host) = shown(r#"{"Image":"busybox","Cmd":"true","HostConfig":{}}"#);
        assert_eq!(config.cmd, Some(vec!["true".to_owned()]));
        let json = serde_json::to_value(&host).unwrap();
        for (field, value) in [
            ("NetworkMode", serde_json::json!("bridge")),
            ("Binds", serde_json::Value::Null),
            ("CapAdd", serde_json::Value::Null),
            ("Dns", serde_json::json!([])),
            ("PortBindings", serde_json::json!({})),
            ("CgroupnsMode", serde_json::json!("host")),
            ("IpcMode", serde_json::json!("private")),
            ("ShmSize", serde_json::json!(67_108_864)),
            ("Runtime", serde_json::json!("runc")),
            ("OomKillDisable", serde_json::json!(false)),
            ("ConsoleSize", serde_json::json!([0, 0])),
            ("LogConfig", serde_json::json!({"Type":"json-file","Config":{}})),
            ("RestartPolicy", serde_json::json!({"Name":"no","MaximumRetryCount":0})),
        ] {
            assert_eq!(json[field], value, "{field}");
        }
        assert_eq!(json["MaskedPaths"].as_array().unwrap().len(), 12);
        assert!(json.get("Tmpfs").is_none() && json.get("Init").is_none());
    }

    #[test]
    fn what_was_asked_for_comes_back() {
        let asked = r#"{"Image":"a","Env":["A=1"],"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGINT",
            "Healthcheck":{"Test":["CMD","true"],"Interval":1000000000},
            "HostConfig":{"Binds":["/etc/hosts:/h:ro","data:/d"],"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]},
            "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1024}},
                      {"Type":"volume","Target":"/v","Source":"data","VolumeOptions":{"NoCopy":true}}],
            "Memory":16777216,"PidsLimit":5,"CapAdd":["NET_ADMIN"],"SecurityOpt":["no-new-privileges"],"Privileged":true,
            "Ulimits":[{"Name":"nofile","Hard":2,"Soft":1}],"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/n","CgroupPermissions":"r"}],
            "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}}"#;
        let (config, host) = shown(asked);
        let asked: serde_json::Value = serde_json::from_str(asked).unwrap();
        let host = serde_json::to_value(&host).unwrap();
        for (field, value) in asked["HostConfig"].as_object().unwrap() {
            assert_eq!(&host[field], value, "{field}");
        }
        assert_eq!(host["MaskedPaths"], serde_json::Value::Null);
        let config = serde_json::to_value(&config).unwrap();
        for field in ["Env", "ExposedPorts", "StopSignal", "Healthcheck"] {
            assert_eq!(config[field], asked[field], "{field}");
        }
    }

    #[test]
    fn refusals_are_docker_s() {
        for (body, part) in [
            (r#"{"Image":"a","StopSignal":"NOPE"}"#, "invalid signal: NOPE"),
            (r#"{"Image":"a","Env":["=x"]}"#, "invalid environment variable: =x"),
            (r#"{"Image":"a","WorkingDir":"x"}"#, "needs to be an absolute path"),
            (r#"{"Image":"a","HostConfig":{"Binds":["a:b:c:d"]}}"#, "invalid volume specification"),
            (r#"{"Image":"a","HostConfig":{"NetworkMode":"container:"}}"#, "invalid network mode"),
            (r#"{"Image":"a","HostConfig":{"Runtime":"kata"}}"#, "unknown or invalid runtime name: kata"),
            (r#"{"Image":"a","HostConfig":{"RestartPolicy":{"Name":"zz"}}}"#, "unknown policy 'zz'"),
            (
                r#"{"Image":"a","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}"#,
                "can't create 'AutoRemove' container with restart policy",
            ),
            (r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"zz","Target":"/a"}]}}"#, "mount type unknown"),
            (r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind","Target":"/a"}]}}"#, "Source must not be empty"),
            (r#"{"Image":"a","HostConfig":{"LogConfig":{"Type":"zz"}}}"#, "plugin \"zz\" not found"),
            (r#"{"Image":"a","HostConfig":{"PortBindings":{"x/tcp":null}}}"#, "invalid port specification"),
            (r#"{"Image":"a","HostConfig":{"Dns":["x"]}}"#, "x"),
            (r#"{"Image":"a","HostConfig":{"ShmSize":-1}}"#, "SHM size can not be less than 0"),
            (r#"{"Image":"a","Healthcheck":{"Interval":5}}"#, "Interval in Healthcheck cannot be less than 1ms"),
        ] {
            let message = refusal(body);
            assert!(message.contains(part), "{body}: {message}");
        }
    }
}

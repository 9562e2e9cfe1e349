//! From the domain back to Docker's JSON, with its nulls and empty lists.
//! **Source:** answers of Docker 28.5.

use docker_api::types::{
    self, BindOptions, ContainerConfig, DeviceMapping, DeviceRequest, Empty, HealthConfig,
    HostConfig, ImageOptions, LogConfig, Mount, MountDriver, PortBinding, ThrottleDevice,
    TmpfsOptions, Ulimit, VolumeOptions, WeightDevice,
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
const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

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
    names
        .into_iter()
        .map(|name| (name.to_string(), Empty {}))
        .collect()
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
    match mode {
        NetworkMode::Default => "bridge".to_owned(),
        mode => mode.to_string(),
    }
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
    let devices = list.iter().map(|device| ThrottleDevice {
        path: device.path.clone(),
        rate: device.rate,
    });
    Some(devices.collect())
}

fn paths(given: &Option<Vec<PathBuf>>, default: &[&str], open: bool) -> Option<Vec<String>> {
    match given {
        Some(paths) => Some(
            paths
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        ),
        None if open => None,
        None => Some(default.iter().map(|path| (*path).to_owned()).collect()),
    }
}

/// Writes `HostConfig`.
pub(crate) fn host_config(from: &spec::HostConfig, cgroup_v2: bool) -> HostConfig {
    let open = from.privileged
        || from
            .security_options
            .contains(&spec::SecurityOption::SystemPathsUnconfined);
    let shm_bytes = if from.shm_bytes == 0 {
        64 << 20
    } else {
        from.shm_bytes
    };
    let cgroupns = match from.cgroupns_mode {
        CgroupnsMode::Default if cgroup_v2 => "private".to_owned(),
        CgroupnsMode::Default => "host".to_owned(),
        ref mode => mode.to_string(),
    };
    let shown = HostConfig {
        binds: texts(&from.binds),
        container_id_file: from.container_id_file.clone(),
        log_config: LogConfig {
            kind: from.log.driver.clone(),
            config: Some(from.log.options.clone()),
        },
        network_mode: network_mode(&from.network_mode),
        port_bindings: Some(port_bindings(from)),
        restart_policy: types::RestartPolicy {
            name: from.restart_policy.name().to_owned(),
            maximum_retry_count: i64::from(from.restart_policy.retries_max()),
        },
        auto_remove: from.auto_remove,
        volume_driver: from.volume_driver.clone(),
        volumes_from: texts(&from.volumes_from),
        console_size: from.console_size,
        annotations: map_or_absent(&from.annotations),
        cap_add: or_null(&from.cap_add),
        cap_drop: or_null(&from.cap_drop),
        cgroupns_mode: cgroupns,
        dns: Some(from.dns.iter().map(ToString::to_string).collect()),
        dns_options: Some(from.dns_options.clone()),
        dns_search: Some(from.dns_search.clone()),
        extra_hosts: texts(&from.extra_hosts),
        group_add: or_null(&from.group_add),
        ipc_mode: match from.ipc_mode {
            IpcMode::Default => "private".to_owned(),
            ref mode => mode.to_string(),
        },
        links: or_null(&from.links),
        oom_score_adj: from.oom_score_adj,
        pid_mode: from.pid_mode.to_string(),
        privileged: from.privileged,
        publish_all_ports: from.publish_all_ports,
        readonly_rootfs: from.readonly_rootfs,
        security_opt: texts(&from.security_options),
        storage_opt: map_or_absent(&from.storage_options),
        tmpfs: map_or_absent(&from.tmpfs),
        uts_mode: from.uts_mode.to_string(),
        userns_mode: from.userns_mode.to_string(),
        shm_size: i64::try_from(shm_bytes).unwrap_or(i64::MAX),
        sysctls: map_or_absent(&from.sysctls),
        runtime: if from.runtime.is_empty() {
            "runc".to_owned()
        } else {
            from.runtime.clone()
        },
        isolation: from.isolation.clone(),
        cgroup_parent: from.cgroup_parent.clone(),
        mounts: (!from.mounts.is_empty()).then(|| from.mounts.iter().map(mount).collect()),
        masked_paths: paths(&from.masked_paths, &MASKED_PATHS, open),
        readonly_paths: paths(&from.readonly_paths, &READONLY_PATHS, open),
        init: from.init,
        ..HostConfig::default()
    };
    with_resources(shown, &from.resources, cgroup_v2)
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
            from.blkio_weight_device
                .iter()
                .map(|device| WeightDevice {
                    path: device.path.clone(),
                    weight: device.weight,
                })
                .collect(),
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
        memory_swappiness: from.memory_swappiness,
        oom_kill_disable: match from.oom_kill_disable {
            None if !cgroup_v2 => Some(false),
            given => given,
        },
        pids_limit: from.pids_limit,
        ulimits: Some(
            from.ulimits
                .iter()
                .map(|limit| Ulimit {
                    name: limit.name.clone(),
                    hard: limit.hard,
                    soft: limit.soft,
                })
                .collect(),
        ),
        ..shown
    }
}

fn mount(from: &spec::Mount) -> Mount {
    let shown = Mount {
        target: from.target.clone(),
        read_only: from.read_only,
        consistency: from.consistency.clone(),
        ..Mount::default()
    };
    match &from.kind {
        MountKind::Bind {
            source,
            propagation,
            non_recursive,
            create_source,
            read_only_non_recursive,
            read_only_force_recursive,
        } => {
            let options = BindOptions {
                propagation: propagation.to_string(),
                non_recursive: *non_recursive,
                create_mountpoint: *create_source,
                read_only_non_recursive: *read_only_non_recursive,
                read_only_force_recursive: *read_only_force_recursive,
            };
            Mount {
                kind: "bind".to_owned(),
                source: source.clone(),
                bind_options: (options != BindOptions::default()).then_some(options),
                ..shown
            }
        }
        MountKind::Volume {
            name,
            no_copy,
            labels,
            subpath,
            driver,
            driver_options,
        } => {
            let driver_config = MountDriver {
                name: driver.clone(),
                options: map_or_absent(driver_options),
            };
            let options = VolumeOptions {
                no_copy: *no_copy,
                labels: map_or_absent(labels),
                subpath: subpath.clone(),
                driver_config: (driver_config != MountDriver::default()).then_some(driver_config),
            };
            Mount {
                kind: "volume".to_owned(),
                source: name.clone().unwrap_or_default(),
                volume_options: (options != VolumeOptions::default()).then_some(options),
                ..shown
            }
        }
        MountKind::Tmpfs {
            bytes_max,
            mode,
            options,
        } => {
            let options = TmpfsOptions {
                size_bytes: i64::try_from(*bytes_max).unwrap_or(i64::MAX),
                mode: *mode,
                options: or_null(options),
            };
            Mount {
                kind: "tmpfs".to_owned(),
                tmpfs_options: (options != TmpfsOptions::default()).then_some(options),
                ..shown
            }
        }
        MountKind::Image { source, subpath } => Mount {
            kind: "image".to_owned(),
            source: source.clone(),
            image_options: (!subpath.is_empty()).then(|| ImageOptions {
                subpath: subpath.clone(),
            }),
            ..shown
        },
    }
}

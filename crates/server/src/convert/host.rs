//! From Docker's `HostConfig` to the domain's.

use super::create::invalid;
use crate::ApiError;
use docker_api::types::{HostConfig, Mount, PortBinding, ThrottleDevice, TmpfsOptions, Ulimit};
use engine::spec::{self, LogConfig, MountKind, Port, Resources, RestartPolicy};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// Runtimes that name the one we have.
const RUNTIMES: [&str; 4] = ["", "runc", "teu", "io.containerd.runc.v2"];

/// Parses a host configuration.
///
/// # Errors
/// 400 with Docker's text.
pub(crate) fn parse(from: HostConfig) -> Result<spec::HostConfig, ApiError> {
    if !RUNTIMES.contains(&from.runtime.as_str()) {
        return Err(ApiError::invalid(format!("unknown or invalid runtime name: {}", from.runtime)));
    }
    let resources = resources(&from)?;
    let shm_bytes = u64::try_from(from.shm_size).map_err(|_| ApiError::invalid("SHM size can not be less than 0"))?;
    let paths = |list: Option<Vec<String>>| list.map(|list| list.into_iter().map(PathBuf::from).collect());
    Ok(spec::HostConfig {
        binds: each(from.binds)?,
        mounts: mounts(from.mounts)?,
        volumes_from: each(from.volumes_from)?,
        tmpfs: from.tmpfs.unwrap_or_default(),
        volume_driver: from.volume_driver,
        container_id_file: from.container_id_file,
        log: LogConfig::parse(&from.log_config.kind, from.log_config.config.unwrap_or_default()).map_err(invalid)?,
        network_mode: from.network_mode.parse().map_err(invalid)?,
        port_bindings: port_bindings(from.port_bindings)?,
        publish_all_ports: from.publish_all_ports,
        dns: name_servers(from.dns)?,
        dns_options: from.dns_options.unwrap_or_default(),
        dns_search: from.dns_search.unwrap_or_default(),
        extra_hosts: each(from.extra_hosts)?,
        links: from.links.unwrap_or_default(),
        restart_policy: RestartPolicy::parse(&from.restart_policy.name, from.restart_policy.maximum_retry_count).map_err(invalid)?,
        auto_remove: from.auto_remove,
        annotations: from.annotations.unwrap_or_default(),
        cap_add: from.cap_add.unwrap_or_default(),
        cap_drop: from.cap_drop.unwrap_or_default(),
        privileged: from.privileged,
        security_options: each(from.security_opt)?,
        cgroupns_mode: from.cgroupns_mode.parse().map_err(invalid)?,
        ipc_mode: from.ipc_mode.parse().map_err(invalid)?,
        pid_mode: from.pid_mode.parse().map_err(invalid)?,
        uts_mode: from.uts_mode.parse().map_err(invalid)?,
        userns_mode: from.userns_mode.parse().map_err(invalid)?,
        group_add: from.group_add.unwrap_or_default(),
        oom_score_adj: from.oom_score_adj,
        readonly_rootfs: from.readonly_rootfs,
        storage_options: from.storage_opt.unwrap_or_default(),
        shm_bytes,
        sysctls: from.sysctls.unwrap_or_default(),
        runtime: from.runtime,
        isolation: from.isolation,
        console_size: from.console_size,
        cgroup_parent: from.cgroup_parent,
        resources,
        masked_paths: paths(from.masked_paths),
        readonly_paths: paths(from.readonly_paths),
        init: from.init,
    })
}

/// Parses each text of a list.
fn each<T>(list: Option<Vec<String>>) -> Result<Vec<T>, ApiError>
where
    T: FromStr,
    T::Err: Display,
{
    let texts = list.unwrap_or_default();
    texts.iter().map(|text| text.parse().map_err(invalid)).collect()
}

fn name_servers(list: Option<Vec<String>>) -> Result<Vec<std::net::IpAddr>, ApiError> {
    let texts = list.unwrap_or_default();
    let parsed = texts.iter().map(|text| text.parse().map_err(|_| ApiError::invalid(format!("bad nameserver address: {text}"))));
    parsed.collect()
}

type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

fn port_bindings(from: Option<Bindings>) -> Result<BTreeMap<Port, Vec<spec::PortBinding>>, ApiError> {
    let mut ports: BTreeMap<Port, Vec<spec::PortBinding>> = BTreeMap::new();
    for (port, bindings) in from.unwrap_or_default() {
        let port = port.parse().map_err(invalid)?;
        let all = ports.entry(port).or_default();
        for binding in bindings.unwrap_or_default() {
            all.push(spec::PortBinding::parse(&binding.host_ip, &binding.host_port).map_err(invalid)?);
        }
    }
    Ok(ports)
}

fn throttles(list: &Option<Vec<ThrottleDevice>>) -> Vec<spec::ThrottleDevice> {
    let devices = list.iter().flatten().map(|device| spec::ThrottleDevice { path: device.path.clone(), rate: device.rate });
    devices.collect()
}

fn ulimits(list: &Option<Vec<Ulimit>>) -> Vec<spec::Ulimit> {
    let limits = list.iter().flatten().map(|limit| spec::Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard });
    limits.collect()
}

fn resources(from: &HostConfig) -> Result<Resources, ApiError> {
    let devices = from.devices.iter().flatten();
    let requests = from.device_requests.iter().flatten();
    let weights = from.blkio_weight_device.iter().flatten();
    Ok(Resources {
        memory: from.memory,
        // **Source:** moby, `adaptContainerSettings`.
        memory_swap: if from.memory > 0 && from.memory_swap == 0 { from.memory.saturating_mul(2) } else { from.memory_swap },
        memory_reservation: from.memory_reservation,
        memory_swappiness: from.memory_swappiness,
        kernel_memory: from.kernel_memory,
        oom_kill_disable: from.oom_kill_disable,
        cpu_shares: from.cpu_shares,
        cpu_period: from.cpu_period,
        cpu_quota: from.cpu_quota,
        cpu_realtime_period: from.cpu_realtime_period,
        cpu_realtime_runtime: from.cpu_realtime_runtime,
        nano_cpus: from.nano_cpus,
        cpuset_cpus: from.cpuset_cpus.clone(),
        cpuset_mems: from.cpuset_mems.clone(),
        pids_limit: from.pids_limit,
        blkio_weight: from.blkio_weight,
        blkio_weight_device: weights.map(|device| spec::WeightDevice { path: device.path.clone(), weight: device.weight }).collect(),
        blkio_device_read_bps: throttles(&from.blkio_device_read_bps),
        blkio_device_write_bps: throttles(&from.blkio_device_write_bps),
        blkio_device_read_iops: throttles(&from.blkio_device_read_iops),
        blkio_device_write_iops: throttles(&from.blkio_device_write_iops),
        devices: devices
            .map(|device| spec::DeviceMapping {
                path_on_host: device.path_on_host.clone(),
                path_in_container: device.path_in_container.clone(),
                permissions: device.cgroup_permissions.clone(),
            })
            .collect(),
        device_cgroup_rules: each(from.device_cgroup_rules.clone())?,
        device_requests: requests
            .map(|request| spec::DeviceRequest {
                driver: request.driver.clone(),
                count: request.count,
                device_ids: request.device_ids.clone().unwrap_or_default(),
                capabilities: request.capabilities.clone().unwrap_or_default(),
                options: request.options.clone().unwrap_or_default(),
            })
            .collect(),
        ulimits: ulimits(&from.ulimits),
    })
}

fn mounts(list: Option<Vec<Mount>>) -> Result<Vec<spec::Mount>, ApiError> {
    let list = list.unwrap_or_default();
    list.into_iter().map(|mount| mount_of(mount)?.parse().map_err(invalid)).collect()
}

fn mount_of(from: Mount) -> Result<spec::Mount, ApiError> {
    exclusive(&from)?;
    let kind = match from.kind.as_str() {
        "bind" => {
            let options = from.bind_options.unwrap_or_default();
            MountKind::Bind {
                source: from.source,
                propagation: options
                    .propagation
                    .parse()
                    .map_err(|_| config("bind", &format!("invalid propagation mode: {}", options.propagation)))?,
                non_recursive: options.non_recursive,
                create_source: options.create_mountpoint,
                read_only_non_recursive: options.read_only_non_recursive,
                read_only_force_recursive: options.read_only_force_recursive,
                id_map: options.id_map.map(|owner| owner.parse()).transpose().map_err(invalid)?,
            }
        }
        "volume" => {
            let options = from.volume_options.unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            MountKind::Volume {
                name: (!from.source.is_empty()).then_some(from.source),
                no_copy: options.no_copy,
                labels: options.labels.unwrap_or_default(),
                subpath: options.subpath,
                driver: driver.name,
                driver_options: driver.options.unwrap_or_default(),
            }
        }
        "tmpfs" if !from.source.is_empty() => return Err(config("tmpfs", "field Source must not be specified")),
        "tmpfs" => {
            let TmpfsOptions { size_bytes, mode, options } = from.tmpfs_options.unwrap_or_default();
            MountKind::Tmpfs {
                bytes_max: u64::try_from(size_bytes)
                    .map_err(|_| ApiError::invalid("invalid mount config for type \"tmpfs\": negative size"))?,
                mode,
                options: options.unwrap_or_default(),
            }
        }
        "image" => MountKind::Image { source: from.source, subpath: from.image_options.unwrap_or_default().subpath },
        kind => {
            return Err(config(kind, "mount type unknown"));
        }
    };
    Ok(spec::Mount { target: from.target, read_only: from.read_only, consistency: from.consistency, kind })
}

fn config(kind: &str, why: &str) -> ApiError {
    ApiError::invalid(format!("invalid mount config for type \"{kind}\": {why}"))
}

/// Options of one type must not stand with another.
///
/// **Source:** moby, `volume/mounts/validate.go`, `validateExclusiveOptions`.
fn exclusive(from: &Mount) -> Result<(), ApiError> {
    let given = [
        ("bind", "BindOptions", from.bind_options.is_some()),
        ("volume", "VolumeOptions", from.volume_options.is_some()),
        ("image", "ImageOptions", from.image_options.is_some()),
        ("tmpfs", "TmpfsOptions", from.tmpfs_options.is_some()),
    ];
    match given.iter().find(|(kind, _, given)| *given && from.kind != *kind) {
        Some((_, field, _)) => Err(config(&from.kind, &format!("field {field} must not be specified"))),
        None => Ok(()),
    }
}

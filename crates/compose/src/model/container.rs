//! What any container has: services, jobs and hooks before a start share it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{
    Bytes, DeviceRequest, Duration, FileReference, Hosts, Mapping, OptOut, OptionalMapping, ServiceNetwork, ServiceVolume, Words, record,
};

record! {
    /// What any container has.
    ContainerSpec {
        annotations: Mapping,
        blkio_config: Option<Blkio>,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        cgroup_parent: String,
        cgroup: String,
        cpu_count: i64,
        cpu_percent: f32,
        cpu_period: i64,
        cpu_quota: i64,
        cpu_rt_period: i64,
        cpu_rt_runtime: i64,
        cpus: f32,
        cpuset: String,
        cpu_shares: i64,
        command: Words,
        configs: Vec<FileReference>,
        credential_spec: Option<CredentialSpec>,
        device_cgroup_rules: Vec<String>,
        devices: Vec<Device>,
        dns: Vec<String>,
        dns_opt: Vec<String>,
        dns_search: Vec<String>,
        domainname: String,
        entrypoint: Words,
        environment: OptionalMapping,
        env_file: Vec<EnvFile>,
        /// Entries `host=address`.
        extra_hosts: Hosts,
        group_add: Vec<String>,
        gpus: Vec<DeviceRequest>,
        hostname: String,
        image: String,
        init: Option<bool>,
        ipc: String,
        isolation: String,
        labels: Mapping,
        label_file: Vec<String>,
        logging: Option<Logging>,
        mem_limit: Bytes,
        mem_reservation: Bytes,
        memswap_limit: Bytes,
        mem_swappiness: Bytes,
        mac_address: String,
        models: BTreeMap<String, Option<ServiceModel>>,
        network_mode: String,
        networks: BTreeMap<String, Option<ServiceNetwork>>,
        oom_kill_disable: bool,
        oom_score_adj: i64,
        pid: String,
        pids_limit: i64,
        platform: String,
        privileged: bool,
        pull_policy: String,
        pull_refresh_after: String,
        read_only: bool,
        runtime: String,
        secrets: Vec<FileReference>,
        security_opt: Vec<String>,
        shm_size: Bytes,
        stop_grace_period: Option<Duration>,
        stop_signal: String,
        storage_opt: Mapping,
        sysctls: Mapping,
        tmpfs: Vec<String>,
        ulimits: BTreeMap<String, Ulimit>,
        use_api_socket: bool,
        user: String,
        userns_mode: String,
        uts: String,
        volumes: Vec<ServiceVolume>,
        volumes_from: Vec<String>,
        working_dir: String,
    }
}

record! {
    /// Weights and limits of block devices.
    Blkio {
        weight: u16,
        weight_device: Vec<WeightDevice>,
        device_read_bps: Vec<ThrottleDevice>,
        device_read_iops: Vec<ThrottleDevice>,
        device_write_bps: Vec<ThrottleDevice>,
        device_write_iops: Vec<ThrottleDevice>,
    }
}

/// A device's weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WeightDevice {
    /// The device.
    pub path: String,
    /// Its weight.
    pub weight: u16,
}

/// A device's limit, in bytes or operations per second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleDevice {
    /// The device.
    pub path: String,
    /// The limit.
    pub rate: Bytes,
}

record! {
    /// Credentials of Windows containers.
    CredentialSpec {
        config: String,
        file: String,
        registry: String,
    }
}

record! {
    /// A device of the host in the container, or a CDI name.
    Device {
        source: String,
        target: String,
        permissions: String,
    }
}

/// A file of variables for the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvFile {
    /// Where it is.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub path: String,
    /// Whether it must exist.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub required: OptOut,
    /// Empty for Compose's dialect, or `raw`.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub format: String,
}

record! {
    /// Where the output goes.
    Logging {
        driver: String,
        options: Mapping,
    }
}

record! {
    /// How a service is told of a model.
    ServiceModel {
        endpoint_var: String,
        model_var: String,
    }
}

/// A limit: one number, or a soft and a hard one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ulimit {
    /// Soft and hard alike.
    Single(i64),
    /// Two limits.
    Range {
        /// What holds.
        soft: i64,
        /// How far the process may raise it.
        hard: i64,
    },
}

impl Serialize for Ulimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Single(0) => Self::Range { soft: 0, hard: 0 }.serialize(serializer),
            Self::Single(limit) => serializer.serialize_i64(*limit),
            Self::Range { soft, hard } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("soft", soft)?;
                map.serialize_entry("hard", hard)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Ulimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Single(i64),
            Range { soft: i64, hard: i64 },
        }
        match Shape::deserialize(deserializer) {
            Ok(Shape::Single(limit)) => Ok(Self::Single(limit)),
            Ok(Shape::Range { soft, hard }) => Ok(Self::Range { soft, hard }),
            Err(_) => Err(de::Error::custom("a limit is a number, or `soft` and `hard`")),
        }
    }
}

//! The canonical project: every attribute of the Compose Specification in its long form.
//!
//! Fields stand in the order in which Docker Compose prints them: the configuration hash of a service is the
//! digest of its JSON, so the order is part of the format.
//!
//! **Source:** the Compose Specification (compose-spec.json) and the output of Docker Compose 5.6.1.

mod build;
mod container;
mod deploy;
mod hooks;
mod mounts;
mod network;
mod resources;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use build::{Build, SshKey};
pub use container::{Blkio, ContainerSpec, CredentialSpec, Device, EnvFile, Logging, ServiceModel, ThrottleDevice, Ulimit, WeightDevice};
pub use deploy::{
    Deploy, DeviceRequest, DiscreteResource, GenericResource, Placement, PlacementPreference, Resource, Resources, RestartPolicy,
    UpdateConfig,
};
pub use hooks::{Develop, Hook, PreStartHook, WatchTrigger};
pub use mounts::{BindOptions, FileMode, FileReference, ImageOptions, ServiceVolume, TmpfsOptions, VolumeOptions};
pub use network::{Dependency, HealthCheck, Port, ServiceNetwork};
pub use resources::{Ipam, IpamPool, Model, Network, Source, Volume};
pub use units::{Bytes, Duration, OptOut, Words};

/// Attributes that begin with `x-`.
pub type Extensions = BTreeMap<String, serde_json::Value>;

/// Texts by key.
pub type Mapping = BTreeMap<String, String>;

/// Texts by key, where `None` says that the value is taken from outside.
pub type OptionalMapping = BTreeMap<String, Option<String>>;

/// Addresses by host name.
pub type Hosts = Vec<String>;

/// Whether a field is left out when it is printed, as Go's `omitempty` does.
pub(crate) trait Zero {
    fn is_zero(&self) -> bool;
}

macro_rules! zero {
    ($($type:ty => $test:expr),+ $(,)?) => {
        $(impl $crate::model::Zero for $type {
            fn is_zero(&self) -> bool {
                let test: fn(&$type) -> bool = $test;
                test(self)
            }
        })+
    };
}
pub(crate) use zero;

zero! {
    bool => |value| !*value,
    u16 => |value| *value == 0,
    u32 => |value| *value == 0,
    u64 => |value| *value == 0,
    i64 => |value| *value == 0,
    f32 => |value| *value == 0.0,
    String => String::is_empty,
}

impl<T> Zero for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<T> Zero for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Zero for BTreeMap<K, V> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Defines a group of attributes: each is left out when it is zero, and is documented by its name.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$more:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                #[doc = concat!("The attribute `", stringify!($field), "`.")]
                $(#[$more])*
                #[serde(skip_serializing_if = "crate::model::Zero::is_zero")]
                pub $field: $type,
            )*
            /// Attributes that begin with `x-`.
            #[serde(rename = "#extensions", skip_serializing_if = "crate::model::Zero::is_zero")]
            pub extensions: crate::model::Extensions,
        }
    };
}
pub(crate) use record;

/// A project: what one or more Compose files describe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Project {
    /// Its name: small letters, digits, `-` and `_`.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub name: String,
    /// Services of the active profiles.
    pub services: BTreeMap<String, Service>,
    /// Jobs of the active profiles.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub jobs: BTreeMap<String, Job>,
    /// Networks, `default` included where a service uses it.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub networks: BTreeMap<String, Network>,
    /// Named volumes.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub secrets: BTreeMap<String, Source>,
    /// Configs.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub configs: BTreeMap<String, Source>,
    /// Language models.
    #[serde(skip_serializing_if = "Zero::is_zero")]
    pub models: BTreeMap<String, Model>,
    /// Attributes that begin with `x-`.
    #[serde(rename = "#extensions", skip_serializing_if = "Zero::is_zero")]
    pub extensions: Extensions,
    /// Services that no active profile names.
    #[serde(skip)]
    pub disabled: BTreeMap<String, Service>,
    /// Jobs that no active profile names.
    #[serde(skip)]
    pub disabled_jobs: BTreeMap<String, Job>,
    /// The active profiles.
    #[serde(skip)]
    pub profiles: Vec<String>,
    /// The project directory: relative paths begin here.
    #[serde(skip)]
    pub working_dir: PathBuf,
    /// The Compose files, absolute, in order.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// The environment files that were named by `--env-file`, absolute.
    #[serde(skip)]
    pub env_files: Vec<PathBuf>,
    /// Variables for interpolation: the caller's environment, then the environment files.
    #[serde(skip)]
    pub environment: Mapping,
    /// What is told to a person: unset variables, attributes without effect.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

record! {
    /// A service: containers that are kept running.
    Service {
        profiles: Vec<String>,
        deploy: Option<Deploy>,
        develop: Option<Develop>,
        restart: String,
        scale: Option<i64>,
        attach: Option<bool>,
        container_name: String,
        provider: Option<Provider>,
        extends: Option<Extends>,
        external_links: Vec<String>,
        links: Vec<String>,
        pre_start: Vec<PreStartHook>,
        post_start: Vec<Hook>,
        pre_stop: Vec<Hook>,
        /// What any container has.
        #[serde(flatten)]
        container: ContainerSpec,
        /// What services and jobs have beyond a container.
        #[serde(flatten)]
        workload: WorkloadSpec,
    }
}

impl Zero for ContainerSpec {
    fn is_zero(&self) -> bool {
        false
    }
}

impl Zero for WorkloadSpec {
    fn is_zero(&self) -> bool {
        false
    }
}

impl Service {
    /// How many containers the service has.
    #[must_use]
    pub fn scale(&self) -> usize {
        let replicas = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(replicas).map_or(1, |scale| usize::try_from(scale).unwrap_or_default())
    }
}

record! {
    /// A job: a container that runs to its end, when asked to or by the clock.
    Job {
        profiles: Vec<String>,
        triggers: Triggers,
        /// What any container has.
        #[serde(flatten)]
        container: ContainerSpec,
        /// What services and jobs have beyond a container.
        #[serde(flatten)]
        workload: WorkloadSpec,
    }
}

record! {
    /// What starts a job.
    Triggers {
        manual: Option<bool>,
        schedule: Vec<Schedule>,
    }
}

impl Zero for Triggers {
    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

record! {
    /// One point of a job's timetable.
    Schedule {
        cron: String,
        timezone: String,
        /// `forbid` or `queue`.
        concurrency: String,
        /// `one` or `skip`.
        missed_fires: String,
    }
}

record! {
    /// What services and jobs have beyond a container.
    WorkloadSpec {
        build: Option<Build>,
        depends_on: BTreeMap<String, Dependency>,
        expose: Vec<String>,
        healthcheck: Option<HealthCheck>,
        ports: Vec<Port>,
        stdin_open: bool,
        tty: bool,
    }
}

record! {
    /// A service that a program outside provides.
    Provider {
        /// The program's name.
        #[serde(rename = "type")]
        kind: String,
        options: BTreeMap<String, Vec<String>>,
    }
}

record! {
    /// The service that another one extends; gone once it is resolved.
    Extends {
        file: String,
        service: String,
    }
}

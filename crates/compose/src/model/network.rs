//! How a service is reached, and what it waits for.

use super::{Duration, Mapping, record};

record! {
    /// A service in a network.
    ServiceNetwork {
        aliases: Vec<String>,
        driver_opts: Mapping,
        gw_priority: i64,
        interface_name: String,
        ipv4_address: String,
        ipv6_address: String,
        link_local_ips: Vec<String>,
        mac_address: String,
        priority: i64,
    }
}

record! {
    /// A published port.
    Port {
        name: String,
        mode: String,
        host_ip: String,
        target: u32,
        /// A port, a range, or empty for any.
        published: String,
        protocol: String,
        app_protocol: String,
    }
}

/// What a service needs of another one.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// `service_started`, `service_healthy` or `service_completed_successfully`.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub condition: String,
    /// Whether the service is restarted when the other one is.
    #[serde(skip_serializing_if = "super::Zero::is_zero")]
    pub restart: bool,
    /// Whether the other one must be there.
    pub required: bool,
    /// Attributes that begin with `x-`.
    #[serde(rename = "#extensions", skip_serializing_if = "super::Zero::is_zero")]
    pub extensions: super::Extensions,
}

record! {
    /// How it is found out whether a container works.
    HealthCheck {
        /// `CMD` or `CMD-SHELL` and words, or `NONE`.
        test: Vec<String>,
        timeout: Option<Duration>,
        interval: Option<Duration>,
        retries: Option<u64>,
        start_period: Option<Duration>,
        start_interval: Option<Duration>,
        disable: bool,
    }
}

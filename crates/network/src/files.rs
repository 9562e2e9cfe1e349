//! The text of a container's `/etc/resolv.conf` and `/etc/hosts`.

use std::net::IpAddr;

/// The name service options of a container.
#[derive(Debug, Clone, Default)]
pub struct DnsOptions {
    /// Servers (`--dns`); none takes the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains (`--dns-search`); none takes the host's, a single `.` means no search at all.
    pub search: Vec<String>,
    /// Resolver options (`--dns-option`); none takes the host's.
    pub options: Vec<String>,
    /// Whether the container shares the host's network, so that the host's own resolver is reachable.
    pub host_network: bool,
}

/// The lines of a hosts file.
#[derive(Debug, Clone, Default)]
pub struct HostsOptions {
    /// The container's addresses, each with its names.
    pub own: Vec<(IpAddr, Vec<String>)>,
    /// `--add-host`: a name and an address, which may be the word `host-gateway`.
    pub extra: Vec<(String, String)>,
    /// What `host-gateway` stands for.
    pub host_gateway: Option<IpAddr>,
}

//! The text of a container's `/etc/resolv.conf` and `/etc/hosts`.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::dns::{self, Upstream};
use crate::endpoint::Resolver;

/// The host's resolver configuration.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What systemd-resolved itself asks. Source: systemd-resolved(8).
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
/// The servers of containers on a host that has none. Source: Docker, `resolvconf.defaultIPv4NSs`.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

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
    /// Whether the container has a resolver of its own, as in user-defined networks.
    pub own_resolver: bool,
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

/// The three kinds of lines that matter in a resolv.conf. Source: resolv.conf(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next();
            let rest = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => found.servers.extend(rest.take(1)),
                Some("domain" | "search") => found.search = rest.collect(), // the last one counts
                Some("options") => found.options.extend(rest),
                Some(_) | None => {}
            }
        }
        found
    }

    /// Whether all servers are on the host itself, where a container cannot reach them.
    fn is_local(&self) -> bool {
        self.servers.iter().all(|server| is_loopback(server))
    }
}

fn is_loopback(server: &str) -> bool {
    server.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Reads the host's files and makes the text.
pub(crate) fn resolv_conf(options: &DnsOptions) -> String {
    let read = |path| fs_err::read_to_string(path).unwrap_or_default();
    let host = read(RESOLV_CONF);
    let stub = !host.is_empty() && ResolvConf::parse(&host).is_local();
    let host = if stub && !options.host_network {
        let behind = read(RESOLVED_CONF);
        if behind.is_empty() { host } else { behind }
    } else {
        host
    };
    resolv_conf_from(&host, options)
}

/// Whom a container's own resolver asks: what is asked for, else what the host asks. A server on the host's loopback
/// interface is asked from there. Source: moby, `libnetwork/internal/resolvconf`, `TransformForIntNS`.
pub(crate) fn resolver(options: &DnsOptions) -> Resolver {
    let host = fs_err::read_to_string(RESOLV_CONF).unwrap_or_default();
    resolver_from(&host, options)
}

fn resolver_from(host: &str, options: &DnsOptions) -> Resolver {
    let host = ResolvConf::parse(host);
    let asked = options.servers.iter().map(|address| Upstream { address: *address, from_host: false });
    let hosts = host.servers.iter().filter_map(|server| server.parse().ok());
    let hosts = hosts.map(|address: IpAddr| Upstream { address, from_host: address.is_loopback() });
    let servers: Vec<Upstream> = if options.servers.is_empty() { hosts.collect() } else { asked.collect() };
    Resolver {
        servers: servers.into_iter().filter(|server| server.address != IpAddr::from(dns::ADDRESS)).collect(),
        ndots: options.options.iter().any(|option| option.starts_with("ndots:") && option != "ndots:0"),
    }
}

/// Makes the text from the host's.
fn resolv_conf_from(host: &str, options: &DnsOptions) -> String {
    let mut resolver = ResolvConf::parse(host);
    if options.servers.is_empty() {
        if !options.host_network {
            resolver.servers.retain(|server| !is_loopback(server));
        }
        if resolver.servers.is_empty() && !options.host_network {
            resolver.servers = FALLBACK.map(str::to_owned).into();
        }
    } else {
        resolver.servers = options.servers.iter().map(ToString::to_string).collect();
    }
    if !options.search.is_empty() {
        resolver.search = options.search.iter().filter(|domain| *domain != ".").cloned().collect();
    }
    if !options.options.is_empty() {
        resolver.options.clone_from(&options.options);
    }
    if options.own_resolver {
        resolver.servers = vec![dns::ADDRESS.to_string()];
        if !resolver.options.iter().any(|option| option.starts_with("ndots:")) {
            resolver.options.push("ndots:0".to_owned());
        }
    }
    let mut text = String::new();
    for server in &resolver.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (keyword, words) in [("search", &resolver.search), ("options", &resolver.options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text
}

/// The lines of every hosts file. Source: Docker, `etchosts.defaultContent`.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Makes the text of a hosts file. An entry `host-gateway` without a gateway is left out.
pub(crate) fn hosts_file(options: &HostsOptions) -> String {
    let mut text = HOSTS.to_owned();
    for (name, address) in &options.extra {
        let gateway = options.host_gateway.map(|gateway| gateway.to_string());
        let address = if address == "host-gateway" { gateway } else { Some(address.clone()) };
        if let Some(address) = address {
            let _ = writeln!(text, "{address}\t{name}");
        }
    }
    for (address, names) in &options.own {
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# a comment\ndomain lost\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch a.example b.example\noptions edns0\n";

    #[test]
    fn resolvers_on_the_host_itself_are_left_out() {
        let text = resolv_conf_from(HOST, &DnsOptions::default());
        assert_eq!(text, "nameserver 192.0.2.1\nsearch a.example b.example\noptions edns0\n");
        let host = DnsOptions { host_network: true, ..DnsOptions::default() };
        assert!(resolv_conf_from(HOST, &host).starts_with("nameserver 127.0.0.53\nnameserver 192.0.2.1\n"));
        let none = resolv_conf_from("nameserver ::1\n", &DnsOptions::default());
        assert_eq!(none, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    }

    #[test]
    fn what_is_asked_for_wins() {
        let options = DnsOptions {
            servers: vec!["127.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            search: vec![".".to_owned()],
            options: vec!["ndots:2".to_owned(), "rotate".to_owned()],
            ..DnsOptions::default()
        };
        let text = resolv_conf_from(HOST, &options);
        assert_eq!(text, "nameserver 127.0.0.1\nnameserver 2001:db8::1\noptions ndots:2 rotate\n");
    }

    #[test]
    fn a_container_with_a_resolver_asks_it_alone() {
        let own = DnsOptions { own_resolver: true, ..DnsOptions::default() };
        let text = resolv_conf_from(HOST, &own);
        assert_eq!(text, "nameserver 127.0.0.11\nsearch a.example b.example\noptions edns0 ndots:0\n");
        let asks = resolver_from("nameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver 127.0.0.11\n", &own);
        let from: Vec<(String, bool)> = asks.servers.iter().map(|server| (server.address.to_string(), server.from_host)).collect();
        assert_eq!(from, [("127.0.0.53".to_owned(), true), ("192.0.2.1".to_owned(), false)]);
    }

    #[test]
    fn hosts_has_the_extra_names_and_then_its_own() {
        let options = HostsOptions {
            own: vec![("172.17.0.2".parse().unwrap(), vec!["web".to_owned()])],
            extra: vec![("db".to_owned(), "10.0.0.1".to_owned()), ("host.docker.internal".to_owned(), "host-gateway".to_owned())],
            host_gateway: Some("172.17.0.1".parse().unwrap()),
        };
        let text = hosts_file(&options);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.1\tdb\n172.17.0.1\thost.docker.internal\n172.17.0.2\tweb\n"));
    }
}

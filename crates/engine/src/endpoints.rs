//! What a container asks of its networks, and whether they can give it.

use std::collections::BTreeMap;

use network::Networks;
use network::endpoint::{Limits, bandwidth};
use network::name::LinkName;
use network::network::{Driver, Network};

use crate::error::{ConnectError, CreateError};
use crate::id::{ContainerId, ContainerName};
use crate::spec::{EndpointSettings, NetworkMode, Spec};
use crate::view::Container;

/// The option that names the container's interface. **Source:** moby, `libnetwork/netlabel`, `Ifname`.
pub(crate) const IFNAME: &str = "com.docker.network.endpoint.ifname";

/// Whether an endpoint is asked for as it comes.
pub(crate) fn is_plain(settings: &EndpointSettings) -> bool {
    settings.ipv4.is_none()
        && settings.ipv6.is_none()
        && settings.mac.is_none()
        && settings.link_local.is_empty()
        && settings.driver_options.is_empty()
}

/// The name that the driver's options give to the container's interface.
pub(crate) fn interface(options: &BTreeMap<String, String>) -> Option<LinkName> {
    options.get(IFNAME).and_then(|name| name.parse().ok())
}

/// The options that limit what a container receives and sends in a network, in bits a second.
const RECEIVE: &str = "teu.bandwidth.receive";
const SEND: &str = "teu.bandwidth.send";

/// The limits that the driver's options give.
pub(crate) fn limits(options: &BTreeMap<String, String>) -> Limits {
    let limit = |name| options.get(name).and_then(|text| bandwidth(text));
    Limits { receive: limit(RECEIVE), send: limit(SEND) }
}

/// The alias and the other container's name of a link, `NAME` or `NAME:ALIAS`.
pub(crate) fn link(text: &str) -> (String, String) {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    (alias.trim_start_matches('/').to_owned(), name.trim_start_matches('/').to_owned())
}

/// The network that a mode stands for, as written; none shares another's namespace.
pub(crate) fn network_of(mode: &NetworkMode) -> Option<&str> {
    match mode {
        NetworkMode::Default | NetworkMode::Bridge => Some("bridge"),
        NetworkMode::None => Some("none"),
        NetworkMode::Host => Some("host"),
        NetworkMode::Network(name) => Some(name),
        NetworkMode::Container(_) => None,
    }
}

/// The name of a network that may be written by its identity; one that is not there stays as it is.
pub(crate) fn canonical(networks: &Networks, reference: &str) -> String {
    if matches!(reference, "bridge" | "none" | "host") {
        return reference.to_owned();
    }
    networks.inspect(reference).map_or_else(|_| reference.to_owned(), |network| network.name)
}

/// Names all networks of a specification by their names, adds that of its mode, and checks what is asked of them.
pub(crate) fn resolve(networks: &Networks, spec: &mut Spec) -> Result<(), CreateError> {
    if let Some(mode) = network_of(&spec.host.network_mode) {
        spec.networks.entry(mode.to_owned()).or_default();
    }
    let asked = std::mem::take(&mut spec.networks);
    for (reference, settings) in asked {
        // Containers without wishes, which are most, need no look at the network.
        let network = if settings == EndpointSettings::default() { None } else { networks.inspect(&reference).ok() };
        if let Some(network) = &network {
            let checked = check(network, &reference, &settings);
            checked.map_err(|reasons| CreateError::Endpoint { network: network.name.clone(), reasons })?;
        }
        let name = network.map_or_else(|| canonical(networks, &reference), |network| network.name);
        let slot = spec.networks.entry(name).or_default();
        if settings != EndpointSettings::default() {
            *slot = settings;
        }
    }
    Ok(())
}

/// Whether a container of this specification may be joined with a network.
pub(crate) fn may_connect(spec: &Spec, network: &Network) -> Result<(), ConnectError> {
    match (&spec.host.network_mode, network.driver) {
        (NetworkMode::Container(_) | NetworkMode::Host, _) => Err(ConnectError::Refused(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        )),
        (_, Driver::Host) => {
            Err(ConnectError::Refused("cannot connect container to host network - container must be created in host network mode"))
        }
        (_, driver) if spec.networks.contains_key("none") || driver == Driver::Null && !spec.networks.is_empty() => {
            Err(ConnectError::Refused("container cannot be connected to multiple networks with one of the networks in private (none) mode"))
        }
        _ => Ok(()),
    }
}

/// Checks what is asked of a network; answers all that is wrong, as Docker writes it.
///
/// **Source:** moby, `daemon/container_operations.go`, `validateEndpointSettings`.
pub(crate) fn check(network: &Network, name: &str, settings: &EndpointSettings) -> Result<(), String> {
    let mut wrong = Vec::new();
    if matches!(name, "bridge" | "none" | "host" | "default") {
        if settings.ipv4.is_some() || settings.ipv6.is_some() {
            wrong.push("user specified IP address is supported on user defined networks only".to_owned());
        }
        if !settings.aliases.is_empty() {
            wrong.push("network-scoped alias is supported only for containers in user defined networks".to_owned());
        }
    }
    let unconfigured = || "user specified IP address is supported only when connecting to networks with user configured subnets".to_owned();
    if let (Some(ip), Some(bridge)) = (settings.ipv4, &network.bridge) {
        if !bridge.is_configured {
            wrong.push(unconfigured());
        } else if !bridge.subnet.contains(ip) {
            wrong.push(format!("no configured subnet or ip-range contain the IP address {ip}"));
        }
    }
    if let (Some(ip), Some(bridge)) = (settings.ipv6, &network.bridge) {
        match &bridge.six {
            Some(six) if six.is_configured && six.subnet.contains(ip) => {}
            Some(six) if six.is_configured => wrong.push(format!("no configured subnet or ip-range contain the IP address {ip}")),
            Some(_) | None => wrong.push(unconfigured()),
        }
    }
    for option in [RECEIVE, SEND] {
        if let Some(text) = settings.driver_options.get(option).filter(|text| bandwidth(text).is_none()) {
            wrong.push(format!("invalid {option} {text}: write it as 500kbit, 10mbit or 1gbit"));
        }
    }
    if let Some(name) = settings.driver_options.get(IFNAME)
        && name.parse::<LinkName>().is_err()
    {
        wrong.push(format!("invalid interface name: {name}"));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(several.iter().map(|reason| format!("* {reason}")).collect::<Vec<_>>().join("\n")),
    }
}

/// The names by which others in a user-defined network call a container: its name, its aliases, its short id and its
/// host name. **Source:** moby, `daemon/container_operations.go`, `buildEndpointDNSNames`.
#[must_use]
pub fn names_in_network(container: &Container, aliases: &[String]) -> Vec<String> {
    dns_names(&container.name, container.id, &container.spec.config.hostname, aliases)
}

/// As [`names_in_network`], of the parts.
pub(crate) fn dns_names(name: &ContainerName, id: ContainerId, hostname: &str, aliases: &[String]) -> Vec<String> {
    let mut names = vec![name.to_string()];
    let further = aliases.iter().cloned().chain([id.short()]).chain((!hostname.is_empty()).then(|| hostname.to_owned()));
    for further in further {
        if !names.contains(&further) {
            names.push(further);
        }
    }
    names
}

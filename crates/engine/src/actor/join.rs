//! The container's networks: at its start, while it runs, and at its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use network::AttachError;
use network::endpoint::{EndpointSpec, Sandbox};
use network::files::DnsOptions;
use network::port::PortSpec;

use super::Actor;
use crate::endpoints;
use crate::error::{ConnectError, StartError};
use crate::event::EventKind;
use crate::spec::{EndpointSettings, NetworkMode, Port, Protocol};
use crate::view::{BoundPort, Endpoint};

impl Actor {
    /// A network namespace made in advance, where the default network as it comes is all that is asked for.
    pub(super) fn take_netns(&self) -> Option<OwnedFd> {
        let settings = self.record.spec.networks.get("bridge");
        let plain = settings.is_none_or(endpoints::is_plain);
        if self.networks() != ["bridge"] || !plain {
            return None;
        }
        let id = self.record.id.to_string();
        self.deps.networks.take_prepared(&id)
    }

    /// Makes network namespaces for the next containers, beside everything else.
    pub(super) fn prepare_networks(&self) {
        let deps = self.deps.clone();
        // Without them the next start takes a little longer.
        drop(tokio::task::spawn_blocking(move || {
            drop(deps.networks.prepare());
        }));
    }

    /// Joins the container with its networks and writes its hosts file.
    pub(super) fn attach_network(&mut self, netns: Option<&OwnedFd>) -> Result<(), StartError> {
        let networks = self.networks();
        if networks.is_empty() {
            return Ok(());
        }
        let netns = netns.ok_or_else(|| StartError::Network("no network namespace".to_owned()))?;
        for network in networks {
            self.attach_one(&network, netns.as_fd()).map_err(|e| StartError::Network(crate::error::chain_once(&e)))?;
        }
        self.write_hosts()
    }

    /// Names of the networks that it has endpoints in; the one of its mode comes first.
    pub(super) fn networks(&self) -> Vec<String> {
        let spec = &self.record.spec;
        if spec.config.network_disabled {
            return Vec::new();
        }
        let mode = endpoints::network_of(&spec.host.network_mode).map(|name| endpoints::canonical(&self.deps.networks, name));
        let mut names: Vec<String> = spec.networks.keys().filter(|name| !matches!(name.as_str(), "none" | "host")).cloned().collect();
        // Stable: all others stay in the order of their names.
        names.sort_by_key(|name| Some(name) != mode.as_ref());
        names
    }

    fn attach_one(&mut self, network: &str, netns: BorrowedFd<'_>) -> Result<(), AttachError> {
        let id = self.record.id.to_string();
        let settings = self.record.spec.networks.get(network).cloned().unwrap_or_default();
        let published = self.endpoints.iter().any(|endpoint| !endpoint.ports.is_empty());
        let names = endpoints::dns_names(&self.record.name, self.record.id, &self.record.spec.config.hostname, &settings.aliases);
        let links = settings.links.iter().map(|link| endpoints::link(link)).collect();
        let asked = EndpointSpec {
            network: network.to_owned(),
            container_name: self.record.name.to_string(),
            ip: settings.ipv4,
            ip6: settings.ipv6,
            mac: settings.mac.as_deref().and_then(|mac| mac.parse().ok()),
            aliases: settings.aliases,
            ports: if published { Vec::new() } else { self.ports() },
            interface: endpoints::interface(&settings.driver_options),
            link_local: settings.link_local,
            gateway_priority: settings.gateway_priority,
            limits: endpoints::limits(&settings.driver_options),
            names,
            links,
            dns: self.dns_options(),
            labels: self.record.spec.config.labels.clone(),
        };
        let sandbox = Sandbox { holder: &id, netns };
        let endpoint = self.deps.networks.attach(&sandbox, &asked)?;
        self.note_network(network, &endpoint.network.to_string());
        self.network_event("connect", &endpoint_view(endpoint));
        self.take_endpoints();
        Ok(())
    }

    /// Takes over what the networks say of the container.
    pub(super) fn take_endpoints(&mut self) {
        let endpoints = self.deps.networks.endpoints(&self.record.id.to_string());
        self.endpoints = endpoints.into_iter().map(endpoint_view).collect();
    }

    /// Keeps the identity of a network that the container was in.
    fn note_network(&mut self, network: &str, id: &str) {
        if self.record.spec.networks.get(network).is_some_and(|settings| settings.network_id != id) {
            let spec = Arc::make_mut(&mut self.record.spec);
            if let Some(settings) = spec.networks.get_mut(network) {
                id.clone_into(&mut settings.network_id);
            }
        }
    }

    /// Joins the container with a network: at once if it runs, else at its next start.
    pub(super) fn connect(&mut self, reference: &str, settings: EndpointSettings) -> Result<(), ConnectError> {
        let network = self.deps.networks.inspect(reference)?;
        endpoints::may_connect(&self.record.spec, &network)?;
        endpoints::check(&network, &network.name, &settings).map_err(ConnectError::Settings)?;
        let is_running = self.pid.is_some();
        let known = self.record.spec.networks.contains_key(&network.name);
        if is_running && self.endpoints.iter().any(|endpoint| endpoint.network == network.name) {
            return Err(ConnectError::Connected { container: self.record.name.to_string(), network: network.name });
        }
        let before = self.record.spec.clone();
        Arc::make_mut(&mut self.record.spec).networks.insert(network.name.clone(), settings);
        let connected = if is_running { self.connect_now(&network.name) } else { Ok(()) };
        if let Err(error) = connected.and_then(|()| self.save(store::Durability::Durable).map_err(ConnectError::from)) {
            self.record.spec = before;
            if is_running && !known {
                self.leave(&network.name);
            }
            return Err(error);
        }
        self.publish();
        Ok(())
    }

    fn connect_now(&mut self, network: &str) -> Result<(), ConnectError> {
        let netns = self.own_netns()?;
        let hosts = self.hosts_text().unwrap_or_default();
        let before = self.deps.networks.resolv_conf(&DnsOptions { own_resolver: false, ..self.dns_options() });
        self.attach_one(network, netns.as_fd())?;
        self.rewrite_resolv_conf(&before).map_err(|error| ConnectError::Hosts(crate::error::chain(&error)))?;
        self.rewrite_hosts(&hosts).map_err(|error| ConnectError::Hosts(crate::error::chain(&error)))
    }

    /// Takes the container out of a network.
    pub(super) fn disconnect(&mut self, reference: &str, force: bool) -> Result<(), ConnectError> {
        let found = self.deps.networks.inspect(reference);
        let name = match found {
            Ok(network) => network.name,
            // A network that has gone can still be taken from the record.
            Err(_) if self.record.spec.networks.contains_key(reference) && (force || self.pid.is_none()) => reference.to_owned(),
            Err(error) => return Err(error.into()),
        };
        if self.record.spec.host.network_mode == NetworkMode::Host && name == "host" {
            return Err(ConnectError::Refused(
                "cannot disconnect container from host network - container was created in host network mode",
            ));
        }
        if !self.record.spec.networks.contains_key(&name) {
            return Err(ConnectError::NotConnected { container: self.record.id, network: name });
        }
        if self.pid.is_some() && self.endpoints.iter().any(|endpoint| endpoint.network == name) {
            let netns = self.own_netns()?;
            let hosts = self.hosts_text().unwrap_or_default();
            let id = self.record.id.to_string();
            let left = self.deps.networks.disconnect(&id, &name, Some(netns.as_fd()))?;
            self.take_endpoints();
            self.network_event("disconnect", &endpoint_view(left));
            self.rewrite_hosts(&hosts).map_err(|error| ConnectError::Hosts(crate::error::chain(&error)))?;
        }
        Arc::make_mut(&mut self.record.spec).networks.remove(&name);
        self.save(store::Durability::Durable)?;
        self.publish();
        Ok(())
    }

    /// Leaves a network whose joining failed half-way.
    fn leave(&mut self, network: &str) {
        let netns = self.own_netns().ok();
        let id = self.record.id.to_string();
        // It may not have got as far as to be in it.
        drop(self.deps.networks.disconnect(&id, network, netns.as_ref().map(AsFd::as_fd)));
        self.take_endpoints();
    }

    /// The network namespace of its first process.
    pub(super) fn own_netns(&self) -> Result<OwnedFd, ConnectError> {
        let id = self.record.id;
        let pid = self.pid.ok_or(ConnectError::NotRunning(id))?;
        let file = std::fs::File::open(format!("/proc/{pid}/ns/net")).map_err(|source| ConnectError::Namespace { id, source })?;
        Ok(file.into())
    }

    fn network_event(&self, action: &str, endpoint: &Endpoint) {
        let container = self.record.id.to_string();
        let attributes = [("container", container), ("name", endpoint.network.clone()), ("type", "bridge".to_owned())];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value)).into();
        let id = endpoint.network_id.clone();
        self.deps.events.publish(EventKind::Network, action, id, attributes);
    }

    fn ports(&self) -> Vec<PortSpec> {
        use network::port::Protocol as Transport;
        let spec = &self.record.spec;
        let transport = |port: &Port| match port.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
            Protocol::Sctp => Transport::Sctp,
        };
        let mut ports = Vec::new();
        for (port, bindings) in &spec.host.port_bindings {
            let any = [crate::spec::PortBinding::default()];
            let bindings = if bindings.is_empty() { &any[..] } else { bindings };
            for binding in bindings {
                ports.push(PortSpec {
                    protocol: transport(port),
                    host_ip: binding.host_ip,
                    host_port: binding.host_port.map(|range| range.first..=range.last),
                    container_port: port.number,
                });
            }
        }
        if spec.host.publish_all_ports {
            let bound = |port: &&Port| !spec.host.port_bindings.contains_key(port);
            for port in spec.config.exposed_ports.iter().filter(bound) {
                let protocol = transport(port);
                ports.push(PortSpec { protocol, host_ip: None, host_port: None, container_port: port.number });
            }
        }
        ports
    }

    /// Takes the container off its networks, beside everything else.
    pub(super) fn detach_network(&mut self) {
        if self.endpoints.is_empty() && self.networks().is_empty() {
            return;
        }
        for endpoint in std::mem::take(&mut self.endpoints) {
            self.network_event("disconnect", &endpoint);
        }
        self.netns = None;
        let (deps, id) = (self.deps.clone(), self.record.id.to_string());
        // What is left of it is swept at the next start of the engine.
        self.detaching = Some(tokio::task::spawn_blocking(move || {
            drop(deps.networks.detach(&id));
        }));
    }
}

pub(super) fn endpoint_view(endpoint: network::endpoint::Endpoint) -> Endpoint {
    let port = |bound: &network::port::BoundPort| BoundPort {
        port: Port {
            number: bound.container_port,
            protocol: match bound.protocol {
                network::port::Protocol::Tcp => Protocol::Tcp,
                network::port::Protocol::Udp => Protocol::Udp,
                network::port::Protocol::Sctp => Protocol::Sctp,
            },
        },
        host_ip: bound.host_ip,
        host_port: bound.host_port,
    };
    Endpoint {
        network: endpoint.network_name,
        network_id: endpoint.network.to_string(),
        endpoint_id: endpoint.id.to_string(),
        ip: Some(endpoint.address.into()),
        prefix: endpoint.prefix,
        gateway: endpoint.gateway.map(Into::into),
        six: endpoint.six.map(|six| (six.address.address(), six.address.prefix())),
        gateway6: endpoint.six.and_then(|six| six.gateway),
        mac: endpoint.mac.to_string(),
        ports: endpoint.ports.iter().map(port).collect(),
    }
}

//! What the engine knows of its networks, in memory and on record.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bindings::Bindings;
use crate::endpoint::Endpoint;
use crate::errors::ResolveError;
use crate::ipam::Pool;
use crate::name::{EndpointId, NetworkId};
use crate::network::{Bridge, Driver, Network, Parent};
use crate::policy::compile::Compiler;
use crate::port::BoundPort;
use crate::ruleset::Member as RulesetMember;
use crate::ruleset::policy::Enforced;

/// A network on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: NetworkId,
    pub(super) name: String,
    pub(super) driver: Driver,
    /// Nanoseconds since 1970.
    pub(super) created: u64,
    pub(super) bridge: Option<Bridge>,
    #[serde(default)]
    pub(super) parent: Option<Parent>,
    pub(super) internal: bool,
    pub(super) attachable: bool,
    pub(super) options: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Record {
    /// A network without a bridge and options.
    pub(super) fn new(id: NetworkId, name: &str, driver: Driver) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            id,
            name: name.to_owned(),
            driver,
            created: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            bridge: None,
            parent: None,
            internal: false,
            attachable: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// A network with what belongs to it while the engine runs.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) record: Record,
    /// Its addresses; none without a bridge.
    pub(super) pool: Option<Pool<Ipv4Addr>>,
    /// Its IPv6 addresses, if it has any.
    pub(super) pool6: Option<Pool<Ipv6Addr>>,
    /// The bridge's index; 0 without a bridge, or if it could not be brought up.
    pub(super) index: u32,
}

impl Member {
    pub(super) fn new(record: Record, index: u32) -> Self {
        let pool = record.bridge.as_ref().map(|bridge| {
            let mut pool = Pool::new(bridge.subnet, bridge.ip_range, bridge.gateway);
            // One outside of the subnet keeps nobody from anything.
            for address in bridge.auxiliary.values() {
                let _ = pool.reserve(*address);
            }
            pool
        });
        let six = record.bridge.as_ref().and_then(|bridge| bridge.six.as_ref());
        let pool6 = six.map(|six| {
            let mut pool = Pool::new6(six.subnet, six.ip_range, six.gateway);
            for address in six.auxiliary.values() {
                let _ = pool.reserve(*address);
            }
            pool
        });
        Self { record, pool, pool6, index }
    }
}

/// All that the engine knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) networks: Vec<Member>,
    /// The endpoints by owner, in the order in which they were attached.
    pub(super) endpoints: BTreeMap<String, Vec<Endpoint>>,
    pub(super) bindings: Bindings,
    /// The policies.
    pub(super) compiler: Compiler,
    /// What of them is in the kernel.
    pub(super) enforced: Enforced,
    /// The networks inside of whose bridges they see all packets.
    pub(super) calling: BTreeSet<NetworkId>,
    /// Endpoints of an earlier life of the engine.
    pub(super) restored: BTreeSet<EndpointId>,
    /// Network namespaces that are in the default network already and wait for an owner.
    pub(super) ready: Vec<Ready>,
    /// What owners have taken of these and not attached yet.
    pub(super) taken: BTreeMap<String, Endpoint>,
    /// Host's ends of links that will be `ready`.
    pub(super) preparing: BTreeSet<String>,
}

/// A network namespace that waits for an owner.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) netns: OwnedFd,
    pub(super) endpoint: Endpoint,
}

impl State {
    /// Finds a network as Docker does: name, whole identity, unique beginning.
    pub(super) fn resolve(&self, reference: &str) -> Result<&Member, ResolveError> {
        let place = self.place(reference)?;
        self.networks.get(place).ok_or_else(|| ResolveError::NotFound { reference: reference.to_owned() })
    }

    /// The place of a network in the list.
    pub(super) fn place(&self, reference: &str) -> Result<usize, ResolveError> {
        if let Some(place) = self.networks.iter().position(|member| member.record.name == reference) {
            return Ok(place);
        }
        let fits = |member: &Member| !reference.is_empty() && member.record.id.to_string().starts_with(reference);
        let found: Vec<usize> = self.networks.iter().enumerate().filter(|(_, member)| fits(member)).map(|(place, _)| place).collect();
        match found.as_slice() {
            [] => Err(ResolveError::NotFound { reference: reference.to_owned() }),
            [one] => Ok(*one),
            several => Err(ResolveError::Ambiguous { reference: reference.to_owned(), count: several.len() }),
        }
    }

    /// The network with that identity.
    pub(super) fn by_id(&mut self, id: NetworkId) -> Option<&mut Member> {
        self.networks.iter_mut().find(|member| member.record.id == id)
    }

    /// A network as the outside sees it.
    pub(super) fn show(&self, member: &Member) -> Network {
        let record = member.record.clone();
        let mine = |endpoint: &&Endpoint| endpoint.network == record.id;
        Network {
            id: record.id,
            endpoints: self.endpoints.values().flatten().filter(mine).cloned().collect(),
            name: record.name,
            driver: record.driver,
            created: SystemTime::UNIX_EPOCH + Duration::from_nanos(record.created),
            bridge: record.bridge,
            parent: record.parent,
            internal: record.internal,
            attachable: record.attachable,
            options: record.options,
            labels: record.labels,
        }
    }

    /// All published ports with the addresses of their containers.
    pub(super) fn ports(&self) -> Vec<(BoundPort, IpAddr)> {
        self.endpoints.values().flatten().flat_map(ports_of).collect()
    }

    /// The bridges as the rules see them.
    pub(super) fn members(&self) -> Vec<RulesetMember<'_>> {
        let bridges = self.networks.iter().filter(|member| member.record.driver == Driver::Bridge).filter_map(|member| {
            let bridge = member.record.bridge.as_ref()?;
            Some(RulesetMember { bridge, internal: member.record.internal })
        });
        bridges.collect()
    }

    /// Takes an endpoint out, and gives its address and ports back.
    pub(super) fn forget(&mut self, endpoint: &Endpoint) {
        if let Some(pool) = self.by_id(endpoint.network).and_then(|member| member.pool.as_mut()) {
            pool.release(endpoint.address);
        }
        if let (Some(six), Some(pool)) = (endpoint.six, self.by_id(endpoint.network).and_then(|member| member.pool6.as_mut())) {
            pool.release(six.address.address());
        }
        self.bindings.release(&endpoint.ports);
        self.restored.remove(&endpoint.id);
        if let Some(endpoints) = self.endpoints.get_mut(&endpoint.holder) {
            endpoints.retain(|other| other.id != endpoint.id);
            if endpoints.is_empty() {
                self.endpoints.remove(&endpoint.holder);
            }
        }
    }
}

/// An endpoint's ports, each with the container's address.
pub(super) fn ports_of(endpoint: &Endpoint) -> Vec<(BoundPort, IpAddr)> {
    endpoint.ports.iter().filter_map(|port| Some((*port, endpoint.target(port.host_ip)?))).collect()
}

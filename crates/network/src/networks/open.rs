//! Start: reads the records and brings the kernel to what they say.

use std::collections::BTreeMap;
use std::sync::Mutex;

use store::Durability;
use sys::netlink::Family;

use super::state::{Member, Record, State};
use super::{BRIDGE, Networks, Options, bridge, parent};
use crate::address::Subnet;
use crate::endpoint::Endpoint;
use crate::errors::OpenError;
use crate::ipam;
use crate::link;
use crate::name::NetworkId;
use crate::netlink::{Connection, Refused};
use crate::network::{Bridge, Driver};
use crate::policy::compile::Compiler;

/// The default engine's bridge, whose table has the plain name.
const DEFAULT_LINK: &str = "teu0";

/// Opens the networks.
pub(super) fn open(options: Options) -> Result<Networks, OpenError> {
    let records = |source| OpenError::Records { source };
    let (records_table, known, _) = store::Table::open(options.data.join("networks")).map_err(records)?;
    let (policy_records, mut policies, _) = store::Table::open(options.data.join("policies")).map_err(records)?;
    policies.sort_by(|(one, _), (other, _)| one.cmp(other));
    let policies = Compiler::new(policies.into_iter().map(|(_, policy)| policy).collect())
        .map_err(|source| OpenError::Kernel { what: "compile the network policies".to_owned(), source: std::io::Error::other(source) })?;
    let (endpoint_records, endpoints, _) = store::Table::open(options.run.join("endpoints")).map_err(records)?;
    let socket = |family| {
        let connection = Connection::open(family).map_err(|source| Refused { what: "open a netlink socket", source })?;
        connection.enlarge().map_err(|source| Refused { what: "enlarge a netlink socket", source })?;
        Ok::<_, Refused>(connection)
    };
    let (mut route, filter) = (socket(Family::Route)?, socket(Family::Netfilter)?);
    let mtu = match options.mtu {
        Some(mtu) => mtu,
        None => bridge::default_mtu(&mut route)?,
    };
    let table = match options.bridge.as_str() {
        DEFAULT_LINK => "teu".to_owned(),
        other => format!("teu-{other}"),
    };
    let networks = Networks {
        options,
        table,
        mtu,
        records: records_table,
        endpoint_records,
        policy_records,
        state: Mutex::new(State { compiler: policies, ..State::default() }),
        route: Mutex::new(route),
        filter: Mutex::new(filter),
    };
    networks.restore(known.into_iter().map(|(_, record)| record).collect(), endpoints)?;
    Ok(networks)
}

impl Networks {
    fn restore(&self, mut known: Vec<Record>, endpoints: Vec<(String, Endpoint)>) -> Result<(), OpenError> {
        let mut state = self.state();
        let mut route = self.route();
        bridge::allow_forwarding()?;
        for (name, driver) in [("host", Driver::Host), ("none", Driver::Null)] {
            if !known.iter().any(|record| record.name == name) {
                known.push(self.record_new(name, driver, None)?);
            }
        }
        let default = known.iter().position(|record| record.name == BRIDGE).map(|place| known.swap_remove(place));
        known.insert(0, self.default_network(&mut route, default, &known)?);
        for record in known {
            let index = match &record.bridge {
                None => 0,
                // The parent is looked for at each attachment; one of our making is made again.
                Some(addresses) if record.driver != Driver::Bridge => {
                    record.parent.as_ref().map_or(Ok(0), |parent| parent::ensure(&mut route, addresses, parent)).unwrap_or(0)
                }
                Some(bridge) if record.name == BRIDGE => bridge::ensure(&mut route, bridge)?,
                // One that cannot come up now must not keep the engine from its start: `attach` tries again.
                Some(bridge) => bridge::ensure(&mut route, bridge).unwrap_or(0),
            };
            state.networks.push(Member::new(record, index));
        }
        for (_, endpoint) in endpoints {
            restore_endpoint(&mut state, endpoint);
        }
        for endpoints in state.endpoints.values_mut() {
            endpoints.sort_by(|one, other| one.interface.cmp(&other.interface));
        }
        self.enforce_first(&mut state, &mut route)?;
        let mut filter = self.filter();
        self.rebuild(&state, &mut filter)?;
        self.ensure_rules(&state, &mut filter)?;
        drop((state, route, filter));
        self.begin_names()?;
        Ok(())
    }

    /// The default network: as on record if its bridge still can be so, else anew.
    fn default_network(&self, route: &mut Connection, known: Option<Record>, others: &[Record]) -> Result<Record, OpenError> {
        let name = &self.options.bridge;
        let existing = link::get(route, name.as_str())?;
        let own = existing.as_ref().map_or(0, |link| link.index);
        let adopted = link::addresses(route)?.into_iter().find(|(index, _)| existing.is_some() && *index == own);
        let recorded = known.as_ref().and_then(|record| record.bridge.as_ref()).filter(|bridge| bridge.link == *name);
        let recorded = recorded.and_then(|bridge| Subnet::new(bridge.gateway, bridge.subnet.prefix()));
        let mut used = bridge::used_subnets(route, own)?;
        used.extend(others.iter().filter_map(|record| record.bridge.as_ref()).map(|bridge| bridge.subnet));
        let free = |address: &Subnet| !used.iter().any(|used| used.overlaps(*address));
        let first = || {
            let subnet = ipam::free_subnet(&used)?;
            Subnet::new(ipam::first_host(subnet), subnet.prefix())
        };
        let address = self
            .options
            .address
            .or(adopted.map(|(_, address)| address))
            .or(recorded.filter(free))
            .or_else(first)
            .ok_or_else(|| OpenError::NoSubnet { bridge: name.clone() })?;
        if address.prefix() < 31 && (address.address() == address.broadcast() || address == address.network()) {
            return Err(OpenError::BadAddress { bridge: name.clone(), address });
        }
        let bridge = Bridge {
            link: name.clone(),
            subnet: address.network(),
            is_configured: true,
            ip_range: None,
            gateway: address.address(),
            mtu: self.mtu,
            icc: true,
            masquerade: true,
            host_ip: std::net::Ipv4Addr::UNSPECIFIED,
            auxiliary: BTreeMap::new(),
            six: None,
        };
        match known {
            Some(record) if record.bridge.as_ref() == Some(&bridge) => Ok(record),
            Some(record) => self.record(Record { bridge: Some(bridge), options: default_options(self), ..record }),
            None => self.record_new(BRIDGE, Driver::Bridge, Some(bridge)),
        }
    }

    fn record_new(&self, name: &str, driver: Driver, bridge: Option<Bridge>) -> Result<Record, OpenError> {
        let id = NetworkId::random().map_err(|source| Refused { what: "draw random numbers", source })?;
        let options = if bridge.is_some() { default_options(self) } else { BTreeMap::new() };
        self.record(Record { bridge, options, ..Record::new(id, name, driver) })
    }

    fn record(&self, record: Record) -> Result<Record, OpenError> {
        // Not synced: after a power cut the three networks are simply made again.
        let put = self.records.put(&record.id.to_string(), &record, Durability::Volatile);
        put.map_err(|source| OpenError::Put { source })?;
        Ok(record)
    }
}

/// The options that Docker shows for its default bridge.
fn default_options(networks: &Networks) -> BTreeMap<String, String> {
    let options = [
        ("default_bridge", "true".to_owned()),
        ("enable_icc", "true".to_owned()),
        ("enable_ip_masquerade", "true".to_owned()),
        ("host_binding_ipv4", "0.0.0.0".to_owned()),
        ("name", networks.options.bridge.to_string()),
    ];
    let mut options: BTreeMap<String, String> = options.map(|(key, value)| (format!("com.docker.network.bridge.{key}"), value)).into();
    options.insert("com.docker.network.driver.mtu".to_owned(), networks.mtu.to_string());
    options
}

/// Takes over an endpoint of an earlier life. One whose network is gone is kept for `sweep` to remove.
fn restore_endpoint(state: &mut State, endpoint: Endpoint) {
    if let Some(pool) = state.by_id(endpoint.network).and_then(|member| member.pool.as_mut()) {
        pool.restore(endpoint.address);
    }
    if let (Some(six), Some(pool)) = (endpoint.six, state.by_id(endpoint.network).and_then(|member| member.pool6.as_mut())) {
        pool.restore(six.address.address());
    }
    state.bindings.restore(&endpoint.ports);
    state.restored.insert(endpoint.id);
    state.endpoints.entry(endpoint.holder.clone()).or_default().push(endpoint);
}

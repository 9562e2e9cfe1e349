//! `/networks/…`.

use crate::app::App;
use crate::jobs::blocking;
use crate::patterns::Patterns;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, convert, error, time};
use docker_api::types::{
    ConfigReference, Ipam, IpamConfig, NetworkConnectBody, NetworkContainer, NetworkCreateBody, NetworkCreateResponse,
    NetworkDisconnectBody, NetworkResource, NetworksPruneReport,
};
use engine::ConnectError;
use http::StatusCode;
use network::network::{Bridge, Driver, Network, NetworkSpec, SixSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

impl App {
    pub(crate) fn network_list(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["dangling", "driver", "id", "label", "label!", "name", "scope", "type"])?;
        let dangling = filters.flag("dangling")?;
        let networks = self.networks.list();
        let (ids, names) = (Patterns::new(filters.get("id")), Patterns::new(filters.get("name")));
        let rows = networks.iter().filter(|network| {
            let builtin = is_predefined(network);
            filters.matches("driver", |driver| driver == network.driver.as_str())
                && (!filters.contains("id") || ids.matches(&network.id.to_string()))
                && (!filters.contains("name") || names.matches(&network.name))
                && filters.matches("scope", |scope| scope == "local")
                && filters.matches("type", |kind| kind == if builtin { "builtin" } else { "custom" })
                && filters.labels_match(&network.labels)
                && dangling.is_none_or(|wanted| wanted == (network.endpoints.is_empty() && !builtin))
        });
        // Lists do not show the containers.
        let rows: Vec<NetworkResource> = rows.map(|network| NetworkResource { containers: BTreeMap::new(), ..json(network) }).collect();
        Ok(reply::json(StatusCode::OK, &rows))
    }

    pub(crate) fn network_inspect(&self, name: &str) -> Result<Reply, ApiError> {
        let network = self.networks.inspect(name);
        let network = network.map_err(|cause| resolve_error(&cause))?;
        Ok(reply::json(StatusCode::OK, &json(&network)))
    }

    pub(crate) async fn network_create(&self, mut call: Call) -> Result<Reply, ApiError> {
        let body: NetworkCreateBody = call.json().await?;
        let name = body.name.clone();
        let driver = if body.driver.is_empty() { "bridge".to_owned() } else { body.driver.clone() };
        let spec = parse(body)?;
        let networks = Arc::clone(&self.networks);
        let created = blocking(move || networks.create(spec)).await?;
        let id = created.map_err(|cause| {
            use network::CreateError as Cause;
            let status = match cause {
                Cause::NameTaken { .. } => StatusCode::CONFLICT,
                Cause::Invalid { .. } => StatusCode::BAD_REQUEST,
                Cause::Overlap { .. } => StatusCode::FORBIDDEN,
                Cause::NoSubnet => StatusCode::NOT_FOUND,
                Cause::Put { .. } | Cause::Kernel { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            ApiError::from_error(status, &cause)
        })?;
        let attributes = BTreeMap::from([("name".to_owned(), name), ("type".to_owned(), driver)]);
        self.network_event("create", &id.to_string(), attributes);
        let answer = NetworkCreateResponse { id: id.to_string(), warning: String::new() };
        Ok(reply::json(StatusCode::CREATED, &answer))
    }

    pub(crate) async fn network_remove(&self, name: String) -> Result<Reply, ApiError> {
        let networks = Arc::clone(&self.networks);
        let removed = blocking(move || networks.remove(&name)).await?;
        let network = removed.map_err(|cause| match &cause {
            network::RemoveError::Resolve(cause) => resolve_error(cause),
            network::RemoveError::Predefined { .. } | network::RemoveError::InUse { .. } => {
                ApiError::from_error(StatusCode::FORBIDDEN, &cause)
            }
            network::RemoveError::Record { .. } | network::RemoveError::Kernel { .. } => ApiError::internal(error::chain(&cause)),
        })?;
        self.network_event("destroy", &network.id.to_string(), event_attributes(&network));
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn network_prune(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["label", "label!", "until"])?;
        let until = match filters.get("until").first() {
            Some(text) => time::moment(text)?,
            None => None,
        };
        // A container that does not run has no endpoint, but it needs its network.
        let wanted: std::collections::BTreeSet<String> =
            self.engine.list().iter().flat_map(|container| crate::convert::view::networks(container).into_keys()).collect();
        let networks = Arc::clone(&self.networks);
        let removed = blocking(move || {
            let unused = networks.list().into_iter().filter(|network| {
                !is_predefined(network)
                    && network.endpoints.is_empty()
                    && !wanted.contains(&network.name)
                    && filters.labels_match(&network.labels)
                    && until.is_none_or(|until| time::unix_nanos(network.created) < until)
            });
            // One that got into use meanwhile stays.
            let removed = unused.filter(|network| networks.remove(&network.id.to_string()).is_ok());
            removed.collect::<Vec<Network>>()
        })
        .await?;
        for network in &removed {
            self.network_event("destroy", &network.id.to_string(), event_attributes(network));
        }
        let names: Vec<String> = removed.into_iter().map(|network| network.name).collect();
        let report = NetworksPruneReport { networks_deleted: (!names.is_empty()).then_some(names) };
        Ok(reply::json(StatusCode::OK, &report))
    }

    pub(crate) async fn network_connect(&self, name: String, mut call: Call) -> Result<Reply, ApiError> {
        let body: NetworkConnectBody = call.json().await?;
        let settings = convert::create::endpoint(body.endpoint_config.unwrap_or_default())?;
        let connected = self.engine.connect(&body.container, &name, settings).await;
        connected.map_err(|cause| connect_error(&cause))?;
        Ok(reply::empty(StatusCode::OK))
    }

    pub(crate) async fn network_disconnect(&self, name: String, mut call: Call) -> Result<Reply, ApiError> {
        let body: NetworkDisconnectBody = call.json().await?;
        let disconnected = self.engine.disconnect(&body.container, &name, body.force).await;
        disconnected.map_err(|cause| connect_error(&cause))?;
        Ok(reply::empty(StatusCode::OK))
    }
}

/// Docker's statuses.
fn connect_error(cause: &ConnectError) -> ApiError {
    use network::AttachError;
    let status = match cause {
        ConnectError::Lookup(lookup) => return error::of_kind(lookup.kind(), cause),
        ConnectError::Network(cause) => return resolve_error(cause),
        ConnectError::Refused(_) | ConnectError::Settings(_) => StatusCode::BAD_REQUEST,
        ConnectError::Connected { .. } | ConnectError::Attach(AttachError::AlreadyAttached { .. } | AttachError::AddressInUse) => {
            StatusCode::FORBIDDEN
        }
        ConnectError::NotRunning(_) => StatusCode::CONFLICT,
        ConnectError::NotConnected { .. }
        | ConnectError::Namespace { .. }
        | ConnectError::Attach(_)
        | ConnectError::Detach(_)
        | ConnectError::Hosts(_)
        | ConnectError::Record(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, cause)
}

fn event_attributes(network: &Network) -> BTreeMap<String, String> {
    BTreeMap::from([("name".to_owned(), network.name.clone()), ("type".to_owned(), network.driver.as_str().to_owned())])
}

fn is_predefined(network: &Network) -> bool {
    matches!(network.name.as_str(), "bridge" | "host" | "none")
}

/// Parses a create body.
fn parse(body: NetworkCreateBody) -> Result<NetworkSpec, ApiError> {
    if body.name.trim().is_empty() {
        return Err(ApiError::invalid("network name cannot be empty"));
    }
    let driver = match body.driver.as_str() {
        "" | "bridge" | "default" => Driver::Bridge,
        "macvlan" => Driver::Macvlan,
        "ipvlan" => Driver::Ipvlan,
        "host" | "null" | "none" => {
            return Err(ApiError::new(StatusCode::FORBIDDEN, format!("only one instance of \"{}\" network is allowed", body.driver)));
        }
        "overlay" => return Err(ApiError::unsupported("this engine manages one host: there are no overlay networks")),
        other => return Err(ApiError::not_found(format!("plugin \"{other}\" not found"))),
    };
    if body.enable_ipv4 == Some(false) {
        return Err(ApiError::unsupported("networks without IPv4 are not supported: leave IPv4 on and add --ipv6"));
    }
    let mut spec = NetworkSpec {
        name: body.name,
        driver: Some(driver),
        internal: body.internal,
        attachable: body.attachable,
        six: (body.enable_ipv6 == Some(true)).then(SixSpec::default),
        options: body.options.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
        ..NetworkSpec::default()
    };
    for pool in body.ipam.unwrap_or_default().config.unwrap_or_default() {
        add_pool(&mut spec, pool)?;
    }
    Ok(spec)
}

/// Adds what is said of one subnet.
fn add_pool(spec: &mut NetworkSpec, pool: IpamConfig) -> Result<(), ApiError> {
    let is_six = [&pool.subnet, &pool.gateway, &pool.ip_range].iter().any(|text| text.contains(':'));
    let auxiliary = pool.auxiliary_addresses.unwrap_or_default();
    if is_six {
        // Docker leaves such a subnet out as well where IPv6 is off.
        let Some(six) = &mut spec.six else {
            return Ok(());
        };
        if six.subnet.is_some() {
            return Err(ApiError::invalid("a bridge network has one IPv6 subnet at most"));
        }
        *six = SixSpec {
            subnet: optional(&pool.subnet, "subnet")?,
            ip_range: optional(&pool.ip_range, "ip-range")?,
            gateway: optional(&pool.gateway, "gateway address")?,
            auxiliary: addresses(auxiliary)?,
        };
        return Ok(());
    }
    if spec.subnet.is_some() {
        return Err(ApiError::invalid("a bridge network has one IPv4 subnet at most"));
    }
    spec.subnet = optional(&pool.subnet, "subnet")?;
    spec.ip_range = optional(&pool.ip_range, "ip-range")?;
    spec.gateway = optional(&pool.gateway, "gateway address")?;
    spec.auxiliary = addresses(auxiliary)?;
    Ok(())
}

fn optional<T: std::str::FromStr>(text: &str, what: &str) -> Result<Option<T>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || match what {
        "subnet" => format!("invalid network config:\ninvalid subnet {text}: invalid CIDR block notation"),
        what => format!("invalid {what} {text}"),
    };
    text.parse().map(Some).map_err(|_| ApiError::invalid(wrong()))
}

fn addresses<T: std::str::FromStr>(texts: BTreeMap<String, String>) -> Result<BTreeMap<String, T>, ApiError> {
    let parse = |(name, text): (String, String)| {
        let address = text.parse().map_err(|_| ApiError::invalid(format!("invalid aux-address {text}")))?;
        Ok((name, address))
    };
    texts.into_iter().map(parse).collect()
}

fn options(network: &Network, bridge: Option<&Bridge>) -> BTreeMap<String, String> {
    let mut options = network.options.clone();
    if let Some(bridge) = bridge
        && network.name == "bridge"
    {
        for (name, value) in [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", bridge.icc.to_string()),
            ("com.docker.network.bridge.enable_ip_masquerade", bridge.masquerade.to_string()),
            ("com.docker.network.bridge.host_binding_ipv4", bridge.host_ip.to_string()),
            ("com.docker.network.bridge.name", bridge.link.to_string()),
            ("com.docker.network.driver.mtu", bridge.mtu.to_string()),
        ] {
            options.entry(name.to_owned()).or_insert(value);
        }
    }
    options
}

fn json(network: &Network) -> NetworkResource {
    let bridge = network.bridge.as_ref();
    let containers = network.endpoints.iter().map(|endpoint| {
        let container = NetworkContainer {
            name: endpoint.container_name.clone(),
            endpoint_id: endpoint.id.to_string(),
            mac_address: endpoint.mac.to_string(),
            ipv4_address: format!("{}/{}", endpoint.address, endpoint.prefix),
            ipv6_address: endpoint.six.map(|six| six.address.to_string()).unwrap_or_default(),
        };
        (endpoint.holder.clone(), container)
    });
    NetworkResource {
        name: network.name.clone(),
        id: network.id.to_string(),
        created: time::rfc3339(time::unix_nanos(network.created)),
        scope: "local".to_owned(),
        driver: network.driver.as_str().to_owned(),
        enable_ipv4: true,
        enable_ipv6: bridge.is_some_and(|bridge| bridge.six.is_some()),
        ipam: Ipam {
            driver: "default".to_owned(),
            options: match network.driver {
                Driver::Bridge | Driver::Macvlan | Driver::Ipvlan if !is_predefined(network) => Some(BTreeMap::new()),
                Driver::Bridge | Driver::Macvlan | Driver::Ipvlan | Driver::Host | Driver::Null => None,
            },
            config: bridge.map(pools),
        },
        internal: network.internal,
        attachable: network.attachable,
        ingress: false,
        config_from: ConfigReference::default(),
        config_only: false,
        containers: containers.collect(),
        options: options(network, bridge),
        labels: network.labels.clone(),
    }
}

fn pools(bridge: &Bridge) -> Vec<IpamConfig> {
    fn texts<A: ToString>(addresses: &BTreeMap<String, A>) -> Option<BTreeMap<String, String>> {
        let texts = addresses.iter().map(|(name, address)| (name.clone(), address.to_string()));
        (!addresses.is_empty()).then(|| texts.collect())
    }
    let four = IpamConfig {
        subnet: bridge.subnet.network().to_string(),
        ip_range: bridge.ip_range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: bridge.gateway.to_string(),
        auxiliary_addresses: texts(&bridge.auxiliary),
    };
    let six = bridge.six.iter().map(|six| IpamConfig {
        subnet: six.subnet.to_string(),
        ip_range: six.ip_range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: six.gateway.to_string(),
        auxiliary_addresses: texts(&six.auxiliary),
    });
    std::iter::once(four).chain(six).collect()
}

fn resolve_error(cause: &network::ResolveError) -> ApiError {
    let status = match cause {
        network::ResolveError::NotFound { .. } => StatusCode::NOT_FOUND,
        network::ResolveError::Ambiguous { .. } => StatusCode::BAD_REQUEST,
    };
    ApiError::from_error(status, cause)
}

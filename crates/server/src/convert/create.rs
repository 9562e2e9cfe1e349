//! From a create body to [`Spec`]: the last place with raw texts.

use super::host;
use crate::ApiError;
use docker_api::types::{ContainerConfig, ContainerCreateBody, EndpointIpam, HealthConfig, HostConfig, NetworkEndpoint};
use engine::spec::{Config, EndpointSettings, Healthcheck, Spec};
use std::collections::BTreeMap;
use std::time::Duration;

/// Makes a 400 of a parser's error.
pub(super) fn invalid(cause: impl std::fmt::Display) -> ApiError {
    ApiError::invalid(cause.to_string())
}

/// Parses a create body.
///
/// # Errors
/// 400 with Docker's text.
pub(crate) fn spec(body: ContainerCreateBody) -> Result<Spec, ApiError> {
    let host_config = body.host_config.unwrap_or_default();
    let mac = body.config.mac_address.clone();
    let endpoints = body.networking_config.unwrap_or_default().endpoints_config;
    let mut networks = BTreeMap::new();
    for (name, settings) in endpoints.unwrap_or_default() {
        // The CLI calls the default bridge so when nothing was said.
        let name = if name == "default" { "bridge".to_owned() } else { name };
        networks.insert(name, endpoint(settings.unwrap_or_default())?);
    }
    let config = config(body.config)?;
    check_together(&config, &host_config)?;
    let host = host::parse(host_config)?;
    if !mac.is_empty() {
        let name = super::show::network_mode(&host.network_mode);
        networks.entry(name).or_default().mac.get_or_insert(mac);
    }
    Ok(Spec { config, host, networks })
}

/// **Source:** moby, `daemon/container.go`, `verifyContainerSettings`.
fn check_together(config: &Config, host: &HostConfig) -> Result<(), ApiError> {
    let policy = host.restart_policy.name.as_str();
    if host.auto_remove && !matches!(policy, "" | "no") {
        return Err(ApiError::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    if let Some(entry) = config.env.iter().find(|entry| entry.starts_with('=') || entry.is_empty()) {
        return Err(ApiError::invalid(format!("invalid environment variable: {entry}")));
    }
    let directory = &config.working_directory;
    if !directory.is_empty() && !directory.starts_with('/') {
        return Err(ApiError::invalid(format!("the working directory '{directory}' is invalid, it needs to be an absolute path")));
    }
    Ok(())
}

fn config(from: ContainerConfig) -> Result<Config, ApiError> {
    let stop_signal = match from.stop_signal.as_str() {
        "" => None,
        text => Some(text.parse().map_err(invalid)?),
    };
    let mut exposed_ports = std::collections::BTreeSet::new();
    for port in from.exposed_ports.keys() {
        exposed_ports.insert(port.parse().map_err(invalid)?);
    }
    Ok(Config {
        no_image_volumes: false,
        image: from.image,
        command: from.cmd,
        entrypoint: from.entrypoint,
        env: from.env.unwrap_or_default(),
        user: from.user,
        working_directory: from.working_dir,
        hostname: from.hostname,
        domainname: from.domainname,
        labels: from.labels.unwrap_or_default(),
        tty: from.tty,
        open_stdin: from.open_stdin,
        stdin_once: from.stdin_once,
        attach_stdin: from.attach_stdin,
        attach_stdout: from.attach_stdout,
        attach_stderr: from.attach_stderr,
        exposed_ports,
        volumes: from.volumes.unwrap_or_default().into_keys().collect(),
        healthcheck: from.healthcheck.map(healthcheck).transpose()?,
        stop_signal,
        stop_signal_text: from.stop_signal,
        stop_timeout: from.stop_timeout,
        network_disabled: from.network_disabled,
        shell: from.shell,
        on_build: from.on_build,
    })
}

/// **Source:** moby, `daemon/container.go`, `validateHealthCheck`.
fn healthcheck(from: HealthConfig) -> Result<Healthcheck, ApiError> {
    let duration = |name: &str, nanos: i64| match u64::try_from(nanos) {
        Ok(0) => Ok(Duration::ZERO),
        Ok(nanos) if nanos >= 1_000_000 => Ok(Duration::from_nanos(nanos)),
        Ok(_) | Err(_) => Err(ApiError::invalid(format!("{name} in Healthcheck cannot be less than 1ms"))),
    };
    Ok(Healthcheck {
        interval: duration("Interval", from.interval)?,
        timeout: duration("Timeout", from.timeout)?,
        start_period: duration("StartPeriod", from.start_period)?,
        start_interval: duration("StartInterval", from.start_interval)?,
        retries: u32::try_from(from.retries).map_err(|_| ApiError::invalid("Retries in Healthcheck cannot be negative"))?,
        test: from.test,
    })
}

/// Parses what an endpoint asks for.
///
/// # Errors
/// 400 for an address that is none.
pub(crate) fn endpoint(from: NetworkEndpoint) -> Result<EndpointSettings, ApiError> {
    let EndpointIpam { ipv4_address, ipv6_address, link_local_ips } = from.ipam_config.unwrap_or_default();
    let link_local = link_local_ips.unwrap_or_default();
    Ok(EndpointSettings {
        aliases: from.aliases.unwrap_or_default(),
        links: from.links.unwrap_or_default(),
        ipv4: address("IPv4", &ipv4_address)?,
        ipv6: address("IPv6", &ipv6_address)?,
        link_local: link_local
            .iter()
            .map(|text| text.parse().map_err(|_| ApiError::invalid(format!("invalid link-local IP address: {text}"))))
            .collect::<Result<_, _>>()?,
        mac: mac(from.mac_address)?,
        driver_options: from.driver_opts.unwrap_or_default(),
        gateway_priority: from.gw_priority,
        network_id: String::new(),
    })
}

fn mac(text: String) -> Result<Option<String>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed: Result<network::address::Mac, _> = text.parse();
    parsed.map_err(|_| ApiError::invalid(format!("invalid MAC address {text}")))?;
    Ok(Some(text))
}

fn address<T: std::str::FromStr>(family: &str, text: &str) -> Result<Option<T>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| ApiError::invalid(format!("invalid endpoint settings:\ninvalid {family} address: {text}")))
}

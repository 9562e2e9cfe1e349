//! The networks of `run` and `create`. **Source:** docker/cli, `opts/network.go` and `container/opts.go`.

use serde_json::{Map, Value, json};

use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// One `--network`.
#[derive(Debug, Default)]
struct Attachment {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    options: Map<String, Value>,
    ip: Option<String>,
    ip6: Option<String>,
    link_local: Vec<String>,
    mac: Option<String>,
    gateway_priority: i64,
}

/// What `HostConfig.NetworkMode` becomes: the first network.
pub(super) fn mode(given: &Given) -> Outcome<String> {
    Ok(attachments(given)?.into_iter().next().map_or_else(|| "default".to_owned(), |first| first.target))
}

/// What `NetworkingConfig` becomes.
pub(super) fn networking(given: &Given) -> Outcome<Value> {
    let mut attachments = attachments(given)?;
    let mixed = attachments.iter().any(|one| is_user_defined(&one.target)) && attachments.iter().any(|one| !is_user_defined(&one.target));
    match attachments.first_mut() {
        Some(first) => apply(first, given)?,
        None => {
            let mut default = Attachment { target: "default".to_owned(), ..Attachment::default() };
            apply(&mut default, given)?;
            attachments.push(default);
        }
    }
    let mut endpoints = Map::new();
    for one in attachments {
        let target = one.target.clone();
        if endpoints.contains_key(&target) {
            return Err(refused(format!("network \"{target}\" is specified multiple times")));
        }
        endpoints.insert(target, endpoint(one)?);
    }
    if mixed {
        return Err(refused("conflicting options: cannot attach both user-defined and non-user-defined network-modes".to_owned()));
    }
    // Networks without endpoints of their own need no entry.
    endpoints.retain(|name, endpoint| {
        name != "host" && name != "none" && !name.starts_with("container:") || endpoint.as_object().is_some_and(|fields| !fields.is_empty())
    });
    Ok(json!({"EndpointsConfig": endpoints}))
}

fn refused(message: String) -> Failure {
    Failure::Message { message, code: 125, run: true }
}

fn is_user_defined(target: &str) -> bool {
    !matches!(target, "default" | "bridge" | "host" | "none") && !target.starts_with("container:")
}

fn attachments(given: &Given) -> Outcome<Vec<Attachment>> {
    given.all("network").iter().chain(given.all("net")).map(|text| parse(text)).collect()
}

/// Parses `NAME` or `name=NAME,alias=A,ip=…`.
fn parse(text: &str) -> Outcome<Attachment> {
    let is_long = text.split(',').any(|part| part.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty()));
    if !is_long {
        return Ok(Attachment { target: text.to_owned(), ..Attachment::default() });
    }
    let wrong = |why: String| Failure::Message {
        message: format!("invalid argument \"{text}\" for \"--network\" flag: {why}"),
        code: 125,
        run: false,
    };
    let mut found = Attachment::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| wrong(format!("invalid field {part}")))?;
        let value = value.trim().to_owned();
        match key.trim().to_lowercase().as_str() {
            "name" => found.target = value,
            "alias" => found.aliases.push(value),
            "ip" => found.ip = Some(value),
            "ip6" => found.ip6 = Some(value),
            "mac-address" => found.mac = Some(value),
            "link-local-ip" => found.link_local.push(value),
            "gw-priority" => {
                let number = value.parse();
                found.gateway_priority = number.map_err(|_| wrong(format!("invalid gw-priority ({value}): invalid syntax")))?;
            }
            "driver-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((&value, ""));
                found.options.insert(key.trim().to_owned(), value.trim().into());
            }
            other => return Err(wrong(format!("invalid field key {other}"))),
        }
    }
    if found.target.is_empty() {
        return Err(wrong("network name/id is not specified".to_owned()));
    }
    Ok(found)
}

/// Gives the flags that concern the container as a whole to its first network.
fn apply(first: &mut Attachment, given: &Given) -> Outcome<()> {
    let conflict = |what: &str| refused(format!("conflicting options: cannot specify both {what}"));
    let lists = [
        (&mut first.aliases, "network-alias", "--network-alias and per-network alias"),
        (&mut first.link_local, "link-local-ip", "--link-local-ip and per-network link-local IP addresses"),
    ];
    for (list, flag, what) in lists {
        if !given.all(flag).is_empty() {
            if !list.is_empty() {
                return Err(conflict(what));
            }
            list.extend_from_slice(given.all(flag));
        }
    }
    let texts = [
        (&mut first.ip, "ip", "--ip and per-network IPv4 address"),
        (&mut first.ip6, "ip6", "--ip6 and per-network IPv6 address"),
        (&mut first.mac, "mac-address", "--mac-address and per-network MAC address"),
    ];
    for (slot, flag, what) in texts {
        if let Some(value) = given.get(flag) {
            if slot.is_some() {
                return Err(conflict(what));
            }
            *slot = Some(value.to_owned());
        }
    }
    if is_user_defined(&first.target) {
        first.links.extend_from_slice(given.all("link"));
    }
    Ok(())
}

fn endpoint(one: Attachment) -> Outcome<Value> {
    if !one.aliases.is_empty() && !is_user_defined(&one.target) {
        return Err(refused("network-scoped aliases are only supported for user-defined networks".to_owned()));
    }
    let mut ipam = Map::new();
    for (field, value) in [("IPv4Address", one.ip), ("IPv6Address", one.ip6)] {
        if let Some(value) = value {
            ipam.insert(field.into(), value.into());
        }
    }
    if !one.link_local.is_empty() {
        ipam.insert("LinkLocalIPs".into(), one.link_local.into());
    }
    let mut endpoint = Map::new();
    for (field, values) in [("Aliases", one.aliases), ("Links", one.links)] {
        if !values.is_empty() {
            endpoint.insert(field.into(), values.into());
        }
    }
    for (field, map) in [("IPAMConfig", ipam), ("DriverOpts", one.options)] {
        if !map.is_empty() {
            endpoint.insert(field.into(), Value::Object(map));
        }
    }
    if let Some(mac) = one.mac {
        endpoint.insert("MacAddress".into(), mac.into());
    }
    if one.gateway_priority != 0 {
        endpoint.insert("GwPriority".into(), one.gateway_priority.into());
    }
    Ok(Value::Object(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::find;

    fn given(words: &[&str]) -> Outcome<Value> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        networking(&find("run").unwrap().command.parse(&words)?)
    }

    #[test]
    fn several_networks_each_with_their_own_wishes() {
        let body = given(&[
            "--network",
            "name=a,ip=10.0.0.9,alias=x,alias=y,driver-opt=com.docker.network.endpoint.ifname=foo,gw-priority=-3",
            "--network",
            "b",
            "--network-alias",
            "z",
            "image",
        ]);
        assert!(matches!(body, Err(Failure::Message { message, .. }) if message.contains("--network-alias and per-network alias")));
        let body = given(&["--network", "name=a,ip=10.0.0.9,gw-priority=-3", "--network", "b", "--link", "c:d", "image"]).unwrap();
        let wanted = json!({"a": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}, "GwPriority": -3, "Links": ["c:d"]}, "b": {}});
        assert_eq!(body["EndpointsConfig"], wanted);
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        for (words, text) in [
            (vec!["--network", "a", "--network", "a", "i"], "network \"a\" is specified multiple times"),
            (vec!["--network", "a", "--network", "host", "i"], "cannot attach both user-defined and non-user-defined"),
            (vec!["--network-alias", "x", "i"], "network-scoped aliases are only supported for user-defined networks"),
            (vec!["--network", "name=a,foo=1", "i"], "invalid field key foo"),
            (vec!["--network", "name=a,gw-priority=x", "i"], "invalid gw-priority (x): invalid syntax"),
            (vec!["--network", "name=a,ip=1.1.1.1", "--ip", "1.1.1.2", "i"], "cannot specify both --ip and per-network IPv4 address"),
        ] {
            let error = given(&words).unwrap_err();
            assert!(matches!(&error, Failure::Message { message, .. } if message.contains(text)), "{error:?}");
        }
    }
}

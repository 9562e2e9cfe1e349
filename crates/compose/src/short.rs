//! Short forms of ports, mounts and devices in their long form.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::error::Span;
use crate::node::{Map, Node, Value};

/// Options of a bind mount that say how mounts spread.
const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// A map of some texts and truths.
fn map(span: Span, entries: Vec<(&str, Value)>) -> Node {
    Node::new(span, Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), Node::new(span, value))).collect()))
}

/// Parts of a mount, cut at colons outside of `${…}` and of `C:`.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0usize;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let part = parts.last_mut();
        let Some(part) = part else {
            break;
        };
        match letter {
            '$' if letters.peek() == Some(&'{') => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ':' if depth == 0 => {
                let mut before = part.chars();
                let drive = before.next().is_some_and(char::is_alphabetic) && before.next().is_none();
                if !drive {
                    parts.push(String::new());
                    continue;
                }
            }
            _ => {}
        }
        part.push(letter);
    }
    parts
}

/// Where a mount in its short form goes.
pub(crate) fn volume_target(text: &str) -> Option<String> {
    let mut parts = parts(text);
    if parts.len() > 1 { Some(parts.swap_remove(1)) } else { parts.pop() }
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub(crate) fn volume(text: &str, span: Span) -> Result<Node, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if text.len() <= 2 {
        return Ok(map(span, vec![("type", Value::Text("volume".into())), ("target", Value::Text(text.into()))]));
    }
    let parts = parts(text);
    if parts.iter().any(String::is_empty) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", target.as_str(), ""),
        [source, target] => (source.as_str(), target.as_str(), ""),
        [source, target, options] => (source.as_str(), target.as_str(), options.as_str()),
        _ => return Err(format!("invalid spec: {text}: too many colons")),
    };
    let bind = is_path(source);
    let (mut read_only, mut bind_options, mut nocopy) = (false, Vec::new(), false);
    for option in options.split(',') {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => nocopy = true,
            "z" | "Z" => bind_options.push(("selinux", Value::Text(option.into()))),
            option if PROPAGATIONS.contains(&option) => bind_options.push(("propagation", Value::Text(option.into()))),
            _ => {}
        }
    }
    let mut entries = vec![("type", Value::Text(if bind { "bind" } else { "volume" }.into()))];
    if !source.is_empty() {
        entries.push(("source", Value::Text(source.into())));
    }
    entries.push(("target", Value::Text(clean(target))));
    if read_only {
        entries.push(("read_only", Value::Bool(true)));
    }
    let has_bind_options = !bind_options.is_empty();
    if bind || has_bind_options {
        if bind {
            bind_options.push(("create_host_path", Value::Bool(true)));
        }
        entries.push(("bind", map(span, bind_options).value));
    }
    if !bind || nocopy {
        let options = if nocopy { vec![("nocopy", Value::Bool(true))] } else { Vec::new() };
        entries.push(("volume", map(span, options).value));
    }
    Ok(map(span, entries))
}

/// Whether the source of a mount is a path of the host.
fn is_path(source: &str) -> bool {
    let mut letters = source.chars();
    match letters.next() {
        None => false,
        Some('.' | '/' | '~') => true,
        Some(first) => source.starts_with("\\\\") || (first.is_alphabetic() && letters.next() == Some(':')),
    }
}

/// A path without `.`, `..` and double slashes, as Go's `path.Clean` makes it.
pub(crate) fn clean(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match kept.last() {
                Some(&last) if last != ".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(".."),
            },
            part => kept.push(part),
        }
    }
    let joined = kept.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `SOURCE[:TARGET[:PERMISSIONS]]`.
pub(crate) fn device(text: &str, span: Span) -> Result<Node, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => return Err(format!("confusing device mapping, please use long syntax: {text}")),
    };
    let target = if target.is_empty() { source } else { target };
    Ok(map(
        span,
        vec![
            ("source", Value::Text(source.into())),
            ("target", Value::Text(target.into())),
            ("permissions", Value::Text(permissions.into())),
        ],
    ))
}

/// `[[IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`: one entry for each container port.
pub(crate) fn ports(text: &str, span: Span) -> Result<Vec<Node>, String> {
    let (spec, protocol) = match text.split_once('/') {
        Some((spec, "")) => (spec, "tcp".to_owned()),
        Some((spec, protocol)) => (spec, protocol.to_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (rest, container) = spec.rsplit_once(':').map_or((None, spec), |(rest, container)| (Some(rest), container));
    let (ip, host) = match rest {
        None => ("", ""),
        Some(rest) => rest.rsplit_once(':').unwrap_or(("", rest)),
    };
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (first, last) = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let published = if host.is_empty() { None } else { Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?) };
    if let Some((start, end)) = published
        && end - start != last - first
        && last != first
    {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    let mut ports: Vec<(String, Node)> = (first..=last)
        .map(|port| {
            let mut entries = Map::new();
            let mut add = |key: &str, value| entries.insert(key.to_owned(), Node::new(span, value));
            add("mode", Value::Text("ingress".into()));
            if !ip.is_empty() {
                add("host_ip", Value::Text(ip.into()));
            }
            add("target", Value::Int(i64::from(port)));
            match published {
                Some((start, end)) if first == last && start != end => add("published", Value::Text(format!("{start}-{end}"))),
                Some((start, _)) => add("published", Value::Text((start + (port - first)).to_string())),
                None => None,
            };
            add("protocol", Value::Text(protocol.clone()));
            (format!("{port}/{protocol}"), Node::new(span, Value::Map(entries)))
        })
        .collect();
    // In the order of their texts, as Docker's library gives them.
    ports.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(ports.into_iter().map(|(_, port)| port).collect())
}

/// `5` or `5-8`.
fn range(text: &str) -> Option<(u32, u32)> {
    let port = |text: &str| text.parse::<u16>().ok().map(u32::from);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        node.sprint()
    }

    #[test]
    fn mounts_are_read() {
        let read = |text: &str| volume(text, Span::default()).map(|node| shown(&node));
        assert_eq!(read("/data").as_deref(), Ok("map[target:/data type:volume volume:map[]]"));
        assert_eq!(read("db:/data/../x:ro").as_deref(), Ok("map[read_only:true source:db target:/x type:volume volume:map[]]"));
        assert_eq!(read("./a:/b").as_deref(), Ok("map[bind:map[create_host_path:true] source:./a target:/b type:bind]"));
        assert_eq!(read("v:/x").as_deref(), Ok("map[target:v:/x type:volume volume:map[]]"));
        assert!(read("aa::b").is_err() && read("aa:bb:cc:dd").is_err() && read("").is_err());
    }

    #[test]
    fn ports_are_read() {
        let read = |text: &str| ports(text, Span::default()).map(|list| list.iter().map(shown).collect::<Vec<_>>().join(" "));
        assert_eq!(read("80").as_deref(), Ok("map[mode:ingress protocol:tcp target:80]"));
        assert_eq!(
            read("127.0.0.1:8000-8001:9-10/udp").as_deref(),
            Ok(
                "map[host_ip:127.0.0.1 mode:ingress protocol:udp published:8001 target:10] map[host_ip:127.0.0.1 mode:ingress protocol:udp published:8000 target:9]"
            )
        );
        assert_eq!(read("8000-8010:80").as_deref(), Ok("map[mode:ingress protocol:tcp published:8000-8010 target:80]"));
        assert_eq!(read("[::1]:5:6").as_deref(), Ok("map[host_ip:::1 mode:ingress protocol:tcp published:5 target:6]"));
        for text in ["70000", "a", "1:2:3:4", "5-3", "80/xyz", "1-3:5-6", "80:"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

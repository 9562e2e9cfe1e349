//! `port` and `top`.

use docker_api::client::{escape, query};
use serde_json::Value;

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{items, text as field};
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("port"), act: port }, Entry { command: described("top"), act: top }];

fn port(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let container: Value = client.call("GET", &format!("/containers/{}/json", escape(&given.args[0])), None)?;
    let wanted = given.args.get(1).map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    let mut found = false;
    let ports = container.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
    let mut ports: Vec<(&String, &Value)> = ports.into_iter().flatten().collect();
    ports.sort_by_key(|(port, _)| port.split('/').next().and_then(|port| port.parse::<u16>().ok()));
    for (port, bindings) in ports {
        if wanted.as_ref().is_some_and(|wanted| wanted != port) {
            continue;
        }
        for binding in bindings.as_array().into_iter().flatten() {
            found = true;
            let ip = field(binding, "HostIp");
            let address = if ip.contains(':') {
                format!("[{ip}]:{}", field(binding, "HostPort"))
            } else {
                format!("{ip}:{}", field(binding, "HostPort"))
            };
            printer::line(&if wanted.is_some() { address } else { format!("{port} -> {address}") });
        }
    }
    match wanted {
        Some(_) if !found => Err(Failure::new(format!("Error: No public port '{}' published for {}", given.args[1], given.args[0]))),
        _ => Ok(0),
    }
}

fn top(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let options = given.args[1..].join(" ");
    let query = query(&[("ps_args", Some(options.as_str()).filter(|options| !options.is_empty()))]);
    let list: Value = client.call("GET", &format!("/containers/{}/top{query}", escape(&given.args[0])), None)?;
    let row = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let mut rows = vec![list.get("Titles").map(row).unwrap_or_default()];
    rows.extend(items(&list, "Processes").map(row));
    printer::raw(crate::table::layout_wide(&rows).as_bytes());
    Ok(0)
}

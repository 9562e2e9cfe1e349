//! `ps`, `ls`, `images`, `port`, `top`, `stats`, `volumes` and `version`.

use std::collections::{BTreeMap, BTreeSet};

use compose::observe;
use docker_api::client::{escape, query};
use serde_json::{Value, json};

use super::session::Session;
use crate::commands::list::row;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::json::{items, number, short, text};
use crate::output::{Column, List};
use crate::{human, printer};

const PS: &[Column] = &[
    ("Name", "NAME"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("Service", "SERVICE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
];

const STATES: [&str; 7] = ["paused", "restarting", "removing", "running", "dead", "created", "exited"];

/// `ps`.
pub(super) fn ps(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut states: Vec<String> = given.all("status").to_vec();
    for filter in given.all("filter") {
        match filter.split_once('=') {
            Some(("status", state)) => states.push(state.to_owned()),
            Some((name, _)) => return Err(Failure::new(format!("unknown filter {name}"))),
            None => return Err(Failure::new("arguments to --filter should be in form KEY=VAL")),
        }
    }
    if let Some(wrong) = states.iter().find(|state| !STATES.contains(&state.as_str())) {
        return Err(Failure::new(format!("invalid status: {wrong}")));
    }
    let (name, desired) = session.desired_if_any()?;
    let mut client = session.client()?;
    if let (Some(project), Some(unknown)) =
        (&desired, desired.as_ref().and_then(|project| given.args.iter().find(|name| !project.services.contains_key(*name))))
        && !project.hidden.contains(unknown)
    {
        return Err(Failure::new(format!("no such service: {unknown}")));
    }
    let filters = observe::filter(&name);
    let all = given.on("all") || !states.is_empty();
    let path = format!("/containers/json{}", query(&[("all", all.then_some("1")), ("filters", Some(&filters))]));
    let mut rows: Vec<Value> = client.call("GET", &path, None)?;
    rows.retain(|row| {
        let label = |name: &str| row.get("Labels").map(|labels| text(labels, name)).unwrap_or_default();
        let service = label(compose::labels::SERVICE);
        let orphan = desired.as_ref().is_some_and(|project| !project.services.contains_key(service) && !project.hidden.contains(service));
        (given.args.is_empty() || given.args.iter().any(|name| name == service))
            && (states.is_empty() || states.iter().any(|state| state == text(row, "State")))
            && !(orphan && given.get("orphans") == Some("false"))
            && (all || label(compose::labels::ONEOFF) != "True")
    });
    rows.sort_by_key(|row| names(row).to_owned());
    if given.on("quiet") {
        for row in &rows {
            printer::line(text(row, "Id"));
        }
        return Ok(0);
    }
    if given.on("services") {
        let services: BTreeSet<&str> =
            rows.iter().filter_map(|row| row.get("Labels")).map(|labels| text(labels, compose::labels::SERVICE)).collect();
        for service in services {
            printer::line(service);
        }
        return Ok(0);
    }
    let whole = given.on("no-trunc");
    let json = given.get("format") == Some("json");
    let shown: Vec<Value> = rows.iter().map(|container| ps_row(container, whole, json)).collect();
    List { kind: "*formatter.ContainerContext", format: given.get("format"), whole, columns: PS, ..List::default() }.print(&shown)?;
    Ok(0)
}

/// A container's own name.
fn names(row: &Value) -> &str {
    items(row, "Names")
        .filter_map(Value::as_str)
        .map(|name| name.trim_start_matches('/'))
        .find(|name| !name.contains('/'))
        .unwrap_or_default()
}

fn ps_row(container: &Value, whole: bool, json: bool) -> Value {
    let mut shown = row(container, whole);
    let label = |name: &str| container.get("Labels").map(|labels| text(labels, name)).unwrap_or_default();
    let status = text(container, "Status");
    let health = ["(healthy)", "(unhealthy)", "(health: starting)"].into_iter().find(|word| status.contains(word));
    let health = health.map(|word| word.trim_matches(['(', ')']).trim_start_matches("health: ")).unwrap_or_default();
    let code = status.strip_prefix("Exited (").and_then(|rest| rest.split(')').next()).and_then(|code| code.parse::<i64>().ok());
    shown["Name"] = names(container).into();
    shown["Service"] = label(compose::labels::SERVICE).into();
    shown["Project"] = label(compose::labels::PROJECT).into();
    shown["Health"] = health.into();
    shown["ExitCode"] = code.unwrap_or_default().into();
    shown["Publishers"] = items(container, "Ports")
        .map(|port| json!({"URL": text(port, "IP"), "TargetPort": number(port, "PrivatePort"), "PublishedPort": number(port, "PublicPort"), "Protocol": text(port, "Type")}))
        .collect::<Vec<_>>()
        .into();
    if json && let Some(map) = shown.as_object_mut() {
        map.remove("Platform");
    }
    shown
}

/// `ls`: the projects that this engine has containers of.
pub(super) fn ls(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let filters = json!({"label": [compose::labels::PROJECT]}).to_string();
    let rows: Vec<Value> =
        client.call("GET", &format!("/containers/json{}", query(&[("all", Some("1")), ("filters", Some(&filters))])), None)?;
    let mut projects: BTreeMap<String, (BTreeMap<String, usize>, BTreeSet<String>)> = BTreeMap::new();
    for container in rows.iter().map(observe::Container::from_row) {
        if container.is_oneoff() {
            continue;
        }
        let project = projects.entry(container.label(compose::labels::PROJECT).to_owned()).or_default();
        *project.0.entry(container.state.clone()).or_default() += 1;
        project.1.extend(container.label(compose::labels::CONFIG_FILES).split(',').map(str::to_owned));
    }
    let wanted = |name: &str| given.all("filter").iter().all(|filter| filter.strip_prefix("name=").is_none_or(|part| name.contains(part)));
    let rows: Vec<Value> = projects
        .iter()
        .filter(|(name, (states, _))| wanted(name) && (given.on("all") || states.contains_key("running")))
        .map(|(name, (states, files))| {
            let states: Vec<String> = states.iter().map(|(state, count)| format!("{state}({count})")).collect();
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            json!({"Name": name, "Status": states.join(", "), "ConfigFiles": files.join(",")})
        })
        .collect();
    if given.on("quiet") {
        for row in &rows {
            printer::line(text(row, "Name"));
        }
        return Ok(0);
    }
    if given.get("format") == Some("json") {
        printer::line(&crate::json::line(&Value::Array(rows)));
        return Ok(0);
    }
    let columns: &[Column] = &[("Name", "NAME"), ("Status", "STATUS"), ("ConfigFiles", "CONFIG FILES")];
    printer::raw(wide(columns, &rows).as_bytes());
    Ok(0)
}

/// A table whose columns have at least twenty places, as Docker Compose prints some.
fn wide(columns: &[Column], rows: &[Value]) -> String {
    let shown =
        |value: Option<&Value>| value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default();
    let mut lines = vec![columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|(field, _)| shown(row.get(*field))).collect()));
    crate::table::layout_wide(&lines)
}

/// `images`: the images that the containers run.
pub(super) fn images(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let containers = session.containers(&mut client, &given.args)?;
    let mut rows = Vec::new();
    for container in containers.iter().filter(|container| !container.is_oneoff()) {
        let found: Value = client.call("GET", &format!("/containers/{}/json", escape(&container.id)), None)?;
        let image: Value = client.call("GET", &format!("/images/{}/json", escape(text(&found, "Image"))), None)?;
        let named = found.pointer("/Config/Image").and_then(Value::as_str).unwrap_or_default();
        let (repository, tag) = named.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((named, "latest"));
        #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to three figures")]
        let size = human::size_short(number(&image, "Size") as f64);
        let created = text(&image, "Created");
        let ago = created.parse::<jiff::Timestamp>().map(|time| human::ago(time.as_second())).unwrap_or_default();
        let platform = format!("{}/{}", text(&image, "Os"), text(&image, "Architecture"));
        rows.push(json!({
            "ContainerName": container.name, "Repository": repository, "Tag": tag, "Platform": platform, "ID": short(text(&image, "Id")),
            "FullID": text(&image, "Id"), "Size": size, "Bytes": number(&image, "Size"), "Created": created, "Ago": ago,
        }));
    }
    if given.on("quiet") {
        let ids: BTreeSet<&str> = rows.iter().map(|row| text(row, "FullID").trim_start_matches("sha256:")).collect();
        ids.into_iter().for_each(printer::line);
        return Ok(0);
    }
    if given.get("format") == Some("json") {
        let row = |row: &Value| json!({"ID": row["FullID"], "ContainerName": row["ContainerName"], "Repository": row["Repository"], "Tag": row["Tag"], "Platform": row["Platform"], "Size": row["Bytes"], "Created": row["Created"]});
        printer::line(&crate::json::line(&rows.iter().map(row).collect::<Vec<_>>().into()));
        return Ok(0);
    }
    let columns: &[Column] = &[
        ("ContainerName", "CONTAINER"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Platform", "PLATFORM"),
        ("ID", "IMAGE ID"),
        ("Size", "SIZE"),
        ("Ago", "CREATED"),
    ];
    printer::raw(wide(columns, &rows).as_bytes());
    Ok(0)
}

/// `port`: where a port of a service is published; without a port all of them.
pub(super) fn port(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let container = session.container(&mut client, &given.args[0], given.number("index")?)?;
    let Some(port) = given.args.get(1) else {
        return session.cli(&["port".to_owned(), container.id]);
    };
    let protocol = given.get("protocol").unwrap_or("tcp");
    let (port, protocol) = port.split_once('/').unwrap_or((port, protocol));
    if port.parse::<u16>().is_err() {
        return Err(Failure::new(format!("invalid port: {port}")));
    }
    let found: Value = client.call("GET", &format!("/containers/{}/json", escape(&container.id)), None)?;
    let bindings = found.pointer(&format!("/NetworkSettings/Ports/{port}~1{protocol}")).and_then(Value::as_array);
    let Some(binding) = bindings.and_then(|bindings| bindings.first()) else {
        return Err(Failure::new(format!("no port {port}/{protocol} for container {}: ", container.name)));
    };
    let ip = text(binding, "HostIp");
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    printer::line(&format!("{host}:{}", text(binding, "HostPort")));
    Ok(0)
}

/// `top`: the processes of all containers.
pub(super) fn top(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let containers = session.containers(&mut client, &given.args)?;
    let mut lines: Vec<Vec<String>> = Vec::new();
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    for container in containers.iter().filter(|container| container.is_running()) {
        let list: Value = client.call("GET", &format!("/containers/{}/top", escape(&container.id)), None)?;
        if lines.is_empty() {
            lines.push(["SERVICE", "#"].into_iter().map(str::to_owned).chain(list.get("Titles").map(texts).unwrap_or_default()).collect());
        }
        for process in items(&list, "Processes") {
            lines.push([container.service().to_owned(), container.number().to_string()].into_iter().chain(texts(process)).collect());
        }
    }
    printer::raw(crate::table::layout(&lines).as_bytes());
    Ok(0)
}

/// `stats`.
pub(super) fn stats(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let containers = session.containers(&mut client, &given.args)?;
    let mut words = vec!["stats".to_owned()];
    words.extend(given.get("format").map(|format| format!("--format={format}")));
    words.extend(["no-stream", "no-trunc"].into_iter().filter(|flag| given.on(flag)).map(|flag| format!("--{flag}")));
    words.extend(containers.into_iter().filter(|container| given.on("all") || container.is_running()).map(|container| container.id));
    session.cli(&words)
}

/// `volumes`: the volumes of the project.
pub(super) fn volumes(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut words = vec!["volume".to_owned(), "ls".to_owned()];
    let name = session.project_name()?;
    words.push(format!("--filter=label={}={name}", compose::labels::PROJECT));
    words.extend(given.get("format").map(|format| format!("--format={format}")));
    words.extend(given.on("quiet").then(|| "--quiet".to_owned()));
    if !given.args.is_empty() {
        return Err(Failure::new("volumes of single services are not told apart: leave the names out"));
    }
    let found = crate::commands::find("volume ls").ok_or_else(|| Failure::new("unknown command: volume ls"))?;
    let given = found.command.parse(words.get(2..).unwrap_or_default())?;
    (found.act)(session.context, &found.command, &given)
}

/// `version`.
pub(super) fn version(_: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let version = compose::labels::COMPOSE_VERSION;
    if given.on("short") {
        printer::line(version);
    } else if given.get("format") == Some("json") {
        printer::line(&json!({"version": format!("v{version}")}).to_string());
    } else {
        printer::line(&format!("Docker Compose version v{version}"));
    }
    Ok(0)
}

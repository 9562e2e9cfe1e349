//! `version`, `info` and the `system` group.

use docker_api::client::query;
use serde_json::{Value, json};

use super::{Entry, confirm};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{items, number, text as field};
use crate::ordered::Ordered;
use crate::{config, human, output, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("version"), act: version },
    Entry { command: described("info"), act: info },
    Entry { command: described("system df"), act: disk },
    Entry { command: described("system prune"), act: prune },
    Entry { command: described("system dial-stdio"), act: dial },
];

/// This program, in the fields of Docker's client.
fn own(version: &str) -> Value {
    let arch = if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH };
    json!({"Platform": {"Name": "teu"}, "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": version, "DefaultAPIVersion": docker_api::client::VERSION, "Os": std::env::consts::OS, "Arch": arch, "Context": config::current_context().unwrap_or_else(|| "default".to_owned())})
}

fn version(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let answer = context.client().and_then(|mut client| {
        let server: Ordered = client.call("GET", "/version", None)?;
        Ok((client.version().to_owned(), server))
    });
    // Without an engine the client's own part is shown all the same, and then why.
    let (api, server, missing) = match answer {
        Ok((api, server)) => (api, server, None),
        Err(failure) => (docker_api::client::VERSION.to_owned(), Ordered::Null, Some(failure)),
    };
    let own = own(&api);
    if let Some(format) = given.get("format") {
        let client = serde_json::from_value(own)?;
        let both = Ordered::Map(vec![("Client".to_owned(), client), ("Server".to_owned(), server)]);
        output::structure("version", "system.versionInfo", format, &both)?;
        return missing.map_or(Ok(0), Err);
    }
    let server: Value = serde_json::from_str(&server.json())?;
    let line = |name: &str, value: &str| format!(" {name:<17} {value}\n");
    let mut text = format!(
        "Client: teu\n{}{}{}",
        line("Version:", field(&own, "Version")),
        line("API version:", &api),
        line("OS/Arch:", &format!("{}/{}", field(&own, "Os"), field(&own, "Arch")))
    );
    if let Some(failure) = missing {
        printer::raw(text.as_bytes());
        return Err(failure);
    }
    text.push_str(&format!("\nServer: {}\n", server.pointer("/Platform/Name").and_then(Value::as_str).unwrap_or_default()));
    text.push_str(&format!(" Engine:\n {}", line("Version:", field(&server, "Version"))));
    text.push_str(&format!(
        " {}",
        line("API version:", &format!("{} (minimum version {})", field(&server, "ApiVersion"), field(&server, "MinAPIVersion")))
    ));
    text.push_str(&format!(" {}", line("OS/Arch:", &format!("{}/{}", field(&server, "Os"), field(&server, "Arch")))));
    text.push_str(&format!(" {}", line("Kernel:", field(&server, "KernelVersion"))));
    printer::raw(text.as_bytes());
    Ok(0)
}

fn info(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    if let Some(format) = given.get("format") {
        // What does not parse is told before anything is asked for.
        let checked = crate::template::Template::parse(if format == "json" { "" } else { format });
        checked.map_err(|error| Failure::Message { message: error.to_string(), code: 64, run: false })?;
        let info: Ordered = client.call("GET", "/info", None)?;
        output::structure("", "system.dockerInfo", format, &info)?;
        return Ok(0);
    }
    let info: Value = client.call("GET", "/info", None)?;
    let mut text = format!(
        "Server:\n Containers: {}\n  Running: {}\n  Paused: {}\n  Stopped: {}\n Images: {}\n",
        number(&info, "Containers"),
        number(&info, "ContainersRunning"),
        number(&info, "ContainersPaused"),
        number(&info, "ContainersStopped"),
        number(&info, "Images")
    );
    for (title, name) in [
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Default Runtime", "DefaultRuntime"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ] {
        text.push_str(&format!(" {title}: {}\n", field(&info, name)));
    }
    #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
    let memory = human::binary_size(number(&info, "MemTotal") as f64);
    text.push_str(&format!(
        " CPUs: {}\n Total Memory: {memory}\n Name: {}\n ID: {}\n Docker Root Dir: {}\n",
        number(&info, "NCPU"),
        field(&info, "Name"),
        field(&info, "ID"),
        field(&info, "DockerRootDir")
    ));
    printer::raw(text.as_bytes());
    for warning in items(&info, "Warnings").filter_map(Value::as_str) {
        printer::error(warning);
    }
    Ok(0)
}

fn disk(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let usage: Value = context.client()?.call("GET", "/system/df", None)?;
    #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
    let size = |bytes: i64| human::size(bytes.max(0) as f64);
    let sum = |list: &str, path: &str| {
        items(&usage, list).filter_map(|item| item.pointer(path)?.as_i64()).filter(|bytes| *bytes > 0).sum::<i64>()
    };
    let active = |list: &str, in_use: &dyn Fn(&Value) -> bool| items(&usage, list).filter(|item| in_use(item)).count();
    let used_image = |item: &Value| number(item, "Containers") > 0;
    let running = |item: &Value| field(item, "State") == "running";
    let used_volume = |item: &Value| item.pointer("/UsageData/RefCount").and_then(Value::as_i64).unwrap_or_default() > 0;
    let free = |list: &str, path: &str, in_use: &dyn Fn(&Value) -> bool| {
        items(&usage, list)
            .filter(|item| !in_use(item))
            .filter_map(|item| item.pointer(path)?.as_i64())
            .filter(|bytes| *bytes > 0)
            .sum::<i64>()
    };
    let row = |kind: &str, list: &str, path: &str, total: i64, in_use: &dyn Fn(&Value) -> bool| {
        let reclaimable = free(list, path, in_use);
        let percent = if total > 0 { format!(" ({}%)", reclaimable * 100 / total) } else { String::new() };
        json!({"Type": kind, "TotalCount": items(&usage, list).count().to_string(), "Active": active(list, in_use).to_string(), "Size": size(total), "Reclaimable": format!("{}{percent}", size(reclaimable))})
    };
    let rows = [
        row("Images", "Images", "/Size", number(&usage, "LayersSize"), &used_image),
        row("Containers", "Containers", "/SizeRw", sum("Containers", "/SizeRw"), &running),
        row("Local Volumes", "Volumes", "/UsageData/Size", sum("Volumes", "/UsageData/Size"), &used_volume),
        row("Build Cache", "BuildCache", "/Size", sum("BuildCache", "/Size"), &|_| false),
    ];
    output::List {
        kind: "*formatter.diskUsageImagesContext",
        format: given.get("format"),
        whole: true,
        columns: &[("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")],
        headings: &[],
    }
    .print(&rows)?;
    Ok(0)
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    if !given.on("force")
        && !confirm(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all dangling images\n\nAre you sure you want to continue?",
        )?
    {
        return Ok(0);
    }
    let mut client = context.client()?;
    let images = json!({"dangling": {if given.on("all") { "false" } else { "true" }: true}}).to_string();
    let images = format!("/images/prune{}", query(&[("filters", Some(&images))]));
    let mut paths = vec![("Containers", "/containers/prune".to_owned()), ("Networks", "/networks/prune".to_owned())];
    if given.on("volumes") {
        paths.push(("Volumes", "/volumes/prune".to_owned()));
    }
    paths.push(("Images", images));
    let mut reclaimed = 0.0;
    for (kind, path) in paths {
        let report: Value = client.call("POST", &path, None)?;
        reclaimed += report.get("SpaceReclaimed").and_then(Value::as_f64).unwrap_or_default();
        let names: Vec<&str> =
            items(&report, &format!("{kind}Deleted")).filter_map(|item| item.as_str().or_else(|| item.get("Deleted")?.as_str())).collect();
        if !names.is_empty() {
            printer::line(&format!("Deleted {kind}:\n{}\n", names.join("\n")));
        }
    }
    printer::line(&format!("Total reclaimed space: {}", human::size(reclaimed)));
    Ok(0)
}

/// Bytes between the caller and the engine: what `ssh://` hosts run on the other side.
fn dial(context: &mut Context, _: &Command, _: &Given) -> Outcome<u8> {
    let client = context.client()?;
    let docker_api::client::Endpoint::Unix(path) = client.endpoint() else {
        return Ok(1);
    };
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    let mut writer = stream.try_clone()?;
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut writer);
        let _gone = writer.shutdown(std::net::Shutdown::Write);
    });
    std::io::copy(&mut stream, &mut std::io::stdout())?;
    Ok(0)
}

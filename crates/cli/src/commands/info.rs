//! `info`.
//! **Source:** docker/cli, `cli/command/system/info.go`.

use std::fmt::Write as _;

use serde_json::Value;

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{items, number, text as field};
use crate::ordered::Ordered;
use crate::{config, human, output, printer};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("info"), act: info }];

fn info(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    if let Some(format) = given.get("format") {
        // What does not parse is told before anything is asked for.
        let checked = crate::template::Template::parse(if format == "json" { "" } else { format });
        checked.map_err(|error| Failure::Message { message: error.to_string(), code: 64, run: false })?;
        let info: Ordered = context.client()?.call("GET", "/info", None)?;
        output::structure("", "system.dockerInfo", format, &info)?;
        return Ok(0);
    }
    let current = context.named.clone().or_else(config::current_context).unwrap_or_else(|| "default".to_owned());
    let own = format!("Client: teu\n Version:    {}\n Context:    {current}\n Debug Mode: false\n\nServer:\n", env!("CARGO_PKG_VERSION"));
    printer::raw(own.as_bytes());
    let info: Value = context.client()?.call("GET", "/info", None)?;
    printer::raw(server(&info).as_bytes());
    for warning in items(&info, "Warnings").filter_map(Value::as_str) {
        printer::error(warning);
    }
    Ok(0)
}

/// The lines about the engine.
fn server(info: &Value) -> String {
    let mut text = Lines(String::new());
    text.line(0, "Containers", &number(info, "Containers").to_string());
    for (title, name) in [("Running", "ContainersRunning"), ("Paused", "ContainersPaused"), ("Stopped", "ContainersStopped")] {
        text.line(1, title, &number(info, name).to_string());
    }
    text.line(0, "Images", &number(info, "Images").to_string());
    text.unless_empty("Server Version", field(info, "ServerVersion"));
    text.unless_empty("Storage Driver", field(info, "Driver"));
    for pair in items(info, "DriverStatus") {
        let word = |at: usize| pair.get(at).and_then(Value::as_str).unwrap_or_default();
        text.line(1, word(0), word(1));
    }
    for (title, name) in [("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"), ("Cgroup Version", "CgroupVersion")] {
        text.unless_empty(title, field(info, name));
    }
    let plugins = info.get("Plugins").unwrap_or(&Value::Null);
    text.head("Plugins");
    for kind in ["Volume", "Network", "Authorization", "Log"] {
        let names = words(plugins, kind);
        if !names.is_empty() || matches!(kind, "Volume" | "Network" | "Log") {
            text.line(1, kind, &names.join(" "));
        }
    }
    text.list("CDI spec directories", &words(info, "CDISpecDirs"));
    text.line(0, "Swarm", info.pointer("/Swarm/LocalNodeState").and_then(Value::as_str).unwrap_or("inactive"));
    let runtimes = info.get("Runtimes").and_then(Value::as_object);
    let runtimes: Vec<&str> = runtimes.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    text.line(0, "Runtimes", &runtimes.join(" "));
    text.line(0, "Default Runtime", field(info, "DefaultRuntime"));
    text.line(0, "Init Binary", field(info, "InitBinary"));
    for (title, name) in [("containerd version", "ContainerdCommit"), ("runc version", "RuncCommit"), ("init version", "InitCommit")] {
        text.line(0, title, info.get(name).map(|commit| field(commit, "ID")).unwrap_or_default());
    }
    security(&mut text, info);
    for (title, name) in [
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ] {
        text.unless_empty(title, field(info, name));
    }
    text.line(0, "CPUs", &number(info, "NCPU").to_string());
    #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
    text.line(0, "Total Memory", &human::binary_size(number(info, "MemTotal") as f64));
    for (title, name) in [("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")] {
        text.unless_empty(title, field(info, name));
    }
    rest(&mut text, info);
    text.0
}

fn security(text: &mut Lines, info: &Value) {
    let options = words(info, "SecurityOptions");
    if options.is_empty() {
        return;
    }
    text.head("Security Options");
    for option in options {
        for (index, pair) in option.split(',').enumerate() {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if index == 0 && key == "name" {
                text.0.push_str(&format!("  {value}\n"));
            } else {
                let mut letters = key.chars();
                let key: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
                text.line(2, &key, value);
            }
        }
    }
}

fn rest(text: &mut Lines, info: &Value) {
    let flag = |name: &str| info.get(name).and_then(Value::as_bool).unwrap_or_default();
    text.line(0, "Debug Mode", if flag("Debug") { "true" } else { "false" });
    for (title, name) in [("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")] {
        text.unless_empty(title, field(info, name));
    }
    let labels = words(info, "Labels");
    if !labels.is_empty() {
        text.list("Labels", &labels);
    }
    text.line(0, "Experimental", if flag("ExperimentalBuild") { "true" } else { "false" });
    let registries = info.get("RegistryConfig").unwrap_or(&Value::Null);
    let hosts = registries.get("IndexConfigs").and_then(Value::as_object).into_iter().flatten();
    let insecure = hosts.filter(|(_, index)| index.get("Secure").and_then(Value::as_bool) == Some(false)).map(|(name, _)| name.as_str());
    let insecure: Vec<&str> = insecure.chain(words(registries, "InsecureRegistryCIDRs")).collect();
    if !insecure.is_empty() {
        text.list("Insecure Registries", &insecure);
    }
    let mirrors = words(registries, "Mirrors");
    if !mirrors.is_empty() {
        text.list("Registry Mirrors", &mirrors);
    }
    text.line(0, "Live Restore Enabled", if flag("LiveRestoreEnabled") { "true" } else { "false" });
    text.unless_empty("Firewall Backend", info.pointer("/FirewallBackend/Driver").and_then(Value::as_str).unwrap_or_default());
    text.0.push('\n');
}

fn words<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    items(value, name).filter_map(Value::as_str).collect()
}

struct Lines(String);

impl Lines {
    fn line(&mut self, depth: usize, title: &str, value: &str) {
        let _infallible = writeln!(self.0, "{:width$}{title}: {value}", "", width = depth + 1);
    }

    fn unless_empty(&mut self, title: &str, value: &str) {
        if !value.is_empty() {
            self.line(0, title, value);
        }
    }

    fn head(&mut self, title: &str) {
        let _infallible = writeln!(self.0, " {title}:");
    }

    fn list(&mut self, title: &str, values: &[&str]) {
        self.head(title);
        for value in values {
            let _infallible = writeln!(self.0, "  {value}");
        }
    }
}

//! `~/.docker/config.json` and the contexts beside it, as far as the client needs them.

use std::path::PathBuf;

use serde_json::Value;

/// Folder of Docker's configuration.
#[must_use]
pub fn folder() -> PathBuf {
    match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => folder.into(),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker"),
    }
}

fn read(path: PathBuf) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// A setting of `config.json`.
#[must_use]
pub fn setting(name: &str) -> Option<String> {
    Some(read(folder().join("config.json"))?.get(name)?.as_str()?.to_owned())
}

/// Host of the current context, unless it is the default one.
#[must_use]
pub fn context_host() -> Option<String> {
    let name =
        std::env::var("DOCKER_CONTEXT").ok().or_else(|| setting("currentContext")).filter(|name| !name.is_empty() && name != "default")?;
    for entry in std::fs::read_dir(folder().join("contexts/meta")).ok()?.flatten() {
        let Some(meta) = read(entry.path().join("meta.json")) else {
            continue;
        };
        if meta.get("Name").and_then(Value::as_str) == Some(&name) {
            return Some(meta.pointer("/Endpoints/docker/Host")?.as_str()?.to_owned());
        }
    }
    None
}

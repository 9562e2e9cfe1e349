//! `~/.docker/config.json` and the contexts beside it, as far as the client needs them.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;

/// The folder that `--config` names.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Takes the configuration from this folder. Only the first choice counts.
pub fn choose(folder: &str) {
    CHOSEN.get_or_init(|| folder.into());
}

/// Folder of Docker's configuration: `--config`, DOCKER_CONFIG, `~/.docker`.
#[must_use]
pub fn folder() -> PathBuf {
    let variable = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker");
    CHOSEN.get().cloned().or(variable).unwrap_or_else(home)
}

fn read(path: PathBuf) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// A setting of `config.json`.
#[must_use]
pub fn setting(name: &str) -> Option<String> {
    Some(read(folder().join("config.json"))?.get(name)?.as_str()?.to_owned()).filter(|text| !text.is_empty())
}

/// A part of `config.json`; `null` without one.
fn part(name: &str) -> Value {
    read(folder().join("config.json")).and_then(|mut config| config.get_mut(name).map(Value::take)).unwrap_or_default()
}

/// Pairs of texts in a part of `config.json`.
fn pairs(value: &Value) -> impl Iterator<Item = (String, String)> {
    value.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
}

/// Headers for each request: `HttpHeaders`, or DOCKER_CUSTOM_HEADERS in their place (`name=value`, by commas).
#[must_use]
pub fn headers() -> Vec<(String, String)> {
    match std::env::var("DOCKER_CUSTOM_HEADERS").ok().filter(|text| !text.is_empty()) {
        Some(text) => {
            text.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        }
        // The program's own name is not for the configuration to change.
        None => pairs(&part("HttpHeaders")).filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent")).collect(),
    }
}

/// Variables that `proxies` gives to new containers and builds on the engine at `host`.
///
/// **Source:** docker/cli, `cli/config/configfile/file.go`, `ParseProxyConfig`.
#[must_use]
pub fn proxies(host: &str) -> Vec<(String, String)> {
    let proxies = part("proxies");
    let Some(chosen) = proxies.get(host).or_else(|| proxies.get("default")) else {
        return Vec::new();
    };
    let names = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let value = |key: &str| chosen.get(key).and_then(Value::as_str).filter(|value| !value.is_empty());
    let found = names.iter().filter_map(|(key, name)| Some((*name, value(key)?)));
    found.flat_map(|(name, value)| [(name.to_owned(), value.to_owned()), (name.to_lowercase(), value.to_owned())]).collect()
}

/// Name of the context that DOCKER_CONTEXT or the configuration chooses, unless it is the default one.
#[must_use]
pub fn current_context() -> Option<String> {
    let variable = std::env::var("DOCKER_CONTEXT").ok().filter(|name| !name.is_empty());
    variable.or_else(|| setting("currentContext")).filter(|name| !name.is_empty() && name != "default")
}

/// Names of all contexts.
#[must_use]
pub fn contexts() -> Vec<String> {
    let mut names: Vec<String> = crate::contexts::all().into_iter().map(|meta| meta.name).collect();
    names.push("default".to_owned());
    names.sort_unstable();
    names
}

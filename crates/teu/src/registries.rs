//! How registries are reached: flags, the file of settings, and the usual directories and variables.

use crate::options::Options;
use anyhow::{Context, bail};
use fs_err as fs;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Files of settings where none is named; the first that exists counts.
const FILES: [&str; 2] = ["/etc/teu/daemon.json", "/etc/docker/daemon.json"];
/// Directories about single registries.
const DIRECTORIES: [&str; 2] = ["/etc/teu/certs.d", "/etc/docker/certs.d"];

/// What is read of Docker's `daemon.json`. **Source:** Docker, "Daemon configuration file".
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    insecure_registries: Vec<String>,
    registry_mirrors: Vec<String>,
    proxies: Proxies,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Proxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

/// Joins all that is said about registries.
pub(crate) fn settings(options: &Options) -> anyhow::Result<registry::Settings> {
    let mut file = match &options.config_file {
        Some(path) => read(path)?.with_context(|| format!("cannot read `{}`: no such file", path.display()))?,
        None => FILES.iter().find_map(|path| read(Path::new(path)).transpose()).transpose()?.unwrap_or_default(),
    };
    file.insecure_registries.extend(options.insecure_registries.iter().cloned());
    file.registry_mirrors.extend(options.registry_mirrors.iter().cloned());
    for mirror in &file.registry_mirrors {
        let rest = mirror.strip_prefix("https://").or_else(|| mirror.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', '@'])) {
            bail!("invalid mirror: `{mirror}` is no http or https address");
        }
    }
    let directories = match options.certs_directories.as_slice() {
        [] => DIRECTORIES.iter().map(PathBuf::from).collect(),
        named => named.to_vec(),
    };
    let proxies = file.proxies;
    let proxy = registry::Proxy::from_variables(|name| {
        let of_file = match name {
            "HTTP_PROXY" => &proxies.http_proxy,
            "HTTPS_PROXY" => &proxies.https_proxy,
            "NO_PROXY" => &proxies.no_proxy,
            _ => &None,
        };
        of_file.clone().or_else(|| std::env::var(name).ok())
    });
    let usual = registry::Settings::default();
    Ok(registry::Settings {
        certs_directories: directories,
        insecure: file.insecure_registries,
        mirrors: file.registry_mirrors,
        proxy,
        policy_required: options.policy.is_some(),
        policy_file: options.policy.clone().unwrap_or(usual.policy_file),
        ..registry::Settings::default()
    })
}

fn read(path: &Path) -> anyhow::Result<Option<File>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let file = serde_json::from_slice(&text).with_context(|| format!("unable to configure the engine with file {}", path.display()))?;
    Ok(Some(file))
}

//! Which hosts serve a registry: its own, its mirrors, and how each is trusted.
//!
//! **Source:** containerd, `docs/hosts.md`; Docker, "Verify repository client with certificates" and `dockerd --insecure-registry`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::endpoint::{Capabilities, Host};
use crate::proxy::in_range;
use crate::settings::Settings;
use crate::tls::TlsSpec;

/// The registry of names without one.
const HUB: &str = "docker.io";
/// Where it is.
const HUB_HOST: &str = "registry-1.docker.io";

/// A file of settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFile {
    pub(crate) file: String,
    pub(crate) reason: String,
}

/// Lists the hosts of a registry in the order they are asked.
pub(crate) fn hosts(domain: &str, settings: &Settings) -> Result<Vec<Host>, BadFile> {
    let host = if domain == HUB { HUB_HOST } else { domain };
    for directory in &settings.certs_directories {
        if let Some(folder) = folder(directory, domain) {
            let file = folder.join("hosts.toml");
            return match fs_err::read_to_string(&file) {
                Ok(text) => {
                    let bad = |reason| BadFile { file: file.display().to_string(), reason };
                    parse(&text, domain, host, &folder, settings).map_err(bad)
                }
                Err(_) => Ok(plain(domain, host, docker_tls(&folder), settings)),
            };
        }
    }
    Ok(plain(domain, host, TlsSpec::default(), settings))
}

/// Finds the folder of a registry: by its name, with `_PORT_` instead of `:PORT`, or `_default` with a `hosts.toml`.
fn folder(directory: &Path, domain: &str) -> Option<PathBuf> {
    let escaped = domain.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
    let names = std::iter::once(domain.to_owned()).chain(escaped);
    let own = names.map(|name| directory.join(name)).find(|folder| folder.is_dir());
    own.or_else(|| Some(directory.join("_default")).filter(|folder| folder.join("hosts.toml").is_file()))
}

/// Hosts without a file: Docker's mirrors of the hub, then the registry; an insecure one also without TLS.
fn plain(domain: &str, host: &str, tls: TlsSpec, settings: &Settings) -> Vec<Host> {
    let mut hosts = Vec::new();
    if domain == HUB {
        for mirror in &settings.mirrors {
            let base = mirror.trim_end_matches('/');
            let base = if base.contains("://") { base.to_owned() } else { format!("https://{base}") };
            let authority = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
            let skip_verify = is_insecure(authority, settings);
            hosts.push(Host {
                base: format!("{base}/v2"),
                capabilities: Capabilities::MIRROR,
                tls: TlsSpec { skip_verify, ..TlsSpec::default() },
                headers: Vec::new(),
                namespace: None,
                mirror: true,
            });
        }
    }
    hosts.extend(own(domain, host, tls, settings));
    hosts
}

/// The registry itself.
fn own(domain: &str, host: &str, mut tls: TlsSpec, settings: &Settings) -> Vec<Host> {
    let insecure = is_insecure(domain, settings);
    tls.skip_verify |= insecure;
    let entry = |scheme: &str, tls: TlsSpec| Host {
        base: format!("{scheme}://{host}/v2"),
        capabilities: Capabilities::ALL,
        tls,
        headers: Vec::new(),
        namespace: None,
        mirror: false,
    };
    let mut hosts = vec![entry("https", tls)];
    if insecure {
        hosts.push(entry("http", TlsSpec::default()));
    }
    hosts
}

/// Tells whether a registry may be spoken to without TLS: it is on this machine, or it is set to be.
pub(crate) fn is_insecure(domain: &str, settings: &Settings) -> bool {
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => host,
        _ => domain,
    };
    let host = host.trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
        || settings.insecure.iter().any(|rule| {
            let rule = rule.split_once("://").map_or(rule.as_str(), |(_, rest)| rest).trim_end_matches('/');
            rule == domain || rule == host || address.is_some_and(|address| in_range(rule, address))
        })
}

/// Docker's files in a registry's folder.
fn docker_tls(folder: &Path) -> TlsSpec {
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let of = |extension: &str| files.iter().filter(|file| file.extension().is_some_and(|found| found == extension)).cloned().collect();
    let authorities: Vec<PathBuf> = of("crt");
    let certificates: Vec<PathBuf> = of("cert");
    let identity = certificates.into_iter().find_map(|file| {
        let key = file.with_extension("key");
        key.is_file().then_some((file, key))
    });
    TlsSpec { skip_verify: false, authorities, identity }
}

/// Reads a `hosts.toml`.
fn parse(text: &str, domain: &str, host: &str, folder: &Path, settings: &Settings) -> Result<Vec<Host>, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut hosts = Vec::new();
    if let Some(value) = table.get("host") {
        for (address, entry) in value.as_table().ok_or("`host` is no table")? {
            let entry = entry.as_table().ok_or_else(|| format!("`host.{address}` is no table"))?;
            hosts.push(one(address, entry, folder, Some(domain))?);
        }
    }
    let server = table.get("server").map(|server| server.as_str().ok_or("`server` is no text")).transpose()?;
    match server {
        Some(server) => {
            let mut entry = one(server, &table, folder, None)?;
            // The name people know is not where Docker Hub's content is.
            entry.base = entry.base.replace("://docker.io/", &format!("://{HUB_HOST}/"));
            hosts.push(entry);
        }
        None => {
            let own_settings = ["ca", "client", "skip_verify", "header", "capabilities"].iter().any(|key| table.contains_key(*key));
            match own_settings {
                true => hosts.push(one(&format!("https://{host}"), &table, folder, None)?),
                false => hosts.extend(own(domain, host, docker_tls(folder), settings)),
            }
        }
    }
    Ok(hosts)
}

fn one(address: &str, table: &Table, folder: &Path, namespace: Option<&str>) -> Result<Host, String> {
    let address = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let flag =
        |key: &str| table.get(key).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| format!("`{key}` is neither true nor false")));
    let mut base = address.trim_end_matches('/').to_owned();
    if !flag("override_path")? && !base.ends_with("/v2") {
        base.push_str("/v2");
    }
    let mut capabilities = Capabilities { pull: false, resolve: false, push: false };
    match table.get("capabilities") {
        None => capabilities = Capabilities::ALL,
        Some(value) => {
            for word in texts(value, "capabilities")? {
                match word.as_str() {
                    "pull" => capabilities.pull = true,
                    "resolve" => capabilities.resolve = true,
                    "push" => capabilities.push = true,
                    other => return Err(format!("unknown capability `{other}`")),
                }
            }
        }
    }
    let path = |text: &str| folder.join(text);
    let authorities = table.get("ca").map_or(Ok(Vec::new()), |value| texts(value, "ca"))?;
    let mut headers = Vec::new();
    if let Some(value) = table.get("header") {
        for (name, value) in value.as_table().ok_or("`header` is no table")? {
            headers.extend(texts(value, name)?.into_iter().map(|value| (name.clone(), value)));
        }
    }
    let identity = table.get("client").map(client).transpose()?.map(|(certificate, key)| (path(&certificate), path(&key)));
    let authority = base.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
    Ok(Host {
        namespace: namespace.filter(|domain| *domain != authority).map(str::to_owned),
        capabilities,
        tls: TlsSpec { skip_verify: flag("skip_verify")?, authorities: authorities.iter().map(|text| path(text)).collect(), identity },
        headers,
        mirror: namespace.is_some(),
        base,
    })
}

/// One text or a list of them.
fn texts(value: &Value, key: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{key}` is neither a text nor a list of texts");
    if let Some(text) = value.as_str() {
        return Ok(vec![text.to_owned()]);
    }
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// A certificate that also holds its key, or a pair of both; of several the first.
fn client(value: &Value) -> Result<(String, String), String> {
    let wrong = || "`client` is neither a file nor a pair of files".to_owned();
    if let Some(file) = value.as_str() {
        return Ok((file.to_owned(), file.to_owned()));
    }
    let first = value.as_array().and_then(|list| list.first()).ok_or_else(wrong)?;
    match (first.as_str(), first.as_array().map(Vec::as_slice)) {
        (Some(file), _) => Ok((file.to_owned(), file.to_owned())),
        (None, Some([certificate])) => client(certificate),
        (None, Some([certificate, key])) => match (certificate.as_str(), key.as_str()) {
            (Some(certificate), Some("")) => Ok((certificate.to_owned(), certificate.to_owned())),
            (Some(certificate), Some(key)) => Ok((certificate.to_owned(), key.to_owned())),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(hosts: &[Host]) -> Vec<&str> {
        hosts.iter().map(|host| host.base.as_str()).collect()
    }

    #[test]
    fn the_hub_is_where_docker_looks_for_it_behind_its_mirrors() {
        let settings = Settings { mirrors: vec!["https://m.example/".to_owned()], ..Settings::default() };
        let found = hosts("docker.io", &settings).unwrap();
        assert_eq!(bases(&found), ["https://m.example/v2", "https://registry-1.docker.io/v2"]);
        assert!(!found[0].capabilities.push && found[1].capabilities.push);
        assert_eq!(bases(&hosts("ghcr.io", &settings).unwrap()), ["https://ghcr.io/v2"]);
    }

    #[test]
    fn this_machine_and_insecure_registries_may_do_without_tls() {
        let insecure = vec!["r.example:5000".to_owned(), "10.0.0.0/8".to_owned()];
        let settings = Settings { insecure, ..Settings::default() };
        for domain in ["127.0.0.1:5000", "localhost", "localhost:1", "[::1]:5000", "r.example:5000", "10.1.2.3:5000"] {
            assert!(is_insecure(domain, &settings), "{domain}");
            let found = hosts(domain, &settings).unwrap();
            assert_eq!(bases(&found), [format!("https://{domain}/v2"), format!("http://{domain}/v2")]);
            assert!(found[0].tls.skip_verify);
        }
        for domain in ["r.example", "r.example:5001", "11.1.2.3", "docker.io"] {
            assert!(!is_insecure(domain, &settings), "{domain}");
        }
    }

    #[test]
    fn hosts_toml_names_mirrors_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("r.example_5000_");
        fs_err::create_dir(&folder).unwrap();
        let text = r#"
            server = "https://r.example:5000"
            [host."https://z.example"]
              capabilities = ["pull", "resolve"]
              ca = "ca.crt"
              client = [["c.cert", "c.key"]]
              [host."https://z.example".header]
                x-team = ["a", "b"]
            [host."http://a.example/prefix/v2"]
              override_path = true
              skip_verify = true
        "#;
        fs_err::write(folder.join("hosts.toml"), text).unwrap();
        let settings = Settings { certs_directories: vec![directory.path().to_owned()], ..Settings::default() };
        let found = hosts("r.example:5000", &settings).unwrap();
        assert_eq!(bases(&found), ["https://z.example/v2", "http://a.example/prefix/v2", "https://r.example:5000/v2"]);
        assert_eq!(found[0].tls.authorities, [folder.join("ca.crt")]);
        assert_eq!(found[0].tls.identity, Some((folder.join("c.cert"), folder.join("c.key"))));
        assert_eq!(found[0].headers.len(), 2);
        assert_eq!(found[0].namespace.as_deref(), Some("r.example:5000"));
        assert!(!found[0].capabilities.push && found[1].tls.skip_verify && found[2].namespace.is_none());
        fs_err::write(folder.join("hosts.toml"), "server = 1").unwrap();
        let bad = hosts("r.example:5000", &settings).unwrap_err();
        assert!(bad.file.ends_with("hosts.toml") && bad.reason.contains("server"), "{bad:?}");
    }

    #[test]
    fn dockers_certificates_are_found_by_their_endings() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("r.example:5000");
        fs_err::create_dir(&folder).unwrap();
        for file in ["ca.crt", "client.cert", "client.key"] {
            fs_err::write(folder.join(file), "").unwrap();
        }
        let settings = Settings { certs_directories: vec![directory.path().to_owned()], ..Settings::default() };
        let found = hosts("r.example:5000", &settings).unwrap();
        assert_eq!(found[0].tls.authorities, [folder.join("ca.crt")]);
        assert_eq!(found[0].tls.identity, Some((folder.join("client.cert"), folder.join("client.key"))));
    }
}

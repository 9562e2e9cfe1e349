//! Credentials of registries: `config.json`, credential helpers, `DOCKER_AUTH_CONFIG`, and the header that carries them.
//!
//! **Source:** docker/cli, `cli/config/configfile` and `cli/config/credentials`; docker-credential-helpers, `README.md`.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config;
use crate::error::{Failure, Outcome};

/// What the hub's credentials are kept under.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Name under which helpers keep identity tokens.
const TOKEN_USER: &str = "<token>";

/// Credentials of one registry, as the engine takes them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// Account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Its password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// The registry they are for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serveraddress: String,
    /// A token that is changed for others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identitytoken: String,
    /// A token that is sent as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub registrytoken: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Auth {
    /// The value of `X-Registry-Auth`.
    #[must_use]
    pub fn header(&self) -> String {
        URL_SAFE.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A server's address without scheme and path.
#[must_use]
pub fn host(server: &str) -> &str {
    let rest = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    rest.split('/').next().unwrap_or(rest)
}

/// What a registry's credentials are kept under.
#[must_use]
pub fn key(domain: &str) -> &str {
    if matches!(domain, "docker.io" | "index.docker.io") { HUB_KEY } else { domain }
}

/// `config.json` with its secrets.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: Map<String, Value>,
    /// From `DOCKER_AUTH_CONFIG`, which comes first.
    variable: Map<String, Value>,
}

impl Store {
    /// Reads the file; one that is missing counts as empty.
    ///
    /// # Errors
    /// If it cannot be read or makes no sense.
    pub fn open() -> Outcome<Self> {
        let path = config::folder().join("config.json");
        let wrong = |cause: &dyn std::fmt::Display| Failure::new(format!("cannot read `{}`: {cause}", path.display()));
        let file = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|cause| wrong(&cause))?,
            Err(cause) if cause.kind() == ErrorKind::NotFound => Map::new(),
            Err(cause) => return Err(wrong(&cause)),
        };
        let variable = match std::env::var("DOCKER_AUTH_CONFIG") {
            Ok(text) if !text.trim().is_empty() => {
                let whole: Map<String, Value> = serde_json::from_str(&text)
                    .map_err(|cause| Failure::new(format!("failed to create credential store from DOCKER_AUTH_CONFIG: {cause}")))?;
                whole.get("auths").and_then(Value::as_object).cloned().unwrap_or_default()
            }
            _ => Map::new(),
        };
        Ok(Self { path, file, variable })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The helper program that keeps a registry's credentials, if one does.
    #[must_use]
    pub fn helper(&self, key: &str) -> Option<String> {
        let own = self.file.get("credHelpers").and_then(|helpers| helpers.get(key)).and_then(Value::as_str);
        let all = || self.file.get("credsStore").and_then(Value::as_str);
        own.or_else(all).filter(|name| !name.is_empty()).map(|name| format!("docker-credential-{name}"))
    }

    /// Finds the credentials of a registry; none are no error.
    ///
    /// # Errors
    /// If a helper fails.
    pub fn get(&self, key: &str) -> Outcome<Auth> {
        if let Some(auth) = entry(&self.variable, key) {
            return Ok(auth);
        }
        if let Some(helper) = self.helper(key) {
            let found = call(&helper, "get", key)?;
            let Some(found) = found else {
                return Ok(Auth { serveraddress: key.to_owned(), ..Auth::default() });
            };
            let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let auth = Auth { serveraddress: key.to_owned(), ..Auth::default() };
            return Ok(match text("Username") {
                user if user == TOKEN_USER => Auth { identitytoken: text("Secret"), ..auth },
                user => Auth { username: user, password: text("Secret"), ..auth },
            });
        }
        let auths = self.file.get("auths").and_then(Value::as_object);
        let found = auths.and_then(|auths| entry(auths, key));
        Ok(found.unwrap_or_else(|| Auth { serveraddress: key.to_owned(), ..Auth::default() }))
    }

    /// Keeps the credentials of a registry. Tells whether they are in the file for all who can read it.
    ///
    /// # Errors
    /// If a helper fails or the file cannot be written.
    pub fn put(&mut self, key: &str, auth: &Auth) -> Outcome<bool> {
        let helper = self.helper(key);
        let kept = match &helper {
            Some(helper) => {
                let (user, secret) = if auth.identitytoken.is_empty() {
                    (auth.username.as_str(), auth.password.as_str())
                } else {
                    (TOKEN_USER, auth.identitytoken.as_str())
                };
                call(helper, "store", &json!({"ServerURL": key, "Username": user, "Secret": secret}).to_string())?;
                json!({})
            }
            None => {
                let mut kept = json!({"auth": STANDARD.encode(format!("{}:{}", auth.username, auth.password))});
                for (name, token) in [("identitytoken", &auth.identitytoken), ("registrytoken", &auth.registrytoken)] {
                    if !token.is_empty() {
                        kept[name] = token.as_str().into();
                    }
                }
                kept
            }
        };
        let auths = self.file.entry("auths").or_insert_with(|| json!({}));
        auths[key] = kept;
        self.save()?;
        Ok(helper.is_none())
    }

    /// Forgets the credentials of a registry under each of these keys.
    ///
    /// # Errors
    /// If a helper fails or the file cannot be written.
    pub fn erase(&mut self, keys: &[&str]) -> Outcome<()> {
        for key in keys {
            if let Some(helper) = self.helper(key) {
                call(&helper, "erase", key)?;
            }
        }
        let Some(auths) = self.file.get_mut("auths").and_then(Value::as_object_mut) else {
            return Ok(());
        };
        let before = auths.len();
        auths.retain(|known, _| !keys.contains(&known.as_str()));
        if auths.len() == before { Ok(()) } else { self.save() }
    }

    /// Replaces the file as a whole, for its owner only.
    fn save(&self) -> Outcome<()> {
        let failed = |cause: std::io::Error| Failure::new(format!("cannot write `{}`: {cause}", self.path.display()));
        let mut text = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.file.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format))?;
        let folder = config::folder();
        std::fs::create_dir_all(&folder).map_err(failed)?;
        // A file that is a link stays one.
        let target = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let part = target.with_extension(format!("json{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(part, target).map_err(failed)
    }
}

/// Finds a registry in `auths`, also under an address with scheme and path as old clients wrote it.
fn entry(auths: &Map<String, Value>, key: &str) -> Option<Auth> {
    let found = auths.get(key).or_else(|| auths.iter().find(|(known, _)| host(known) == host(key)).map(|(_, value)| value))?;
    let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut auth = Auth {
        username: text("username"),
        password: text("password"),
        serveraddress: key.to_owned(),
        identitytoken: text("identitytoken"),
        registrytoken: text("registrytoken"),
    };
    if let Ok(pair) = STANDARD.decode(text("auth"))
        && let Some((user, password)) = String::from_utf8_lossy(&pair).split_once(':')
    {
        user.clone_into(&mut auth.username);
        password.trim_end_matches('\0').clone_into(&mut auth.password);
    }
    Some(auth)
}

/// Runs a helper with text on its standard input; `None` where it has nothing.
#[allow(clippy::disallowed_methods, reason = "credential helpers are programs by Docker's protocol, and this is the command line")]
fn call(program: &str, verb: &str, input: &str) -> Outcome<Option<Value>> {
    let failed = |cause: &dyn std::fmt::Display| Failure::new(format!("error getting credentials - err: {cause}"));
    let missing = |cause: std::io::Error| {
        let text = if cause.kind() == ErrorKind::NotFound { "executable file not found in $PATH".to_owned() } else { cause.to_string() };
        failed(&format!("exec: \"{program}\": {text}, out: ``"))
    };
    let mut child = std::process::Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(serde_json::from_str(&text).ok());
    }
    // **Source:** docker-credential-helpers, `credentials/error.go`.
    if text.contains("credentials not found") {
        return Ok(None);
    }
    Err(failed(&format!("{}, out: `{text}`", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_old_and_new_clients_are_read() {
        let auths = json!({
            "r.example:5000": {"auth": STANDARD.encode("u:p:q")},
            "https://old.example/v1/": {"auth": STANDARD.encode("o:p")},
            HUB_KEY: {"auth": STANDARD.encode("h:"), "identitytoken": "t"},
        });
        let auths = auths.as_object().unwrap();
        let found = entry(auths, "r.example:5000").unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("u", "p:q"));
        assert_eq!(entry(auths, "old.example").unwrap().username, "o");
        assert_eq!(entry(auths, key("docker.io")).unwrap().identitytoken, "t");
        assert!(entry(auths, "none.example").is_none());
        assert_eq!(Auth::default().header(), "e30=");
    }
}

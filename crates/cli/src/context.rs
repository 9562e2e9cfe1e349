//! What every command needs: the name it was called by and a client.

use docker_api::client::{Client, Endpoint, Error, Ping};

use std::path::PathBuf;

use crate::contexts::{self, Meta};
use crate::error::{Failure, Outcome};
use crate::remote::{self, Keys};
use crate::{Environment, config};

/// Socket of the engine of this machine.
pub const DEFAULT_HOST: &str = "unix:///run/teu/teu.sock";

/// What flags say of an encrypted connection.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `--tls`.
    pub on: bool,
    /// `--tlsverify`.
    pub verify: Option<bool>,
    /// `--tlscacert`.
    pub ca: Option<PathBuf>,
    /// `--tlscert`.
    pub cert: Option<PathBuf>,
    /// `--tlskey`.
    pub key: Option<PathBuf>,
}

/// State of one invocation.
#[derive(Clone, Debug)]
pub struct Context {
    /// Name the program was called by.
    pub name: String,
    /// From `-H`.
    pub host: Option<String>,
    /// From `--context`.
    pub named: Option<String>,
    /// What flags say of encryption.
    pub tls: Tls,
    environment: Environment,
}

impl Context {
    pub(crate) fn new(name: String, environment: Environment) -> Self {
        Self { name, host: None, named: None, tls: Tls::default(), environment }
    }

    /// Where the engine is: `-H`, `--context`, DOCKER_HOST, the current context, this machine's socket.
    ///
    /// # Errors
    /// If the context that was chosen does not exist.
    pub fn host(&self) -> Outcome<String> {
        Ok(self.place()?.0)
    }

    /// The host, and the context that names it.
    fn place(&self) -> Outcome<(String, Option<Meta>)> {
        let variable = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let given = match (&self.host, &self.named) {
            // A bare name or address is a TCP host.
            (Some(host), _) if !host.contains("://") => Some(format!("tcp://{host}")),
            (Some(host), _) => Some(host.clone()),
            (None, Some(_)) => None,
            (None, None) => variable(),
        };
        if let Some(host) = given {
            return Ok((host, None));
        }
        match self.named.clone().or_else(config::current_context).filter(|name| name != "default") {
            None => Ok((variable().filter(|_| self.named.is_some()).unwrap_or_else(|| DEFAULT_HOST.to_owned()), None)),
            Some(name) => match contexts::read(&name)? {
                Some(meta) => Ok((meta.host().to_owned(), Some(meta))),
                None => Err(Failure::new(format!(
                    "Failed to initialize: unable to resolve docker endpoint: context \"{name}\": context not found: open {}: no such file or directory",
                    contexts::meta_folder(&name).join("meta.json").display()
                ))),
            },
        }
    }

    /// Keys from flags and variables, if TLS is asked for. **Source:** docker/cli, `cli/flags/options.go`.
    fn keys(&self) -> Option<Keys> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let verify = self.tls.verify.unwrap_or_else(|| set("DOCKER_TLS_VERIFY").is_some());
        let on = self.tls.on
            || verify
            || set("DOCKER_TLS").is_some()
            || [&self.tls.ca, &self.tls.cert, &self.tls.key].iter().any(|file| file.is_some());
        if !on {
            return None;
        }
        let folder = set("DOCKER_CERT_PATH").map_or_else(config::folder, PathBuf::from);
        // A file that nobody named may be missing.
        let file = |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| Some(folder.join(name)).filter(|path| path.exists()));
        let [ca, cert, key] =
            [(&self.tls.ca, "ca.pem"), (&self.tls.cert, "cert.pem"), (&self.tls.key, "key.pem")].map(|(given, name)| file(given, name));
        Some(Keys { ca, cert, key, skip_verify: !verify })
    }

    /// A client that has not spoken yet.
    ///
    /// # Errors
    /// If the host makes no sense, or its keys cannot be read.
    pub fn silent_client(&self) -> Outcome<Client> {
        let (host, meta) = self.place()?;
        let keys = match &meta {
            Some(meta) => contexts::keys(meta),
            None => self.keys(),
        };
        let endpoint = match (host.strip_prefix("tcp://"), keys) {
            (Some(address), Some(keys)) => Endpoint::Through(remote::tls(address, &keys)?),
            _ if host.starts_with("ssh://") => Endpoint::Through(remote::ssh(&host)?),
            _ => host.parse().map_err(|error: docker_api::client::ParseEndpointError| Failure::new(error.to_string()))?,
        };
        let version = std::env::var("DOCKER_API_VERSION").ok().filter(|version| !version.is_empty());
        let headers = config::headers();
        Ok(Client::new(endpoint, version).with_headers(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
    }

    /// A client that has agreed on a version with the engine; starts this machine's engine if nobody answers.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn client(&self) -> Outcome<Client> {
        Ok(self.greeted()?.0)
    }

    /// As [`Context::client`], with what the engine said of itself.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn greeted(&self) -> Outcome<(Client, Ping)> {
        let mut client = self.silent_client()?;
        match client.negotiate() {
            Err(error @ Error::Connect { .. }) => {
                self.start(&error)?;
                let ping = client.negotiate()?;
                Ok((client, ping))
            }
            result => {
                let ping = result?;
                Ok((client, ping))
            }
        }
    }

    /// Starts this machine's engine if `error` says that it does not run and it is the one meant.
    ///
    /// # Errors
    /// `error` itself if it is another's engine, or why it could not be started.
    pub fn start(&self, error: &Error) -> Outcome<()> {
        match (self.environment.start_daemon, error) {
            (Some(start), Error::Connect { .. }) if self.host()? == DEFAULT_HOST && rustix::process::geteuid().is_root() => {
                start().map_err(|cause| Failure::new(format!("{error}\ncannot start the engine: {cause}")))
            }
            _ => Err(Failure::new(error.to_string())),
        }
    }
}

//! What every command needs: the name it was called by and a client.

use docker_api::client::{Client, Endpoint, Error, Ping};

use crate::Environment;
use crate::config;
use crate::error::{Failure, Outcome};

/// Socket of the engine of this machine.
pub const DEFAULT_HOST: &str = "unix:///run/teu/teu.sock";

/// State of one invocation.
#[derive(Debug)]
pub struct Context {
    /// Name the program was called by.
    pub name: String,
    /// From `-H`.
    pub host: Option<String>,
    /// From `--context`.
    pub named: Option<String>,
    /// Whether a flag asks for an encrypted connection.
    pub tls: bool,
    environment: Environment,
}

impl Context {
    pub(crate) fn new(name: String, environment: Environment) -> Self {
        Self { name, host: None, named: None, tls: false, environment }
    }

    /// Where the engine is: `-H`, `--context`, DOCKER_HOST, the current context, this machine's socket.
    ///
    /// # Errors
    /// If the context that was chosen does not exist.
    pub fn host(&self) -> Outcome<String> {
        let variable = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let given = match (&self.host, &self.named) {
            // A bare name or address is a TCP host.
            (Some(host), _) if !host.contains("://") => Some(format!("tcp://{host}")),
            (Some(host), _) => Some(host.clone()),
            (None, Some(name)) => return Ok(config::context_host(name)?.unwrap_or_else(|| DEFAULT_HOST.to_owned())),
            (None, None) => variable(),
        };
        if let Some(host) = given {
            return Ok(host);
        }
        let current = config::current_context();
        let host = current.as_deref().map(config::context_host).transpose()?.flatten();
        Ok(host.unwrap_or_else(|| DEFAULT_HOST.to_owned()))
    }

    /// A client that has not spoken yet.
    ///
    /// # Errors
    /// If the host makes no sense, or an encrypted connection is asked for.
    pub fn silent_client(&self) -> Outcome<Client> {
        let host = self.host()?;
        let endpoint: Endpoint = host.parse().map_err(|error: docker_api::client::ParseEndpointError| Failure::new(error.to_string()))?;
        let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        if matches!(endpoint, Endpoint::Tcp(_)) && (self.tls || set("DOCKER_TLS_VERIFY") || set("DOCKER_TLS")) {
            return Err(Failure::new(format!(
                "cannot speak to {host}: this client has no TLS yet, and will not speak in the clear where TLS was asked for; use a unix socket, or forward one with `ssh -L`"
            )));
        }
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

//! What the host says about registries.

use std::path::PathBuf;
use std::time::Duration;

use crate::Proxy;

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directories with one folder a registry, the first that has one counts: containerd's `hosts.toml`, or Docker's `*.crt`,
    /// `*.cert` and `*.key`.
    pub certs_directories: Vec<PathBuf>,
    /// Registries that may be spoken to without TLS or with any certificate: `host`, `host:port` or an address range.
    pub insecure: Vec<String>,
    /// Mirrors of Docker Hub, such as `https://mirror.example`.
    pub mirrors: Vec<String>,
    /// Proxies on the way.
    pub proxy: Proxy,
    /// The file of trust: which images must be signed. It is read for each pull.
    pub policy_file: PathBuf,
    /// Whether nothing is pulled where that file is missing.
    pub policy_required: bool,
    /// How long is waited for what.
    pub times: Times,
    /// What the client calls itself.
    pub agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            certs_directories: Vec::new(),
            insecure: Vec::new(),
            mirrors: Vec::new(),
            proxy: Proxy::default(),
            policy_file: "/etc/teu/policy.json".into(),
            policy_required: false,
            times: Times::default(),
            agent: format!("teu/{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// How long is waited, and how often tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For a connection, including TLS.
    pub connect: Duration,
    /// Without a byte, until a request or a blob is begun again where it stopped.
    pub stall: Duration,
    /// Without a byte, until a host is given up for the next one.
    pub give_up: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
    /// Attempts on one host without any progress.
    pub attempts: u32,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(15),
            give_up: Duration::from_secs(60),
            backoff: Duration::from_millis(500),
            attempts: 5,
        }
    }
}

impl Times {
    /// The pause before attempt `attempt`, counted from 1.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        self.backoff.saturating_mul(1 << attempt.saturating_sub(1).min(5))
    }
}

//! A real registry of one's own: Debian's `docker-registry` on a free port, with its storage in a temporary folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long a registry may take to listen.
const READY: Duration = Duration::from_secs(20);
/// The account of a registry with accounts.
pub const USER: &str = "someone";
/// Its password.
pub const PASSWORD: &str = "secret";
/// The same as bcrypt hashes it.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// Who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// [`USER`] with [`PASSWORD`].
    Account,
    /// Anybody over TLS, who trusts `ca.crt` in its folder.
    Tls,
}

/// A running registry, ended when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    address: String,
}

impl Registry {
    /// Starts a registry and waits until it listens.
    ///
    /// # Errors
    /// If it does not; its log is part of the error.
    pub fn start(access: Access) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("teu-registry-").tempdir_in("/var/tmp")?;
        let path = |name: &str| dir.path().join(name);
        let mut http = "addr: \"127.0.0.1:0\"".to_owned();
        let auth = match access {
            Access::Open => String::new(),
            Access::Tls => {
                certify(dir.path())?;
                http.push_str(&format!(", tls: {{certificate: {}, key: {}}}", path("server.crt").display(), path("server.key").display()));
                String::new()
            }
            Access::Account => {
                std::fs::write(path("htpasswd"), format!("{USER}:{HASH}\n"))?;
                format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path("htpasswd").display())
            }
        };
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}", path("storage").display());
        std::fs::write(path("config.yml"), format!("version: 0.1\n{storage}\nhttp: {{{http}}}\n{auth}"))?;
        let log = std::fs::File::create(path("log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(path("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start docker-registry")?;
        let mut registry = Self { child, dir, address: String::new() };
        registry.address = registry.wait()?;
        Ok(registry)
    }

    /// `127.0.0.1` and its port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has logged: a line for each request.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn wait(&mut self) -> Result<String> {
        let begin = Instant::now();
        while begin.elapsed() < READY {
            let log = self.log();
            if let Some(rest) = log.split("listening on ").nth(1) {
                let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).unwrap_or(rest.len());
                return Ok(rest[..end].to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("docker-registry ended: {status}\n{log}");
            }
            // It tells of its port by its log only.
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("docker-registry does not listen\n{}", self.log())
    }
}

/// Makes an authority and a certificate of `registry.test` and 127.0.0.1 with it.
fn certify(dir: &Path) -> Result<()> {
    let openssl = |args: &str| -> Result<()> {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().context("cannot start openssl")?;
        ensure!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.crt"))?;
    let names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    openssl(&format!("req -x509 {key} -subj /CN=registry -CA ca.crt -CAkey ca.key {names} -keyout server.key -out server.crt"))
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It has nothing that must be kept.
        let _already_dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

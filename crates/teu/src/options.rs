//! The flags of `teu daemon`.

use crate::remote::Tls;
use anyhow::{Context, bail};
use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where the engine keeps its things and how it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Data that outlives a reboot.
    pub root: PathBuf,
    /// State that ends with the host's run.
    pub run: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// Addresses for clients of other hosts.
    pub addresses: Vec<String>,
    /// How those are encrypted.
    pub tls: Tls,
    /// The link of the default network.
    pub bridge: Option<String>,
    /// Address and prefix length of that link.
    pub bip: Option<String>,
    /// Control group above those of the containers.
    pub cgroup_parent: String,
    /// Where the process id is written.
    pub pidfile: Option<PathBuf>,
    /// Registries that may be spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Mirrors of Docker Hub.
    pub registry_mirrors: Vec<String>,
    /// Directories with certificates and mirrors of registries.
    pub certs_directories: Vec<PathBuf>,
    /// The file that says which images must be signed.
    pub policy: Option<PathBuf>,
    /// A file of settings in Docker's form.
    pub config_file: Option<PathBuf>,
    /// How new layers lie on the disk; absent, what suits the kernel.
    pub storage_backend: Option<image::Backend>,
    /// Whether readiness is told on standard output, which then is closed.
    pub detached: bool,
}

impl Options {
    /// Reads the flags; a socket that is not named lies in the run directory.
    ///
    /// # Errors
    /// A flag is unknown or lacks its value.
    pub(crate) fn parse(arguments: &[OsString]) -> anyhow::Result<Self> {
        let mut root = PathBuf::from("/var/lib/teu");
        let mut run = PathBuf::from("/run/teu");
        let mut socket = None;
        let mut cgroup_parent = "/teu".to_owned();
        let (mut addresses, mut tls) = (Vec::new(), Tls::default());
        let (mut bridge, mut bip, mut pidfile, mut detached, mut storage_backend) = (None, None, None, false, None);
        let (mut insecure_registries, mut registry_mirrors, mut certs_directories) = (Vec::new(), Vec::new(), Vec::new());
        let (mut config_file, mut policy) = (None, None);
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("root" | "data-root") => root = parser.value()?.into(),
                Long("run" | "exec-root") => run = parser.value()?.into(),
                Long("socket" | "host") | Short('H') => listen(&parser.value()?, &mut socket, &mut addresses)?,
                Long("bridge") | Short('b') => bridge = Some(parser.value()?.string()?),
                Long("cgroup-parent") => cgroup_parent = parser.value()?.string()?,
                Long("bip") => bip = Some(parser.value()?.string()?),
                Long("pidfile") | Short('p') => pidfile = Some(parser.value()?.into()),
                Long("insecure-registry") => insecure_registries.push(parser.value()?.string()?),
                Long("registry-mirror") => registry_mirrors.push(parser.value()?.string()?),
                Long("certs-dir") => certs_directories.push(parser.value()?.into()),
                Long("policy") => policy = Some(absolute(parser.value()?.into())?),
                Long("config-file") => config_file = Some(parser.value()?.into()),
                Long("log-level") | Short('l') => drop(parser.value()?),
                Long("storage-backend") => {
                    let text = parser.value()?.string()?;
                    storage_backend = if text == "auto" { None } else { Some(text.parse()?) };
                }
                Long("detached") => detached = true,
                Long("tls") => tls.on = Some(flag(&mut parser)?),
                Long("tlsverify") => tls.verify = flag(&mut parser)?,
                Long("tlscacert") => tls.ca = Some(parser.value()?.into()),
                Long("tlscert") => tls.cert = Some(parser.value()?.into()),
                Long("tlskey") => tls.key = Some(parser.value()?.into()),
                Short(_) | Long(_) | lexopt::Arg::Value(_) => {
                    return Err(argument.unexpected().into());
                }
            }
        }
        let socket = socket.unwrap_or_else(|| run.join("teu.sock"));
        let (root, run, socket) = (absolute(root)?, absolute(run)?, absolute(socket)?);
        let options = Self {
            root,
            run,
            socket,
            addresses,
            tls,
            bridge,
            bip,
            cgroup_parent,
            pidfile,
            insecure_registries,
            registry_mirrors,
            certs_directories,
            policy,
            config_file,
            storage_backend,
            detached,
        };
        Ok(options)
    }
}

/// Takes an address to listen on: a socket's path, or one for TCP.
fn listen(value: &std::ffi::OsStr, socket: &mut Option<PathBuf>, addresses: &mut Vec<String>) -> anyhow::Result<()> {
    let text = value.to_str().context("the socket's path is no text")?;
    if text.starts_with("npipe://") {
        bail!("cannot listen on `{text}`: this is no Windows");
    }
    if let Some(address) = text.strip_prefix("tcp://") {
        addresses.push(address.trim_end_matches('/').to_owned());
        return Ok(());
    }
    let path = text.strip_prefix("unix://").unwrap_or(text);
    // `fd://` takes the sockets that the service manager passes.
    *socket = (!text.starts_with("fd://")).then(|| PathBuf::from(path));
    Ok(())
}

/// Reads `--name`, `--name=true` or `--name=false`.
fn flag(parser: &mut lexopt::Parser) -> anyhow::Result<bool> {
    match parser.optional_value() {
        None => Ok(true),
        Some(value) => value.parse().map_err(Into::into),
    }
}

fn absolute(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("cannot use the path `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> anyhow::Result<Options> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Options::parse(&words)
    }

    #[test]
    fn isolates_a_second_engine_by_its_directories() {
        let options = parse(&["--root", "/a", "--run=/b"]).unwrap();
        assert_eq!(options.root, PathBuf::from("/a"));
        assert_eq!(options.socket, PathBuf::from("/b/teu.sock"));
        assert_eq!(options.storage_backend, None);
        let backend = |text| parse(&["--storage-backend", text]).map(|options| options.storage_backend);
        assert_eq!(backend("erofs").unwrap(), Some(image::Backend::Erofs));
        assert_eq!(backend("auto").unwrap(), None);
        let error = backend("zfs").unwrap_err().to_string();
        assert_eq!(error, "storage backend `zfs` is not known: it is `erofs` or `dir`");
        let options = parse(&["-H", "unix:///c.sock"]).unwrap();
        assert_eq!(options.socket, PathBuf::from("/c.sock"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(parse(&["--nope"]).is_err());
        assert!(parse(&["--root"]).is_err());
        let options = parse(&["-H", "tcp://0.0.0.0:2376", "--tlsverify", "--tls=false"]).unwrap();
        assert_eq!((options.addresses, options.tls.verify, options.tls.on), (vec!["0.0.0.0:2376".to_owned()], true, Some(false)));
    }
}

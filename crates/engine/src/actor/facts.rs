//! What the writer has to know, asked of the host and of the image.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageId, Images, Snapshot};
use network::files::{DnsOptions, HostsOptions};
use oci::runtime::{Device, NamespaceType};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::Actor;
use crate::apparmor;
use crate::error::{InvalidSpec, StartError, UserError};
use crate::identity::{self, Files};
use crate::registry::Cell;
use crate::spec::{IpcMode, NetworkMode, PidMode, Spec};
use crate::writer::{Facts, HostDevice};

/// `/etc/passwd` and `/etc/group` as the container has them now.
pub(crate) struct RootFiles<'a> {
    pub(crate) images: &'a Images,
    pub(crate) image: &'a ImageId,
    pub(crate) upper: &'a Path,
}

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl Files for RootFiles<'_> {
    fn read(&self, path: &'static str) -> Result<String, UserError> {
        let failed = |reason: String| UserError::Read { file: path, reason };
        match read_beneath(self.upper, path) {
            Ok(Some(text)) => return Ok(text),
            Ok(None) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        let file = self.images.read_file(self.image, Path::new(path));
        let bytes = file.map_err(|error| failed(crate::error::chain(&error)))?;
        let text = |bytes: Arc<[u8]>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(bytes.map(text).unwrap_or_default())
    }
}

/// Reads a file of the writable layer without following any link of the container's making;
/// none if the layer does not have it. A whiteout reads as empty.
#[expect(clippy::wildcard_enum_match_arm, reason = "everything else is treated alike")]
fn read_beneath(upper: &Path, path: &str) -> std::io::Result<Option<String>> {
    use std::io::Read;
    let directory = rustix::fs::open(upper, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let relative = path.trim_start_matches('/');
    let at = |flags| rustix::fs::openat2(directory.as_fd(), relative, flags, Mode::empty(), resolve);
    // A device must not be opened, so its type is looked at first.
    let kind = match at(OFlags::PATH | OFlags::CLOEXEC) {
        Ok(fd) => FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    match kind {
        FileType::RegularFile => {}
        FileType::CharacterDevice => return Ok(Some(String::new())),
        _ => return Ok(None),
    }
    let file = std::fs::File::from(at(flags)?);
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

impl Actor {
    pub(super) fn facts(&self, snapshot: &Snapshot, sources: &[super::mounts::Source]) -> Result<Facts, StartError> {
        let record = &self.record;
        let spec = &record.spec;
        let files = RootFiles { images: &self.deps.images, image: &record.image_id, upper: &snapshot.upper };
        let (user, home) = identity::resolve(&files, &spec.config.user, &spec.host.group_add)?;
        let (join, shared_memory) = self.joins()?;
        let mut devices = Vec::new();
        for mapping in &spec.host.resources.devices {
            let inside = match mapping.path_in_container.as_str() {
                "" => &mapping.path_on_host,
                path => path,
            };
            let found = host_devices(Path::new(&mapping.path_on_host), Path::new(inside));
            let access = match mapping.permissions.as_str() {
                "" => "rwm",
                access => access,
            };
            if found.is_empty() {
                return Err(InvalidSpec::Device(mapping.path_on_host.clone()).into());
            }
            devices.extend(found.into_iter().map(|device| HostDevice { device, access: access.to_owned() }));
        }
        if spec.host.privileged {
            let all = host_devices(Path::new("/dev"), Path::new("/dev"));
            devices.extend(all.into_iter().map(|device| HostDevice { device, access: "rwm".to_owned() }));
        }
        Ok(Facts {
            command: record.command.clone(),
            user,
            home,
            cgroup_parent: self.deps.cgroup_parent.clone(),
            hostname: self.hostname(),
            mounts: super::mounts::all(spec, &record.mounts, sources)?,
            files: self.files()?,
            join,
            shared_memory,
            devices,
            block_devices: block_devices(spec),
            apparmor: apparmor_profile(spec)?,
        })
    }

    /// The host name that its program sees.
    pub(crate) fn hostname(&self) -> String {
        hostname(&self.record.spec, &self.record.id.short())
    }

    fn other(&self, what: &'static str, reference: &str) -> Result<(Arc<Cell>, i32), StartError> {
        let join = |reason: String| StartError::Join { what, reason };
        let cell = self.deps.registry.find(reference).map_err(|e| join(e.to_string()))?;
        let view = cell.view();
        match view.pid {
            Some(pid) if view.status.is_running() => Ok((cell, pid)),
            _ => Err(join(format!("container {} is not running", view.id))),
        }
    }

    /// Namespaces of other containers, and the place of a shared `/dev/shm`.
    #[expect(clippy::type_complexity, reason = "two parts of one look at the others")]
    fn joins(&self) -> Result<(Vec<(NamespaceType, PathBuf)>, Option<PathBuf>), StartError> {
        let host = &self.record.spec.host;
        let mut join = Vec::new();
        let path = |pid: i32, name: &str| PathBuf::from(format!("/proc/{pid}/ns/{name}"));
        if let Some(netns) = &self.netns {
            let (engine, fd) = (std::process::id(), netns.as_raw_fd());
            let path = PathBuf::from(format!("/proc/{engine}/fd/{fd}"));
            join.push((NamespaceType::Network, path));
        }
        if let NetworkMode::Container(other) = &host.network_mode {
            let (cell, pid) = self.other("network", other)?;
            join.push((NamespaceType::Network, path(pid, "net")));
            // Its host name belongs to its network.
            if cell.view().spec.host.uts_mode == crate::spec::UtsMode::Private {
                join.push((NamespaceType::Uts, path(pid, "uts")));
            }
        }
        if let PidMode::Container(other) = &host.pid_mode {
            let (_, pid) = self.other("PID", other)?;
            join.push((NamespaceType::Pid, path(pid, "pid")));
        }
        let mut shared_memory = None;
        if let IpcMode::Container(other) = &host.ipc_mode {
            let (cell, pid) = self.other("IPC", other)?;
            let view = cell.view();
            if !matches!(view.spec.host.ipc_mode, IpcMode::Shareable | IpcMode::Host) {
                return Err(StartError::PrivateIpc(view.id));
            }
            join.push((NamespaceType::Ipc, path(pid, "ipc")));
            shared_memory = Some(PathBuf::from(format!("/proc/{pid}/root/dev/shm")));
        }
        Ok((join, shared_memory))
    }

    /// Writes `hostname`, `resolv.conf` and a first `hosts`; answers where they are.
    fn files(&self) -> Result<Vec<(&'static str, PathBuf)>, StartError> {
        let spec = &self.record.spec;
        if let NetworkMode::Container(other) = &spec.host.network_mode {
            let (cell, _) = self.other("network", other)?;
            let view = cell.view();
            return Ok(vec![
                ("resolv.conf", view.resolv_conf_path.clone()),
                ("hostname", view.hostname_path.clone()),
                ("hosts", view.hosts_path.clone()),
            ]);
        }
        let directory = self.deps.run_directory(&self.record.id);
        let resolv_conf = self.deps.networks.resolv_conf(&self.dns_options());
        write(&directory.join("resolv.conf"), &resolv_conf)?;
        write(&directory.join("hostname"), &format!("{}\n", self.hostname()))?;
        self.write_hosts()?;
        let names = ["resolv.conf", "hostname", "hosts"];
        Ok(names.map(|name| (name, directory.join(name))).into())
    }

    /// How the container finds names.
    pub(super) fn dns_options(&self) -> DnsOptions {
        let host = &self.record.spec.host;
        DnsOptions {
            servers: host.dns.clone(),
            search: host.dns_search.clone(),
            options: host.dns_options.clone(),
            host_network: host.network_mode == NetworkMode::Host,
            own_resolver: self.networks().iter().any(|network| network != "bridge"),
        }
    }

    /// Points the container at its resolver if it has one now, unless somebody has changed the file since `before`.
    pub(super) fn rewrite_resolv_conf(&self, before: &str) -> Result<(), StartError> {
        let path = self.deps.run_directory(&self.record.id).join("resolv.conf");
        let now = self.deps.networks.resolv_conf(&self.dns_options());
        if now != before && std::fs::read_to_string(&path).is_ok_and(|text| text == before) {
            write(&path, &now)?;
        }
        Ok(())
    }

    /// Writes `hosts` in place: once mounted, another file of this name would not be seen.
    pub(super) fn write_hosts(&self) -> Result<(), StartError> {
        let directory = self.deps.run_directory(&self.record.id);
        write(&directory.join("hosts"), &self.hosts_text()?)
    }

    /// Writes `hosts` of a running container, unless somebody has changed the file since it was `before`.
    pub(super) fn rewrite_hosts(&self, before: &str) -> Result<(), StartError> {
        let path = self.deps.run_directory(&self.record.id).join("hosts");
        if std::fs::read_to_string(path).is_ok_and(|text| text == before) { self.write_hosts() } else { Ok(()) }
    }

    /// What `hosts` says.
    pub(super) fn hosts_text(&self) -> Result<String, StartError> {
        let spec = &self.record.spec;
        let mut names = vec![self.hostname()];
        if !spec.config.domainname.is_empty() {
            names.insert(0, format!("{}.{}", self.hostname(), spec.config.domainname));
        }
        let addresses = self.endpoints.iter().flat_map(|e| e.ip.into_iter().chain(e.six.map(|(ip, _)| ip.into())));
        let own: Vec<(IpAddr, Vec<String>)> = addresses.map(|ip| (ip, names.clone())).collect();
        let extra = spec.host.extra_hosts.iter().map(|host| {
            let address = host.address.map(|ip| ip.to_string());
            (host.name.clone(), address.unwrap_or_else(|| "host-gateway".to_owned()))
        });
        let gateway = self.endpoints.iter().find_map(|e| e.gateway);
        let extra = extra.chain(self.linked()?).collect();
        Ok(self.deps.networks.hosts_file(&HostsOptions { own, extra, host_gateway: gateway }))
    }

    /// The lines of `hosts` for containers that this one is linked with in the default network, where nobody answers
    /// for names. **Source:** moby, `daemon/container_operations_unix.go`, `setupLinkedContainers` and `addLinkToHosts`.
    fn linked(&self) -> Result<Vec<(String, String)>, StartError> {
        let host = &self.record.spec.host;
        if !matches!(host.network_mode, NetworkMode::Default | NetworkMode::Bridge) {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        for link in &host.links {
            let (alias, target) = crate::endpoints::link(link);
            let view = self.deps.registry.find(&target)?.view();
            let address = view.endpoints.iter().find(|endpoint| endpoint.network == "bridge").and_then(|endpoint| endpoint.ip);
            let Some(address) = address.filter(|_| view.status.is_running()) else {
                let text = format!("Cannot link to a non running container: /{} AS /{}/{alias}", view.name, self.record.name);
                return Err(StartError::Refused(text));
            };
            let mut names = vec![alias.clone(), hostname(&view.spec, &view.id.short())];
            if alias != view.name.as_str() {
                names.push(view.name.to_string());
            }
            lines.push((names.join(" "), address.to_string()));
        }
        Ok(lines)
    }
}

/// The host name of a container: its own, the host's, or the short id.
pub(crate) fn hostname(spec: &Spec, short_id: &str) -> String {
    let host = spec.host.network_mode == NetworkMode::Host || spec.host.uts_mode == crate::spec::UtsMode::Host;
    if !spec.config.hostname.is_empty() {
        spec.config.hostname.clone()
    } else if host {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        short_id.to_owned()
    }
}

fn write(path: &Path, text: &str) -> Result<(), StartError> {
    std::fs::write(path, text).map_err(|source| StartError::Prepare { path: path.display().to_string(), source })
}

/// The AppArmor profile of a container's processes. The text is Docker's.
pub(super) fn apparmor_profile(spec: &Spec) -> Result<Option<String>, StartError> {
    apparmor::profile(spec).map_err(|error| {
        let default = apparmor::DEFAULT;
        StartError::Refused(format!("AppArmor enabled on system but the {default} profile could not be loaded: {error}"))
    })
}

fn block_devices(spec: &Spec) -> Vec<(String, i64, i64)> {
    let r = &spec.host.resources;
    let rates = [&r.blkio_device_read_bps, &r.blkio_device_write_bps, &r.blkio_device_read_iops, &r.blkio_device_write_iops];
    let paths = rates.into_iter().flatten().map(|d| &d.path);
    let paths = paths.chain(r.blkio_weight_device.iter().map(|d| &d.path));
    let number = |path: &String| {
        let device = device(Path::new(path), Path::new(path))?;
        Some((path.clone(), device.major?, device.minor?))
    };
    paths.filter_map(number).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "everything else is treated alike")]
fn device(host: &Path, inside: &Path) -> Option<Device> {
    let stat = rustix::fs::stat(host).ok()?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => "c",
        FileType::BlockDevice => "b",
        _ => return None,
    };
    Some(Device {
        path: inside.to_owned(),
        kind: kind.to_owned(),
        major: Some(rustix::fs::major(stat.st_rdev).into()),
        minor: Some(rustix::fs::minor(stat.st_rdev).into()),
        file_mode: Some(stat.st_mode & 0o777),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
    })
}

/// A device, or all below a directory. **Source:** moby, `oci/devices_linux.go`.
fn host_devices(host: &Path, inside: &Path) -> Vec<Device> {
    if let Some(device) = device(host, inside) {
        return vec![device];
    }
    let mut devices = Vec::new();
    let mut directories = vec![(host.to_owned(), inside.to_owned())];
    while let Some((host, inside)) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&host) else {
            continue;
        };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let skipped = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];
            if skipped.iter().any(|s| name.to_str() == Some(s)) || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                directories.push((path, inside.join(name)));
            } else {
                devices.extend(device(&path, &inside.join(name)));
            }
        }
    }
    devices
}

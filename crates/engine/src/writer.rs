//! Writes the OCI specification of a container from facts; pure, it asks nobody.

mod mounts;
mod process;
mod resources;

use std::path::{Path, PathBuf};

use oci::runtime::{Device, Linux, Mount, Namespace, NamespaceType, Root, User};

use crate::id::ContainerId;
use crate::profile;
use crate::spec::{CgroupnsMode, IpcMode, NetworkMode, PidMode, SeccompProfile, SecurityOption, Spec, UtsMode};

pub(crate) use process::{capabilities, exec_process};
pub(crate) use resources::resources;

/// Number of tasks where nobody says one. **Source:** containers/common, `default_pids_limit`.
pub(crate) const PIDS_LIMIT_DEFAULT: i64 = 2048;

/// All that the writer has to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Who it runs as.
    pub(crate) user: User,
    /// Home of that user.
    pub(crate) home: String,
    /// The engine's control group.
    pub(crate) cgroup_parent: String,
    /// Host name; empty leaves the namespace's.
    pub(crate) hostname: String,
    /// Mounts of volumes, binds and tmpfs, in order.
    pub(crate) mounts: Vec<Mount>,
    /// Files below `/etc`: name and path on the host.
    pub(crate) files: Vec<(&'static str, PathBuf)>,
    /// Namespaces of other containers to join.
    pub(crate) join: Vec<(NamespaceType, PathBuf)>,
    /// `/dev/shm` of the container whose IPC namespace is joined.
    pub(crate) shared_memory: Option<PathBuf>,
    /// Devices of the host.
    pub(crate) devices: Vec<HostDevice>,
    /// Numbers of block devices by path.
    pub(crate) block_devices: Vec<(String, i64, i64)>,
    /// The AppArmor profile of its processes, where the kernel enforces one.
    pub(crate) apparmor: Option<String>,
}

/// A device of the host as it will be in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostDevice {
    /// The node.
    pub(crate) device: Device,
    /// Some of `rwm`.
    pub(crate) access: String,
}

/// Writes the specification, without the system call filter.
pub(crate) fn write(id: &ContainerId, spec: &Spec, facts: &Facts) -> oci::runtime::Spec {
    let host = &spec.host;
    let own_uts = host.uts_mode == UtsMode::Private && !facts.join.iter().any(|(kind, _)| *kind == NamespaceType::Uts);
    let named = |name: &str| (own_uts && !name.is_empty()).then(|| name.to_owned());
    oci::runtime::Spec {
        oci_version: oci::runtime::VERSION.to_owned(),
        process: Some(process::process(spec, facts)),
        root: Some(Root { path: PathBuf::from("rootfs"), readonly: host.readonly_rootfs }),
        hostname: named(&facts.hostname),
        domainname: named(&spec.config.domainname),
        mounts: mounts::mounts(spec, facts),
        hooks: None,
        annotations: host.annotations.clone(),
        linux: Some(linux(id, spec, facts)),
    }
}

fn linux(id: &ContainerId, spec: &Spec, facts: &Facts) -> Linux {
    let host = &spec.host;
    let open = host.privileged || host.security_options.contains(&SecurityOption::SystemPathsUnconfined);
    let paths = |own: &Option<Vec<PathBuf>>, default: &dyn Fn() -> Vec<PathBuf>| match own {
        Some(paths) => paths.clone(),
        None if open => Vec::new(),
        None => default(),
    };
    let parent = match host.cgroup_parent.trim_matches('/') {
        "" => facts.cgroup_parent.trim_matches('/'),
        parent => parent,
    };
    let parent = Path::new("/").join(parent);
    Linux {
        sysctl: sysctls(spec),
        resources: Some(resources(spec, facts)),
        cgroups_path: Some(parent.join(id.to_string())),
        namespaces: namespaces(spec, facts),
        devices: facts.devices.iter().map(|d| d.device.clone()).collect(),
        rootfs_propagation: mounts::root_propagation(&facts.mounts),
        masked_paths: paths(&host.masked_paths, &masked_paths),
        readonly_paths: paths(&host.readonly_paths, &|| profile::READONLY_PATHS.iter().map(PathBuf::from).collect()),
        ..Linux::default()
    }
}

/// Asked once: processors do not come and go often, and a missing path is no error.
fn masked_paths() -> Vec<PathBuf> {
    static PATHS: std::sync::OnceLock<Vec<PathBuf>> = std::sync::OnceLock::new();
    PATHS.get_or_init(profile::masked_paths).clone()
}

/// **Source:** moby, `daemon/oci_linux.go`, `WithSysctls`: low ports and ping need no capability.
fn sysctls(spec: &Spec) -> std::collections::BTreeMap<String, String> {
    let mut sysctls = std::collections::BTreeMap::new();
    let own = !matches!(spec.host.network_mode, NetworkMode::Host | NetworkMode::Container(_));
    if own {
        let mut set = |name: &str, value: &str| sysctls.insert(name.to_owned(), value.to_owned());
        set("net.ipv4.ip_unprivileged_port_start", "0");
        set("net.ipv4.ping_group_range", "0 2147483647");
    }
    sysctls.extend(spec.host.sysctls.clone());
    sysctls
}

fn namespaces(spec: &Spec, facts: &Facts) -> Vec<Namespace> {
    let host = &spec.host;
    let mut namespaces = Vec::new();
    let mut add = |kind: NamespaceType, own: bool| {
        let joined = facts.join.iter().find(|(k, _)| *k == kind);
        if own || joined.is_some() {
            let path = joined.map(|(_, path)| path.clone());
            namespaces.push(Namespace { kind, path });
        }
    };
    add(NamespaceType::Mount, true);
    add(NamespaceType::Network, host.network_mode != NetworkMode::Host);
    add(NamespaceType::Uts, host.uts_mode == UtsMode::Private);
    add(NamespaceType::Pid, host.pid_mode == PidMode::Private);
    add(NamespaceType::Ipc, host.ipc_mode != IpcMode::Host);
    add(NamespaceType::Cgroup, host.cgroupns_mode != CgroupnsMode::Host);
    namespaces
}

/// The system call filter, if there is one.
pub(crate) fn seccomp(spec: &Spec) -> Option<Result<oci::runtime::Seccomp, String>> {
    let host = &spec.host;
    let profile = host.security_options.iter().rev().find_map(|option| match option {
        SecurityOption::Seccomp(profile) => Some(profile),
        SecurityOption::NoNewPrivileges(_)
        | SecurityOption::AppArmor(_)
        | SecurityOption::Label(_)
        | SecurityOption::SystemPathsUnconfined
        | SecurityOption::WritableCgroups(_) => None,
    });
    if host.privileged {
        return None;
    }
    match profile {
        Some(SeccompProfile::Unconfined) => None,
        Some(SeccompProfile::Builtin) | None => Some(Ok(profile::seccomp(&capabilities(spec)))),
        Some(SeccompProfile::Json(json)) => Some(profile::seccomp_from_json(json, &capabilities(spec)).map_err(|e| e.to_string())),
    }
}

#[cfg(test)]
mod tests;

//! The mounts in the order they are made.

use std::path::{Path, PathBuf};

use oci::runtime::Mount;

use super::Facts;
use crate::profile;
use crate::spec::{IpcMode, NetworkMode, SecurityOption, Spec};

/// Bytes of `/dev/shm` where nothing is said. **Source:** moby, `DefaultShmSize`.
const SHM_BYTES: u64 = 64 << 20;

/// A bind mount.
pub(crate) fn bind(source: &Path, destination: &Path, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(source.to_owned()),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        ..Mount::default()
    }
}

pub(super) fn mounts(spec: &Spec, facts: &Facts) -> Vec<Mount> {
    let mut mounts = profile::mounts();
    let host = &spec.host;
    let writable_cgroups = host.security_options.contains(&SecurityOption::WritableCgroups(true));
    for mount in &mut mounts {
        let system = mount.destination.starts_with("/sys");
        let cgroup = mount.destination == Path::new("/sys/fs/cgroup");
        if (host.privileged && system) || (writable_cgroups && cgroup) {
            mount.options.retain(|o| o != "ro");
            mount.options.push("rw".to_owned());
        }
        // A sysfs shows the network namespace it is mounted in, so the host's cannot be mounted
        // anew by one who does not own it; the bind shows the same.
        if host.network_mode == NetworkMode::Host && mount.destination == Path::new("/sys") && !host.privileged {
            mount.options.retain(|o| o != "rw");
        }
    }
    shared_memory(&mut mounts, spec, facts);
    let read_only = host.readonly_rootfs;
    for (name, path) in &facts.files {
        let access = if read_only { "ro" } else { "rw" };
        let destination = Path::new("/etc").join(name);
        mounts.push(bind(path, &destination, &["rbind", "rprivate", access]));
    }
    // What a person mounts replaces what would be there, and `/dev` all below it.
    let own_dev = facts.mounts.iter().any(|own| own.destination == Path::new("/dev"));
    mounts.retain(|m| !facts.mounts.iter().any(|own| own.destination == m.destination));
    mounts.retain(|m| !(own_dev && m.destination.starts_with("/dev")));
    let mut own = facts.mounts.clone();
    own.sort_by_key(|mount| mount.destination.components().count());
    mounts.extend(own);
    mounts
}

fn shared_memory(mounts: &mut Vec<Mount>, spec: &Spec, facts: &Facts) {
    let place = Path::new("/dev/shm");
    let is_shm = |mount: &Mount| mount.destination == place;
    match (&spec.host.ipc_mode, &facts.shared_memory) {
        (IpcMode::None, _) => mounts.retain(|m| !is_shm(m)),
        (IpcMode::Host, _) => {
            mounts.retain(|m| !is_shm(m));
            mounts.push(bind(place, place, &["rbind", "rprivate"]));
        }
        (IpcMode::Container(_), Some(path)) => {
            mounts.retain(|m| !is_shm(m));
            mounts.push(bind(path, place, &["rbind", "rprivate"]));
        }
        _ => {
            let bytes = match spec.host.shm_bytes {
                0 => SHM_BYTES,
                bytes => bytes,
            };
            mounts.retain(|m| !is_shm(m));
            let options = ["nosuid", "noexec", "nodev", "mode=1777"];
            let mut options: Vec<String> = options.map(Into::into).into();
            options.push(format!("size={bytes}"));
            mounts.push(Mount {
                destination: place.to_owned(),
                kind: Some("tmpfs".to_owned()),
                source: Some(PathBuf::from("shm")),
                options,
                ..Mount::default()
            });
        }
    }
}

/// The root's propagation must let through what a mount in it asks for.
pub(super) fn root_propagation(mounts: &[Mount]) -> Option<String> {
    let has = |names: [&str; 2]| {
        let mut options = mounts.iter().flat_map(|m| &m.options);
        options.any(|o| names.contains(&o.as_str()))
    };
    if has(["shared", "rshared"]) {
        Some("shared".to_owned())
    } else if has(["slave", "rslave"]) {
        Some("slave".to_owned())
    } else {
        None
    }
}

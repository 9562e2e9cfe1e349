//! What can be refused before anything is made.

use oci::runtime::{NamespaceType, Spec};

/// Returns the first fault of a specification, in words for people.
pub(crate) fn fault(spec: &Spec, has_root_tree: bool) -> Option<String> {
    let process = spec.process.as_ref()?;
    if process.args.is_empty() {
        return Some("process.args: must not be empty".into());
    }
    if !process.cwd.is_absolute() {
        return Some(format!("process.cwd: `{}` is not an absolute path", process.cwd.display()));
    }
    let linux = spec.linux.as_ref();
    let mut seen = Vec::new();
    for namespace in linux.into_iter().flat_map(|linux| &linux.namespaces) {
        if seen.contains(&namespace.kind) {
            return Some(format!("linux.namespaces: {:?} is named twice", namespace.kind));
        }
        seen.push(namespace.kind);
    }
    if !seen.contains(&NamespaceType::Mount) && (has_root_tree || !spec.mounts.is_empty()) {
        return Some("linux.namespaces: mounts need a mount namespace".into());
    }
    if spec.hostname.is_some() && !seen.contains(&NamespaceType::Uts) {
        return Some("hostname: needs a uts namespace".into());
    }
    if let Some(name) = spec.mounts.iter().map(|mount| &mount.destination).find(|path| !path.is_absolute()) {
        return Some(format!("mounts: `{}` is not an absolute path", name.display()));
    }
    linux.into_iter().flat_map(|linux| linux.sysctl.keys()).find_map(|name| sysctl_fault(spec, &name.replace('/', ".")))
}

/// A kernel parameter that is not of a namespace of the container's own is the host's. **Source:** runc, `configs/validate`.
fn sysctl_fault(spec: &Spec, name: &str) -> Option<String> {
    const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    let kernel = name.strip_prefix("kernel.");
    if kernel.is_some_and(|kernel| IPC.contains(&kernel)) || name.starts_with("fs.mqueue.") {
        return (!is_own(spec, NamespaceType::Ipc, "ipc")).then(|| format!("sysctl \"{name}\" is not allowed in the host ipc namespace"));
    }
    if name.starts_with("net.") {
        return (!is_own(spec, NamespaceType::Network, "net"))
            .then(|| format!("sysctl \"{name}\" is not allowed in the host network namespace"));
    }
    if is_own(spec, NamespaceType::Uts, "uts") {
        match kernel {
            Some("domainname") => return None,
            Some("hostname") => {
                return Some(format!("sysctl \"{name}\" is not allowed as it conflicts with the OCI \"hostname\" field"));
            }
            _ => {}
        }
    }
    Some(format!("sysctl \"{name}\" is not in a separate kernel namespace"))
}

/// Whether a namespace is another than the caller's.
fn is_own(spec: &Spec, kind: NamespaceType, file: &str) -> bool {
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.filter(|namespace| namespace.kind == kind).any(|namespace| match &namespace.path {
        None => true,
        Some(path) => {
            let number = |path: &std::path::Path| rustix::fs::stat(path).map(|found| (found.st_dev, found.st_ino)).ok();
            number(path) != number(std::path::Path::new(&format!("/proc/self/ns/{file}")))
        }
    })
}

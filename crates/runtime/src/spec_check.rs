//! What can be refused before anything is made.

use oci::runtime::{NamespaceType, Spec};

/// Returns the first fault of a specification, in words for people.
pub(crate) fn fault(spec: &Spec, has_root_mount: bool) -> Option<String> {
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
    if !seen.contains(&NamespaceType::Mount) && (has_root_mount || !spec.mounts.is_empty()) {
        return Some("linux.namespaces: mounts need a mount namespace".into());
    }
    if spec.hostname.is_some() && !seen.contains(&NamespaceType::Uts) {
        return Some("hostname: needs a uts namespace".into());
    }
    if let Some(name) = spec.mounts.iter().map(|mount| &mount.destination).find(|path| !path.is_absolute()) {
        return Some(format!("mounts: `{}` is not an absolute path", name.display()));
    }
    None
}

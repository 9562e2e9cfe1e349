//! Namespaces: joining, the late ones, names and clocks.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use oci::runtime::{Namespace, NamespaceType, Spec};
use rustix::fs::{Mode, OFlags, open};

use super::{Failure, Outcome, Trying as _};
use crate::sync::End;

/// The kernel's flag of a kind.
pub(crate) fn flag(kind: NamespaceType) -> u64 {
    match kind {
        NamespaceType::Mount => sys::process::NEW_MOUNT,
        NamespaceType::Pid => sys::process::NEW_PID,
        NamespaceType::Network => sys::process::NEW_NETWORK,
        NamespaceType::Ipc => sys::process::NEW_IPC,
        NamespaceType::Uts => sys::process::NEW_UTS,
        NamespaceType::User => sys::process::NEW_USER,
        NamespaceType::Cgroup => sys::process::NEW_CGROUP,
        NamespaceType::Time => sys::process::NEW_TIME,
    }
}

/// Whether the container gets a new namespace of this kind.
pub(crate) fn is_new(spec: &Spec, kind: NamespaceType) -> bool {
    find(spec, kind).is_some_and(|namespace| namespace.path.is_none())
}

/// The namespace of a kind, if the specification names one.
pub(crate) fn find(spec: &Spec, kind: NamespaceType) -> Option<&Namespace> {
    spec.linux.as_ref()?.namespaces.iter().find(|namespace| namespace.kind == kind)
}

/// A namespace given by its path.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) kind: NamespaceType,
    pub(crate) path: PathBuf,
    fd: OwnedFd,
}

impl Joined {
    /// Opens those of a specification with the caller's rights, in the order in which they are entered: the user namespace
    /// first, which grants the right to enter the others it owns. The pid namespace is another matter: it takes children only.
    pub(crate) fn open(spec: &Spec) -> Outcome<Vec<Self>> {
        use NamespaceType::{Cgroup, Ipc, Mount, Network, Time, User, Uts};
        let paths = [User, Ipc, Uts, Network, Cgroup, Time, Mount]
            .into_iter()
            .filter_map(|kind| find(spec, kind).and_then(|namespace| Some((kind, namespace.path.clone()?))));
        paths
            .map(|(kind, path)| {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let fd = open(&path, flags, Mode::empty()).trying(|| format!("opening namespace {}", path.display()))?;
                Ok(Self { kind, path, fd })
            })
            .collect()
    }

    /// Enters it.
    pub(crate) fn enter(&self) -> std::io::Result<()> {
        sys::process::setns(self.fd.as_fd(), flag(self.kind))
    }
}

/// What waits for the parent's word that this process is in its cgroup. The parent makes that while this process sets itself up.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    spec: &'a Spec,
    parent: &'a End,
    given: bool,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(spec: &'a Spec, parent: &'a End) -> Self {
        Self { spec, parent, given: false }
    }

    /// Waits for the word, once, and makes the cgroup namespace: here and not by clone, for its root is the cgroup that this
    /// process is in.
    pub(crate) fn wait(&mut self) -> Outcome<()> {
        if self.given {
            return Ok(());
        }
        self.parent.wait_joined().map_err(Failure)?;
        self.given = true;
        if is_new(self.spec, NamespaceType::Cgroup) {
            sys::process::unshare(flag(NamespaceType::Cgroup)).trying(|| "making a cgroup namespace".into())?;
        }
        Ok(())
    }
}

/// Joins namespaces and makes those that clone cannot, but for that of the cgroups.
pub(crate) fn enter(spec: &Spec, joined: Vec<Joined>) -> Outcome<()> {
    for namespace in joined {
        namespace.enter().trying(|| format!("joining namespace {}", namespace.path.display()))?;
    }
    if is_new(spec, NamespaceType::Time) {
        make_time(spec)?;
    }
    Ok(())
}

/// A time namespace takes only children; a process enters its own by setns. **Source:** time_namespaces(7).
fn make_time(spec: &Spec) -> Outcome<()> {
    sys::process::unshare(flag(NamespaceType::Time)).trying(|| "making a time namespace".into())?;
    let offsets = spec.linux.as_ref().map(|linux| &linux.time_offsets);
    for (clock, offset) in offsets.into_iter().flatten() {
        let line = format!("{clock} {} {}\n", offset.secs, offset.nanosecs);
        std::fs::write("/proc/self/timens_offsets", &line).trying(|| format!("setting the offset of clock {clock}"))?;
    }
    let own = open("/proc/self/ns/time_for_children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .trying(|| "opening the time namespace".into())?;
    sys::process::setns(own.as_fd(), flag(NamespaceType::Time)).trying(|| "entering the time namespace".into())
}

/// Host and domain name.
pub(crate) fn names(spec: &Spec) -> Outcome<()> {
    if let Some(name) = &spec.hostname {
        rustix::system::sethostname(name.as_bytes()).trying(|| format!("setting the host name {name}"))?;
    }
    if let Some(name) = &spec.domainname {
        rustix::system::setdomainname(name.as_bytes()).trying(|| format!("setting the domain name {name}"))?;
    }
    Ok(())
}

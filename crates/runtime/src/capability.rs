//! Capabilities by name.

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Names in the order of their numbers. **Source:** `linux/capability.h`.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The set of some names; names this kernel's list lacks are left out, as the specification asks.
#[must_use]
pub fn set(names: &[String]) -> CapabilitySet {
    names
        .iter()
        .filter_map(|name| NAMES.iter().position(|known| known == name))
        .fold(CapabilitySet::empty(), |set, bit| set | CapabilitySet::from_bits_retain(1 << bit))
}

/// The five sets of a process, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sets {
    bounding: CapabilitySet,
    sets: CapabilitySets,
    ambient: CapabilitySet,
}

impl Sets {
    pub(crate) fn new(names: &oci::runtime::Capabilities) -> Self {
        let sets =
            CapabilitySets { effective: set(&names.effective), permitted: set(&names.permitted), inheritable: set(&names.inheritable) };
        Self { bounding: set(&names.bounding), sets, ambient: set(&names.ambient) }
    }

    /// Shrinks the bounding set; needs CAP_SETPCAP, so it comes before the identity changes.
    pub(crate) fn bound(&self) -> rustix::io::Result<()> {
        for bit in 0..NAMES.len() {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if self.bounding.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // The kernel knows fewer capabilities than this list.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets the other four; comes last, after the identity.
    pub(crate) fn apply(&self) -> rustix::io::Result<()> {
        // What the caller itself lacks cannot be granted: ask for what both have, as runc does.
        let own = rustix::thread::capabilities(None)?;
        let sets = CapabilitySets {
            effective: self.sets.effective & own.permitted,
            permitted: self.sets.permitted & own.permitted,
            inheritable: self.sets.inheritable & (own.permitted | own.inheritable),
        };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::clear_ambient_capability_set()?;
        for bit in 0..NAMES.len() {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if self.ambient.contains(one) && sets.inheritable.contains(one) && sets.permitted.contains(one) {
                rustix::thread::configure_capability_in_ambient_set(one, true)?;
            }
        }
        Ok(())
    }
}

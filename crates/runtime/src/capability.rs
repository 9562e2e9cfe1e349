//! Capabilities by name.

use oci::capability::NAMES;
use rustix::thread::{CapabilitySet, CapabilitySets};

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

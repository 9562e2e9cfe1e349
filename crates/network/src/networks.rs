//! The face of the crate: all networks of one engine.

mod attach;
mod bridge;
mod create;
mod gateway;
mod names;
mod open;
mod parent;
mod paths;
mod policies;
mod ready;
mod rules;
mod state;
mod sweep;

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address::Subnet;
use crate::dns::Names;
use crate::endpoint::{Endpoint, EndpointSpec, Sandbox};
use crate::errors::{AttachError, CloseError, CreateError, DisconnectError, OpenError, PolicyError, RemoveError, ResolveError, SweepError};
use crate::files::{self, DnsOptions, HostsOptions};
use crate::name::{LinkName, NetworkId};
use crate::netlink::Connection;
use crate::network::{Network, NetworkSpec};
use crate::policy::Policy;
pub use paths::{Path, Verdict};
use state::{Record, State};

/// The name of the default network.
const BRIDGE: &str = "bridge";

/// Where an engine keeps its networks and how the default bridge looks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of records that survive a reboot.
    pub data: PathBuf,
    /// Directory of records that end with a reboot.
    pub run: PathBuf,
    /// The default bridge's interface, `teu0` for the usual engine.
    pub bridge: LinkName,
    /// The default bridge's address and subnet (`--bip`); none takes 172.17.0.1/16 or the next free one.
    pub address: Option<Subnet>,
    /// Bytes of the largest packet; none takes that of the default route's interface.
    pub mtu: Option<u32>,
    /// The process that answers containers' questions for names; none leaves them without.
    pub names: Option<Arc<Names>>,
}

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Owners whose endpoints were removed.
    pub holders: Vec<String>,
    /// Links that nobody owned.
    pub links: Vec<String>,
}

/// All networks of one engine; every method may be called from any thread and blocks for milliseconds at most.
///
/// Locks are taken in the order `state`, `route`, `filter`.
#[derive(Debug)]
pub struct Networks {
    options: Options,
    table: String,
    mtu: u32,
    records: store::Table<Record>,
    endpoint_records: store::Table<Endpoint>,
    policy_records: store::Table<Policy>,
    state: Mutex<State>,
    route: Mutex<Connection>,
    filter: Mutex<Connection>,
}

impl Networks {
    /// Brings the networks up in the calling thread's network namespace: bridges, rules, and the ports of endpoints
    /// that are on record.
    ///
    /// # Errors
    /// [`OpenError`] if a record or the kernel refuses.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        open::open(options)
    }

    /// Lists all networks by name.
    #[must_use]
    pub fn list(&self) -> Vec<Network> {
        let state = self.state();
        let mut networks: Vec<Network> = state.networks.iter().map(|member| state.show(member)).collect();
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        networks
    }

    /// Finds a network by name, identity or unique beginning of its identity.
    ///
    /// # Errors
    /// [`ResolveError`] if none or several fit.
    pub fn inspect(&self, reference: &str) -> Result<Network, ResolveError> {
        let state = self.state();
        Ok(state.show(state.resolve(reference)?))
    }

    /// Creates a user-defined network.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create(&self, spec: NetworkSpec) -> Result<NetworkId, CreateError> {
        self.create_network(spec)
    }

    /// Removes a user-defined network without endpoints and returns what it was.
    ///
    /// # Errors
    /// [`RemoveError`] if it is in use, predefined or unknown.
    pub fn remove(&self, reference: &str) -> Result<Network, RemoveError> {
        self.remove_network(reference)
    }

    /// Puts a network namespace into a network and publishes its ports.
    ///
    /// # Errors
    /// [`AttachError`]; nothing is left behind.
    pub fn attach(&self, sandbox: &Sandbox<'_>, spec: &EndpointSpec) -> Result<Endpoint, AttachError> {
        self.attach_endpoint(sandbox, spec)
    }

    /// Makes network namespaces in the default network in advance, as many as should wait. It takes milliseconds, and
    /// is called when nobody waits: after a start.
    ///
    /// # Errors
    /// [`AttachError`]; nothing is left behind.
    pub fn prepare(&self) -> Result<(), AttachError> {
        self.prepare_all()
    }

    /// Takes a network namespace that is in the default network already, if one waits. An `attach` of this owner to
    /// the default network, without an address of its own choice, then has little to do; `detach` takes back what
    /// was not attached.
    #[must_use]
    pub fn take_prepared(&self, holder: &str) -> Option<OwnedFd> {
        self.take_ready(holder)
    }

    /// Forgets all endpoints of an owner whose network namespace ends: ports and addresses are free at once. The
    /// links pass nothing from now on and go with the namespace.
    ///
    /// # Errors
    /// [`SweepError`] if the kernel refused; the addresses and ports are free nevertheless.
    pub fn detach(&self, holder: &str) -> Result<(), SweepError> {
        self.detach_holder(holder)
    }

    /// Takes a running container out of one network, with its interface. If it led out by this network, another one
    /// takes over, with the published ports; `netns` is where its default route is changed.
    ///
    /// # Errors
    /// [`DisconnectError`] if it is not in it or the kernel refuses.
    pub fn disconnect(&self, holder: &str, network: &str, netns: Option<BorrowedFd<'_>>) -> Result<Endpoint, DisconnectError> {
        self.disconnect_endpoint(holder, network, netns)
    }

    /// All policies by name.
    #[must_use]
    pub fn policies(&self) -> Vec<Policy> {
        self.state().compiler.policies().to_vec()
    }

    /// Makes a policy, or replaces the one of its name if it may; in force when it returns, for open connections too.
    /// Returns what of it has no effect now.
    ///
    /// # Errors
    /// [`PolicyError`]; what was in force before still is.
    pub fn put_policy(&self, policy: Policy, replace: bool) -> Result<Vec<String>, PolicyError> {
        self.put_policy_on_record(policy, replace)
    }

    /// Removes a policy and returns what it was.
    ///
    /// # Errors
    /// [`PolicyError`] if there is none of that name or the kernel refuses.
    pub fn remove_policy(&self, name: &str) -> Result<Policy, PolicyError> {
        self.remove_policy_of(name)
    }

    /// Says whether `from` may connect to a port of `to`, and what decides it: once for each pair of containers that
    /// the two mean. Each is a container's name, identity or unique beginning of it, a service, or an address.
    ///
    /// # Errors
    /// [`PolicyError::Unknown`] if one of them means nothing.
    pub fn test(&self, from: &str, to: &str, port: (u8, u16)) -> Result<Vec<Verdict>, PolicyError> {
        paths::test(&self.state(), from, to, port)
    }

    /// What each container may reach of its neighbours in its networks.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        paths::all(&self.state())
    }

    /// The endpoints of an owner, in the order in which they were attached.
    #[must_use]
    pub fn endpoints(&self, holder: &str) -> Vec<Endpoint> {
        self.state().endpoints.get(holder).cloned().unwrap_or_default()
    }

    /// Removes the endpoints of an earlier life whose owners are not `live`, and links on our bridges that nobody owns.
    ///
    /// # Errors
    /// [`SweepError`] with the first refusal; the rest was tried.
    pub fn sweep(&self, live: &BTreeSet<String>) -> Result<Swept, SweepError> {
        self.sweep_leftovers(live)
    }

    /// Calls a container otherwise in all its networks.
    ///
    /// # Errors
    /// [`SweepError`] if a record cannot be written or the resolver has died.
    pub fn rename(&self, holder: &str, name: &str) -> Result<(), SweepError> {
        self.rename_holder(holder, name).map_err(SweepError::from)
    }

    /// Waits until the resolver knows all names.
    ///
    /// # Errors
    /// As [`Names::sync`].
    pub fn sync_names(&self) -> std::io::Result<()> {
        self.options.names.as_ref().map_or(Ok(()), |names| names.sync())
    }

    /// Opens a container's resolver again if that of an earlier engine has died with its sockets.
    ///
    /// # Errors
    /// [`SweepError`] if the kernel refuses.
    pub fn restore_names(&self, sandbox: &Sandbox<'_>) -> Result<(), SweepError> {
        self.reopen_resolver(sandbox).map_err(SweepError::from)
    }

    /// The text of a container's `/etc/resolv.conf`.
    #[must_use]
    pub fn resolv_conf(&self, options: &DnsOptions) -> String {
        files::resolv_conf(options)
    }

    /// The text of a container's `/etc/hosts`; `host-gateway` is the default bridge's address if not given.
    #[must_use]
    pub fn hosts_file(&self, options: &HostsOptions) -> String {
        let mut options = options.clone();
        if options.host_gateway.is_none() {
            let state = self.state();
            let bridge = state.resolve(BRIDGE).ok().and_then(|member| member.record.bridge.as_ref());
            options.host_gateway = bridge.map(|bridge| bridge.gateway.into());
        }
        files::hosts_file(&options)
    }

    /// Removes bridges and rules from the kernel, unless an endpoint still needs them. Records stay, so that the
    /// next start brings them back.
    ///
    /// # Errors
    /// [`CloseError`] if the kernel refused.
    pub fn close(&self) -> Result<(), CloseError> {
        self.close_all()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self) -> MutexGuard<'_, Connection> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn filter(&self) -> MutexGuard<'_, Connection> {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

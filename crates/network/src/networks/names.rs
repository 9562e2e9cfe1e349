//! Names of containers: what the process that answers is told.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use store::Durability;

use super::{BRIDGE, Networks};
use crate::dns::{self, Entry, Place, View};
use crate::endpoint::{Endpoint, Sandbox};
use crate::netlink::Refused;

/// Where the process of one engine waits for that of the next.
const SOCKET: &str = "names";

impl Networks {
    /// Tells all that is on record, then takes over from the process of an earlier engine.
    pub(super) fn begin_names(&self) -> Result<(), Refused> {
        let Some(names) = &self.options.names else {
            return Ok(());
        };
        let holders: BTreeSet<String> = self.state().endpoints.keys().cloned().collect();
        for holder in holders {
            let endpoints = self.endpoints(&holder);
            for endpoint in endpoints.iter().filter(|endpoint| has_names(endpoint)) {
                names.publish(entry(endpoint)).map_err(refused)?;
            }
            if endpoints.iter().any(has_names) {
                names.serve(&holder, view(&endpoints), &[]).map_err(refused)?;
            }
        }
        names.begin(&self.options.run.join(SOCKET)).map_err(refused)
    }

    /// Tells of a new endpoint, and opens the container's resolver if it is the first that has names.
    pub(super) fn announce(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), Refused> {
        let Some(names) = self.options.names.as_ref().filter(|_| has_names(endpoint)) else {
            return Ok(());
        };
        names.publish(entry(endpoint)).map_err(refused)?;
        let endpoints = self.endpoints(&endpoint.holder);
        if endpoints.iter().filter(|other| has_names(other)).count() > 1 {
            return names.serve(&endpoint.holder, view(&endpoints), &[]).map_err(refused);
        }
        self.open_resolver(netns, &endpoint.holder, &endpoints)
    }

    fn open_resolver(&self, netns: BorrowedFd<'_>, holder: &str, endpoints: &[Endpoint]) -> Result<(), Refused> {
        let Some(names) = &self.options.names else {
            return Ok(());
        };
        match dns::open_sandbox(netns) {
            Ok([datagrams, streams]) => {
                let sockets = [datagrams.as_fd(), streams.as_fd(), netns];
                names.serve(holder, view(endpoints), &sockets).map_err(refused)
            }
            // They are open and served already: the container was in such a network before.
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => names.serve(holder, view(endpoints), &[]).map_err(refused),
            Err(error) => Err(error),
        }
    }

    pub(super) fn reopen_resolver(&self, sandbox: &Sandbox<'_>) -> Result<(), Refused> {
        let endpoints = self.endpoints(sandbox.holder);
        if endpoints.iter().any(has_names) { self.open_resolver(sandbox.netns, sandbox.holder, &endpoints) } else { Ok(()) }
    }

    /// Tells of an endpoint's end, before its address can be another's.
    pub(super) fn unannounce(&self, endpoint: &Endpoint) {
        let Some(names) = self.options.names.as_ref().filter(|_| has_names(endpoint)) else {
            return;
        };
        // The process may have died; an engine that starts again brings another.
        drop(names.withdraw(&endpoint.id.to_string()));
        let mut left = self.endpoints(&endpoint.holder);
        left.retain(|other| other.id != endpoint.id);
        drop(names.serve(&endpoint.holder, view(&left), &[]));
    }

    /// Tells that a container's namespace ends.
    pub(super) fn close_resolver(&self, holder: &str, endpoints: &[Endpoint]) {
        if let Some(names) = self.options.names.as_ref().filter(|_| endpoints.iter().any(has_names)) {
            // As above.
            drop(names.forget(holder));
        }
    }

    pub(super) fn rename_holder(&self, holder: &str, name: &str) -> Result<(), Refused> {
        let mut changed = Vec::new();
        if let Some(endpoints) = self.state().endpoints.get_mut(holder) {
            for endpoint in endpoints {
                let old = std::mem::replace(&mut endpoint.container_name, name.to_owned());
                endpoint.names.retain(|own| *own != old && own != name);
                endpoint.names.insert(0, name.to_owned());
                changed.push(endpoint.clone());
            }
        }
        self.enforce(&mut self.state())?;
        for endpoint in changed {
            let put = self.endpoint_records.put(&endpoint.id.to_string(), &endpoint, Durability::Volatile);
            put.map_err(|error| refused(io::Error::other(error)))?;
            if let Some(names) = self.options.names.as_ref().filter(|_| has_names(&endpoint)) {
                names.publish(entry(&endpoint)).map_err(refused)?;
            }
        }
        Ok(())
    }
}

/// The default network has no names. Source: Docker's documentation, "default bridge".
fn has_names(endpoint: &Endpoint) -> bool {
    endpoint.network_name != BRIDGE
}

fn refused(source: io::Error) -> Refused {
    Refused { what: "tell the resolver of a name", source }
}

fn entry(endpoint: &Endpoint) -> Entry {
    Entry {
        endpoint: endpoint.id.to_string(),
        network: endpoint.network.to_string(),
        container: endpoint.container_name.clone(),
        names: endpoint.names.clone(),
        addresses: endpoint.addresses(),
    }
}

/// What the owner of these endpoints sees: the networks in the order in which they would lead out.
fn view(endpoints: &[Endpoint]) -> View {
    let mut named: Vec<&Endpoint> = endpoints.iter().filter(|endpoint| has_names(endpoint)).collect();
    named.sort_by(|one, other| one.order(other));
    let mut servers = named.first().map(|first| first.resolver.servers.clone()).unwrap_or_default();
    if endpoints.iter().all(|endpoint| endpoint.gateway.is_none()) {
        // Who has no way out must not ask by way of the host either.
        servers.retain(|server| !server.from_host);
    }
    View {
        servers,
        ndots: named.iter().any(|endpoint| endpoint.resolver.ndots),
        networks: named
            .into_iter()
            .map(|endpoint| Place { id: endpoint.network.to_string(), name: endpoint.network_name.clone(), links: endpoint.links.clone() })
            .collect(),
    }
}

//! Network namespaces made in advance: what takes a millisecond is done before a container asks for it.

use std::os::fd::{AsFd, OwnedFd};

use super::attach::plan;
use super::state::Ready;
use super::{BRIDGE, Networks};
use crate::endpoint::{Endpoint, EndpointSpec, Limits};
use crate::errors::AttachError;
use crate::link::{self, BridgePort};
use crate::netlink::Refused;
use crate::wire::Batch;

/// How many namespaces wait: enough for containers that start one after the other.
const READY_MAX: usize = 2;

/// Whether an endpoint is asked for as it comes.
fn is_plain(spec: &EndpointSpec) -> bool {
    spec.ip.is_none()
        && spec.ip6.is_none()
        && spec.mac.is_none()
        && spec.interface.is_none()
        && spec.link_local.is_empty()
        && spec.limits == Limits::default()
}

impl Networks {
    pub(super) fn prepare_all(&self) -> Result<(), AttachError> {
        while self.prepare_one()? {}
        Ok(())
    }

    /// Makes one more, unless there are enough.
    fn prepare_one(&self) -> Result<bool, AttachError> {
        let spec = EndpointSpec { network: BRIDGE.to_owned(), ..EndpointSpec::default() };
        let (endpoint, place) = {
            let mut state = self.state();
            if state.ready.len() + state.preparing.len() >= READY_MAX {
                return Ok(false);
            }
            let planned = plan(&mut state, "", &spec)?;
            state.preparing.insert(planned.0.link.clone());
            planned
        };
        let made = sys::netlink::create_namespace()
            .map_err(|source| Refused { what: "make a network namespace", source }.into())
            .and_then(|netns| self.link_up(netns.as_fd(), &endpoint, &place).map(|()| netns));
        self.state().preparing.remove(&endpoint.link);
        match made {
            Ok(netns) => {
                self.state().ready.push(Ready { netns, endpoint });
                Ok(true)
            }
            Err(error) => {
                self.undo(&endpoint);
                Err(error)
            }
        }
    }

    pub(super) fn take_ready(&self, holder: &str) -> Option<OwnedFd> {
        loop {
            let mut state = self.state();
            if state.taken.contains_key(holder) || state.endpoints.contains_key(holder) {
                return None;
            }
            if state.ready.is_empty() {
                return None;
            }
            let Ready { netns, endpoint } = state.ready.remove(0);
            let index = state.by_id(endpoint.network).map(|member| member.index);
            let found = link::get(&mut self.route(), &endpoint.link).ok().flatten();
            // Somebody may have taken the bridge away.
            if found.is_some_and(|link| link.master == index) {
                state.taken.insert(holder.to_owned(), endpoint);
                return Some(netns);
            }
            drop(state);
            self.undo(&endpoint);
        }
    }

    /// Gives an owner the endpoint that it has taken, if that is what it asks for.
    pub(super) fn adopt(&self, holder: &str, spec: &EndpointSpec) -> Result<Option<Endpoint>, AttachError> {
        let Some(endpoint) = self.adopt_in_memory(holder, spec)? else {
            return Ok(None);
        };
        let adopted = self.record_endpoint(&endpoint).and_then(|()| {
            self.enforce(&mut self.state())?;
            if !endpoint.ports.is_empty() && self.calls_rules(endpoint.network) {
                let mut batch = Batch::new();
                link::set_port(&mut batch, &endpoint.link, BridgePort::Hairpin);
                self.route().run(&batch)?;
            }
            self.publish(&endpoint)
        });
        if let Err(error) = adopted {
            self.undo(&endpoint);
            return Err(error);
        }
        Ok(Some(endpoint))
    }

    fn adopt_in_memory(&self, holder: &str, spec: &EndpointSpec) -> Result<Option<Endpoint>, AttachError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let member = state.resolve(&spec.network)?;
        let bridge = member.record.bridge.clone();
        let fits = |taken: &&Endpoint| taken.network == member.record.id && is_plain(spec);
        let (Some(taken), Some(bridge)) = (state.taken.get(holder).filter(fits), bridge) else {
            return Ok(None);
        };
        let id = taken.id;
        let wanted = super::attach::wanted(&spec.ports, &bridge, taken);
        let ports = wanted.and_then(|wanted| state.bindings.bind(&wanted)).map_err(|source| AttachError::Bind {
            container_name: spec.container_name.clone(),
            endpoint: id,
            source,
        })?;
        let endpoint = state.taken.remove(holder).map(|taken| Endpoint {
            holder: holder.to_owned(),
            container_name: spec.container_name.clone(),
            aliases: spec.aliases.clone(),
            names: spec.names.clone(),
            labels: spec.labels.clone(),
            gateway_priority: spec.gateway_priority,
            ports,
            ..taken
        });
        if let Some(endpoint) = &endpoint {
            state.endpoints.entry(holder.to_owned()).or_default().insert(0, endpoint.clone());
        }
        Ok(endpoint)
    }
}

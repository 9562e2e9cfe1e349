//! Leftovers: what an engine that died has left in the kernel, and what the last one takes along.

use std::collections::BTreeSet;

use super::attach::Ending;
use super::state::Ready;
use super::{Networks, Swept, rules};
use crate::endpoint::Endpoint;
use crate::errors::{CloseError, SweepError};
use crate::link;
use crate::netlink::{Refused, transaction};
use crate::wire::Batch;

impl Networks {
    pub(super) fn sweep_leftovers(&self, live: &BTreeSet<String>) -> Result<Swept, SweepError> {
        let dead: Vec<Endpoint> = {
            let state = self.state();
            // What this life attached has an owner, also if the caller's list is older than it.
            let is_dead = |endpoint: &&Endpoint| state.restored.contains(&endpoint.id) && !live.contains(&endpoint.holder);
            state.endpoints.values().flatten().filter(is_dead).cloned().collect()
        };
        let mut swept = Swept::default();
        let mut first = Ok(());
        for endpoint in dead {
            first = first.and(self.release(&endpoint, Ending::Now));
            self.close_resolver(&endpoint.holder, std::slice::from_ref(&endpoint));
            if swept.holders.last() != Some(&endpoint.holder) {
                swept.holders.push(endpoint.holder);
            }
        }
        match self.sweep_links() {
            Ok(links) => swept.links = links,
            Err(refused) => first = first.and(Err(refused)),
        }
        first.map(|()| swept).map_err(SweepError::from)
    }

    /// Deletes the veth links on our bridges that no endpoint owns.
    fn sweep_links(&self) -> Result<Vec<String>, Refused> {
        let state = self.state(); // held, so that no link of a new endpoint is seen before its owner
        let mut route = self.route();
        let links = link::list(&mut route)?;
        let names: Vec<&str> = state.members().iter().map(|member| member.bridge.link.as_str()).collect();
        let bridges: BTreeSet<u32> = links.iter().filter(|link| names.contains(&link.name.as_str())).map(|link| link.index).collect();
        let waiting = state.ready.iter().map(|ready| &ready.endpoint);
        let endpoints = state.endpoints.values().flatten().chain(state.taken.values()).chain(waiting);
        let mut owned: BTreeSet<&str> = endpoints.map(|endpoint| endpoint.link.as_str()).collect();
        owned.extend(state.preparing.iter().map(String::as_str));
        let stray = links.iter().filter(|link| {
            let ours = link.master.is_some_and(|master| bridges.contains(&master));
            ours && link.kind == "veth" && is_ours(&link.name) && !owned.contains(link.name.as_str())
        });
        let stray: Vec<String> = stray.map(|link| link.name.clone()).collect();
        let mut batch = Batch::new();
        for name in &stray {
            link::delete(&mut batch, name);
            batch.optional(); // It may end with its namespace at this moment.
        }
        route.run(&batch)?;
        Ok(stray)
    }

    pub(super) fn close_all(&self) -> Result<(), CloseError> {
        let mut state = self.state();
        if !state.endpoints.is_empty() || !state.taken.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for Ready { endpoint, .. } in std::mem::take(&mut state.ready) {
            link::delete(&mut batch, &endpoint.link);
            batch.optional();
            state.forget(&endpoint);
        }
        let bridges: Vec<&str> = state.members().iter().map(|member| member.bridge.link.as_str()).collect();
        for bridge in &bridges {
            link::delete(&mut batch, bridge);
            batch.optional();
        }
        let mut first = self.route().run(&batch);
        let mut filter = self.filter();
        for bridge in &bridges {
            first = first.and(rules::unpass_foreign(&mut filter, bridge));
        }
        first = first.and(self.remove_admin(&mut filter));
        // Created first, so that the deletion succeeds in any case.
        let table = self.table();
        first = first.and(filter.commit(&transaction(|batch| {
            table.create(batch);
            table.delete(batch);
        })));
        first.map_err(CloseError::from)
    }
}

/// Whether a name looks like one that `attach` gives: `veth` and seven hex digits.
fn is_ours(name: &str) -> bool {
    let digits = name.strip_prefix("veth").unwrap_or_default();
    digits.len() == 7 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

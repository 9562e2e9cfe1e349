//! The engine's table in the kernel, and its place beside the tables of others.

use rustix::io::Errno;

use super::Networks;
use super::state::State;
use crate::conntrack;
use crate::endpoint::Endpoint;
use crate::netlink::{Connection, Refused, transaction};
use crate::nft::{Table, TableFamily};
use crate::ruleset;
use crate::wire::{self, Batch};

/// The chain in which iptables, Docker and ufw drop what they do not know.
const FOREIGN: Table<'static> = Table { family: TableFamily::Ip, name: "filter" };
const FOREIGN_CHAIN: &str = "FORWARD";
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_USERDATA: u16 = 7;

impl Networks {
    /// The engine's table.
    pub(super) fn table(&self) -> Table<'_> {
        Table { family: TableFamily::Inet, name: &self.table }
    }

    /// The name of the administrator's table.
    fn admin_name(&self) -> String {
        format!("{}-admin", self.table)
    }

    /// Writes the whole table from what is known, and the administrator's where it is missing.
    pub(super) fn rebuild(&self, state: &State, filter: &mut Connection) -> Result<(), Refused> {
        let name = self.admin_name();
        let admin = Table { family: TableFamily::Inet, name: &name };
        let batch = transaction(|batch| {
            ruleset::write_admin(batch, admin);
            ruleset::write(batch, self.table(), &state.members(), &state.ports(), &state.enforced);
        });
        filter.commit(&batch)
    }

    /// Deletes the administrator's table, unless it has rules.
    pub(super) fn remove_admin(&self, filter: &mut Connection) -> Result<(), Refused> {
        let name = self.admin_name();
        let admin = Table { family: TableFamily::Inet, name: &name };
        let mut batch = Batch::new();
        admin.get_rules(&mut batch, ruleset::ADMIN_CHAIN);
        match filter.query(&batch) {
            Ok(found) if found.is_empty() => filter.commit(&transaction(|batch| {
                admin.create(batch);
                admin.delete(batch);
            })),
            Err(refused) if !refused.is(Errno::NOENT) => Err(refused),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes the table again if somebody has flushed it, and makes way in foreign chains that drop by policy.
    pub(super) fn ensure_rules(&self, state: &State, filter: &mut Connection) -> Result<(), Refused> {
        let mut batch = Batch::new();
        self.table().get(&mut batch);
        match filter.query(&batch) {
            Ok(_) => {}
            Err(refused) if refused.is(Errno::NOENT) => self.rebuild(state, filter)?,
            Err(refused) => return Err(refused),
        }
        let bridges: Vec<&str> = state.members().iter().map(|member| member.bridge.link.as_str()).collect();
        pass_foreign(filter, &bridges)
    }

    /// Withdraws an endpoint's ports, and forgets their UDP flows.
    pub(super) fn withdraw(&self, filter: &mut Connection, endpoint: &Endpoint) -> Result<(), Refused> {
        if endpoint.ports.is_empty() {
            return Ok(());
        }
        let ports = super::state::ports_of(endpoint);
        let result = filter.commit(&transaction(|batch| ruleset::delete_ports(batch, self.table(), &ports)));
        conntrack::flush(filter, &endpoint.ports)?;
        result
    }
}

/// Inserts rules that let the bridges' packets pass a foreign chain whose policy is to drop.
fn pass_foreign(filter: &mut Connection, bridges: &[&str]) -> Result<(), Refused> {
    if !foreign_drops(filter)? {
        return Ok(());
    }
    let present = foreign_rules(filter)?;
    let missing = |bridge: &&&str| !present.iter().any(|rule| rule.comment == comment(bridge));
    let missing: Vec<&str> = bridges.iter().filter(missing).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    filter.commit(&transaction(|batch| {
        for bridge in missing {
            for steps in ruleset::pass_rules(bridge) {
                FOREIGN.insert_rule(batch, FOREIGN_CHAIN, &steps, &comment(bridge));
            }
        }
    }))
}

/// Deletes the rules that `pass_foreign` inserted for a bridge.
pub(super) fn unpass_foreign(filter: &mut Connection, bridge: &str) -> Result<(), Refused> {
    let present = foreign_rules(filter)?;
    let ours: Vec<_> = present.into_iter().filter(|rule| rule.comment == comment(bridge)).collect();
    if ours.is_empty() {
        return Ok(());
    }
    filter.commit(&transaction(|batch| {
        for rule in &ours {
            FOREIGN.delete_rule(batch, FOREIGN_CHAIN, &rule.handle);
        }
    }))
}

fn foreign_drops(filter: &mut Connection) -> Result<bool, Refused> {
    let mut batch = Batch::new();
    FOREIGN.get_chain(&mut batch, FOREIGN_CHAIN);
    match filter.query(&batch) {
        Ok(found) => Ok(found.iter().any(|body| {
            let policy = body.get(4..).and_then(|attributes| wire::find(attributes, NFTA_CHAIN_POLICY));
            policy == Some(&[0; 4]) // NF_DROP
        })),
        Err(refused) if refused.is(Errno::NOENT) => Ok(false),
        Err(refused) => Err(refused),
    }
}

/// A rule of the foreign chain.
struct ForeignRule {
    handle: Vec<u8>,
    comment: Vec<u8>,
}

/// The foreign chain's rules that have a comment.
fn foreign_rules(filter: &mut Connection) -> Result<Vec<ForeignRule>, Refused> {
    let mut batch = Batch::new();
    FOREIGN.get_rules(&mut batch, FOREIGN_CHAIN);
    let found = match filter.query(&batch) {
        Ok(found) => found,
        Err(refused) if refused.is(Errno::NOENT) => Vec::new(),
        Err(refused) => return Err(refused),
    };
    let parse = |body: &Vec<u8>| {
        let attributes = body.get(4..)?;
        let handle = wire::find(attributes, NFTA_RULE_HANDLE)?.to_vec();
        Some(ForeignRule { handle, comment: wire::find(attributes, NFTA_RULE_USERDATA)?.to_vec() })
    };
    Ok(found.iter().filter_map(parse).collect())
}

/// The comment of our rules in foreign chains, as nft writes it: type 0, length, text, NUL.
fn comment(bridge: &str) -> Vec<u8> {
    let text = format!("teu {bridge}\0");
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes()].concat()
}

//! The steps of rules, each an expression of nf_tables.

use std::borrow::Cow;

use super::{Verdict, write_verdict};
use crate::wire::Batch;

/// A register that holds four bytes, `NFT_REG32_00` and following. Source: linux/netfilter/nf_tables.h.
pub(crate) const REGISTER: u32 = 8;

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Loads a fact about the packet into a register.
    Meta(Meta, u32),
    /// Loads bytes of a header into a register.
    Payload { transport: bool, offset: u32, length: u32, register: u32 },
    /// Loads a fact about the connection into the first register.
    Ct(Ct),
    /// Loads the type of the destination address into the first register.
    FibDestinationType,
    /// Masks the first register.
    Mask(Vec<u8>),
    /// Goes on if the first register equals (or differs from) these bytes.
    Compare { equal: bool, bytes: Vec<u8> },
    /// Goes on if the first register is in the set (or is not).
    Lookup { set: Cow<'static, str>, inverted: bool },
    /// Goes on if the first register is one of the bytes from `first` to `last`.
    Between { first: u8, last: u8 },
    /// Takes the value for the first register from a map into the first register.
    Map { set: &'static str },
    /// Goes on if the packet is above the limit that the map has for the first register.
    AboveLimit { set: &'static str },
    /// Takes the verdict for the first register from a map.
    VerdictMap { set: &'static str },
    /// Sends the packet to the IPv4 address in the first and the port in the second register.
    DestinationNat,
    /// Sends the packet to the IPv6 address in the first four registers and the port in the fifth.
    DestinationNat6,
    /// Gives the packet the address of the interface by which it leaves.
    Masquerade,
    /// Leaves the packet's connection untracked.
    NoTrack,
    /// Loads these bytes into the first register.
    Load(Vec<u8>),
    /// Writes the first register to a port of the transport header, whose checksum lies at `checksum`.
    WritePort { offset: u32, checksum: u32 },
    /// Ends the rule.
    Verdict(Verdict),
}

/// A fact about a packet. Source: `enum nft_meta_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    /// The interface by which it came.
    InputName,
    /// The interface by which it goes.
    OutputName,
    /// IPv4 or IPv6.
    Family,
    /// TCP, UDP, ….
    Protocol,
}

/// A fact about a connection. Source: `enum nft_ct_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ct {
    /// New, established, related: bits.
    State,
    /// What was done to it: bits.
    Status,
    /// Whether the packet goes its way, 0, or back, 1.
    Direction,
}

/// Writes one expression: its name and its own attributes.
pub(super) fn write_step(batch: &mut Batch, step: &Step) {
    let expression = |batch: &mut Batch, name: &str, fields: &[(u16, u32)]| {
        batch.text(1, name);
        batch.nest(2, |batch| fields.iter().for_each(|(kind, value)| batch.net32(*kind, *value)));
    };
    match step {
        Step::Meta(key, register) => {
            let key = match key {
                Meta::InputName => 6,
                Meta::OutputName => 7,
                Meta::Family => 15,
                Meta::Protocol => 16,
            };
            expression(batch, "meta", &[(2, key), (1, *register)]);
        }
        Step::Payload { transport, offset, length, register } => {
            let base = if *transport { 2 } else { 1 };
            expression(batch, "payload", &[(1, *register), (2, base), (3, *offset), (4, *length)]);
        }
        Step::Ct(key) => {
            let key = match key {
                Ct::State => 0,
                Ct::Direction => 1,
                Ct::Status => 2,
            };
            expression(batch, "ct", &[(2, key), (1, REGISTER)]);
        }
        Step::FibDestinationType => expression(batch, "fib", &[(3, 2), (2, 3), (1, REGISTER)]),
        Step::DestinationNat => expression(batch, "nat", &[(1, 1), (2, 2), (3, REGISTER), (5, REGISTER + 1)]),
        Step::DestinationNat6 => expression(batch, "nat", &[(1, 1), (2, 10), (3, REGISTER), (5, REGISTER + 4)]),
        Step::Masquerade => expression(batch, "masq", &[]),
        Step::Mask(mask) => write_mask(batch, mask),
        Step::Compare { equal, bytes } => write_compare(batch, *equal, bytes),
        Step::NoTrack => batch.text(1, "notrack"),
        Step::Load(bytes) => {
            batch.text(1, "immediate");
            batch.nest(2, |batch| {
                batch.net32(1, REGISTER);
                batch.nest(2, |batch| batch.attribute(1, bytes));
            });
        }
        // Base 2 is the transport header, checksum type 1 the Internet's.
        Step::WritePort { offset, checksum } => {
            expression(batch, "payload", &[(5, REGISTER), (2, 2), (3, *offset), (4, 2), (6, 1), (7, *checksum)]);
        }
        Step::Between { first, last } => write_range(batch, *first, *last),
        Step::AboveLimit { set } => {
            batch.text(1, "objref");
            batch.nest(2, |batch| {
                batch.net32(3, REGISTER);
                batch.text(4, set);
            });
        }
        Step::Lookup { set, inverted } => write_lookup(batch, set, None, *inverted),
        Step::Map { set } => write_lookup(batch, set, Some(REGISTER), false),
        Step::VerdictMap { set } => write_lookup(batch, set, Some(0), false),
        Step::Verdict(verdict) => {
            batch.text(1, "immediate");
            batch.nest(2, |batch| {
                batch.net32(1, 0); // NFT_REG_VERDICT
                batch.nest(2, |batch| write_verdict(batch, *verdict));
            });
        }
    }
}

fn write_compare(batch: &mut Batch, equal: bool, bytes: &[u8]) {
    batch.text(1, "cmp");
    batch.nest(2, |batch| {
        batch.net32(1, REGISTER);
        batch.net32(2, u32::from(!equal));
        batch.nest(3, |batch| batch.attribute(1, bytes));
    });
}

fn write_range(batch: &mut Batch, first: u8, last: u8) {
    batch.text(1, "range");
    batch.nest(2, |batch| {
        batch.net32(1, REGISTER);
        batch.net32(2, 0);
        batch.nest(3, |batch| batch.attribute(1, &[first]));
        batch.nest(4, |batch| batch.attribute(1, &[last]));
    });
}

fn write_mask(batch: &mut Batch, mask: &[u8]) {
    batch.text(1, "bitwise");
    batch.nest(2, |batch| {
        batch.net32(1, REGISTER);
        batch.net32(2, REGISTER);
        batch.net32(3, u32::try_from(mask.len()).unwrap_or(0));
        batch.nest(4, |batch| batch.attribute(1, mask));
        batch.nest(5, |batch| batch.attribute(1, &vec![0; mask.len()]));
    });
}

fn write_lookup(batch: &mut Batch, set: &str, register: Option<u32>, inverted: bool) {
    batch.text(1, "lookup");
    batch.nest(2, |batch| {
        batch.text(1, set);
        batch.net32(2, REGISTER);
        if let Some(register) = register {
            batch.net32(3, register);
        }
        if inverted {
            batch.net32(5, 1);
        }
    });
}

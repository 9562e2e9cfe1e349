//! Messages of nf_tables. Source: linux/netfilter/nf_tables.h; layouts compared with `nft --debug=netlink`.

mod step;

pub(crate) use step::{Ct, Meta, REGISTER, Step};

use std::borrow::Cow;

use crate::netlink::{NFNL_SUBSYS_NFTABLES, nfgenmsg};
use crate::wire::{ACK, APPEND, Batch, CREATE, DUMP};

const NEWTABLE: u8 = 0;
const GETTABLE: u8 = 1;
const DELTABLE: u8 = 2;
const NEWCHAIN: u8 = 3;
const GETCHAIN: u8 = 4;
const NEWRULE: u8 = 6;
const GETRULE: u8 = 7;
const DELCHAIN: u8 = 5;
const DELRULE: u8 = 8;
const NEWSET: u8 = 9;
const DELSET: u8 = 11;
const NEWSETELEM: u8 = 12;
const DELSETELEM: u8 = 14;
const NEWOBJ: u8 = 18;
const DELOBJ: u8 = 20;

/// The attribute of a list's members.
const LIST_ELEM: u16 = 1;
/// Elements of one message, whose list must fit in 64 KiB.
const ELEMENTS_MAX: usize = 400;
/// `NFT_OBJECT_LIMIT`.
const OBJECT_LIMIT: u32 = 4;
/// The type of a map's verdicts.
const DATA_VERDICT: u32 = 0xffff_ff00;

/// A set's note for `nft list`: its keys are in the host's byte order, as interfaces' names are.
/// Source: libnftnl, `NFTNL_UDATA_SET_KEYBYTEORDER` (type 0, four bytes, 1 for the host's order).
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// A family of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
}

impl TableFamily {
    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It goes on to the next hook.
    Accept,
    /// It ends.
    Drop,
    /// It goes through another chain first.
    Jump(&'static str),
    /// It goes on where it was sent here from.
    Return,
    /// It goes on in another chain, of a kind and with a number, and does not come back here.
    Goto(&'static str, u16),
}

/// A type of a set's keys or a map's values. The numbers are those of nft's `datatype.h`, for `nft list` to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// An IPv4 address.
    Address,
    /// An IPv6 address.
    Address6,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// The name of an interface.
    Interface,
}

impl Field {
    fn number(self) -> u32 {
        match self {
            Self::Address => 7,
            Self::Address6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Interface => 41,
        }
    }

    /// Bytes without padding.
    fn length(self) -> u32 {
        match self {
            Self::Address => 4,
            Self::Address6 => 16,
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Interface => 16,
        }
    }
}

/// What a map gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Nothing: it is a set.
    None,
    /// A verdict.
    Verdicts,
    /// Fields.
    Fields(&'static [Field]),
    /// Names of limits.
    Limits,
}

/// A set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    /// Its name.
    pub(crate) name: Cow<'static, str>,
    /// The fields of its keys.
    pub(crate) key: &'static [Field],
    /// What it gives.
    pub(crate) values: Values,
    /// Whether keys are ranges.
    pub(crate) interval: bool,
}

/// One element; fields are padded to four bytes as in registers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The end of the key's range, included.
    pub(crate) key_end: Option<Vec<u8>>,
    /// The value.
    pub(crate) value: Option<Value>,
}

/// A map's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    /// Fields, padded.
    Fields(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
    /// The name of a limit.
    Limit(String),
}

/// A hook of netfilter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// The hook. Source: linux/netfilter.h, `enum nf_inet_hooks`.
    pub(crate) number: u32,
    /// The order among the chains of the hook.
    pub(crate) priority: i32,
}

/// A message's type and flags, and what completes "cannot …".
type Act = (u8, u16, &'static str);

/// Writes nf_tables messages for one table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    /// The family.
    pub(crate) family: TableFamily,
    /// The name.
    pub(crate) name: &'a str,
}

impl Table<'_> {
    fn message(self, batch: &mut Batch, (kind, flags, what): Act, fill: impl FnOnce(&mut Batch)) {
        let kind = u16::from_be_bytes([NFNL_SUBSYS_NFTABLES, kind]);
        batch.message(kind, flags, what, |batch| {
            batch.raw(&nfgenmsg(self.family.number(), 0, 0));
            batch.text(1, self.name); // all of NFTA_*_TABLE and NFTA_TABLE_NAME are 1
            fill(batch);
        });
    }

    /// Creates the table where it is missing.
    pub(crate) fn create(self, batch: &mut Batch) {
        self.message(batch, (NEWTABLE, CREATE, "create table"), |_| {});
    }

    /// Deletes the table with all that is in it.
    pub(crate) fn delete(self, batch: &mut Batch) {
        self.message(batch, (DELTABLE, 0, "delete table"), |_| {});
    }

    /// Asks for the table.
    pub(crate) fn get(self, batch: &mut Batch) {
        self.message(batch, (GETTABLE, ACK, "look at table"), |_| {});
    }

    /// Asks for a chain.
    pub(crate) fn get_chain(self, batch: &mut Batch, chain: &str) {
        self.message(batch, (GETCHAIN, ACK, "look at chain"), |batch| batch.text(3, chain));
    }

    /// Asks for the rules of a chain.
    pub(crate) fn get_rules(self, batch: &mut Batch, chain: &str) {
        self.message(batch, (GETRULE, DUMP, "list rules"), |batch| batch.text(2, chain));
    }

    /// Creates a chain, at a hook or for jumps.
    pub(crate) fn create_chain(self, batch: &mut Batch, name: &str, hook: Option<Hook>) {
        self.message(batch, (NEWCHAIN, CREATE, "create chain"), |batch| {
            batch.text(3, name);
            if let Some(hook) = hook {
                batch.nest(4, |batch| {
                    batch.net32(1, hook.number);
                    batch.attribute(2, &hook.priority.to_be_bytes());
                });
                batch.text(7, hook.kind);
            }
        });
    }

    /// Deletes all rules of a chain.
    pub(crate) fn delete_rules(self, batch: &mut Batch, chain: &str) {
        self.message(batch, (DELRULE, 0, "delete rules"), |batch| batch.text(2, chain));
    }

    /// Deletes a set that no rule names any more.
    pub(crate) fn delete_set(self, batch: &mut Batch, name: &str) {
        self.message(batch, (DELSET, 0, "delete set"), |batch| batch.text(2, name));
    }

    /// Deletes a chain without rules to which nothing leads any more.
    pub(crate) fn delete_chain(self, batch: &mut Batch, name: &str) {
        self.message(batch, (DELCHAIN, 0, "delete chain"), |batch| batch.text(3, name));
    }

    /// Creates a limit that fits packets above so many bytes a second; what a second lets through may come at once.
    pub(crate) fn create_limit(self, batch: &mut Batch, name: &str, rate: u64) {
        self.message(batch, (NEWOBJ, CREATE, "create limit"), |batch| {
            batch.text(2, name);
            batch.net32(3, OBJECT_LIMIT);
            batch.nest(4, |batch| {
                batch.attribute(1, &rate.to_be_bytes());
                batch.attribute(2, &1_u64.to_be_bytes()); // a second
                batch.net32(3, 0); // the kernel adds what a second lets through
                batch.net32(4, 1); // NFT_LIMIT_PKT_BYTES
                batch.net32(5, 1); // NFT_LIMIT_F_INV
            });
        });
    }

    /// Deletes a limit that no element names any more.
    pub(crate) fn delete_limit(self, batch: &mut Batch, name: &str) {
        self.message(batch, (DELOBJ, 0, "delete limit"), |batch| {
            batch.text(2, name);
            batch.net32(3, OBJECT_LIMIT);
        });
    }

    /// Creates a set or a map; `id` names it within the transaction.
    pub(crate) fn create_set(self, batch: &mut Batch, set: &Set, id: u32) {
        let padded = |fields: &[Field]| fields.iter().map(|field| field.length().next_multiple_of(4)).sum();
        let length: fn(&[Field], u32) -> u32 = |fields, sum| match fields {
            [one] => one.length(),
            _ => sum,
        };
        let kind = |fields: &[Field]| fields.iter().fold(0, |kind, field| (kind << 6) | field.number());
        let concatenated = set.interval && set.key.len() > 1;
        let mut flags = 0;
        if set.interval {
            flags |= 0x4;
        }
        match set.values {
            Values::None => {}
            Values::Verdicts | Values::Fields(_) => flags |= 0x8,
            Values::Limits => flags |= 0x40,
        }
        if concatenated {
            flags |= 0x80;
        }
        self.message(batch, (NEWSET, CREATE, "create set"), |batch| {
            batch.text(2, &set.name);
            batch.net32(3, flags);
            batch.net32(4, kind(set.key));
            batch.net32(5, length(set.key, padded(set.key)));
            match set.values {
                Values::None => {}
                Values::Verdicts => {
                    batch.net32(6, DATA_VERDICT);
                    batch.net32(7, 0);
                }
                Values::Fields(fields) => {
                    batch.net32(6, kind(fields));
                    batch.net32(7, length(fields, padded(fields)));
                }
                Values::Limits => batch.net32(15, OBJECT_LIMIT),
            }
            if concatenated {
                batch.nest(9, |batch| {
                    batch.nest(2, |batch| {
                        for field in set.key {
                            batch.nest(LIST_ELEM, |batch| batch.net32(1, field.length().next_multiple_of(4)));
                        }
                    });
                });
            }
            batch.net32(10, id);
            if let [Field::Interface] = set.key {
                batch.attribute(13, &HOST_ORDER);
            }
        });
    }

    /// Adds elements to a set.
    pub(crate) fn add_elements(self, batch: &mut Batch, set: &str, elements: &[Element]) {
        self.elements(batch, (NEWSETELEM, CREATE, "add element"), set, elements);
    }

    /// Deletes elements from a set.
    pub(crate) fn delete_elements(self, batch: &mut Batch, set: &str, elements: &[Element]) {
        self.elements(batch, (DELSETELEM, 0, "delete element"), set, elements);
    }

    fn elements(self, batch: &mut Batch, act: Act, set: &str, elements: &[Element]) {
        for elements in elements.chunks(ELEMENTS_MAX) {
            self.message(batch, act, |batch| {
                batch.text(2, set);
                batch.nest(3, |batch| {
                    for element in elements {
                        write_element(batch, element, act.0 == NEWSETELEM);
                    }
                });
            });
        }
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn append_rule(self, batch: &mut Batch, chain: &str, steps: &[Step]) {
        self.message(batch, (NEWRULE, CREATE | APPEND, "add rule"), |batch| write_rule(batch, chain, steps, None));
    }

    /// Inserts a rule at the beginning of a chain, with a comment by which it is found again.
    pub(crate) fn insert_rule(self, batch: &mut Batch, chain: &str, steps: &[Step], comment: &[u8]) {
        self.message(batch, (NEWRULE, CREATE, "insert rule"), |batch| write_rule(batch, chain, steps, Some(comment)));
    }

    /// Deletes a rule by its handle.
    pub(crate) fn delete_rule(self, batch: &mut Batch, chain: &str, handle: &[u8]) {
        self.message(batch, (DELRULE, 0, "delete rule"), |batch| {
            batch.text(2, chain);
            batch.attribute(3, handle);
        });
    }
}

fn write_element(batch: &mut Batch, element: &Element, with_value: bool) {
    batch.nest(LIST_ELEM, |batch| {
        batch.nest(1, |batch| batch.attribute(1, &element.key));
        if let Some(end) = &element.key_end {
            batch.nest(10, |batch| batch.attribute(1, end));
        }
        match &element.value {
            Some(Value::Fields(bytes)) if with_value => batch.nest(2, |batch| batch.attribute(1, bytes)),
            Some(Value::Verdict(verdict)) if with_value => batch.nest(2, |batch| write_verdict(batch, *verdict)),
            Some(Value::Limit(name)) if with_value => batch.text(9, name),
            Some(Value::Fields(_) | Value::Verdict(_) | Value::Limit(_)) | None => {}
        }
    });
}

fn write_verdict(batch: &mut Batch, verdict: Verdict) {
    batch.nest(2, |batch| match verdict {
        Verdict::Drop => batch.net32(1, 0),
        Verdict::Accept => batch.net32(1, 1),
        Verdict::Return => batch.attribute(1, &(-5_i32).to_be_bytes()),
        Verdict::Goto(kind, number) => {
            batch.attribute(1, &(-4_i32).to_be_bytes());
            batch.text(2, &format!("{kind}{number}"));
        }
        Verdict::Jump(chain) => {
            batch.attribute(1, &(-3_i32).to_be_bytes());
            batch.text(2, chain);
        }
    });
}

fn write_rule(batch: &mut Batch, chain: &str, steps: &[Step], comment: Option<&[u8]>) {
    batch.text(2, chain);
    batch.nest(4, |batch| {
        for step in steps {
            batch.nest(LIST_ELEM, |batch| step::write_step(batch, step));
        }
    });
    if let Some(comment) = comment {
        batch.attribute(7, comment);
    }
}

//! Netlink's wire format: messages, attributes and their batches. Source: netlink(7), nla_put in the kernel.

use std::sync::atomic::{AtomicU32, Ordering};

/// The message wants an answer even if all went well.
pub(crate) const ACK: u16 = 0x4;
/// The message is a request.
const REQUEST: u16 = 0x1;
/// Replace the object if it exists.
pub(crate) const REPLACE: u16 = 0x100;
/// Fail if the object exists.
pub(crate) const EXCL: u16 = 0x200;
/// Create the object.
pub(crate) const CREATE: u16 = 0x400;
/// Add at the end of a list.
pub(crate) const APPEND: u16 = 0x800;
/// Return all objects.
pub(crate) const DUMP: u16 = 0x300;
/// Set in the type of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The bytes of a message's header.
pub(crate) const HEADER: usize = 16;

/// The next sequence number in this process.
static SEQUENCE: AtomicU32 = AtomicU32::new(1);

/// Messages that are sent in one datagram.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    start: usize,
    first: u32,
    labels: Vec<Label>,
}

/// What a message is for.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    /// Completes "cannot …".
    pub(crate) what: &'static str,
    /// Whether its failure stops the whole; else it is ignored.
    pub(crate) needed: bool,
}

impl Batch {
    /// An empty batch with room for `count` messages in its sequence numbers.
    pub(crate) fn new() -> Self {
        // Numbers of one batch are consecutive; 2¹⁶ are more than any batch has.
        let first = SEQUENCE.fetch_add(1 << 16, Ordering::Relaxed);
        Self { bytes: Vec::with_capacity(1024), start: 0, first, labels: Vec::new() }
    }

    /// Adds a message whose body `fill` writes.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, what: &'static str, fill: impl FnOnce(&mut Self)) {
        self.start = self.bytes.len();
        let sequence = self.first.wrapping_add(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.labels.push(Label { what, needed: true });
        let start = self.start;
        fill(self);
        self.start = start;
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Lets the last message fail without harm.
    pub(crate) fn optional(&mut self) {
        if let Some(label) = self.labels.last_mut() {
            label.needed = false;
        }
    }

    /// Adds a flag to the last message.
    pub(crate) fn flag_last(&mut self, flag: u16) {
        if let Some(low) = self.bytes.get_mut(self.start + 6..self.start + 8) {
            let flags = u16::from_ne_bytes([low[0], low[1]]) | flag;
            low.copy_from_slice(&flags.to_ne_bytes());
        }
    }

    /// Adds raw bytes, padded to four.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value);
    }

    /// Adds an attribute with a text that ends with NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    /// Adds a number in the host's byte order, as rtnetlink wants it.
    pub(crate) fn host32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Adds a number in the network's byte order, as netfilter wants it.
    pub(crate) fn net32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Adds an attribute that holds the attributes that `fill` writes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    /// The datagram.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of messages.
    pub(crate) fn count(&self) -> usize {
        self.labels.len()
    }

    /// The place of the message with that sequence number.
    pub(crate) fn place(&self, sequence: u32) -> Option<usize> {
        let place = usize::try_from(sequence.wrapping_sub(self.first)).ok()?;
        (place < self.labels.len()).then_some(place)
    }

    /// What the message at `place` is for.
    pub(crate) fn label(&self, place: usize) -> Label {
        self.labels.get(place).cloned().unwrap_or(Label { what: "use netlink", needed: true })
    }
}

/// A message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// Its type.
    pub(crate) kind: u16,
    /// Its sequence number.
    pub(crate) sequence: u32,
    /// What follows its header.
    pub(crate) body: &'a [u8],
}

/// Splits a datagram into its messages; what is cut off at its end is ignored.
pub(crate) fn messages(mut datagram: &[u8]) -> Vec<Received<'_>> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind), Some(sequence)) = (u32_at(datagram, 0), u16_at(datagram, 4), u32_at(datagram, 8)) {
        let Ok(length) = usize::try_from(length) else {
            break;
        };
        let Some(body) = datagram.get(HEADER..length) else {
            break;
        };
        found.push(Received { kind, sequence, body });
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Splits bytes into attributes (type without flags, value); what is cut off at the end is ignored.
pub(crate) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        found.push((kind & 0x3fff, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The value of the first attribute of that type.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A text without its NUL.
pub(crate) fn string(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// A number of two bytes in the host's order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// A number of four bytes in the host's order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut batch = Batch::new();
        batch.message(16, ACK, "one", |batch| {
            batch.raw(&[1, 2, 3, 4]);
            batch.text(3, "eth0");
            batch.nest(18, |batch| batch.host32(1, 7));
        });
        batch.message(17, 0, "two", |_| {});
        let found = messages(batch.bytes());
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, batch.place(found[1].sequence)), (16, Some(1)));
        let body = &found[0].body[4..];
        assert_eq!(string(find(body, 3).unwrap()), "eth0");
        assert_eq!(find(find(body, 18).unwrap(), 1), Some(&7_u32.to_ne_bytes()[..]));
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                attributes(message.body);
            }
            attributes(&bytes);
        }
    }
}

//! A netlink connection: sends batches and gathers the kernel's answers.

use std::io;

use sys::netlink::{Family, Socket};

use crate::wire::{self, Batch};

/// An answer with an error number, 0 for success. Source: netlink(7).
const NLMSG_ERROR: u16 = 2;
/// The end of a dump.
const NLMSG_DONE: u16 = 3;
/// The beginning of a transaction. Source: linux/netfilter/nfnetlink.h.
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
/// The end of a transaction.
const NFNL_MSG_BATCH_END: u16 = 17;
/// The number of nf_tables among netfilter's parts.
pub(crate) const NFNL_SUBSYS_NFTABLES: u8 = 10;

/// A message that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Completes "cannot …".
    pub(crate) what: &'static str,
    /// The kernel's answer.
    pub(crate) source: io::Error,
}

impl Refused {
    /// Whether the kernel answered with this error.
    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// One socket with its buffer.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    buffer: Vec<u8>,
}

/// A netfilter message's header. Source: linux/netfilter/nfnetlink.h, `struct nfgenmsg`.
pub(crate) fn nfgenmsg(family: u8, version: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, version, high, low]
}

impl Connection {
    /// Connects to a part of the kernel in the calling thread's network namespace.
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        Ok(Self { socket: Socket::open(family)?, buffer: vec![0; 64 << 10] })
    }

    /// Makes room for large batches.
    pub(crate) fn enlarge(&self) -> io::Result<()> {
        self.socket.enlarge()
    }

    /// Sends messages that stand for themselves, and returns the first refusal; the others were tried.
    pub(crate) fn run(&mut self, batch: &Batch) -> Result<(), Refused> {
        let results = self.run_each(batch)?;
        for (place, result) in results.into_iter().enumerate() {
            let label = batch.label(place);
            if let (Err(source), true) = (result, label.needed) {
                return Err(Refused { what: label.what, source });
            }
        }
        Ok(())
    }

    /// Sends messages that stand for themselves, each with the flag ACK, and returns all answers.
    fn run_each(&mut self, batch: &Batch) -> Result<Vec<io::Result<()>>, Refused> {
        let fail = |source| Refused { what: "talk to the kernel by netlink", source };
        if batch.count() == 0 {
            return Ok(Vec::new());
        }
        self.socket.send(batch.bytes()).map_err(fail)?;
        let mut results: Vec<Option<io::Result<()>>> = (0..batch.count()).map(|_| None).collect();
        while results.iter().any(Option::is_none) {
            let length = self.socket.receive(&mut self.buffer).map_err(fail)?;
            for message in wire::messages(&self.buffer[..length]) {
                let Some(place) = batch.place(message.sequence) else {
                    continue;
                };
                if message.kind == NLMSG_ERROR {
                    results[place] = Some(error_of(message.body));
                }
            }
        }
        Ok(results.into_iter().map(|result| result.unwrap_or(Ok(()))).collect())
    }

    /// Sends one request and returns the bodies of the objects that answer it.
    pub(crate) fn query(&mut self, batch: &Batch) -> Result<Vec<Vec<u8>>, Refused> {
        let what = batch.label(0).what;
        let fail = |source| Refused { what, source };
        self.socket.send(batch.bytes()).map_err(fail)?;
        let mut found = Vec::new();
        loop {
            let length = self.socket.receive(&mut self.buffer).map_err(fail)?;
            for message in wire::messages(&self.buffer[..length]) {
                if batch.place(message.sequence).is_none() {
                    continue;
                }
                match message.kind {
                    // With ACK set, a single object is followed by a success.
                    NLMSG_ERROR => return error_of(message.body).map(|()| found).map_err(fail),
                    NLMSG_DONE => return Ok(found),
                    _ => found.push(message.body.to_vec()),
                }
            }
        }
    }

    /// Sends an nf_tables transaction: all of it happens, or nothing.
    pub(crate) fn commit(&mut self, transaction: &Batch) -> Result<(), Refused> {
        let fail = |source| Refused { what: "talk to nf_tables by netlink", source };
        let last = transaction.count().saturating_sub(2); // Before it only BATCH_END.
        self.socket.send(transaction.bytes()).map_err(fail)?;
        let mut refused = None;
        loop {
            let length = self.socket.receive(&mut self.buffer).map_err(fail)?;
            for message in wire::messages(&self.buffer[..length]) {
                let (Some(place), NLMSG_ERROR) = (transaction.place(message.sequence), message.kind) else {
                    continue;
                };
                if let (Err(source), None) = (error_of(message.body), &refused) {
                    let what = transaction.label(place).what;
                    refused = Some(Refused { what, source });
                }
                // An error of the beginning speaks for the whole; nothing follows it.
                if place == last || place == 0 {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
    }
}

/// Wraps nf_tables messages, which `fill` writes, in a transaction whose last message is acknowledged.
pub(crate) fn transaction(fill: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::new();
    let header = nfgenmsg(0, 0, u16::from(NFNL_SUBSYS_NFTABLES));
    batch.message(NFNL_MSG_BATCH_BEGIN, 0, "commit an nf_tables transaction", |batch| batch.raw(&header));
    fill(&mut batch);
    batch.flag_last(wire::ACK);
    batch.message(NFNL_MSG_BATCH_END, 0, "commit an nf_tables transaction", |batch| batch.raw(&header));
    batch
}

fn error_of(body: &[u8]) -> io::Result<()> {
    match wire::u32_at(body, 0).map(|code| i32::from_ne_bytes(code.to_ne_bytes())) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

//! An attached client: framing, a bounded queue, detach keys.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use crate::logs::Stream;
use crate::poller::{Ready, Token};
use crate::protocol::Attach;

/// Queued bytes above which the process's output is no longer read: it waits for this client.
const QUEUE_BYTES_MAX: usize = 256 << 10;

/// A client of one process.
#[derive(Debug)]
pub(crate) struct Client {
    fd: OwnedFd,
    pub(crate) options: Attach,
    pub(crate) token: Option<Token>,
    pub(crate) interest: Ready,
    queue: Vec<u8>,
    sent: usize,
    keys_matched: usize,
    /// Whether its input may still bring something.
    pub(crate) input_open: bool,
    /// Whether it can take no more output.
    pub(crate) gone: bool,
    /// Whether it gets no more output and is let go once the queue is empty.
    pub(crate) ending: bool,
    /// Since when it takes nothing, while its queue is full.
    pub(crate) stalled_since: Option<Instant>,
}

/// What a client's input brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing at the moment.
    Nothing,
    /// Bytes, appended to the given buffer.
    Bytes,
    /// The detach keys, with what came before them appended.
    Detached,
    /// The end.
    End,
}

impl Client {
    pub(crate) fn new(fd: OwnedFd, options: Attach) -> Self {
        Self {
            fd,
            options,
            token: None,
            interest: Ready::empty(),
            queue: Vec::new(),
            sent: 0,
            keys_matched: 0,
            input_open: true,
            gone: false,
            ending: false,
            stalled_since: None,
        }
    }

    /// Whether more output must wait.
    pub(crate) fn is_full(&self) -> bool {
        !self.gone && self.queue.len() - self.sent > QUEUE_BYTES_MAX
    }

    /// Whether all output has been sent, or cannot be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.gone || self.sent == self.queue.len()
    }

    /// Sends output, or queues what the client does not take now.
    pub(crate) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let (wanted, number) = match stream {
            Stream::Stdout => (self.options.stdout, 1),
            Stream::Stderr => (self.options.stderr, 2),
        };
        if !wanted || self.gone || self.ending {
            return;
        }
        let mut header = [number, 0, 0, 0, 0, 0, 0, 0];
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        header[4..].copy_from_slice(&length.to_be_bytes());
        let header: &[u8] = if self.options.multiplexed { &header } else { &[] };
        let mut sent = 0;
        if self.is_flushed() {
            sent = self.send(&[IoSlice::new(header), IoSlice::new(bytes)]);
        }
        if !self.gone {
            let from_header = sent.min(header.len());
            self.queue.extend_from_slice(&header[from_header..]);
            self.queue.extend_from_slice(&bytes[sent - from_header..]);
            self.note_progress(sent);
        }
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) {
        while !self.is_flushed() {
            let queue = std::mem::take(&mut self.queue);
            let sent = self.send(&[IoSlice::new(&queue[self.sent..])]);
            self.queue = queue;
            self.sent += sent;
            self.note_progress(sent);
            if sent == 0 {
                return;
            }
        }
        // Memory is given back: most clients are fast and need no queue at all.
        self.queue = Vec::new();
        self.sent = 0;
    }

    fn note_progress(&mut self, sent: usize) {
        self.stalled_since = match self.stalled_since {
            _ if !self.is_full() && !self.ending => None,
            Some(since) if sent == 0 => Some(since),
            _ => Some(Instant::now()),
        };
    }

    /// Sends what can be sent now.
    fn send(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(&self.fd, parts, &mut control, flags) {
                Ok(sent) => return sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return 0,
                Err(_) => {
                    self.gone = true;
                    return 0;
                }
            }
        }
    }

    /// Takes input that is there. Detach keys are looked for if `keys` says so.
    pub(crate) fn input(&mut self, keys: bool, scratch: &mut [u8], bytes: &mut Vec<u8>) -> Input {
        let received = loop {
            match rustix::net::recv(&self.fd, &mut *scratch, RecvFlags::DONTWAIT) {
                Ok((_, received)) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Input::Nothing,
                Err(_) => break 0,
            }
        };
        if received == 0 {
            self.input_open = false;
            return Input::End;
        }
        let sequence = self.options.detach_keys.as_bytes();
        if !keys || sequence.is_empty() {
            bytes.extend_from_slice(&scratch[..received]);
            return Input::Bytes;
        }
        for byte in &scratch[..received] {
            if sequence[self.keys_matched] == *byte {
                self.keys_matched += 1;
            } else {
                // What looked like the keys was not; this byte may begin them anew.
                bytes.extend_from_slice(&sequence[..self.keys_matched]);
                self.keys_matched = usize::from(sequence[0] == *byte);
                if self.keys_matched == 0 {
                    bytes.push(*byte);
                }
            }
            if self.keys_matched == sequence.len() {
                self.input_open = false;
                return Input::Detached;
            }
        }
        Input::Bytes
    }

    /// Ends the connection. Unread input is taken off first: else the kernel resets the
    /// connection, and the client could lose output that it has not read yet.
    pub(crate) fn close(self) {
        if self.options.keep_open {
            return;
        }
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
        let mut scratch = [0; 4096];
        while let Ok((_, 1..)) = rustix::net::recv(&self.fd, &mut scratch[..], RecvFlags::DONTWAIT) {}
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a descriptor can be a client: a stream socket.
pub(crate) fn is_stream_socket(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_type(fd)? == rustix::net::SocketType::STREAM)
}

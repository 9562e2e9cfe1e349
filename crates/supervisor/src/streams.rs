//! Input and output of one process, its log and its clients.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::client::{self, Client};
use crate::log::Log;
use crate::logs::Stream;
use crate::poller::{Poller, ProcessKey, Ready, Source, Token};
use crate::protocol::Attach;
use crate::time;

/// Bytes read at once.
pub(crate) const SCRATCH_BYTES: usize = 64 << 10;
/// Reads of one output before others have their turn.
const READS_MAX: usize = 8;
/// How long a client may take nothing while a container waits for it, before it is let go.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(30);

/// Descriptors of a process's standard streams on our side, all non-blocking.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Where its input is written.
    pub(crate) input: Option<OwnedFd>,
    /// Where its output is read, or a terminal's.
    pub(crate) stdout: Option<OwnedFd>,
    /// Where its errors are read.
    pub(crate) stderr: Option<OwnedFd>,
    /// The other side of a terminal, kept open so that the master never reports a hang-up.
    pub(crate) terminal: Option<OwnedFd>,
}

/// What happens when a client's input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputEnd {
    /// The process's input is closed.
    Close,
    /// The client is let go and the input stays open.
    LetGo,
}

/// What a client did that others must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Nothing,
    Detached,
}

#[derive(Debug)]
struct Output {
    stream: Stream,
    fd: OwnedFd,
    /// None while clients are too slow.
    token: Option<Token>,
}

#[derive(Debug)]
struct Input {
    fd: OwnedFd,
    /// Only while something is pending.
    token: Option<Token>,
    pending: Vec<u8>,
    written: usize,
    closing: bool,
}

/// Input and output of one process.
#[derive(Debug)]
pub(crate) struct Streams {
    key: ProcessKey,
    input: Option<Input>,
    input_end: InputEnd,
    outputs: Vec<Output>,
    terminal: Option<OwnedFd>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    log: Option<Log>,
}

impl Streams {
    pub(crate) fn new(key: ProcessKey, ends: Ends, input_end: InputEnd, log: Option<Log>) -> Self {
        let output = |stream, fd| Output { stream, fd, token: None };
        let stdout = ends.stdout.map(|fd| output(Stream::Stdout, fd));
        let stderr = ends.stderr.map(|fd| output(Stream::Stderr, fd));
        let input = |fd| Input { fd, token: None, pending: Vec::new(), written: 0, closing: false };
        Self {
            key,
            input: ends.input.map(input),
            input_end,
            outputs: stdout.into_iter().chain(stderr).collect(),
            terminal: ends.terminal,
            clients: BTreeMap::new(),
            next_client: 0,
            log,
        }
    }

    /// The terminal, if the process has one.
    pub(crate) fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// Begins, or goes on, to read output, unless a client is too slow for it.
    pub(crate) fn watch_outputs(&mut self, poller: &mut Poller) -> io::Result<()> {
        let wait = self.clients.values().any(Client::is_full);
        for output in &mut self.outputs {
            let source = Source::Output(self.key, output.stream);
            match output.token {
                // Without its registration, for a hang-up is always reported.
                Some(token) if wait => {
                    poller.remove(token, output.fd.as_fd());
                    output.token = None;
                }
                None if !wait => output.token = Some(poller.add(output.fd.as_fd(), source, Ready::IN)?),
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Reads output that is there.
    pub(crate) fn on_output(&mut self, stream: Stream, poller: &mut Poller, scratch: &mut [u8]) -> io::Result<()> {
        for _ in 0..READS_MAX {
            if self.clients.values().any(Client::is_full) || !self.read_output(stream, poller, scratch) {
                break;
            }
        }
        self.refresh(poller)
    }

    /// Reads once; false if there is nothing more at the moment.
    fn read_output(&mut self, stream: Stream, poller: &mut Poller, scratch: &mut [u8]) -> bool {
        let Some(at) = self.outputs.iter().position(|output| output.stream == stream) else {
            return false;
        };
        match rustix::io::read(&self.outputs[at].fd, &mut *scratch) {
            Ok(read @ 1..) => {
                if let Some(log) = &mut self.log {
                    log.write(stream, &scratch[..read], time::now());
                }
                for client in self.clients.values_mut() {
                    client.output(stream, &scratch[..read]);
                }
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                let output = self.outputs.swap_remove(at);
                if let Some(token) = output.token {
                    poller.remove(token, output.fd.as_fd());
                }
                false
            }
        }
    }

    /// Reads all output that is there, however slow the clients are, and finishes the log. For the
    /// time after the process has ended: what others that inherited the pipes write later is not
    /// waited for.
    pub(crate) fn drain(&mut self, poller: &mut Poller, scratch: &mut [u8]) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.read_output(stream, poller, scratch) {}
        }
        for output in self.outputs.drain(..) {
            if let Some(token) = output.token {
                poller.remove(token, output.fd.as_fd());
            }
        }
        self.close_input(poller);
        if let Some(log) = &mut self.log {
            log.finish(time::now());
        }
        self.log = None;
        self.terminal = None;
        for client in self.clients.values_mut() {
            client.ending = true;
            client.input_open = false;
            client.stalled_since = Some(Instant::now());
        }
    }

    /// Joins a client with the process.
    pub(crate) fn attach(&mut self, fd: OwnedFd, options: Attach, poller: &mut Poller) -> io::Result<()> {
        if !client::is_stream_socket(fd.as_fd())? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut client = Client::new(fd, options);
        client.interest = Ready::RDHUP;
        let source = Source::Client(self.key, self.next_client);
        client.token = Some(poller.add(client.as_fd(), source, client.interest)?);
        self.clients.insert(self.next_client, client);
        self.next_client += 1;
        self.refresh(poller)
    }

    /// Acts on what a client's descriptor reports.
    pub(crate) fn on_client(&mut self, id: u64, ready: Ready, poller: &mut Poller, scratch: &mut [u8]) -> io::Result<Happened> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(Happened::Nothing);
        };
        if ready.intersects(Ready::HUP | Ready::ERR) {
            client.gone = true;
        }
        if ready.contains(Ready::OUT) {
            client.flush();
        }
        if !client.options.stdin && ready.contains(Ready::RDHUP) {
            client.input_open = false;
        }
        let mut happened = Happened::Nothing;
        if ready.intersects(Ready::IN | Ready::RDHUP | Ready::HUP | Ready::ERR) {
            happened = self.read_client(id, poller, scratch);
        }
        self.refresh(poller)?;
        Ok(happened)
    }

    /// Takes a client's input until there is no more, or the process does not take it.
    fn read_client(&mut self, id: u64, poller: &mut Poller, scratch: &mut [u8]) -> Happened {
        let keys = self.terminal.is_some();
        while let Some(client) = self.clients.get_mut(&id)
            && client.options.stdin
            && client.input_open
            && self.input.as_ref().is_none_or(Input::is_drained)
        {
            let mut bytes = Vec::new();
            let brought = client.input(keys, scratch, &mut bytes);
            if let Some(input) = &mut self.input {
                input.pending = bytes;
                self.write_input(poller);
            }
            match brought {
                client::Input::Nothing => break,
                client::Input::Bytes => {}
                client::Input::Detached => {
                    self.end_client(id);
                    return Happened::Detached;
                }
                client::Input::End => match self.input_end {
                    InputEnd::Close => self.end_input(poller),
                    InputEnd::LetGo => self.end_client(id),
                },
            }
        }
        Happened::Nothing
    }

    fn end_client(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.ending = true;
            // The process goes on without it, so no last word will follow.
            client.options.keep_open = false;
            client.stalled_since = Some(Instant::now());
        }
    }

    /// Goes on after the process has taken input.
    pub(crate) fn on_input(&mut self, poller: &mut Poller, scratch: &mut [u8]) -> io::Result<Happened> {
        self.write_input(poller);
        let mut happened = Happened::Nothing;
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            if self.read_client(id, poller, scratch) == Happened::Detached {
                happened = Happened::Detached;
            }
        }
        self.refresh(poller)?;
        Ok(happened)
    }

    /// Writes pending input as far as the process takes it.
    fn write_input(&mut self, poller: &mut Poller) {
        let Some(input) = &mut self.input else { return };
        while input.written < input.pending.len() {
            match rustix::io::write(&input.fd, &input.pending[input.written..]) {
                Ok(written) => input.written += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Nobody reads any more. Clients may still send; it is thrown away.
                Err(_) => return self.close_input(poller),
            }
        }
        if input.is_drained() {
            input.pending = Vec::new();
            input.written = 0;
            if let Some(token) = input.token.take() {
                poller.remove(token, input.fd.as_fd());
            }
            if input.closing {
                self.close_input(poller);
            }
        } else if input.token.is_none() {
            let source = Source::Input(self.key);
            input.token = poller.add(input.fd.as_fd(), source, Ready::OUT).ok();
        }
    }

    /// Closes input once all that is pending is written.
    fn end_input(&mut self, poller: &mut Poller) {
        if let Some(input) = &mut self.input {
            input.closing = true;
            self.write_input(poller);
        }
    }

    fn close_input(&mut self, poller: &mut Poller) {
        if let Some(input) = self.input.take()
            && let Some(token) = input.token
        {
            poller.remove(token, input.fd.as_fd());
        }
    }

    /// Lets clients go that are finished, and waits for the right things of the others.
    fn refresh(&mut self, poller: &mut Poller) -> io::Result<()> {
        let takes_input = self.input.as_ref().is_none_or(Input::is_drained);
        let finished = |client: &mut Client| {
            let input_done = !client.input_open || !client.options.stdin || client.ending;
            client.is_flushed() && (client.ending || client.gone) && input_done
        };
        let finished: Vec<_> = self.clients.extract_if(.., |_, client| finished(client)).collect();
        for (_, client) in finished {
            if let Some(token) = client.token {
                poller.remove(token, client.as_fd());
            }
            client.close();
        }
        for client in self.clients.values_mut() {
            let Some(token) = client.token else { continue };
            if client.gone {
                // A hang-up is always reported; what is left is its input, read when there is room.
                poller.remove(token, client.as_fd());
                client.token = None;
                continue;
            }
            let mut interest = Ready::empty();
            if client.input_open && !client.options.stdin {
                interest |= Ready::RDHUP;
            } else if client.input_open && takes_input {
                interest |= Ready::IN;
            }
            if !client.is_flushed() {
                interest |= Ready::OUT;
            }
            if interest != client.interest {
                poller.change(token, client.as_fd(), interest);
                client.interest = interest;
            }
        }
        if self.log.is_none() && self.outputs.is_empty() {
            return Ok(());
        }
        self.watch_outputs(poller)
    }

    /// When the slowest client is let go; only where a container or its end waits for it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let exec = self.key != 0;
        let waits = |client: &&Client| client.ending || (!exec && client.is_full());
        let since = self.clients.values().filter(waits).filter_map(|client| client.stalled_since).min();
        since.map(|since| since + STALL_MAX)
    }

    /// Lets clients go whose time is over.
    pub(crate) fn expire(&mut self, now: Instant, poller: &mut Poller) -> io::Result<()> {
        let exec = self.key != 0;
        for client in self.clients.values_mut() {
            let waits = client.ending || (!exec && client.is_full());
            if waits && client.stalled_since.is_some_and(|since| now >= since + STALL_MAX) {
                client.gone = true;
                client.ending = true;
            }
        }
        self.refresh(poller)
    }

    /// Whether a client has not got all output yet to whose connection others will add something.
    pub(crate) fn owes_before_last_word(&self) -> bool {
        self.clients.values().any(|client| client.options.keep_open && !client.is_flushed())
    }

    /// Whether no client is left.
    pub(crate) fn is_finished(&self) -> bool {
        self.clients.is_empty()
    }
}

impl Input {
    fn is_drained(&self) -> bool {
        self.written == self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_client_that_takes_nothing_is_let_go_and_the_process_goes_on() {
        let mut poller = Poller::new().unwrap();
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut streams = Streams::new(0, Ends { stdout: Some(read), ..Ends::default() }, InputEnd::LetGo, None);
        streams.watch_outputs(&mut poller).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        streams.attach(theirs.into(), Attach { stdout: true, ..Attach::default() }, &mut poller).unwrap();
        let mut scratch = vec![0; SCRATCH_BYTES];
        let bytes = vec![b'x'; 4096];
        // The process writes until nobody takes it any more.
        let mut fill = |streams: &mut Streams, poller: &mut Poller, rounds: usize| {
            (0..rounds).all(|_| {
                let written = rustix::io::write(&write, &bytes).is_ok();
                streams.on_output(Stream::Stdout, poller, &mut scratch).unwrap();
                written
            })
        };
        assert!(!fill(&mut streams, &mut poller, 10_000), "the client's queue has no bound");
        let deadline = streams.deadline().expect("the process waits for its client");
        assert!(deadline <= Instant::now() + STALL_MAX);
        streams.expire(deadline.checked_sub(Duration::from_secs(1)).unwrap(), &mut poller).unwrap();
        assert!(!streams.is_finished(), "it has its time");
        streams.expire(deadline, &mut poller).unwrap();
        assert!(streams.is_finished() && streams.deadline().is_none());
        streams.on_output(Stream::Stdout, &mut poller, &mut vec![0; SCRATCH_BYTES]).unwrap();
        assert!(fill(&mut streams, &mut poller, 1000), "the process goes on");
        drop(ours);
    }
}

//! The process: one loop that answers what it knows, and a thread for each question that others must answer.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use sys::seqpacket;

use super::message::{self, Code, Query, Record, TYPE_A, TYPE_AAAA, TYPE_PTR};
use super::zones::{Known, Zones};
use super::{Order, View, forward};

/// Questions and streams that are under way at most, all containers together.
const THREADS_MAX: usize = 256;
/// Those of one container: it must not take what the others need.
const THREADS_OF_ONE_MAX: usize = 64;
const STACK_BYTES: usize = 192 << 10;
/// How long a stream may be silent.
const STREAM_IDLE: Duration = Duration::from_secs(5);
/// Bytes of a question; longer ones make no sense.
const QUESTION_MAX: usize = 4096;
/// Datagrams that one container may send in a row while others wait.
const ROW: usize = 64;

const ENGINE: u64 = 0;
const SUCCESSOR: u64 = 1;
/// Tokens of containers begin here; even ones are datagrams, odd ones streams.
const FIRST: u64 = 2;

/// What all threads share.
#[derive(Debug, Default)]
struct Shared {
    zones: Mutex<Zones>,
    threads: AtomicUsize,
}

/// A container.
#[derive(Debug)]
struct Sandbox {
    token: u64,
    datagrams: UdpSocket,
    streams: TcpListener,
    netns: OwnedFd,
    view: Mutex<Arc<View>>,
    threads: AtomicUsize,
}

/// The loop's own.
struct Server {
    epoll: OwnedFd,
    engine: Option<OwnedFd>,
    successors: Option<OwnedFd>,
    shared: Arc<Shared>,
    sandboxes: HashMap<String, Arc<Sandbox>>,
    tokens: HashMap<u64, Arc<Sandbox>>,
    /// Views of containers whose sockets an earlier process has.
    expected: HashMap<String, View>,
    next: u64,
}

/// Serves until nobody needs it.
pub(super) fn run(engine: OwnedFd) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &engine, EventData::new_u64(ENGINE), EventFlags::IN)?;
    let mut server = Server {
        epoll,
        engine: Some(engine),
        successors: None,
        shared: Arc::default(),
        sandboxes: HashMap::new(),
        tokens: HashMap::new(),
        expected: HashMap::new(),
        next: FIRST,
    };
    let mut buffer = vec![0; QUESTION_MAX];
    while server.engine.is_some() || !server.sandboxes.is_empty() {
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                ENGINE => server.hear()?,
                SUCCESSOR => {
                    if server.hand_over() {
                        return Ok(());
                    }
                }
                token => server.question(token, &mut buffer),
            }
        }
    }
    Ok(())
}

impl Server {
    /// One message of the engine.
    fn hear(&mut self) -> io::Result<()> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        let Ok(Some((bytes, fds))) = seqpacket::receive(engine.as_fd()) else {
            self.engine = None; // closing takes it out of epoll
            return Ok(());
        };
        let Ok(order) = serde_json::from_slice(&bytes) else {
            return Ok(()); // of a newer engine; what it means nobody knows here
        };
        match order {
            Order::Publish(entry) => self.zones(|zones| zones.publish(entry)),
            Order::Withdraw(endpoint) => self.zones(|zones| zones.withdraw(&endpoint)),
            Order::Serve(holder, view) => self.serve(holder, view, fds)?,
            Order::Forget(holder) => self.forget(&holder),
            Order::Begin(path) => self.begin(&path, fds.into_iter().next())?,
            // The engine may be gone: the next message says so.
            Order::Sync => drop(seqpacket::send(engine.as_fd(), b"done", &[])),
        }
        Ok(())
    }

    fn zones<T>(&self, act: impl FnOnce(&mut Zones) -> T) -> T {
        act(&mut self.shared.zones.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&mut self, holder: String, view: View, fds: Vec<OwnedFd>) -> io::Result<()> {
        if let Ok([datagrams, streams, netns]) = <[OwnedFd; 3]>::try_from(fds) {
            self.forget(&holder);
            return self.add(holder, view, [datagrams, streams, netns]);
        }
        match self.sandboxes.get(&holder) {
            Some(sandbox) => *sandbox.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view),
            None => drop(self.expected.insert(holder, view)),
        }
        Ok(())
    }

    fn add(&mut self, holder: String, view: View, [datagrams, streams, netns]: [OwnedFd; 3]) -> io::Result<()> {
        let token = self.next;
        self.next += 2;
        epoll::add(&self.epoll, &datagrams, EventData::new_u64(token), EventFlags::IN)?;
        epoll::add(&self.epoll, &streams, EventData::new_u64(token + 1), EventFlags::IN)?;
        let sandbox = Arc::new(Sandbox {
            token,
            datagrams: datagrams.into(),
            streams: streams.into(),
            netns,
            view: Mutex::new(Arc::new(view)),
            threads: AtomicUsize::new(0),
        });
        self.tokens.insert(token, sandbox.clone());
        self.sandboxes.insert(holder, sandbox);
        Ok(())
    }

    fn forget(&mut self, holder: &str) {
        if let Some(sandbox) = self.sandboxes.remove(holder) {
            self.tokens.remove(&sandbox.token);
            // Threads under way may hold it a little longer. A refusal would mean that it is out already.
            let _ = epoll::delete(&self.epoll, &sandbox.datagrams);
            let _ = epoll::delete(&self.epoll, &sandbox.streams);
        }
    }

    /// Takes the sockets of an earlier process, then waits for the next one.
    fn begin(&mut self, path: &Path, previous: Option<OwnedFd>) -> io::Result<()> {
        if let Some(previous) = previous {
            while let Ok(Some((holder, fds))) = seqpacket::receive(previous.as_fd()) {
                let holder = String::from_utf8_lossy(&holder).into_owned();
                // One that the engine does not know has ended: its sockets close here.
                let (Some(view), Ok(sockets)) = (self.expected.remove(&holder), <[OwnedFd; 3]>::try_from(fds)) else {
                    continue;
                };
                self.add(holder, view, sockets)?;
            }
        }
        self.expected.clear();
        let listener = seqpacket::listen(path)?;
        epoll::add(&self.epoll, &listener, EventData::new_u64(SUCCESSOR), EventFlags::IN)?;
        self.successors = Some(listener);
        Ok(())
    }

    /// Gives all sockets to the process of the next engine; true if that is done and this process may end.
    fn hand_over(&mut self) -> bool {
        let Some(listener) = &self.successors else {
            return false;
        };
        let Ok(successor) = seqpacket::accept(listener.as_fd()) else {
            return false;
        };
        let is_root = seqpacket::peer(successor.as_fd()).is_ok_and(|peer| peer.uid == 0);
        if !is_root || rustix::io::ioctl_fionbio(&successor, false).is_err() {
            return false;
        }
        // Only one engine has the directory: ours has ended, though its last message may still wait.
        self.engine = None;
        for (holder, sandbox) in &self.sandboxes {
            let fds = [sandbox.datagrams.as_fd(), sandbox.streams.as_fd(), sandbox.netns.as_fd()];
            if seqpacket::send(successor.as_fd(), holder.as_bytes(), &fds).is_err() {
                return false; // it died: the next one asks again
            }
        }
        true
    }

    /// Questions of one container.
    fn question(&self, token: u64, buffer: &mut [u8]) {
        let Some(sandbox) = self.tokens.get(&(token & !1)) else {
            return;
        };
        if token & 1 == 1 {
            if let Ok((stream, _)) = sandbox.streams.accept() {
                let (sandbox, shared) = (sandbox.clone(), self.shared.clone());
                // Too many: the stream closes.
                start(&sandbox.clone(), &shared.clone(), move || stream_questions(stream, &sandbox, &shared));
            }
            return;
        }
        for _ in 0..ROW {
            let Ok((length, client)) = sandbox.datagrams.recv_from(buffer) else {
                return;
            };
            self.datagram(sandbox, &buffer[..length], client);
        }
    }

    fn datagram(&self, sandbox: &Arc<Sandbox>, bytes: &[u8], client: SocketAddr) {
        let query = match message::parse(bytes) {
            Ok(query) => query,
            Err(refusal) if refusal.is_empty() => return,
            Err(refusal) => {
                // As below: a client that has gone needs no answer.
                let _ = sandbox.datagrams.send_to(&refusal, client);
                return;
            }
        };
        let view = sandbox.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((code, records)) = self.zones(|zones| local(zones, &view, &query)) {
            let _ = sandbox.datagrams.send_to(&query.answer_datagram(code, &records), client);
            return;
        }
        let (question, sandbox, failed) = (bytes.to_vec(), sandbox.clone(), query.answer_datagram(Code::ServerFailure, &[]));
        let (own, late) = (sandbox.clone(), failed.clone());
        let started = start(&sandbox, &self.shared, move || {
            let answer = forward::forward(&question, &view.servers, own.netns.as_fd(), false);
            let _ = own.datagrams.send_to(&answer.unwrap_or(late), client);
        });
        if !started {
            let _ = sandbox.datagrams.send_to(&failed, client);
        }
    }
}

/// Does work on a thread of its own, unless too many are under way.
fn start(sandbox: &Arc<Sandbox>, shared: &Arc<Shared>, work: impl FnOnce() + Send + 'static) -> bool {
    let places = Places { sandbox: sandbox.clone(), shared: shared.clone() };
    let all = shared.threads.fetch_add(1, Ordering::Relaxed);
    let own = sandbox.threads.fetch_add(1, Ordering::Relaxed);
    // Dropped with the closure, the places are given back in any case.
    let body = move || {
        work();
        drop(places);
    };
    let fits = all < THREADS_MAX && own < THREADS_OF_ONE_MAX;
    fits && std::thread::Builder::new().stack_size(STACK_BYTES).spawn(body).is_ok()
}

/// What a thread counts for.
struct Places {
    sandbox: Arc<Sandbox>,
    shared: Arc<Shared>,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.sandbox.threads.fetch_sub(1, Ordering::Relaxed);
        self.shared.threads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers the questions of one stream, one after the other.
fn stream_questions(mut stream: TcpStream, sandbox: &Arc<Sandbox>, shared: &Arc<Shared>) {
    let prepared = stream.set_nonblocking(false).and(stream.set_read_timeout(Some(STREAM_IDLE)));
    if prepared.and(stream.set_write_timeout(Some(STREAM_IDLE))).is_err() {
        return;
    }
    while let Ok(bytes) = forward::read_framed(&mut stream) {
        let view = sandbox.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = match message::parse(&bytes) {
            Err(refusal) => refusal,
            Ok(query) => {
                let known = local(&mut shared.zones.lock().unwrap_or_else(PoisonError::into_inner), &view, &query);
                match known {
                    Some((code, records)) => query.answer(code, &records),
                    None => {
                        let asked = on_own_thread(|| forward::forward(&bytes, &view.servers, sandbox.netns.as_fd(), true));
                        asked.unwrap_or_else(|| query.answer(Code::ServerFailure, &[]))
                    }
                }
            }
        };
        if answer.is_empty() || forward::write_framed(&mut stream, &answer).is_err() {
            return;
        }
    }
}

/// Runs what changes its thread's network namespace beside a thread that goes on.
fn on_own_thread<T: Send>(work: impl FnOnce() -> Option<T> + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.ok()?.join().ok().flatten()
    })
}

/// Answers from what is known here; none if others must be asked.
fn local(zones: &mut Zones, view: &View, query: &Query<'_>) -> Option<(Code, Vec<Record>)> {
    if query.kind == TYPE_PTR
        && let Some(address) = query.reverse()
    {
        return zones.name_of(view, address).map(|name| (Code::NoError, vec![Record::Name(name)]));
    }
    match zones.find(view, &query.name, query.kind == TYPE_AAAA) {
        // A name that has no address of this family exists nevertheless: to say otherwise would break clients that
        // ask for both. So do other types of records.
        Known::Addresses(found) if matches!(query.kind, TYPE_A | TYPE_AAAA) => {
            Some((Code::NoError, found.into_iter().map(Record::Address).collect()))
        }
        Known::Addresses(_) => Some((Code::NoError, Vec::new())),
        // The client comes again with its search domain. Source: moby, `libnetwork/resolver.go`, `serveDNS`.
        Known::Nothing if view.ndots && !query.name.contains('.') && matches!(query.kind, TYPE_A | TYPE_AAAA) => {
            Some((Code::NoError, Vec::new()))
        }
        Known::Nothing => None,
    }
}

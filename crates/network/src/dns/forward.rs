//! Questions that others must answer: asked from where the container stands, each on a thread of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::LinkNameSpaceType;

use super::Upstream;
use super::message;

/// Servers that are asked at most. Source: moby, `libnetwork/resolver.go`, `maxExtDNS`.
const SERVERS_MAX: usize = 3;
/// How long a server may take; the same source, `extIOTimeout`.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// When the next server is asked as well.
const NEXT_AFTER: Duration = Duration::from_millis(600);
const PORT: u16 = 53;
/// Bytes of the longest message.
const MESSAGE_MAX: usize = 1 << 16;

/// Asks the servers one after the other and returns the first answer that is none of a failure, else a failure's.
/// Runs on a thread that does nothing else: it may change its network namespace.
pub(crate) fn forward(query: &[u8], servers: &[Upstream], netns: BorrowedFd<'_>, stream: bool) -> Option<Vec<u8>> {
    let id = random_id().ok()?;
    let mut asked = query.to_vec();
    asked.get_mut(..2)?.copy_from_slice(&id);
    let servers = &servers[..servers.len().min(SERVERS_MAX)];
    let mut answer = if stream { by_stream(&asked, servers, netns) } else { by_datagrams(&asked, servers, netns) }?;
    answer[..2].copy_from_slice(&query[..2]);
    Some(answer)
}

fn random_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    Ok(id)
}

/// Opens a way to each server: those that only the host can reach first, then from the container's namespace.
fn ways<T>(servers: &[Upstream], netns: BorrowedFd<'_>, open: impl Fn(SocketAddr) -> io::Result<T>) -> Vec<T> {
    let address = |server: &Upstream| SocketAddr::new(server.address, PORT);
    let mut found: Vec<(usize, T)> = Vec::new();
    let numbered = || servers.iter().enumerate();
    let mut take = |from_host: bool| {
        for (place, server) in numbered().filter(|(_, server)| server.from_host == from_host) {
            // A server that cannot even be addressed is left out.
            if let Ok(way) = open(address(server)) {
                found.push((place, way));
            }
        }
    };
    take(true);
    if rustix::thread::move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).is_ok() {
        take(false);
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, way)| way).collect()
}

fn by_datagrams(query: &[u8], servers: &[Upstream], netns: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let open = |server: SocketAddr| {
        let any: IpAddr = if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let sockets = ways(servers, netns, open);
    let mut failures = 0;
    let mut last = None;
    let mut sent = 0;
    let mut next = Instant::now();
    let mut end = next + ANSWER_MAX;
    let mut buffer = vec![0; MESSAGE_MAX];
    while failures < sockets.len() && Instant::now() < end {
        if sent < sockets.len() && Instant::now() >= next {
            if sockets[sent].send(query).is_err() {
                failures += 1;
            } else {
                next = Instant::now() + NEXT_AFTER;
                end = Instant::now() + ANSWER_MAX;
            }
            sent += 1;
            continue;
        }
        let until = if sent < sockets.len() { next } else { end };
        wait_for(&sockets[..sent], until);
        for socket in &sockets[..sent] {
            match socket.recv(&mut buffer) {
                Ok(length) if message::is_answer(&buffer[..length], query) => {
                    let answer = buffer[..length].to_vec();
                    if !message::is_failure(&answer) {
                        return Some(answer);
                    }
                    last = Some(answer);
                    failures += 1;
                    next = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    failures += 1;
                    next = Instant::now();
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    last
}

fn wait_for(sockets: &[UdpSocket], until: Instant) {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let timeout = Timespec::try_from(left).ok();
    let mut fds: Vec<PollFd<'_>> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    // Interrupted or not: the caller looks at all of them again.
    let _ = poll(&mut fds, timeout.as_ref());
}

fn by_stream(query: &[u8], servers: &[Upstream], netns: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut last = None;
    let ask = |server: SocketAddr| {
        let mut stream = TcpStream::connect_timeout(&server, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        write_framed(&mut stream, query)?;
        read_framed(&mut stream)
    };
    for server in ordered(servers) {
        let answer = ways(std::slice::from_ref(server), netns, ask).pop();
        match answer.filter(|answer| message::is_answer(answer, query)) {
            Some(answer) if !message::is_failure(&answer) => return Some(answer),
            Some(failure) => last = Some(failure),
            None => {}
        }
    }
    last
}

/// Those that only the host can reach first: the thread does not come back from the container's namespace.
fn ordered(servers: &[Upstream]) -> impl Iterator<Item = &Upstream> {
    let from = |from_host: bool| servers.iter().filter(move |server| server.from_host == from_host);
    from(true).chain(from(false))
}

/// Writes a message to a stream. Source: RFC 1035 section 4.2.2.
pub(crate) fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

/// Reads a message from a stream.
pub(crate) fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

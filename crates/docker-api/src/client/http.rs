//! HTTP/1.1 as far as the Engine API needs it. **Source:** RFC 9112.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::Endpoint;

/// Longest line of a head.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Either kind of connection.
#[derive(Debug)]
pub enum Stream {
    /// To a socket of this machine.
    Unix(UnixStream),
    /// To a host.
    Tcp(TcpStream),
}

impl Stream {
    /// A second handle on the same connection.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    /// Says that nothing more will be sent; what comes can still be read.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn close_write(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(data),
            Self::Tcp(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Makes the data of an upload.
pub type Make<'a> = &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>;

/// A body that is sent in chunks, one a write.
struct Chunks<'a> {
    connection: &'a mut Connection,
    refused: bool,
}

impl Write for Chunks<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
        chunk.extend_from_slice(data);
        chunk.extend_from_slice(b"\r\n");
        let sent = self.connection.write(&chunk);
        self.refused = sent.is_err();
        sent.map(|()| data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection between two requests.
#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<Stream>,
    /// Lines that each request gets.
    headers: Arc<str>,
}

/// A raw stream: what was already read comes first.
#[derive(Debug)]
pub struct Hijacked {
    /// Reads what the engine sends.
    pub reader: BufReader<Stream>,
    /// Whether the answer said that several streams are framed in one.
    pub multiplexed: bool,
    /// The container, where an engine of ours says which one it made.
    pub container: Option<String>,
}

impl Hijacked {
    /// A handle to write with.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn writer(&self) -> io::Result<Stream> {
        self.reader.get_ref().try_clone()
    }
}

#[derive(Debug)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How much of a body is still to come.
#[derive(Debug)]
enum Rest {
    Length(u64),
    /// Bytes of the present chunk; `None` before the next chunk's size.
    Chunk(Option<u64>),
    UntilClose,
    Done,
}

/// An answer, read as it comes.
#[derive(Debug)]
pub struct Body {
    head: Head,
    rest: Rest,
    connection: Connection,
    keep: bool,
}

impl Connection {
    pub(super) fn open(endpoint: &Endpoint, headers: Arc<str>) -> io::Result<Self> {
        let stream = match endpoint {
            Endpoint::Through(way) => Stream::Unix(way.connect()?),
            Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address.as_str())?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        };
        Ok(Self { reader: BufReader::with_capacity(32 << 10, stream), headers })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(data)
    }

    /// Writes with descriptors, which come with the first byte.
    fn write_passing(&mut self, data: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<()> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        if passed.is_empty() {
            return self.write(data);
        }
        let Stream::Unix(stream) = self.reader.get_ref() else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "files can be handed to an engine on this host only"));
        };
        let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(passed)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than 16 descriptors at once"));
        }
        let sent = sendmsg(stream, &[io::IoSlice::new(data)], &mut ancillary, SendFlags::NOSIGNAL)?;
        self.write(data.get(sent..).unwrap_or_default())
    }

    fn head(&self, method: &str, path: &str, headers: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: api.moby.localhost\r\nUser-Agent: teu/{}\r\n{}{headers}\r\n",
            env!("CARGO_PKG_VERSION"),
            self.headers
        )
    }

    pub(super) fn send(mut self, method: &str, path: &str, body: Option<&[u8]>, registry_auth: Option<&str>) -> io::Result<Body> {
        let mut headers = match body {
            Some(body) => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
            None if method == "POST" => "Content-Length: 0\r\n".to_owned(),
            None => String::new(),
        };
        if let Some(auth) = registry_auth {
            headers.push_str(&format!("X-Registry-Auth: {auth}\r\n"));
        }
        let mut request = self.head(method, path, &headers).into_bytes();
        request.extend(body.unwrap_or_default());
        self.write(&request)?;
        self.answer(method == "HEAD")
    }

    pub(super) fn upload(mut self, method: &str, path: &str, content_type: &str, data: &mut dyn Read) -> io::Result<Body> {
        let headers = format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n");
        let head = self.head(method, path, &headers);
        self.write(head.as_bytes())?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match data.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            let sent = self
                .write(format!("{count:x}\r\n").as_bytes())
                .and_then(|()| self.write(&buffer[..count]))
                .and_then(|()| self.write(b"\r\n"));
            // An engine that refuses answers before all is sent: its words matter more than the broken pipe.
            if sent.is_err() || count == 0 {
                return self.answer(false);
            }
        }
    }

    /// As [`Self::upload`] for data that is made as it is sent.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    /// `passed` goes to the other side beside the head. **Source:** unix(7), `SCM_RIGHTS`.
    pub(super) fn upload_with(
        mut self,
        method: &str,
        path: &str,
        content_type: &str,
        passed: &[BorrowedFd<'_>],
        make: Make<'_>,
    ) -> io::Result<Body> {
        let headers = format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n");
        let head = self.head(method, path, &headers);
        self.write_passing(head.as_bytes(), passed)?;
        let mut chunks = Chunks { connection: &mut self, refused: false };
        let made = make(&mut chunks);
        // An engine that refuses answers before all is sent: its words matter more than the broken pipe.
        if !chunks.refused {
            made?;
            self.write(b"0\r\n\r\n")?;
        }
        self.answer(false)
    }

    pub(super) fn hijack(mut self, path: &str, body: Option<&[u8]>) -> io::Result<Result<Hijacked, Body>> {
        let kind = if body.is_some() { "application/json" } else { "text/plain" };
        let body = body.unwrap_or_default();
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", body.len());
        let mut request = self.head("POST", path, &headers).into_bytes();
        request.extend(body);
        self.write(&request)?;
        let answer = self.answer(false)?;
        let raw = answer.head.get("content-type").is_some_and(|kind| kind.starts_with("application/vnd.docker."));
        if answer.head.status == 101 || answer.head.status == 200 && raw {
            let multiplexed = answer.head.get("content-type") == Some("application/vnd.docker.multiplexed-stream");
            let container = answer.head.get("teu-container").map(str::to_owned);
            return Ok(Ok(Hijacked { reader: answer.connection.reader, multiplexed, container }));
        }
        Ok(Err(answer))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.reader).take(LINE_BYTES_MAX).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection"));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn answer(mut self, headless: bool) -> io::Result<Body> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer: {what}"));
        let head = loop {
            let first = self.line()?;
            let status = first
                .strip_prefix("HTTP/1.")
                .and_then(|rest| rest.get(2..5))
                .and_then(|code| code.parse().ok())
                .ok_or_else(|| bad(&first))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status != 100 {
                break Head { status, headers };
            }
        };
        let chunked = head.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = head.get("content-length").and_then(|value| value.parse().ok());
        let rest = match (headless || matches!(head.status, 101 | 204 | 304), chunked, length) {
            (true, ..) => Rest::Done,
            (false, true, _) => Rest::Chunk(None),
            (false, false, Some(length)) => Rest::Length(length),
            (false, false, None) => Rest::UntilClose,
        };
        let keep = !head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Body { head, rest, connection: self, keep })
    }
}

impl Body {
    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// A header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The connection, if the body was read to its end and the engine keeps it open.
    pub(super) fn into_connection(self) -> Option<Connection> {
        (self.keep && matches!(self.rest, Rest::Done)).then_some(self.connection)
    }

    fn part(&mut self, buffer: &mut [u8], left: u64) -> io::Result<u64> {
        let size = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.connection.reader.read(&mut buffer[..size])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count as u64)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (count, rest) = match self.rest {
                Rest::Done | Rest::Length(0) => {
                    self.rest = Rest::Done;
                    return Ok(0);
                }
                Rest::UntilClose => {
                    self.keep = false;
                    return self.connection.reader.read(buffer);
                }
                Rest::Length(left) => {
                    let count = self.part(buffer, left)?;
                    (count, Rest::Length(left - count))
                }
                Rest::Chunk(None) => {
                    let line = self.connection.line()?;
                    let size = line.split(';').next().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
                    let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "bad chunk"))?;
                    if size == 0 {
                        while !self.connection.line()?.is_empty() {}
                        self.rest = Rest::Done;
                        return Ok(0);
                    }
                    self.rest = Rest::Chunk(Some(size));
                    continue;
                }
                Rest::Chunk(Some(left)) => {
                    let count = self.part(buffer, left)?;
                    if count == left {
                        self.connection.line()?;
                    }
                    (count, Rest::Chunk((count < left).then_some(left - count)))
                }
            };
            self.rest = rest;
            return Ok(usize::try_from(count).unwrap_or_default());
        }
    }
}

//! Heads and bodies of HTTP/1.1, as far as an engine uses them.
//! **Source:** RFC 9112.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

/// Longest head that is read: more is no engine's answer.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// A connected stream.
#[derive(Debug)]
pub enum Transport {
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl Transport {
    /// A second handle of the same stream.
    ///
    /// # Errors
    /// No file descriptor is free.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
        }
    }

    /// Tells the engine that no more bytes come from us.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(bytes),
            Self::Tcp(stream) => stream.read(bytes),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a request carries.
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// A JSON text.
    Json(Vec<u8>),
    /// Bytes of unknown length, sent in chunks.
    Stream {
        /// Their media type.
        content_type: &'a str,
        /// Where they come from.
        source: &'a mut dyn Read,
    },
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Json(_) => "Json",
            Self::Stream { .. } => "Stream",
        })
    }
}

/// One request before it is sent.
pub(super) struct Request<'a, 'b> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) body: Body<'b>,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) user_agent: &'a str,
}

/// How the end of a body is known.
#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked { left: u64, first: bool, done: bool },
    UntilClose,
}

/// An answer, whose body is read through [`Read`].
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    stream: BufReader<Transport>,
}

/// A connection that is a raw stream in both directions.
#[derive(Debug)]
pub struct Upgraded {
    headers: Vec<(String, String)>,
    /// What the engine sends; bytes behind the answer's head come first.
    pub reader: BufReader<Transport>,
}

impl Upgraded {
    /// Whether the engine said that the stream is multiplexed; none if it said nothing.
    pub fn multiplexed(&self) -> Option<bool> {
        match find(&self.headers, "content-type")? {
            "application/vnd.docker.multiplexed-stream" => Some(true),
            _ => None,
        }
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The direction to the engine.
    ///
    /// # Errors
    /// No file descriptor is free.
    pub fn writer(&self) -> io::Result<Transport> {
        self.reader.get_ref().try_clone()
    }
}

impl Response {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Gives up HTTP: the connection is a raw stream from now on.
    pub fn into_upgraded(self) -> Upgraded {
        Upgraded {
            headers: self.headers,
            reader: self.stream,
        }
    }

    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        let mut line = String::new();
        if !first {
            self.stream.read_line(&mut line)?;
            line.clear();
        }
        if (&mut self.stream).take(1024).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length =
            u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk has no length"))?;
        if length == 0 {
            // Trailers, up to the empty line; an early end is as good.
            loop {
                line.clear();
                if self.stream.read_line(&mut line)? == 0 || line.trim().is_empty() {
                    break;
                }
            }
        }
        Ok(length)
    }
}

impl Read for Response {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if let Framing::Chunked {
            left: 0,
            first,
            done: false,
        } = self.framing
        {
            let left = self.next_chunk(first)?;
            self.framing = Framing::Chunked {
                left,
                first: false,
                done: left == 0,
            };
        }
        let left = match &mut self.framing {
            Framing::UntilClose => return self.stream.read(bytes),
            Framing::Length(left) | Framing::Chunked { left, .. } => left,
        };
        if *left == 0 {
            return Ok(0);
        }
        let count = (&mut self.stream).take(*left).read(bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Sends `request` and reads the head of the answer.
pub(super) fn exchange(mut transport: Transport, request: Request<'_, '_>) -> io::Result<Response> {
    let method = request.method.to_owned();
    // An engine that refuses early closes before it has read everything: its answer
    // tells more than our failed write.
    let sent = send(&mut transport, request);
    let mut stream = BufReader::with_capacity(16 << 10, transport);
    match (read_head(&mut stream), sent) {
        (Ok((status, headers)), _) => {
            let framing = framing(&method, status, &headers)?;
            Ok(Response {
                status,
                headers,
                framing,
                stream,
            })
        }
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

fn send(transport: &mut Transport, request: Request<'_, '_>) -> io::Result<()> {
    let Request {
        method,
        target,
        body,
        headers,
        user_agent,
    } = request;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: api.moby.localhost\r\nUser-Agent: {user_agent}\r\n"
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    match body {
        Body::Empty => {
            if method == "POST" {
                head.push_str("Content-Length: 0\r\n");
            }
            head.push_str("\r\n");
            transport.write_all(head.as_bytes())
        }
        Body::Json(text) => {
            let length = text.len().to_string();
            head.extend([
                "Content-Type: application/json\r\nContent-Length: ",
                &length,
                "\r\n\r\n",
            ]);
            let mut bytes = head.into_bytes();
            bytes.extend(text);
            transport.write_all(&bytes)
        }
        Body::Stream {
            content_type,
            source,
        } => {
            head.extend([
                "Content-Type: ",
                content_type,
                "\r\nTransfer-Encoding: chunked\r\n\r\n",
            ]);
            transport.write_all(head.as_bytes())?;
            send_chunks(transport, source)
        }
    }
}

fn send_chunks(transport: &mut Transport, source: &mut dyn Read) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = match source.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        transport.write_all(format!("{count:x}\r\n").as_bytes())?;
        transport.write_all(piece.get(..count).unwrap_or_default())?;
        transport.write_all(b"\r\n")?;
        if count == 0 {
            return Ok(());
        }
    }
}

type Head = (u16, Vec<(String, String)>);

fn read_head(stream: &mut BufReader<Transport>) -> io::Result<Head> {
    loop {
        let mut limited = stream.take(HEAD_BYTES_MAX);
        let mut line = String::new();
        if limited.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut words = line.split_whitespace();
        let known = words
            .next()
            .is_some_and(|version| version.starts_with("HTTP/1."));
        let status = words.next().and_then(|status| status.parse::<u16>().ok());
        let Some(status) = status.filter(|_| known) else {
            return Err(malformed("malformed HTTP response"));
        };
        let mut headers = Vec::new();
        loop {
            line.clear();
            if limited.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| malformed("malformed HTTP header"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        // 100 Continue and its like only announce the answer.
        if status == 101 || status >= 200 {
            return Ok((status, headers));
        }
    }
}

fn framing(method: &str, status: u16, headers: &[(String, String)]) -> io::Result<Framing> {
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if status == 101 {
        return Ok(Framing::UntilClose);
    }
    if find(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        return Ok(Framing::Chunked {
            left: 0,
            first: true,
            done: false,
        });
    }
    match find(headers, "content-length") {
        Some(length) => length
            .parse()
            .map(Framing::Length)
            .map_err(|_| malformed("malformed Content-Length")),
        None => Ok(Framing::UntilClose),
    }
}

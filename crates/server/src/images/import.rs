//! `POST /images/create` from a tar: the request's body, or an address that is fetched.
//!
//! **Source:** moby, `api/server/router/image/image_routes.go`, `postImagesCreate`; `builder/remotecontext/remote.go`.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;

use docker_api::types::Progress;
use http::StatusCode;
use image::{ImportError, ImportOptions};

use super::{load_error, platform, reference};
use crate::ApiError;
use crate::app::App;
use crate::jobs::stream_job;
use crate::reply::Reply;
use crate::request::Call;
use crate::upload::Upload;

/// Longest head of an answer.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a refusal that are shown.
const REFUSAL_BYTES_MAX: u64 = 4 << 10;
/// Addresses that an answer may lead on to. **Source:** Go, `net/http`, `defaultCheckRedirect`.
const REDIRECTS_MAX: usize = 10;

impl App {
    /// Makes an image of a tar (`fromSrc`), or pulls one (`fromImage`).
    pub(crate) async fn image_create(&self, call: Call) -> Result<Reply, ApiError> {
        let query = &call.query;
        let source = query.text("fromSrc").to_owned();
        if source.is_empty() {
            return self.image_pull(&call).await;
        }
        let name = query.text("repo");
        let mut options = ImportOptions {
            reference: match name {
                "" => None,
                name => Some(reference(name, query.text("tag"))?),
            },
            changes: query.all("changes").map(str::to_owned).collect(),
            message: query.find("message").filter(|text| !text.is_empty()).map(str::to_owned),
            platform: platform(query.text("platform"))?,
        };
        if source != "-" && options.message.is_none() {
            options.message = Some(format!("Imported from {source}"));
        }
        let address = (source != "-").then(|| source.parse::<Address>()).transpose()?;
        let upload = Upload::new(call.into_body());
        let app = self.clone();
        stream_job(move |output| {
            let imported = match address {
                None => app.images.import(upload, options),
                Some(address) => {
                    let body = fetch(address)?;
                    output.line(&Progress { status: format!("Downloading from {source}"), ..Progress::default() });
                    app.images.import(body, options)
                }
            };
            let id = imported.map_err(|cause| match &cause {
                ImportError::Load(load) => load_error(load),
                ImportError::Change { .. } => ApiError::from_error(StatusCode::BAD_REQUEST, &cause),
            })?;
            app.image_event("import", &id, &id.to_string());
            output.line(&Progress { status: id.to_string(), ..Progress::default() });
            Ok(())
        })
        .await
    }
}

/// A host with a port, and a path on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    host: String,
    path: String,
}

impl std::str::FromStr for Address {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => {
                let text = format!("cannot import from `{text}`: only http:// is fetched; download it first, and import the file");
                return Err(ApiError::unsupported(text));
            }
            None => text,
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let odd = |letter: char| letter.is_control() || letter.is_whitespace();
        if host.is_empty() || host.contains('@') || rest.contains(odd) {
            return Err(ApiError::invalid(format!("cannot import from `{text}`: it is no address")));
        }
        let path = path.split('#').next().unwrap_or_default();
        Ok(Self { host: host.to_owned(), path: format!("/{path}") })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

/// A body of known or unknown length; one that ends early is an error.
struct Fetched {
    reader: BufReader<TcpStream>,
    left: Option<u64>,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left else { return self.reader.read(buffer) };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - u64::try_from(count).unwrap_or_default());
        Ok(count)
    }
}

/// What an answer begins with.
#[derive(Debug, Default)]
struct Head {
    /// Code and words.
    status: String,
    length: Option<u64>,
    location: Option<String>,
}

/// Fetches an address, following where it leads.
fn fetch(mut address: Address) -> Result<impl Read, ApiError> {
    for _ in 0..=REDIRECTS_MAX {
        let failed = |cause: &io::Error| ApiError::internal(format!("Get \"{address}\": {cause}"));
        let (head, mut body) = ask(&address).map_err(|cause| failed(&cause))?;
        match (head.status.get(..3), head.location) {
            (Some("200"), _) => return Ok(body),
            (Some("301" | "302" | "303" | "307" | "308"), Some(location)) => {
                address = match location.strip_prefix('/') {
                    Some(path) => Address { path: format!("/{path}"), ..address },
                    None => location.parse()?,
                };
            }
            _ => {
                let mut text = Vec::new();
                // What can be read of it is shown.
                let _ = body.by_ref().take(REFUSAL_BYTES_MAX).read_to_end(&mut text);
                let text = String::from_utf8_lossy(&text);
                return Err(ApiError::internal(format!("failed to GET {address} with status {}: {}", head.status, text.trim())));
            }
        }
    }
    Err(ApiError::internal(format!("Get \"{address}\": stopped after {REDIRECTS_MAX} redirects")))
}

/// Sends one request. As a client of HTTP/1.0 it gets no chunks.
fn ask(address: &Address) -> io::Result<(Head, Fetched)> {
    let has_port = address.host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let place = if has_port { address.host.clone() } else { format!("{}:80", address.host) };
    let mut stream = TcpStream::connect(&place)?;
    // In one piece.
    let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\nAccept-Encoding: identity\r\n\r\n", address.path, address.host);
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let head = read_head(&mut reader)?;
    let left = head.length;
    Ok((head, Fetched { reader, left }))
}

fn read_head(reader: &mut impl io::BufRead) -> io::Result<Head> {
    let mut head = Head::default();
    for (index, line) in reader.take(HEAD_BYTES_MAX).lines().enumerate() {
        let line = line?;
        if index == 0 {
            let status = line.strip_prefix("HTTP/").and_then(|rest| rest.split_once(' '));
            let (_, status) = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed HTTP response"))?;
            status.clone_into(&mut head.status);
            continue;
        }
        if line.is_empty() {
            return Ok(head);
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.trim().parse().ok(),
            "location" => head.location = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let address: Address = "http://example.org:8080/a/b.tar?x=y#z".parse().unwrap();
        assert_eq!((address.host.as_str(), address.path.as_str()), ("example.org:8080", "/a/b.tar?x=y"));
        assert_eq!("example.org".parse::<Address>().unwrap().to_string(), "http://example.org/");
        assert_eq!("https://example.org/a".parse::<Address>().unwrap_err().status, StatusCode::NOT_IMPLEMENTED);
        for wrong in ["http:///a", "http://a b/", "http://user@host/", "http://a/\r\nX: y"] {
            assert_eq!(wrong.parse::<Address>().unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    #[test]
    fn heads_are_read_up_to_the_body() {
        let mut bytes = &b"HTTP/1.1 302 Found\r\nContent-Length: 5\r\nLocation: /there\r\n\r\nhello"[..];
        let head = read_head(&mut bytes).unwrap();
        assert_eq!((head.status.as_str(), head.length, head.location.as_deref()), ("302 Found", Some(5), Some("/there")));
        assert_eq!(bytes, b"hello");
        for wrong in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"garbage\r\n\r\n"] {
            assert!(read_head(&mut &wrong[..]).is_err());
        }
    }
}

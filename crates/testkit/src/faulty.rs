//! A registry that misbehaves as a test wants it to, and a small image that it serves.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sha2::Digest as _;

/// How often a connection that stalls looks whether the test has ended.
const CHECK: Duration = Duration::from_millis(20);

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in small letters.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value, or the empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Where a range begins; 0 without one.
    #[must_use]
    pub fn begin(&self) -> usize {
        self.header("range").trim_start_matches("bytes=").split('-').next().and_then(|begin| begin.parse().ok()).unwrap_or(0)
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers; the length is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What goes wrong.
    pub fault: Fault,
}

/// How an answer goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays open.
    Stall(usize),
    /// The body has no end.
    Endless,
    /// There is no answer: the connection ends.
    Gone,
}

impl Answer {
    /// An answer without a fault.
    #[must_use]
    pub fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), kind.to_owned())], body: body.into(), fault: Fault::None }
    }

    /// An error in the form of the specification.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status, "application/json", format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
    }

    /// With a further header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a fault.
    #[must_use]
    pub fn faulty(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// A running server; ended when dropped.
pub struct Faulty {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Faulty {
    /// Serves on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is none.
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (requests, stopped) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, stop) = (Arc::clone(&requests), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, log, stop) = (Arc::clone(&handler), Arc::clone(&log), Arc::clone(&stop));
                // A client that goes away in the middle is what the tests are about.
                std::thread::spawn(move || drop(serve(stream, &*handler, &log, &stop)));
            }
        });
        Ok(Self { address, requests, stopped })
    }

    /// `127.0.0.1` and the port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(&self.address));
    }
}

fn serve(stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Request>>, stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let answer = handler(&request);
        let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if answer.fault == Fault::Gone {
            return Ok(());
        }
        if answer.fault == Fault::Endless {
            writer.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
            loop {
                writer.write_all(b"1000\r\n")?;
                writer.write_all(&[b'x'; 0x1000])?;
                writer.write_all(b"\r\n")?;
            }
        }
        let own_length = answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = if own_length { String::new() } else { format!("Content-Length: {}\r\n", answer.body.len()) };
        writer.write_all(format!("{head}{length}\r\n").as_bytes())?;
        let body: &[u8] = if request.method == "HEAD" { &[] } else { &answer.body };
        match answer.fault {
            Fault::None => writer.write_all(body)?,
            Fault::Cut(sent) => return writer.write_all(&body[..sent.min(body.len())]),
            Fault::Stall(sent) => {
                writer.write_all(&body[..sent.min(body.len())])?;
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(CHECK);
                }
                return Ok(());
            }
            Fault::Endless | Fault::Gone => {}
        }
    }
    Ok(())
}

/// Reads a request; `None` when the client has no more.
fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body }))
}

/// Names bytes as registries do.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// An image as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Compressed layers, the lowest first.
    pub layers: Vec<Vec<u8>>,
    /// Configuration.
    pub config: Vec<u8>,
    /// Manifest.
    pub manifest: Vec<u8>,
}

/// Media type of the sample's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of indexes.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Sample {
    /// Makes an image of so many layers, each with a file of `bytes` bytes that do not compress well.
    ///
    /// # Errors
    /// Never: memory is written.
    pub fn new(layers: u8, bytes: usize) -> Result<Self> {
        let mut diff_ids = Vec::new();
        let mut packed = Vec::new();
        for layer in 0..layers {
            let tar = tar(&format!("file{layer}"), &noise(bytes, layer));
            diff_ids.push(digest(&tar));
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&tar)?;
            packed.push(encoder.finish()?);
        }
        Ok(Self::of(packed, &diff_ids))
    }

    /// Makes an image of these compressed layers, whose configuration names `diff_ids`.
    #[must_use]
    pub fn of(layers: Vec<Vec<u8>>, diff_ids: &[String]) -> Self {
        let quoted: Vec<String> = diff_ids.iter().map(|digest| format!("\"{digest}\"")).collect();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            quoted.join(",")
        );
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        let entries: Vec<String> = layers.iter().map(|layer| descriptor(kind, layer)).collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            entries.join(",")
        );
        Self { layers, config: config.into_bytes(), manifest: manifest.into_bytes() }
    }

    /// Answers as a sound registry does, ranges included.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        if path == "/v2/" {
            return Answer::new(200, "application/json", "{}");
        }
        if path.contains("/manifests/") {
            let reference = path.rsplit('/').next().unwrap_or_default();
            let own = digest(&self.manifest);
            if reference.starts_with("sha256:") && reference != own {
                return Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
            }
            return Answer::new(200, MANIFEST, self.manifest.clone()).with("Docker-Content-Digest", &own);
        }
        let blobs = self.layers.iter().chain([&self.config]);
        let Some(blob) = blobs.into_iter().find(|blob| path.ends_with(&digest(blob))) else {
            return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        match request.begin() {
            0 => Answer::new(200, "application/octet-stream", blob.clone()),
            begin => {
                let range = format!("bytes {begin}-{}/{}", blob.len() - 1, blob.len());
                Answer::new(206, "application/octet-stream", &blob[begin..]).with("Content-Range", &range)
            }
        }
    }

    /// Whether a request asks for a layer.
    #[must_use]
    pub fn asks_layer(&self, request: &Request) -> bool {
        request.path.contains("/blobs/") && self.layers.iter().any(|layer| request.path.contains(&digest(layer)))
    }
}

/// A descriptor of some bytes.
#[must_use]
pub fn descriptor(kind: &str, bytes: &[u8]) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, digest(bytes), bytes.len())
}

/// Bytes that look random and are the same each time.
fn noise(bytes: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_add(0x9e37_79b9_7f4a_7c15);
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A tar with one file. **Source:** POSIX.1-2001, `pax`, "ustar Interchange Format".
#[must_use]
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header;
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

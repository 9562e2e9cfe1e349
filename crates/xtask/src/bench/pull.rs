//! Times the pull of a large image from a registry on this machine: 5 layers, 50,000 entries, 1 GB.
//!
//! The image is made once and kept in the target directory; the registry is Debian's, with its own storage.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use testkit::daemon::{Daemon, Network};
use testkit::registry::{Access, Registry};

use super::{Peer, field, middle};
use crate::{call, release, setup, workspace};

/// Layers of the image.
const LAYERS: u64 = 5;
/// Entries of a layer: directories, links, and for the rest files.
const ENTRIES: u64 = 10_000;
const DIRECTORIES: u64 = 500;
const LINKS: u64 = 200;
/// Mean bytes of a file: 1 GB in all.
const FILE_BYTES: u64 = 21_500;
/// Pulls that count.
const RUNS: usize = 5;
/// Before each pull: what the last one left to write is on the disk then.
const GAP: Duration = Duration::from_millis(500);

/// `bench pull [HOST [TEU]]`.
pub(crate) fn alone(args: &[&str]) -> Result<()> {
    setup::run()?;
    let teu = args.get(1).map_or_else(release, |path| Ok(PathBuf::from(path)))?;
    let daemon = Daemon::start(&teu, Network::Host)?;
    run(&daemon, args.first().map(|host| Peer { host }).as_ref())
}

/// Both engines pull the same image in turn.
pub(super) fn run(daemon: &Daemon, peer: Option<&Peer<'_>>) -> Result<()> {
    let layout = image()?;
    let registry = Registry::start(Access::Open)?;
    let name = format!("{}/bench:1", registry.address());
    let source = format!("oci:{}:1", layout.display());
    call(Command::new("skopeo").args(["copy", "-q", "--dest-tls-verify=false", &source, &format!("docker://{name}")]))?;
    let (mut own, mut theirs, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let ours = once(&mut || daemon.command(), &name)?;
        if run == 0 {
            same.extend((0..RUNS).map(|_| timed(daemon.command().args(["pull", "-q", &name]))).collect::<Result<Vec<_>>>()?);
        }
        daemon.ok(["rmi", &name])?;
        let docker = match peer {
            Some(peer) => {
                let docker = once(&mut || peer.command(), &name)?;
                peer.ok(&["rmi", &name])?;
                Some(docker)
            }
            None => None,
        };
        if run > 0 {
            own.push(ours);
            theirs.extend(docker);
        }
    }
    let own = middle(own);
    let docker = (!theirs.is_empty()).then(|| middle(theirs));
    println!(
        "pull of 1 GB in {LAYERS} layers and {} entries: teu {own:.0} ms (durable), docker {}, ratio {}",
        LAYERS * ENTRIES,
        docker.map_or("–".into(), |value| format!("{value:.0} ms")),
        docker.map_or("–".into(), |value| format!("{:.1}×", value / own))
    );
    println!("pull of an unchanged image: {:.1} ms; engine's highest RSS {} KiB", middle(same), peak(daemon)?);
    Ok(())
}

fn once(command: &mut dyn FnMut() -> Command, name: &str) -> Result<f64> {
    call(&mut Command::new("sync"))?;
    std::thread::sleep(GAP);
    timed(command().args(["pull", "-q", name]))
}

fn timed(command: &mut Command) -> Result<f64> {
    let begin = Instant::now();
    let output = command.output()?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn peak(daemon: &Daemon) -> Result<u64> {
    field(Path::new(&format!("/proc/{}/status", daemon.pid())), "VmHWM:")
}

/// Makes the image as an OCI layout, unless it is there.
fn image() -> Result<PathBuf> {
    let layout = workspace().join("target/bench-image");
    if layout.join("index.json").exists() {
        return Ok(layout);
    }
    println!("==> make an image of 1 GB (kept for the next time)");
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let made: Vec<Layer> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..LAYERS).map(|number| (number, &blobs)).map(|(number, blobs)| scope.spawn(move || layer(blobs, number))).collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?).collect::<Result<_>>()
    })?;
    let quoted = |texts: Vec<String>| texts.join(",");
    let diff_ids = quoted(made.iter().map(|layer| format!("\"sha256:{}\"", layer.diff_id)).collect());
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config =
        format!(r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#);
    let kind = "application/vnd.oci.image";
    let layers = quoted(made.iter().map(|layer| descriptor(&format!("{kind}.layer.v1.tar+gzip"), &layer.digest, layer.size)).collect());
    let config = blob(&blobs, &format!("{kind}.config.v1+json"), &config)?;
    let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{config},"layers":[{layers}]}}"#);
    let manifest = blob(&blobs, &format!("{kind}.manifest.v1+json"), &manifest)?;
    let manifest = manifest.trim_end_matches('}');
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifest},"annotations":{{"org.opencontainers.image.ref.name":"1"}}}}]}}"#);
    std::fs::write(layout.join("index.json"), index)?;
    Ok(layout)
}

fn descriptor(kind: &str, digest: &str, size: u64) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"sha256:{digest}","size":{size}}}"#)
}

fn blob(blobs: &Path, kind: &str, text: &str) -> Result<String> {
    let digest = hex(Sha256::digest(text.as_bytes()).as_slice());
    std::fs::write(blobs.join(&digest), text)?;
    Ok(descriptor(kind, &digest, u64::try_from(text.len())?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

struct Layer {
    diff_id: String,
    digest: String,
    size: u64,
}

/// Digests and counts what passes.
struct Digesting<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W> Digesting<W> {
    fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), size: 0 }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += u64::try_from(count).unwrap_or_default();
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Writes one layer; its files are text that compresses about as programs and libraries do.
fn layer(blobs: &Path, number: u64) -> Result<Layer> {
    let part = blobs.join(format!("part{number}"));
    let file = Digesting::new(BufWriter::new(std::fs::File::create(&part)?));
    let mut tar = Digesting::new(GzEncoder::new(file, flate2::Compression::default()));
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ number;
    let pool = pool(&mut state);
    for entry in 0..ENTRIES {
        let folder = format!("layer{number}/d{:03}", entry % DIRECTORIES);
        if entry < DIRECTORIES {
            tar.write_all(&header(&format!("{folder}/"), 0, b'5', ""))?;
        } else if entry < DIRECTORIES + LINKS {
            tar.write_all(&header(&format!("{folder}/link{entry}"), 0, b'2', "../elsewhere"))?;
        } else {
            let size = FILE_BYTES / 4 + next(&mut state) % (FILE_BYTES * 3 / 2);
            let begin = usize::try_from(next(&mut state))? % (pool.len() - usize::try_from(size)?);
            tar.write_all(&header(&format!("{folder}/file{entry}"), size, b'0', ""))?;
            tar.write_all(&pool[begin..begin + usize::try_from(size)?])?;
            tar.write_all(&vec![0; usize::try_from(size.next_multiple_of(512) - size)?])?;
        }
    }
    tar.write_all(&[0; 1024])?;
    let diff_id = hex(tar.hash.finalize().as_slice());
    let mut file = tar.out.finish()?;
    file.flush()?;
    let digest = hex(file.hash.finalize().as_slice());
    std::fs::rename(&part, blobs.join(&digest)).context("cannot name a layer")?;
    Ok(Layer { diff_id, digest, size: file.size })
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Words of random letters: about a third of the bits say something.
fn pool(state: &mut u64) -> Vec<u8> {
    let mut pool = Vec::with_capacity(8 << 20);
    let words: Vec<Vec<u8>> = (0..4096).map(|_| next(state).to_le_bytes().iter().map(|byte| b'a' + byte % 26).collect()).collect();
    while pool.len() < 8 << 20 {
        pool.extend_from_slice(&words[usize::try_from(next(state) % 4096).unwrap_or_default()]);
        pool.push(b' ');
    }
    pool
}

/// **Source:** POSIX.1-2001, `pax`, "ustar Interchange Format".
fn header(name: &str, size: u64, kind: u8, link: &str) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, if kind == b'5' { "0000755\0" } else { "0000644\0" });
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "14000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

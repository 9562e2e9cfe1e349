//! What a build gets from this side: the context, the Dockerfile, contexts with names, secrets and agents.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use docker_api::archive::{Choice, Source, Tree, pack_some};
use docker_api::ignore::Ignore;
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value, json};

use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// Name of the Dockerfile beside the context; the engine takes it out again.
pub(super) const DOCKERFILE: &str = ".teu-dockerfile";
/// Name of what is ignored beside the context.
const IGNORE: &str = ".teu-dockerignore";
/// Folder of contexts with names.
const NAMED: &str = ".teu-contexts";
/// A tar begins its header's magic here.
const MAGIC_AT: usize = 257;

/// What is sent.
pub(super) enum Input {
    /// A directory, what of it stays at home, and the Dockerfile.
    Directory { path: PathBuf, ignore: String, dockerfile: Vec<u8> },
    /// A Dockerfile alone.
    Dockerfile(Vec<u8>),
    /// An archive from standard input, with the part that was read to tell what it is.
    Archive(Vec<u8>),
    /// A repository or an archive at an address, which the engine fetches.
    Remote(String),
}

/// All that a build gets from this side.
pub(super) struct Offer {
    pub(super) input: Input,
    /// What people call the Dockerfile.
    pub(super) title: String,
    /// Contexts with names that are directories.
    folders: Vec<(String, PathBuf)>,
    /// Those that are something else.
    others: BTreeMap<String, String>,
    /// Sockets of agents by name.
    agents: Vec<(String, PathBuf)>,
}

impl Offer {
    pub(super) fn new(given: &Given) -> Outcome<Self> {
        let (input, title) = input(given)?;
        let mut offer = Self { input, title, folders: Vec::new(), others: BTreeMap::new(), agents: agents(given)? };
        for text in given.all("build-context") {
            let Some((name, place)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(Failure::new(format!("invalid value {text}, expected name=directory or name=address")));
            };
            if place.starts_with("oci-layout://") {
                return Err(Failure::new(format!(
                    "--build-context {text}: load the layout with `image load` and give docker-image://NAME"
                )));
            }
            if place.contains("://") || place.starts_with("git@") {
                offer.others.insert(name.to_lowercase(), place.to_owned());
            } else if Path::new(place).is_dir() {
                offer.folders.push((name.to_lowercase(), PathBuf::from(place)));
            } else {
                return Err(Failure::new(format!("--build-context {text}: {place} is no directory and no address")));
            }
        }
        Ok(offer)
    }

    /// Opens what an engine on this host reads by itself: directories first, then sockets.
    pub(super) fn open(&self) -> Outcome<Vec<OwnedFd>> {
        let open = |path: &Path, flags: OFlags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Failure::new(format!("cannot open {}: {error}", path.display())))
        };
        let main = match &self.input {
            Input::Directory { path, .. } => Some(path),
            Input::Dockerfile(_) | Input::Archive(_) | Input::Remote(_) => None,
        };
        let folders = main.into_iter().chain(self.folders.iter().map(|(_, path)| path));
        let mut all = folders.map(|path| open(path, OFlags::RDONLY | OFlags::DIRECTORY)).collect::<Outcome<Vec<_>>>()?;
        for (_, path) in &self.agents {
            all.push(open(path, OFlags::PATH)?);
        }
        Ok(all)
    }

    /// The words of the query that say what is where.
    pub(super) fn words(&self, passed: bool) -> Outcome<Vec<(&'static str, String)>> {
        let mut words = vec![("dockerfilename", self.title.clone())];
        let mut next = 0;
        let mut place = |kind: &str| {
            next += 1;
            format!("{kind}:{}", next - 1)
        };
        match &self.input {
            Input::Directory { .. } if passed => {
                place("fd");
                words.push(("context", "fd".to_owned()));
            }
            Input::Remote(url) => words.push(("remote", url.clone())),
            Input::Directory { .. } | Input::Dockerfile(_) | Input::Archive(_) => {}
        }
        let mut contexts = self.others.clone();
        for (name, _) in &self.folders {
            contexts.insert(name.clone(), place(if passed { "fd" } else { "tar" }));
        }
        if !contexts.is_empty() {
            words.push(("contexts", json!(contexts).to_string()));
        }
        if !self.agents.is_empty() {
            if !passed {
                return Err(Failure::new("--ssh needs an engine on this host, and to be run by its user"));
            }
            let agents: BTreeMap<&str, String> =
                self.agents.iter().map(|(name, _)| (name.as_str(), place("fd").trim_start_matches("fd:").to_owned())).collect();
            words.push(("agents", json!(agents).to_string()));
        }
        Ok(words)
    }

    /// Writes the archive; of directories that are passed only what the engine needs beside them.
    pub(super) fn send(&self, passed: bool, output: &mut dyn Write) -> io::Result<()> {
        match &self.input {
            Input::Archive(head) => {
                output.write_all(head)?;
                return io::copy(&mut io::stdin().lock(), output).map(drop);
            }
            Input::Remote(_) => {}
            Input::Dockerfile(bytes) => file(DOCKERFILE, bytes, output)?,
            Input::Directory { dockerfile, ignore, .. } => {
                file(DOCKERFILE, dockerfile, output)?;
                file(IGNORE, ignore.as_bytes(), output)?;
            }
        }
        if !passed {
            for (number, (_, path)) in self.folders.iter().enumerate() {
                folder(&format!("{NAMED}/{number}"), path, &Ignore::default(), output)?;
            }
            if let Input::Directory { path, ignore, .. } = &self.input {
                return folder(".", path, &Ignore::parse(ignore), output);
            }
        }
        output.write_all(&[0; 1024])
    }
}

/// Borrows descriptors to pass them.
pub(super) fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(|fd| fd.as_fd()).collect()
}

/// Packs a directory without what is ignored; an archive that goes on has no end yet.
fn folder(name: &str, path: &Path, ignore: &Ignore, output: &mut dyn Write) -> io::Result<()> {
    let tree = Tree::of_caller(std::fs::File::open(path)?.into());
    let choose = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        let name = name.trim_start_matches("./").trim_matches('/');
        match name {
            "" | "." => Choice::Take,
            DOCKERFILE | IGNORE => Choice::Skip,
            name if ignore.prunes(name) => Choice::Prune,
            name if ignore.excludes(name) => Choice::Skip,
            _ => Choice::Take,
        }
    };
    let source = Source { tree: &tree, folder: "/", entry: ".", name };
    if name == "." {
        return pack_some(source, &choose, io::BufWriter::with_capacity(256 << 10, output));
    }
    let mut packed = Vec::new();
    pack_some(source, &choose, &mut packed)?;
    // The end of an archive: two blocks of nothing.
    let end = packed.len().saturating_sub(1024);
    output.write_all(packed.get(..end).unwrap_or_default())
}

fn input(given: &Given) -> Outcome<(Input, String)> {
    let place = given.args.first().map(String::as_str).unwrap_or_default();
    let file = given.get("file");
    let title = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    if place == "-" {
        if file == Some("-") {
            return Err(Failure::new("invalid argument: can't use stdin for both build context and dockerfile"));
        }
        return Ok((standard_input()?, title(file.unwrap_or("Dockerfile"))));
    }
    if place.contains("://") || place.starts_with("git@") || (place.starts_with("github.com/") && !Path::new(place).exists()) {
        return Ok((Input::Remote(place.to_owned()), title(file.unwrap_or("Dockerfile"))));
    }
    let path = PathBuf::from(place);
    if !path.is_dir() {
        return Err(Failure::new(format!("unable to prepare context: path \"{place}\" not found")));
    }
    let (dockerfile, name) = match file {
        Some("-") => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes)?;
            (bytes, PathBuf::from("Dockerfile"))
        }
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            return Err(Failure::new(format!("--file {url}: fetch the Dockerfile and give it with --file, or - for standard input")));
        }
        Some(file) => (read_dockerfile(Path::new(file))?, PathBuf::from(file)),
        None => {
            let file = path.join("Dockerfile");
            (read_dockerfile(&file)?, file)
        }
    };
    let title = title(&name.to_string_lossy());
    // The one that is named after the Dockerfile counts before the common one.
    let mut own = name.into_os_string();
    own.push(".dockerignore");
    let ignore = [PathBuf::from(own), path.join(".dockerignore")].iter().find_map(|file| std::fs::read_to_string(file).ok());
    Ok((Input::Directory { path, ignore: ignore.unwrap_or_default(), dockerfile }, title))
}

fn read_dockerfile(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let cause = if error.kind() == io::ErrorKind::NotFound { "no such file or directory".to_owned() } else { error.to_string() };
        Failure::new(format!("failed to read dockerfile: open {}: {cause}", path.display()))
    })
}

/// Tells an archive from a Dockerfile by its first bytes.
fn standard_input() -> Outcome<Input> {
    if io::stdin().is_terminal() {
        return Err(Failure::new("the context is to come from standard input, which is a terminal"));
    }
    let mut head = Vec::new();
    io::stdin().lock().take(512).read_to_end(&mut head)?;
    let packed = head.starts_with(&[0x1f, 0x8b])
        || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || head.starts_with(b"BZh")
        || head.starts_with(b"\xfd7zXZ");
    if packed || head.get(MAGIC_AT..MAGIC_AT + 5) == Some(b"ustar") {
        return Ok(Input::Archive(head));
    }
    io::stdin().read_to_end(&mut head)?;
    Ok(Input::Dockerfile(head))
}

/// Writes the entry of a file.
fn file(name: &str, bytes: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    header.set_mode(0o644);
    header.set_cksum();
    output.write_all(header.as_bytes())?;
    output.write_all(bytes)?;
    output.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()])
}

/// Reads `default`, `id=SOCKET` and `id`.
fn agents(given: &Given) -> Outcome<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for text in given.all("ssh") {
        let (id, path) = text.split_once('=').map_or((text.as_str(), None), |(id, path)| (id, Some(PathBuf::from(path))));
        let path = path.or_else(|| std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from));
        let path = path.ok_or_else(|| Failure::new(format!("--ssh {text}: no agent of ssh keys runs (SSH_AUTH_SOCK is not set)")))?;
        let socket = std::fs::metadata(&path).is_ok_and(|it| std::os::unix::fs::FileTypeExt::is_socket(&it.file_type()));
        if !socket {
            return Err(Failure::new(format!("--ssh {text}: {} is no socket of an agent; add the key with ssh-add", path.display())));
        }
        all.push((id.to_owned(), path));
    }
    Ok(all)
}

/// Reads `id=…,src=FILE` and `id=…,env=NAME`.
pub(super) fn secrets(given: &Given) -> Outcome<Map<String, Value>> {
    let mut all = Map::new();
    for text in given.all("secret") {
        let mut fields: HashMap<&str, &str> = text.split(',').filter_map(|field| field.split_once('=')).collect();
        let id = fields.remove("id").ok_or_else(|| Failure::new(format!("invalid secret `{text}`: an id is missing")))?;
        let source = fields.get("src").or_else(|| fields.get("source")).copied();
        let variable = fields.get("env").copied().or_else(|| (source.is_none() && std::env::var_os(id).is_some()).then_some(id));
        let value = match (variable, source) {
            (Some(name), None) => {
                std::env::var(name).map_err(|_| Failure::new(format!("secret {id}: the variable {name} is not set")))?.into_bytes()
            }
            (_, source) => {
                let file = source.unwrap_or(id);
                std::fs::read(file).map_err(|error| Failure::new(format!("secret {id}: cannot read {file}: {error}")))?
            }
        };
        all.insert(id.to_owned(), json!(base64::engine::general_purpose::STANDARD.encode(value)));
    }
    Ok(all)
}

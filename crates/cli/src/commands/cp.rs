//! `cp`.
//! **Source:** docker/cli, `cli/command/container/cp.go`.

use std::fs;
use std::io::{self, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;

use docker_api::archive::path::{self, CopyEnd};
use docker_api::archive::{self, ExtractError, ExtractOptions, Owner, PathStat, Source, Tree, go_text};
use docker_api::client::{Client, escape, query};
use rustix::fs::{Mode, OFlags};

use super::Entry;
use super::transfer::{Counted, Progress};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("cp"), act: copy }];

/// Links that a destination may lead through. **Source:** moby, `archive.CopyInfoDestinationPath`.
const LINKS_MAX: usize = 10;

/// A copy as it was asked for.
struct Copy<'a> {
    container: &'a str,
    from: &'a str,
    to: &'a str,
    follow: bool,
    owner: bool,
    quiet: bool,
}

fn copy(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let [source, target] = given.args.as_slice() else { return Ok(1) };
    for (what, text) in [("source", source), ("destination", target)] {
        if text.is_empty() {
            return Err(Failure::new(format!("{what} can not be empty")));
        }
    }
    let (from_container, from) = split(source);
    let (to_container, to) = split(target);
    let quiet = if given.has("quiet") { given.on("quiet") } else { !printer::stdout_is_terminal() };
    let copy = |container| Copy { container, from, to, follow: given.on("follow-link"), owner: given.on("archive"), quiet };
    match (from_container, to_container) {
        (Some(container), None) => copy(container).fetch(&mut context.client()?),
        (None, Some(container)) => copy(container).put(&mut context.client()?),
        (Some(_), Some(_)) => Err(Failure::new("copying between containers is not supported")),
        (None, None) => Err(Failure::new("must specify at least one container source")),
    }
}

/// Splits `CONTAINER:PATH`; what begins with a slash or a dot is a path of this machine.
fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with('/') && !container.starts_with('.') => (Some(container), path),
        _ => (None, text),
    }
}

/// An absolute path of this machine, with the ending it was given with.
fn local(text: &str) -> Outcome<String> {
    let folder = std::env::current_dir()?;
    let absolute = if text.starts_with('/') { path::clean(text) } else { path::join(&folder.to_string_lossy(), text) };
    Ok(path::preserve_ending(absolute, text))
}

fn failed(act: &str, path: &str, cause: &io::Error) -> Failure {
    Failure::new(format!("{act} {path}: {}", go_text(cause)))
}

/// A directory of this machine as the place of an archive.
fn tree(folder: &str) -> Outcome<Tree> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::open(folder, flags, Mode::empty()).map_err(|cause| failed("open", folder, &cause.into()))?;
    Ok(Tree::of_caller(opened))
}

impl Copy<'_> {
    fn url(&self, path: &str, further: &[(&str, Option<&str>)]) -> String {
        let mut pairs = vec![("path", Some(path))];
        pairs.extend_from_slice(further);
        format!("/containers/{}/archive{}", escape(self.container), query(&pairs))
    }

    fn stat(&self, client: &mut Client, path: &str) -> Outcome<PathStat> {
        let answer = client.stream("HEAD", &self.url(path, &[]), None)?;
        let stat = answer.header("x-docker-container-path-stat").and_then(PathStat::from_header);
        stat.ok_or_else(|| Failure::new("unable to decode container path stat header"))
    }

    /// Copies out of the container.
    fn fetch(&self, client: &mut Client) -> Outcome<u8> {
        let to = if self.to == "-" { "-".to_owned() } else { local(self.to)? };
        check_output(&to)?;
        let (mut from, mut rebase) = (self.from.to_owned(), None);
        if self.follow
            && let Ok(stat) = self.stat(client, &from)
            && archive::is_symlink(stat.mode)
        {
            let target = joined(&from, &stat.link_target);
            (from, rebase) = path::rebase_name(&from, target);
        }
        let answer = client.stream("GET", &self.url(&from, &[]), None)?;
        if to == "-" {
            io::copy(&mut { answer }, &mut io::stdout())?;
            return Ok(0);
        }
        let stat = answer.header("x-docker-container-path-stat").and_then(PathStat::from_header);
        let stat = stat.ok_or_else(|| Failure::new("unable to decode container path stat header"))?;
        let source = CopyEnd { path: from, exists: true, is_directory: archive::is_directory(stat.mode), rebase };
        let target = local_target(&to)?;
        let progress = Progress::start("Copying from container - ", self.quiet);
        // The archive's own names are renamed first to what was asked for, then to where they go.
        let place = path::destination(&CopyEnd { rebase: None, ..source.clone() }, &target).map_err(Failure::new)?;
        let rename = match (&source.rebase, place.rename) {
            (Some(wanted), None) => Some((path::split_entry(&source.path).1, wanted.clone())),
            (_, rename) => rename,
        };
        let options = ExtractOptions { folder: String::new(), keep_kinds: true, owner: Owner::Caller, rename };
        let mut reader = BufReader::with_capacity(256 << 10, Counted::new(answer, &progress));
        let done = archive::extract(&tree(&place.folder)?, &options, &mut reader).map_err(|error| shown(error, &place.folder));
        // What stands behind the end of the archive.
        let _ = io::copy(&mut reader.by_ref(), &mut io::sink());
        progress.finish(&to);
        done.map(|_| 0)
    }

    /// Copies into the container.
    fn put(&self, client: &mut Client) -> Outcome<u8> {
        let from = if self.from == "-" { "-".to_owned() } else { local(self.from)? };
        let mut target = CopyEnd { path: self.to.to_owned(), ..CopyEnd::default() };
        let mut stat = self.stat(client, self.to);
        if let Ok(link) = &stat
            && archive::is_symlink(link.mode)
        {
            target.path = joined(self.to, &link.link_target);
            stat = self.stat(client, &target.path);
        }
        if let Ok(stat) = &stat {
            if stat.mode & 1 << 26 != 0 {
                let text = format!("destination \"{}:{}\" must be a directory or a regular file: got a device", self.container, self.to);
                return Err(Failure::new(text));
            }
            (target.exists, target.is_directory) = (true, archive::is_directory(stat.mode));
        }
        let owner = self.owner.then_some("true");
        let further = [("noOverwriteDirNonDir", Some("true")), ("copyUIDGID", owner)];
        if from == "-" {
            if !target.is_directory {
                return Err(Failure::new(format!("destination \"{}:{}\" must be a directory", self.container, self.to)));
            }
            client.upload("PUT", &self.url(&target.path, &further), "application/x-tar", &mut io::stdin())?;
            return Ok(0);
        }
        let source = local_source(&from, self.follow)?;
        let place = path::destination(&source, &target).map_err(Failure::new)?;
        let (folder, entry) = path::split_entry(&source.path);
        let own_name = source.rebase.clone().unwrap_or_else(|| entry.clone());
        let name = String::from_utf8_lossy(&path::rename(own_name.as_bytes(), place.rename.as_ref())).into_owned();
        let tree = tree(&folder)?;
        let progress = Progress::start("Copying to container - ", self.quiet);
        let sent = client.upload_with("PUT", &self.url(&place.folder, &further), "application/x-tar", &mut |output| {
            let output = io::BufWriter::with_capacity(128 << 10, Counted::new(output, &progress));
            archive::pack(Source { tree: &tree, folder: "", entry: &entry, name: &name }, output)
        });
        progress.finish(&format!("{}:{}", self.container, target.path));
        sent?;
        Ok(0)
    }
}

/// Says why an archive was not extracted, with whole paths.
fn shown(error: ExtractError, folder: &str) -> Failure {
    Failure::new(match error {
        ExtractError::Entry { act, path, source } => format!("{act} {}: {}", path::join(folder, &path), go_text(&source)),
        ExtractError::Rule(text) => {
            text.replace(" \"/", &format!(" \"{}/", folder.trim_end_matches('/'))).replace("\"\"", &format!("{folder:?}"))
        }
        ExtractError::Archive(_) => error.to_string(),
    })
}

/// Where a link leads that stands at `path`.
fn joined(path: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { path::join(&path::split_entry(path).0, target) }
}

/// **Source:** docker/cli, `command.ValidateOutputPath`.
fn check_output(text: &str) -> Outcome<()> {
    let folder = path::dir(&path::clean(text));
    if folder != "." && fs::metadata(&folder).is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound) {
        return Err(Failure::new(format!("invalid output path: directory {folder:?} does not exist")));
    }
    match fs::metadata(text) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("stat", text, &cause)),
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            Err(Failure::new(format!("invalid output path: {text:?} must be a directory or a regular file: got a device")))
        }
        Ok(_) => Ok(()),
    }
}

/// What is copied into a container. **Source:** moby, `archive.CopyInfoSourcePath`.
fn local_source(text: &str, follow: bool) -> Outcome<CopyEnd> {
    let evaluated = |text: &str| fs::canonicalize(text).map_err(|cause| failed("lstat", text.trim_end_matches('/'), &cause));
    let (resolved, rebase) = if follow {
        path::rebase_name(text, evaluated(text)?.to_string_lossy().into_owned())
    } else {
        let (folder, name) = text.rfind('/').map_or((".", text), |at| (&text[..=at], &text[at + 1..]));
        let resolved = format!("{}/{name}", evaluated(folder)?.to_string_lossy().trim_end_matches('/'));
        let renamed = path::ends_in_slash(text) && path::base(text) != path::base(&resolved);
        (resolved, renamed.then(|| path::base(text).to_owned()))
    };
    let stat = fs::symlink_metadata(&resolved).map_err(|cause| failed("lstat", &resolved, &cause))?;
    Ok(CopyEnd { path: resolved, exists: true, is_directory: stat.is_dir(), rebase })
}

/// Where a copy out of a container goes. **Source:** moby, `archive.CopyInfoDestinationPath`.
fn local_target(text: &str) -> Outcome<CopyEnd> {
    let mut path = text.to_owned();
    let mut found = fs::symlink_metadata(&path);
    let mut links = 0;
    while let Ok(stat) = &found {
        if !stat.is_symlink() {
            return Ok(CopyEnd { path, exists: true, is_directory: stat.is_dir(), rebase: None });
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Failure::new(format!("too many symlinks in {text}")));
        }
        let target = fs::read_link(&path).map_err(|cause| failed("readlink", &path, &cause))?;
        path = joined(&path, &target.to_string_lossy());
        found = fs::symlink_metadata(&path);
    }
    match found {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed("lstat", &path, &cause)),
        _ => {}
    }
    let folder = path::split_entry(&path).0;
    let stat = fs::metadata(&folder).map_err(|cause| failed("stat", &folder, &cause))?;
    if !stat.is_dir() {
        return Err(Failure::new("not a directory"));
    }
    Ok(CopyEnd { path, ..CopyEnd::default() })
}

//! The sources of a container's mounts, made ready at each start.
//!
//! Most are paths. A path inside a volume or image, an image, and files with other owners are *trees*: detached mounts that the
//! engine makes and holds until the container exists, so that nobody can exchange what was checked
//! (CVE-2017-1002101, CVE-2024-23651 and their like).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::runtime::{IdMapping, Mount};
use rustix::io::Errno;

use super::Actor;
use crate::deps::Deps;
use crate::error::{InvalidSpec, StartError};
use crate::event::EventKind;
use crate::id::ContainerId;
use crate::spec::{IdMap, Propagation, Spec};
use crate::view::MountPoint;

/// Where a mount comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A path of the host.
    Path(PathBuf),
    /// A detached mount.
    Tree(OwnedFd),
    /// A new temporary file system.
    New,
}

impl Actor {
    /// Makes the sources of all mounts ready: volumes are mounted, missing directories made, paths inside resolved.
    ///
    /// # Errors
    /// [`StartError`] with Docker's text; what was mounted is unmounted by [`Actor::unmount_volumes`].
    pub(super) async fn prepare_mounts(&self) -> Result<Vec<Source>, StartError> {
        if self.record.mounts.is_empty() {
            return Ok(Vec::new());
        }
        let (deps, id, points) = (self.deps.clone(), self.record.id, self.record.mounts.clone());
        // Servers of files may be slow: nobody else is to wait for them.
        let work = tokio::task::spawn_blocking(move || points.iter().map(|point| source(&deps, &id, point)).collect());
        work.await.unwrap_or_else(|panic| Err(StartError::Refused(panic.to_string())))
    }

    /// Tells listeners that a run uses its volumes, or no longer.
    ///
    /// **Source:** moby, `daemon/volumes_unix.go` and `container/container.go`, `LogVolumeEvent`.
    pub(super) fn volume_events(&self, action: &str) {
        for point in self.record.mounts.iter().filter(|point| point.kind == "volume") {
            let mut attributes = vec![("driver", point.driver.clone()), ("container", self.record.id.to_string())];
            if action == "mount" {
                attributes.extend([
                    ("destination", point.destination.clone()),
                    ("read/write", point.writable.to_string()),
                    ("propagation", point.propagation.to_string()),
                ]);
            }
            let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            self.deps.events.publish(EventKind::Volume, action, point.name.clone(), attributes);
        }
    }

    /// Ends the use of what the volumes of a run needed mounted.
    pub(super) async fn unmount_volumes(&self) {
        let id = self.record.id.to_string();
        let has_volumes = self.record.mounts.iter().any(|point| point.kind == "volume");
        if has_volumes && self.deps.volumes.has_mounts(&id) {
            let deps = self.deps.clone();
            // A panic there has been shown already.
            let _ = tokio::task::spawn_blocking(move || deps.volumes.unmount(&id)).await;
        }
    }
}

fn source(deps: &Arc<Deps>, id: &ContainerId, point: &MountPoint) -> Result<Source, StartError> {
    let options = &point.options;
    match point.kind.as_str() {
        "tmpfs" => Ok(Source::New),
        "volume" => {
            let missing = |_| StartError::Refused(format!("get {}: no such volume", point.name));
            let name = point.name.parse().map_err(missing)?;
            let data = deps.volumes.mount(&name, &id.to_string()).map_err(|error| match &error {
                volume::MountError::Mount { source, .. } => StartError::Refused(format!("{error}: {}", text(source))),
                volume::MountError::NotFound(_) | volume::MountError::Quota { .. } => error.into(),
            })?;
            if options.subpath.is_empty() {
                return Ok(Source::Path(data));
            }
            let failed = |error: io::Error| inaccessible(&data.join(&options.subpath), &error);
            let directory = volume::tree::open(&data).map_err(failed)?;
            let inside = beneath(&directory, &options.subpath, &data)?;
            let tree = volume::tree::copy(&inside, true).map_err(failed)?;
            Ok(Source::Tree(tree))
        }
        "image" => {
            let image = options.image.ok_or_else(|| StartError::Refused("the record of an image mount has no image".to_owned()))?;
            let root = deps.images.open_image(&image)?;
            if options.subpath.is_empty() {
                return Ok(Source::Tree(root));
            }
            let place = deps.run_directory(id).join("image");
            part_of(&root, &options.subpath, &place).map(Source::Tree)
        }
        _ => bind(point),
    }
}

fn bind(point: &MountPoint) -> Result<Source, StartError> {
    let path = &point.source;
    let prepare = |source| StartError::Prepare { path: path.display().to_string(), source };
    match std::fs::metadata(path) {
        Ok(_) => {}
        Err(_) if point.options.create_source => {
            let made = std::fs::create_dir_all(path);
            made.map_err(|cause| {
                StartError::Refused(format!(
                    "error while creating mount source path '{}': mkdir {}: {}",
                    path.display(),
                    path.display(),
                    text(&cause)
                ))
            })?;
        }
        Err(_) => return Err(InvalidSpec::BindSource(path.display().to_string()).into()),
    }
    check_propagation(point).map_err(|error| error.map_or_else(prepare, Into::into))?;
    if point.options.id_map.is_none() {
        return Ok(Source::Path(path.clone()));
    }
    let opened = volume::tree::open(path).and_then(|source| volume::tree::copy(&source, !point.options.non_recursive));
    opened.map(Source::Tree).map_err(prepare)
}

/// The system's words without the number.
fn text(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

fn inaccessible(path: &Path, error: &io::Error) -> StartError {
    StartError::Subpath { path: path.display().to_string(), reason: format!("lstat {}: {}", path.display(), text(error)) }
}

/// Opens a path inside a volume or image.
fn beneath(directory: &OwnedFd, subpath: &str, base: &Path) -> Result<OwnedFd, StartError> {
    volume::tree::beneath(directory, subpath).map_err(|error| match error {
        Errno::XDEV => StartError::Invalid(InvalidSpec::Escapes { base: base.display().to_string(), subpath: subpath.to_owned() }),
        error => inaccessible(&base.join(subpath), &error.into()),
    })
}

/// A part of an image's detached mount.
fn part_of(root: &OwnedFd, subpath: &str, place: &Path) -> Result<OwnedFd, StartError> {
    let prepare = |source: io::Error| StartError::Prepare { path: place.display().to_string(), source };
    beneath(root, subpath, Path::new("/"))?;
    crate::deps::make_directory(place).map_err(prepare)?;
    volume::tree::part(root, subpath, place).map_err(prepare)
}

/// A propagation is worth something only where the source's own mount has it.
///
/// **Source:** moby, `daemon/oci_linux.go`, `ensureShared`.
fn check_propagation(point: &MountPoint) -> Result<(), Result<InvalidSpec, io::Error>> {
    let needed = match point.propagation {
        Propagation::Shared | Propagation::Rshared => "shared",
        Propagation::Slave | Propagation::Rslave => "shared or slave",
        Propagation::Default | Propagation::Private | Propagation::Rprivate => return Ok(()),
    };
    let real = std::fs::canonicalize(&point.source).map_err(Err)?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(Err)?;
    let (mount, tags) = mount_of(&real, &table).unwrap_or((PathBuf::from("/"), Vec::new()));
    let has = |prefix: &str| tags.iter().any(|tag| tag.starts_with(prefix));
    // The engine's own default for sources around its data is no wish of a person.
    if has("shared:") || needed != "shared" && has("master:") || point.options.own_propagation {
        return Ok(());
    }
    Err(Ok(InvalidSpec::NotShared { path: point.source.display().to_string(), mount: mount.display().to_string(), needed }))
}

/// The mount that a path is on, and its optional fields. **Source:** proc_pid_mountinfo(5).
fn mount_of(path: &Path, table: &str) -> Option<(PathBuf, Vec<String>)> {
    let mut best: Option<(PathBuf, Vec<String>)> = None;
    for line in table.lines() {
        let mut words = line.split(' ');
        let Some(place) = words.nth(4).map(unescape) else { continue };
        let longer = best.as_ref().is_none_or(|(known, _)| place.as_os_str().len() >= known.as_os_str().len());
        if longer && path.starts_with(&place) {
            let tags = words.skip(1).take_while(|word| *word != "-").map(ToOwned::to_owned).collect();
            best = Some((place, tags));
        }
    }
    best
}

/// Undoes the octal escapes of blanks and the like.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) => {
                out.push(value);
                at += 4;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// The path under which the container's first process finds a descriptor of the engine.
fn of_engine(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
}

/// The mounts of the specification for all points and their sources.
///
/// # Errors
/// When the owner of a source cannot be read.
pub(super) fn all(spec: &Spec, points: &[MountPoint], sources: &[Source]) -> Result<Vec<Mount>, StartError> {
    let mut mounts = Vec::new();
    for (point, source) in points.iter().zip(sources) {
        mounts.push(match source {
            Source::New => {
                let read_only = (!point.writable).then(|| "ro".to_owned());
                temporary(&point.destination, point.options.tmpfs.iter().cloned().chain(read_only))
            }
            Source::Path(path) => bound(point, path.clone()),
            Source::Tree(tree) => {
                let mut mount = bound(point, of_engine(tree.as_fd()));
                if let Some(id_map) = point.options.id_map {
                    map(&mut mount, id_map, tree)
                        .map_err(|source| StartError::Prepare { path: point.source.display().to_string(), source })?;
                }
                mount
            }
        });
    }
    let by_flag = spec.host.tmpfs.iter().map(|(target, text)| temporary(target, text.split(',').map(ToOwned::to_owned)));
    mounts.extend(by_flag);
    Ok(mounts)
}

fn bound(point: &MountPoint, source: PathBuf) -> Mount {
    let recursive = !point.options.non_recursive;
    let mut options = vec![if recursive { "rbind" } else { "bind" }.to_owned()];
    if !point.writable {
        options.push("ro".to_owned());
        if recursive && !point.options.read_only_non_recursive {
            options.push("rro".to_owned());
        }
    }
    let propagation = if point.propagation == Propagation::Default { Propagation::Rprivate } else { point.propagation };
    options.push(propagation.to_string());
    Mount {
        destination: PathBuf::from(&point.destination),
        kind: Some("bind".to_owned()),
        source: Some(source),
        options,
        ..Mount::default()
    }
}

/// Root in the container becomes the owner on the host, root's own files belong to nobody, all others stay who they are.
fn map(mount: &mut Mount, id_map: IdMap, tree: &OwnedFd) -> io::Result<()> {
    let (uid, gid) = match id_map.owner {
        Some(owner) => owner,
        None => {
            let stat = rustix::fs::fstat(tree)?;
            (stat.st_uid, stat.st_gid)
        }
    };
    if (uid, gid) != (0, 0) {
        mount.uid_mappings = mapping(uid);
        mount.gid_mappings = mapping(gid);
        mount.options.push("idmap".to_owned());
    }
    Ok(())
}

/// On the disk → in the container.
fn mapping(owner: u32) -> Vec<IdMapping> {
    let line = |container_id, host_id, size| IdMapping { container_id, host_id, size };
    match owner {
        0 => vec![line(0, 0, u32::MAX)],
        owner => {
            let mut lines = vec![line(owner, 0, 1)];
            if owner > 1 {
                lines.push(line(1, 1, owner - 1));
            }
            if owner + 1 < u32::MAX {
                lines.push(line(owner + 1, owner + 1, u32::MAX - owner - 1));
            }
            lines
        }
    }
}

/// A temporary file system; later options undo earlier ones. **Source:** moby, `sys/mount`, `MergeTmpfsOptions`.
fn temporary(target: &str, words: impl Iterator<Item = String>) -> Mount {
    let mut options = ["noexec", "nosuid", "nodev"].map(ToOwned::to_owned).to_vec();
    for word in words.filter(|word| !word.is_empty()) {
        let opposite = match word.as_str() {
            "ro" => Some("rw"),
            "rw" => Some("ro"),
            word => word.strip_prefix("no"),
        };
        options.retain(|known| Some(known.as_str()) != opposite && known.strip_prefix("no") != Some(word.as_str()));
        if word != "defaults" {
            options.push(word);
        }
    }
    Mount {
        destination: PathBuf::from(target),
        kind: Some("tmpfs".to_owned()),
        source: Some(PathBuf::from("tmpfs")),
        options,
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_the_longest_and_latest() {
        let table =
            "1 0 8:1 / / rw shared:1 - ext4 a rw\n2 1 0:1 / /mnt rw - tmpfs b rw\n3 1 0:2 / /mnt/a\\040b rw master:3 - tmpfs c rw\n";
        let found = |path: &str| mount_of(Path::new(path), table).unwrap();
        assert_eq!(found("/x"), (PathBuf::from("/"), vec!["shared:1".to_owned()]));
        assert_eq!(found("/mnt/x").0, Path::new("/mnt"));
        assert_eq!(found("/mnt/a b/c"), (PathBuf::from("/mnt/a b"), vec!["master:3".to_owned()]));
        assert_eq!(found("/mntx").0, Path::new("/"));
    }

    #[test]
    fn every_other_owner_stays_who_they_are() {
        for owner in [0, 1, 2, 1000, u32::MAX - 1] {
            let lines = mapping(owner);
            let sum: u64 = lines.iter().map(|line| u64::from(line.size)).sum();
            assert!(sum >= u64::from(u32::MAX) - 2, "{owner}: {sum}");
            assert!(owner == 0 || lines[0].container_id == owner && lines[0].host_id == 0);
        }
    }

    #[test]
    fn later_words_of_tmpfs_win() {
        let words = |text: &str| temporary("/t", text.split(',').map(ToOwned::to_owned)).options;
        assert_eq!(words("exec,size=1m"), ["nosuid", "nodev", "exec", "size=1m"]);
        assert_eq!(words("ro,rw"), ["noexec", "nosuid", "nodev", "rw"]);
    }
}

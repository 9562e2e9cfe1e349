//! The mounts of a new container: what it asks for, what its image says, what it takes over from others.
//!
//! **Source:** moby, `daemon/volumes.go`, `registerMountPoints`; `daemon/create_unix.go`, `createContainerVolumesOS`.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use image::ImageId;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::deps::Deps;
use crate::error::{CreateError, InvalidSpec};
use crate::event::EventKind;
use crate::id::ContainerId;
use crate::spec::{Bind, MountKind, MountSource, Propagation, Spec};
use crate::view::{MountOptions, MountPoint};

/// What was made for a container that may still fail.
#[derive(Debug, Default)]
pub(super) struct Made {
    volumes: Vec<volume::Name>,
}

impl Made {
    /// Takes back the volumes that only this container wanted.
    pub(super) fn undo(self, deps: &Deps, id: ContainerId) {
        deps.volumes.detach(&id.to_string());
        for name in self.volumes {
            // One that another container took meanwhile is in use and stays.
            let _ = deps.volumes.remove(name.as_str(), true);
        }
        // Tried again at the next start of the engine.
        let _ = deps.volumes.empty_trash();
    }

    /// Tells listeners of the new volumes.
    pub(super) fn announce(self, deps: &Deps) {
        for name in self.volumes {
            let attributes = [("driver".to_owned(), "local".to_owned())].into();
            deps.events.publish(EventKind::Volume, "create", name.to_string(), attributes);
        }
    }
}

/// The pin of an image that a container mounts at its place number `index`.
pub(crate) fn pin_of(id: &ContainerId, index: usize) -> String {
    format!("{id}-mount{index}")
}

struct Mounts<'a> {
    deps: &'a Deps,
    id: ContainerId,
    snapshot: &'a image::Snapshot,
    driver: &'a str,
    points: Vec<MountPoint>,
    made: &'a mut Made,
    /// The merged root of the image, opened when the first volume may be filled from it.
    root: Option<OwnedFd>,
}

/// Makes the volumes of a container and notes all its mounts.
///
/// # Errors
/// [`CreateError`]; `made` says what is to be taken back.
pub(super) fn mount_points(
    deps: &Deps,
    id: ContainerId,
    spec: &Spec,
    snapshot: &image::Snapshot,
    made: &mut Made,
) -> Result<Vec<MountPoint>, CreateError> {
    let driver = spec.host.volume_driver.as_str();
    let mut mounts = Mounts { deps, id, snapshot, driver, points: Vec::new(), made, root: None };
    // Later ones win.
    for from in &spec.host.volumes_from {
        let other = deps.registry.find(&from.container)?.view();
        for point in &other.mounts {
            let writable = point.writable && !from.read_only;
            if point.kind == "volume" {
                deps.volumes.attach(&point.name.parse()?, &id.to_string())?;
            }
            mounts.add(MountPoint { writable, anonymous: false, mode: String::new(), ..point.clone() });
        }
    }
    for bind in &spec.host.binds {
        mounts.bind(bind)?;
    }
    for mount in &spec.host.mounts {
        mounts.mount(mount)?;
    }
    for target in &spec.config.volumes {
        let target = format!("/{}", target.trim_start_matches('/').trim_end_matches('/'));
        let covered = |point: &MountPoint| point.destination == target;
        let temporary = spec.host.tmpfs.contains_key(&target);
        if target != "/" && !temporary && !mounts.points.iter().any(covered) {
            mounts.volume(None, &target, true)?;
        }
    }
    let points = mounts.points;
    for (index, image) in points.iter().enumerate().filter_map(|(index, point)| Some((index, point.options.image?))) {
        deps.images.pin(&pin_of(&id, index), &image)?;
    }
    Ok(points)
}

/// A mount of one kind with nothing else said.
fn plain(kind: &str, source: &str, destination: &str) -> MountPoint {
    MountPoint {
        kind: kind.to_owned(),
        name: String::new(),
        source: PathBuf::from(source),
        destination: destination.to_owned(),
        driver: String::new(),
        mode: String::new(),
        writable: true,
        propagation: Propagation::Default,
        anonymous: false,
        options: MountOptions::default(),
    }
}

impl Mounts<'_> {
    fn add(&mut self, point: MountPoint) {
        self.points.retain(|p| p.destination != point.destination);
        self.points.push(point);
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), CreateError> {
        match &bind.source {
            MountSource::Path(path) => {
                let propagation = self.propagation(path, bind.propagation)?;
                let own_propagation = bind.propagation == Propagation::Default;
                let options = MountOptions { create_source: true, id_map: bind.id_map, own_propagation, ..MountOptions::default() };
                self.add(MountPoint { propagation, options, ..plain("bind", path, &bind.target) });
            }
            MountSource::Volume(name) => {
                let spec = volume::Spec { name: Some(name.parse()?), driver: self.driver.to_owned(), ..volume::Spec::default() };
                self.volume(Some(spec), &bind.target, !bind.no_copy)?;
            }
            MountSource::Anonymous => self.volume(None, &bind.target, !bind.no_copy)?,
        }
        if let Some(point) = self.points.last_mut() {
            point.writable = !bind.read_only;
            if !bind.mode.is_empty() || point.kind == "bind" {
                point.mode.clone_from(&bind.mode);
            }
        }
        Ok(())
    }

    /// A source in or above the engine's data must not be held by a private copy of the mount.
    ///
    /// **Source:** moby, `daemon/volumes_linux.go`, `validateBindDaemonRoot`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all but the named ones are refused there")]
    fn propagation(&self, source: &str, asked: Propagation) -> Result<Propagation, CreateError> {
        let root = self.deps.root.display().to_string();
        if !source.starts_with(&root) && !root.starts_with(source) {
            return Ok(if asked == Propagation::Default { Propagation::Rprivate } else { asked });
        }
        match asked {
            Propagation::Default => Ok(Propagation::Rslave),
            Propagation::Rslave | Propagation::Rshared => Ok(asked),
            other => Err(InvalidSpec::RootPropagation { root, path: source.to_owned(), propagation: other.to_string() }.into()),
        }
    }

    fn mount(&mut self, mount: &crate::spec::Mount) -> Result<(), CreateError> {
        let target = &mount.target;
        match &mount.kind {
            MountKind::Bind {
                source,
                propagation,
                create_source,
                non_recursive,
                read_only_non_recursive,
                read_only_force_recursive: _,
                id_map,
            } => {
                let options = MountOptions {
                    create_source: *create_source,
                    non_recursive: *non_recursive,
                    read_only_non_recursive: *read_only_non_recursive,
                    id_map: *id_map,
                    own_propagation: *propagation == Propagation::Default,
                    ..MountOptions::default()
                };
                let propagation = self.propagation(source, *propagation)?;
                self.add(MountPoint { propagation, options, ..plain("bind", source, target) });
            }
            MountKind::Tmpfs { .. } => {
                let options = MountOptions { tmpfs: tmpfs(&mount.kind), ..MountOptions::default() };
                self.add(MountPoint { options, ..plain("tmpfs", "", target) });
            }
            MountKind::Volume { name, no_copy, labels, driver, driver_options, subpath } => {
                let name = name.as_deref().map(str::parse).transpose()?;
                let spec = volume::Spec { name, driver: driver.clone(), driver_opts: driver_options.clone(), labels: labels.clone() };
                self.volume(Some(spec), target, !no_copy)?;
                if let Some(point) = self.points.last_mut() {
                    point.options.subpath.clone_from(subpath);
                }
            }
            MountKind::Image { source, subpath } => {
                let image: ImageId = self.deps.images.identify(source)?;
                let options = MountOptions { image: Some(image), subpath: subpath.clone(), ..MountOptions::default() };
                self.add(MountPoint {
                    name: source.clone(),
                    propagation: Propagation::Rprivate,
                    options,
                    ..plain("image", &image.to_string(), target)
                });
            }
        }
        if let Some(point) = self.points.last_mut() {
            point.writable = !mount.read_only && point.kind != "image";
        }
        Ok(())
    }

    /// A volume, filled from the image if it is empty; without a specification a new one without a name.
    fn volume(&mut self, spec: Option<volume::Spec>, target: &str, copy: bool) -> Result<(), CreateError> {
        let holder = self.id.to_string();
        let spec = spec.unwrap_or_else(|| volume::Spec { driver: self.driver.to_owned(), ..volume::Spec::default() });
        let named = spec.name.clone();
        let label = || named.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let attached = self.deps.volumes.attach_new(spec, &holder);
        let (name, made) = attached.map_err(|cause| CreateError::Volume { name: label(), cause })?;
        if made {
            self.made.volumes.push(name.clone());
        }
        let populated = if copy { self.image_directory(target, named.is_none())? } else { None };
        if let Some(directory) = populated {
            self.deps.volumes.populate(&name, directory.as_fd())?;
        }
        let source = self.deps.volumes.get(name.as_str()).map(|volume| volume.mountpoint).unwrap_or_default();
        self.add(MountPoint {
            kind: "volume".to_owned(),
            name: name.to_string(),
            source,
            driver: "local".to_owned(),
            // **Source:** moby, `setBindModeIfNull`.
            mode: "z".to_owned(),
            anonymous: named.is_none(),
            ..plain("volume", "", target)
        });
        Ok(())
    }

    /// The directory of the image under a volume's place, if there is one.
    fn image_directory(&mut self, target: &str, anonymous: bool) -> Result<Option<OwnedFd>, CreateError> {
        let root = match &self.root {
            Some(root) => root,
            None => self.root.insert(self.deps.images.open_root(self.snapshot)?),
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let relative = target.trim_start_matches('/');
        // A place that is not there, or leads nowhere, is made at the start.
        let Ok(found) = rustix::fs::openat2(root, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&found).map_err(|error| CreateError::Prepare { path: target.to_owned(), source: error.into() })?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(Some(found));
        }
        Err(if anonymous { InvalidSpec::VolumeOverFile(target.to_owned()) } else { InvalidSpec::VolumeSource(target.to_owned()) }.into())
    }
}

/// Mount options of a temporary file system of `--mount`.
fn tmpfs(kind: &MountKind) -> Vec<String> {
    let MountKind::Tmpfs { bytes_max, mode, options: further } = kind else { return Vec::new() };
    let mut options = Vec::new();
    if *mode != 0 {
        options.push(format!("mode={mode:o}"));
    }
    if *bytes_max != 0 {
        options.push(format!("size={bytes_max}"));
    }
    options.extend(further.iter().map(|option| option.join("=")));
    options
}

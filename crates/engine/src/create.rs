//! From a specification to a container that can be started.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{Image, SnapshotOptions};
use oci::Platform;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use tokio::sync::mpsc;

use crate::actor::{self, Actor, MAILBOX_MAX};
use crate::deps::Deps;
use crate::error::{CreateError, InvalidSpec};
use crate::event::EventKind;
use crate::id::{ContainerId, ContainerName};
use crate::record::Record;
use crate::registry::Cell;
use crate::spec::{Bind, MountKind, MountSource, NetworkMode, Propagation, Spec};
use crate::state::Life;
use crate::view::{Container, MountPoint};
use crate::{endpoints, merge, names, validate};

/// Tries to make up a name that is free.
const NAME_ATTEMPTS: u32 = 32;

/// Creates a container; what was made is undone if a later part fails.
pub(crate) fn create(
    deps: &Arc<Deps>,
    name: Option<&str>,
    mut spec: Spec,
    platform: Option<&Platform>,
) -> Result<(Arc<Cell>, Vec<String>), CreateError> {
    if deps.closing.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(CreateError::ShuttingDown);
    }
    let name = name.filter(|name| !name.is_empty());
    let asked = name.map(str::parse::<ContainerName>).transpose()?;
    let image = find_image(deps, &spec, platform)?;
    merge::merge(&mut spec.config, &image.config.config);
    let warnings = validate::check(&spec)?;
    let command = merge::command(&spec.config)?;
    check_references(deps, &spec)?;
    endpoints::resolve(&deps.networks, &mut spec)?;
    let id = ContainerId::random();
    let name = take_name(deps, asked, id)?;
    let made = make(deps, id, &name, spec, &image, command);
    match made {
        Ok(cell) => Ok((cell, warnings)),
        Err(error) => {
            deps.registry.release(&name);
            actor::clear(deps, id, &[], true);
            Err(error)
        }
    }
}

fn find_image(deps: &Deps, spec: &Spec, platform: Option<&Platform>) -> Result<Image, CreateError> {
    let image = deps.images.resolve(&spec.config.image)?;
    match platform {
        Some(wanted) if !wanted.matches(&image.config.platform()) => {
            Err(CreateError::Platform { image: spec.config.image.clone(), platform: wanted.to_string() })
        }
        _ => Ok(image),
    }
}

/// Other containers and networks that it names must be there.
fn check_references(deps: &Deps, spec: &Spec) -> Result<(), CreateError> {
    use crate::spec::{IpcMode, PidMode};
    let host = &spec.host;
    let container = |reference: &str| deps.registry.find(reference).map(drop);
    if let NetworkMode::Container(other) = &host.network_mode {
        container(other)?;
    }
    if let PidMode::Container(other) = &host.pid_mode {
        container(other)?;
    }
    if let IpcMode::Container(other) = &host.ipc_mode {
        container(other)?;
    }
    Ok(())
}

fn take_name(deps: &Deps, asked: Option<ContainerName>, id: ContainerId) -> Result<ContainerName, CreateError> {
    if let Some(name) = asked {
        return match deps.registry.reserve(&name, id) {
            Ok(()) => Ok(name),
            Err(holder) => Err(CreateError::NameInUse { name, holder }),
        };
    }
    let free = |name: &ContainerName| deps.registry.reserve(name, id).is_ok();
    if let Some(name) = (0..NAME_ATTEMPTS).filter_map(names::make_up).find(free) {
        return Ok(name);
    }
    // The short id is free, as the id is.
    let name: ContainerName = id.short().parse()?;
    match deps.registry.reserve(&name, id) {
        Ok(()) => Ok(name),
        Err(holder) => Err(CreateError::NameInUse { name, holder }),
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one record")]
fn make(
    deps: &Arc<Deps>,
    id: ContainerId,
    name: &ContainerName,
    spec: Spec,
    image: &Image,
    command: Vec<String>,
) -> Result<Arc<Cell>, CreateError> {
    let holder = id.to_string();
    deps.images.pin(&holder, &image.id)?;
    let volatile = spec.host.auto_remove;
    let snapshot = deps.images.snapshot(&holder, &image.id, SnapshotOptions { volatile })?;
    let mounts = mount_points(deps, id, &spec, &snapshot)?;
    let record = Record {
        id,
        name: name.clone(),
        created_at: crate::now(),
        spec: Arc::new(spec),
        image_id: image.id,
        command,
        mounts,
        life: Life::default(),
        error: String::new(),
        started_at: None,
        death: None,
    };
    let durability = if volatile { store::Durability::Volatile } else { store::Durability::Durable };
    deps.table.put(&holder, &record, durability)?;
    let cell = spawn(deps, record, Some(snapshot));
    publish_event(deps, &cell.view(), "create", &[]);
    Ok(cell)
}

/// Makes the cell and the task of a container.
pub(crate) fn spawn(deps: &Arc<Deps>, record: Record, snapshot: Option<image::Snapshot>) -> Arc<Cell> {
    let (cell, actor) = prepare(deps, record, snapshot);
    tokio::spawn(actor.run());
    cell
}

/// Makes the cell of a container and its actor, which is still to run.
pub(crate) fn prepare(deps: &Arc<Deps>, record: Record, snapshot: Option<image::Snapshot>) -> (Arc<Cell>, Actor) {
    let (sender, mailbox) = mpsc::channel(MAILBOX_MAX);
    let view = actor::view_of(&record, deps, snapshot.as_ref());
    let cell = Arc::new(Cell::new(Arc::new(view), sender));
    deps.registry.insert(cell.clone());
    let actor = Actor::new(cell.clone(), deps.clone(), record, mailbox, snapshot);
    (cell, actor)
}

/// Tells listeners of something that happened to a container.
pub(crate) fn publish_event(deps: &Deps, view: &Container, action: &str, further: &[(&str, &str)]) {
    let mut attributes = view.spec.config.labels.clone();
    let own = [("image", view.spec.config.image.as_str()), ("name", view.name.as_str())];
    let all = own.iter().chain(further);
    attributes.extend(all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let id = view.id.to_string();
    deps.events.publish(EventKind::Container, action, id, attributes);
}

struct Mounts<'a> {
    deps: &'a Deps,
    id: ContainerId,
    snapshot: &'a image::Snapshot,
    points: Vec<MountPoint>,
}

fn mount_points(deps: &Deps, id: ContainerId, spec: &Spec, snapshot: &image::Snapshot) -> Result<Vec<MountPoint>, CreateError> {
    let mut mounts = Mounts { deps, id, snapshot, points: Vec::new() };
    // Later ones win. **Source:** moby, `daemon/volumes.go`, `registerMountPoints`.
    for from in &spec.host.volumes_from {
        let other = deps.registry.find(&from.container)?.view();
        for point in &other.mounts {
            let writable = point.writable && !from.read_only;
            if !point.name.is_empty() {
                deps.volumes.attach(&point.name.parse()?, &id.to_string())?;
            }
            mounts.add(MountPoint { writable, anonymous: false, ..point.clone() });
        }
    }
    for bind in &spec.host.binds {
        mounts.bind(bind)?;
    }
    for mount in &spec.host.mounts {
        mounts.mount(mount)?;
    }
    for target in &spec.config.volumes {
        let covered = |point: &MountPoint| point.destination == *target;
        let temporary = spec.host.tmpfs.contains_key(target);
        if target != "/" && !temporary && !mounts.points.iter().any(covered) {
            mounts.volume(None, target, true)?;
        }
    }
    Ok(mounts.points)
}

impl Mounts<'_> {
    fn add(&mut self, point: MountPoint) {
        self.points.retain(|p| p.destination != point.destination);
        self.points.push(point);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all but the default stay as they are")]
    fn bind(&mut self, bind: &Bind) -> Result<(), CreateError> {
        let copy = !bind.no_copy;
        match &bind.source {
            MountSource::Path(path) => {
                make_source(path)?;
                self.add(MountPoint {
                    kind: "bind".to_owned(),
                    name: String::new(),
                    source: PathBuf::from(path),
                    destination: bind.target.clone(),
                    driver: String::new(),
                    mode: bind.mode.clone(),
                    writable: !bind.read_only,
                    propagation: match bind.propagation {
                        Propagation::Default => Propagation::Rprivate,
                        other => other,
                    },
                    anonymous: false,
                });
            }
            MountSource::Volume(name) => self.volume(Some(name), &bind.target, copy)?,
            MountSource::Anonymous => self.volume(None, &bind.target, copy)?,
        }
        if let Some(point) = self.points.last_mut() {
            point.mode.clone_from(&bind.mode);
            point.writable = !bind.read_only;
            if point.kind == "volume" && point.mode.is_empty() {
                // **Source:** moby shows `z` for volumes without a mode.
                point.mode = "z".to_owned();
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all but the default stay as they are")]
    fn mount(&mut self, mount: &crate::spec::Mount) -> Result<(), CreateError> {
        let target = &mount.target;
        let plain = |kind: &str, source: &str| MountPoint {
            kind: kind.to_owned(),
            name: String::new(),
            source: PathBuf::from(source),
            destination: target.clone(),
            driver: String::new(),
            mode: String::new(),
            writable: !mount.read_only,
            propagation: Propagation::Default,
            anonymous: false,
        };
        match &mount.kind {
            MountKind::Bind { source, propagation, create_source, .. } => {
                if *create_source {
                    make_source(source)?;
                }
                let propagation = match *propagation {
                    Propagation::Default => Propagation::Rprivate,
                    other => other,
                };
                self.add(MountPoint { propagation, ..plain("bind", source) });
            }
            MountKind::Tmpfs { .. } => self.add(plain("tmpfs", "")),
            MountKind::Volume { name, no_copy, labels, driver, driver_options, subpath } => {
                if let Some(name) = name
                    && self.deps.volumes.get(name).is_err()
                {
                    let driver = if driver.is_empty() { "local" } else { driver };
                    let made = self.deps.volumes.create(volume::Spec {
                        name: Some(name.parse()?),
                        driver: driver.to_owned(),
                        driver_opts: driver_options.clone(),
                        labels: labels.clone(),
                    });
                    made.map_err(volume::AttachError::from)?;
                }
                self.volume(name.as_deref(), target, !no_copy)?;
                if let Some(point) = self.points.last_mut() {
                    point.writable = !mount.read_only;
                    point.mode = "z".to_owned();
                    if !subpath.is_empty() {
                        point.source = inside(&point.source, subpath)?;
                    }
                }
            }
            MountKind::Image { .. } => {
                return Err(InvalidSpec::Conflict("mounts of images are not supported").into());
            }
        }
        Ok(())
    }

    /// A volume, filled from the image if it is new.
    fn volume(&mut self, name: Option<&str>, target: &str, copy: bool) -> Result<(), CreateError> {
        let anonymous = name.is_none();
        let name = match name {
            Some(name) => name.parse()?,
            None => volume::Name::anonymous(),
        };
        let mount = self.deps.volumes.attach(&name, &self.id.to_string())?;
        if copy && let Ok(root) = self.deps.images.open_root(self.snapshot) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let relative = target.trim_start_matches('/');
            let directory = rustix::fs::openat2(&root, relative, flags, Mode::empty(), resolve);
            if let Ok(directory) = directory {
                use std::os::fd::AsFd;
                let populated = self.deps.volumes.populate(&name, directory.as_fd());
                populated.map_err(|source| CreateError::Prepare { path: target.to_owned(), source: std::io::Error::other(source) })?;
            }
        }
        self.add(MountPoint {
            kind: "volume".to_owned(),
            name: name.to_string(),
            source: mount.source.unwrap_or_default(),
            destination: target.to_owned(),
            driver: "local".to_owned(),
            mode: String::new(),
            writable: true,
            propagation: Propagation::Default,
            anonymous,
        });
        Ok(())
    }
}

/// A path inside a volume; links must not lead out of it.
fn inside(volume: &Path, subpath: &str) -> Result<PathBuf, CreateError> {
    let failed = |source: std::io::Error| CreateError::Prepare { path: subpath.to_owned(), source };
    let root = std::fs::canonicalize(volume).map_err(failed)?;
    let path = std::fs::canonicalize(root.join(subpath.trim_start_matches('/'))).map_err(failed)?;
    if path.starts_with(&root) { Ok(path) } else { Err(failed(std::io::ErrorKind::PermissionDenied.into())) }
}

/// Makes the directory of a bind that is not there yet.
fn make_source(path: &str) -> Result<(), CreateError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(_) => std::fs::create_dir_all(path).map_err(|source| CreateError::Prepare { path: path.to_owned(), source }),
    }
}

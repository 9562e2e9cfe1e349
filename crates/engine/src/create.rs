//! From a specification to a container that can be started.

mod mounts;

use std::sync::Arc;

use image::{Image, SnapshotOptions};
use oci::Platform;
use tokio::sync::mpsc;

use crate::actor::{self, Actor, MAILBOX_MAX};
use crate::deps::Deps;
use crate::error::CreateError;
use crate::event::EventKind;
use crate::id::{ContainerId, ContainerName};
use crate::record::Record;
use crate::registry::Cell;
use crate::spec::{NetworkMode, Spec};
use crate::state::Life;
use crate::view::Container;
use crate::{endpoints, merge, names, validate};

pub(crate) use mounts::pin_of;

/// First project id of containers with a limited size.
const PROJECT_FIRST: u32 = 1 << 29;

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
            actor::clear(deps, id, &[], false);
            Err(error)
        }
    }
}

fn find_image(deps: &Deps, spec: &Spec, platform: Option<&Platform>) -> Result<Image, CreateError> {
    let name = &spec.config.image;
    deps.images.resolve_for(name, platform).map_err(|error| match error {
        image::ResolveError::Platform { wanted, .. } => CreateError::Platform { image: name.clone(), platform: wanted },
        error @ (image::ResolveError::NotFound { .. } | image::ResolveError::Ambiguous { .. } | image::ResolveError::Name(_)) => {
            error.into()
        }
    })
}

/// Other containers and networks that it names must be there.
fn check_references(deps: &Deps, spec: &Spec) -> Result<(), CreateError> {
    use crate::spec::{IpcMode, PidMode};
    let host = &spec.host;
    let container = |reference: &str| deps.registry.find(reference).map(drop);
    if let NetworkMode::Container(other) = &host.network_mode {
        container(other)?;
    }
    for link in &host.links {
        container(&endpoints::link(link).1)?;
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
    limit(deps, id, &spec, &snapshot)?;
    let mut made = mounts::Made::default();
    let mounts = match mounts::mount_points(deps, id, &spec, &snapshot, &mut made) {
        Ok(mounts) => mounts,
        Err(error) => {
            made.undo(deps, id);
            return Err(error);
        }
    };
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
    let mut recorded = deps.table.put(&holder, &record, durability);
    if recorded.is_err() {
        // Files of removed containers may still fill the disk.
        drop(deps.images.empty_trash());
        recorded = deps.table.put(&holder, &record, durability);
    }
    if let Err(error) = recorded {
        made.undo(deps, id);
        return Err(error.into());
    }
    made.announce(deps);
    let cell = spawn(deps, record, Some(snapshot));
    publish_event(deps, &cell.view(), "create", &[]);
    Ok(cell)
}

/// Limits what the container writes, where `--storage-opt size` asks for that.
fn limit(deps: &Deps, id: ContainerId, spec: &Spec, snapshot: &image::Snapshot) -> Result<(), CreateError> {
    let bytes = spec.host.storage_options.values().find_map(|size| volume::parse_size(size)).unwrap_or(0);
    if bytes == 0 {
        return Ok(());
    }
    // Below the projects of volumes, above those of `/etc/projid`.
    let project = u32::from_str_radix(&id.to_string()[..8], 16).unwrap_or(0) >> 3 | PROJECT_FIRST;
    let limited = deps.images.limit_snapshot(snapshot, bytes, project);
    limited.map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::SRCH.raw_os_error() => crate::error::InvalidSpec::StorageQuota.into(),
        _ => CreateError::Prepare { path: snapshot.upper.display().to_string(), source: error },
    })
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

impl crate::engine::PreparedRun {
    /// What a person should know of the new container.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

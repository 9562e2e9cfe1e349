//! From records on the disk to containers under management: what runs still is found again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use store::Table;
use tokio::sync::oneshot;

use crate::actor::Actor;
use crate::connection::Connection;
use crate::create;
use crate::deps::{Deps, make_directory};
use crate::engine::{Engine, Options};
use crate::error::OpenError;
use crate::event::Events;
use crate::id::ContainerId;
use crate::record::Record;
use crate::registry::Registry;
use crate::spec::Signal;

/// Longest that clients wait for the state of supervisors; who is later shows what its record says.
const ADOPT_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn open(options: Options) -> Result<Engine, OpenError> {
    for path in [options.root.join("containers"), options.run.join("containers")] {
        make_directory(&path).map_err(|source| OpenError::Directory { path: path.display().to_string(), source })?;
    }
    let (table, records, damaged) = Table::open(options.root.join("records"))?;
    let kept: BTreeSet<String> = damaged.iter().map(|d| d.key.clone()).collect();
    let deps = Arc::new(Deps {
        root: options.root,
        run: options.run,
        cgroup_parent: options.cgroup_parent,
        spawner: options.spawner,
        images: options.images,
        networks: options.networks,
        volumes: options.volumes,
        table,
        registry: Registry::default(),
        events: Events::default(),
        execs: std::sync::Mutex::default(),
        filters: std::sync::Mutex::default(),
        damaged: std::sync::Mutex::new(damaged.into_iter().map(Into::into).collect()),
        settled: tokio::sync::watch::Sender::new(false),
        closing: AtomicBool::new(false),
    });
    let opened = Engine(deps.clone());
    tokio::spawn(async move { adopt_all(&deps, records, kept).await });
    Ok(opened)
}

impl Engine {
    /// Waits until the containers of an earlier engine are found again.
    ///
    /// The engine answers before that, so that a client that only asks whether it lives does not wait.
    pub async fn settled(&self) {
        // The sender lives as long as the engine.
        let _ = self.0.settled.subscribe().wait_for(|settled| *settled).await;
    }
}

async fn adopt_all(deps: &Arc<Deps>, records: Vec<(String, Record)>, mut holders: BTreeSet<String>) {
    let mut waiting = Vec::with_capacity(records.len());
    for (_, record) in records {
        holders.insert(record.id.to_string());
        waiting.push(adopt(deps, record));
    }
    // Late ones show what their record says until then.
    let end = tokio::time::Instant::now() + ADOPT_MAX;
    let mut late = Vec::new();
    for mut ready in waiting {
        // An actor that has gone already is ready, too.
        if tokio::time::timeout_at(end, &mut ready).await.is_err() {
            late.push(ready);
        }
    }
    deps.settled.send_replace(true);
    for ready in late {
        let _ = ready.await;
    }
    sweep(deps, holders).await;
}

/// Starts the actor of a recorded container; the answer comes when its state is known.
fn adopt(deps: &Arc<Deps>, record: Record) -> oneshot::Receiver<()> {
    let options = image::SnapshotOptions { volatile: record.spec.host.auto_remove };
    let key = record.id.to_string();
    // Without its snapshot it is shown, and its start fails with the cause.
    let snapshot = deps.images.open_snapshot(&key, options).ok();
    for (index, point) in record.mounts.iter().enumerate() {
        if let Ok(name) = point.name.parse::<volume::Name>()
            && point.kind == "volume"
        {
            deps.volumes.hold(&name, &key);
        }
        if let Some(image) = point.options.image {
            // Without its image its start fails with the cause.
            let _ = deps.images.pin(&create::pin_of(&record.id, index), &image);
        }
    }
    // A name that two records have belongs to the first one; the other is found by its id.
    let _ = deps.registry.reserve(&record.name, record.id);
    let (sender, ready) = oneshot::channel();
    let (_, actor): (_, Actor) = create::prepare(deps, record, snapshot);
    tokio::spawn(actor.adopt(sender));
    ready
}

/// Clears what no record knows, beside the API.
async fn sweep(deps: &Arc<Deps>, mut known: BTreeSet<String>) {
    known.extend(deps.registry.list().iter().map(|cell| cell.id.to_string()));
    let is_known = |name: &str| known.contains(name) || name.parse::<ContainerId>().is_ok_and(|_| deps.registry.find(name).is_ok());
    for directory in [deps.run.join("containers"), deps.root.join("containers")] {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Only what we made ourselves: a directory named by an id.
            if name.parse::<ContainerId>().is_err() || is_known(&name) {
                continue;
            }
            end_orphan(&entry.path().join("control")).await;
            // A container made meanwhile is in the registry before its directory is made.
            if !is_known(&name) {
                drop(std::fs::remove_dir_all(entry.path()));
            }
        }
    }
    known.extend(deps.registry.list().iter().map(|cell| cell.id.to_string()));
    let deps = deps.clone();
    let work = move || {
        let now = deps.registry.list();
        known.extend(now.iter().map(|cell| cell.id.to_string()));
        let holders: Vec<&str> = known.iter().map(String::as_str).collect();
        // Each is tried again at the next start.
        drop(deps.images.sweep(&holders));
        drop(deps.networks.sweep(&known));
        drop(deps.images.empty_trash());
        deps.volumes.settle();
        drop(deps.volumes.empty_trash());
    };
    // A panic there has been shown already.
    let _ = tokio::task::spawn_blocking(work).await;
}

/// Ends a supervisor whose container no record knows, and waits for its end.
pub(crate) async fn end_orphan(control: &std::path::Path) {
    let Ok(socket) = supervisor::connect(control) else {
        return;
    };
    let Ok(mut connection) = Connection::new(socket) else {
        return;
    };
    let kill = supervisor::protocol::Command::Signal { signal: Signal::KILL.number(), all: true };
    if connection.send(kill, &[]).is_err() {
        return;
    }
    let ended = async { while let Ok(Some(_)) = connection.receive().await {} };
    // One that does not end is left for the next start.
    let _ = tokio::time::timeout(Duration::from_secs(10), ended).await;
}

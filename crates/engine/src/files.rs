//! Work on the files of a container, whether it runs or not.

use std::os::fd::OwnedFd;

use supervisor::files::{Bind, Files, FilesError, Layers};

use crate::engine::Engine;
use crate::error::OperationError;
use crate::view::Container;

/// How often a container that starts or ends meanwhile is looked at anew.
const TRIES_MAX: usize = 5;

fn layers(view: &Container, engine: &Engine) -> Result<Layers, image::SnapshotError> {
    let images = &engine.0.images;
    // Not volatile: that would mark the layer as one that may be broken.
    let options = image::SnapshotOptions::default();
    let root = images.mount(&images.open_snapshot(&view.id.to_string(), options)?)?;
    let binds = view.mounts.iter().filter(|mount| mount.kind != "tmpfs").map(|mount| Bind {
        source: mount.source.clone(),
        destination: mount.destination.clone().into(),
        writable: mount.writable,
    });
    Ok(Layers { root, binds: binds.collect(), place: engine.0.root.clone() })
}

impl Engine {
    /// Runs `job` on a thread that sees the container's files: its root, its binds and volumes, without the kernel's
    /// file systems. A container that does not run cannot start before the job is done.
    ///
    /// # Errors
    /// [`OperationError`]; what the job itself returns is its own.
    pub async fn with_files<T, J>(&self, container: &str, mut job: J) -> Result<T, OperationError>
    where
        T: Send + 'static,
        J: FnMut(&Container, OwnedFd) -> T + Send + 'static,
    {
        let cell = self.0.registry.find(container)?;
        for _ in 0..TRIES_MAX {
            let view = cell.view();
            let (files, guard) = match view.pid {
                Some(pid) => (Files::Running { pid, id: view.id.to_string() }, None),
                None => {
                    let guard = cell.files.clone().lock_owned().await;
                    if cell.view().pid.is_some() {
                        continue;
                    }
                    let layers = layers(&view, self).map_err(|error| OperationError::Supervisor(crate::error::chain(&error)))?;
                    (Files::Stopped(layers), Some(guard))
                }
            };
            let (sender, receiver) = tokio::sync::oneshot::channel();
            // A thread of its own: its mount namespace is not fit for other work, and ends with it.
            let work = move || {
                let done = files.enter().map(|root| job(&view, root));
                // The mounts go before a start may make them anew.
                let _ = sender.send((done, job));
                drop(guard);
            };
            let failed = |source| OperationError::Io { act: "start a thread for the container's files", source };
            std::thread::Builder::new().name("teu-files".to_owned()).spawn(work).map_err(failed)?;
            match receiver.await {
                Ok((Ok(value), _)) => return Ok(value),
                Ok((Err(FilesError::Ended), again)) => job = again,
                Ok((Err(error), _)) => return Err(OperationError::Supervisor(crate::error::chain(&error))),
                Err(_) => {
                    return Err(OperationError::Supervisor("the work on the container's files has ended without a result".to_owned()));
                }
            }
        }
        Err(OperationError::Supervisor("the container starts and ends too fast to reach its files".to_owned()))
    }

    /// The user and group that the container's processes have, as numbers.
    ///
    /// # Errors
    /// [`OperationError`] if its user is not in its own files.
    pub fn process_owner(&self, container: &str) -> Result<(u32, u32), OperationError> {
        let view = self.0.registry.find(container)?.view();
        let files = crate::actor::RootFiles { images: &self.0.images, image: &view.image_id, upper: &view.upper };
        let (user, _) =
            crate::identity::resolve(&files, &view.spec.config.user, &[]).map_err(|e| OperationError::Invalid(e.to_string()))?;
        Ok((user.uid, user.gid))
    }
}

//! The files of volumes as a whole: `/volumes/{name}/export`, `import`, `copy` and `usage`, which are ours beyond Docker's API.

use std::io::{self, Read};
use std::sync::Arc;

use docker_api::archive::{ExtractOptions, Owner, Source, Tree, pack};
use docker_api::types::{VolumeCopyBody, VolumeUsageReport, VolumeUser};
use http::StatusCode;
use tokio::sync::oneshot;

use crate::ApiError;
use crate::app::App;
use crate::archive::{Failure, Pieces, receive_archive};
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::upload::Upload;
use crate::volumes::{create_status, json};

/// Bytes that end a tar. **Source:** POSIX `pax`, "ustar Interchange Format": two blocks of zeros.
const END: usize = 1024;

/// Keeps the last bytes that were read, to see that an archive is whole.
struct Tail<R> {
    inner: R,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl<R> Tail<R> {
    /// Whether this is a plain tar: compressed ones check their own end.
    fn plain(&self) -> bool {
        !matches!(self.first.as_slice(), [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..])
    }
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        if self.first.is_empty() {
            self.first.extend_from_slice(&buffer[..length.min(4)]);
        }
        let fresh = &buffer[length.saturating_sub(END)..length];
        let surplus = (self.last.len() + fresh.len()).saturating_sub(END).min(self.last.len());
        self.last.drain(..surplus);
        self.last.extend_from_slice(fresh);
        Ok(length)
    }
}

fn clone_error(cause: &volume::CloneError) -> ApiError {
    use volume::CloneError as Cause;
    let status = match cause {
        Cause::Mount(volume::MountError::NotFound(_)) => StatusCode::NOT_FOUND,
        Cause::Create(cause) => create_status(cause),
        Cause::Taken { .. } | Cause::Elsewhere { .. } | Cause::InUse { .. } | Cause::NotEmpty { .. } => StatusCode::CONFLICT,
        Cause::Mount(_) | Cause::Copy { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, cause)
}

fn parse_name(name: &str) -> Result<volume::Name, ApiError> {
    name.parse().map_err(|cause| ApiError::invalid(format!("create {name}: {cause}")))
}

impl App {
    /// Containers that have a volume mounted.
    fn users(&self, name: &str) -> Vec<engine::Container> {
        let all = self.engine.list();
        let uses = |container: &engine::Container| container.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == name);
        all.iter().filter(|container| uses(container)).map(|container| (**container).clone()).collect()
    }

    pub(crate) async fn volume_usage_of(&self, name: String) -> Result<Reply, ApiError> {
        let volumes = Arc::clone(&self.volumes);
        let asked = name.clone();
        let usage = blocking(move || volumes.usage(&asked)).await?;
        let usage = usage.map_err(|cause| ApiError::from_error(StatusCode::NOT_FOUND, &cause))?;
        let users = self.users(&name).into_iter().map(|container| VolumeUser {
            id: container.id.to_string(),
            name: container.name.to_string(),
            state: container.status.name().to_owned(),
            destinations: container.mounts.iter().filter(|mount| mount.name == name).map(|mount| mount.destination.clone()).collect(),
        });
        let report = VolumeUsageReport {
            bytes: usage.bytes,
            disk_bytes: usage.disk_bytes,
            files: usage.files,
            directories: usage.directories,
            users: users.collect(),
            name: name.clone(),
        };
        Ok(reply::json(StatusCode::OK, &report))
    }

    /// Sends the files of a volume as a tar.
    pub(crate) async fn volume_export(&self, name: String) -> Result<Reply, ApiError> {
        let (pieces, answer) = reply::stream("application/x-tar");
        let (started, first) = oneshot::channel();
        let volumes = Arc::clone(&self.volumes);
        let user = volumes.new_user("export");
        let work = move || {
            match volumes.open_files(&name, &user) {
                Err(cause) => drop(started.send(Err(clone_error(&cause)))),
                Ok(directory) => {
                    // A client that is gone hears nothing more; behind the head a broken archive shows by its missing end.
                    drop(started.send(Ok(())));
                    let tree = Tree::of_container(directory);
                    drop(pack(Source { tree: &tree, folder: "/", entry: ".", name: "." }, &mut Pieces::new(pieces)));
                }
            }
            volumes.unmount(&user);
        };
        drop(tokio::task::spawn_blocking(work));
        first.await.map_err(|_| ApiError::internal("the export has ended without a result"))??;
        Ok(answer)
    }

    /// Fills a volume, which is made where it is missing, from a tar; all of it or nothing.
    pub(crate) async fn volume_import(&self, name: String, call: Call) -> Result<Reply, ApiError> {
        let name = parse_name(&name)?;
        let force = call.query.flag("force");
        let fresh = self.volumes.get(name.as_str()).is_err();
        let body = Upload::new(call.into_body());
        let volumes = Arc::clone(&self.volumes);
        let work = move || -> Result<volume::Volume, ApiError> {
            let import =
                volumes.import(volume::Spec { name: Some(name), ..volume::Spec::default() }).map_err(|cause| clone_error(&cause))?;
            let tree = Tree::of_container(import.directory().map_err(|cause| clone_error(&cause))?);
            let options = ExtractOptions { folder: "/".to_owned(), keep_kinds: false, owner: Owner::Archive, rename: None };
            let mut tail = Tail { inner: body, first: Vec::new(), last: Vec::new() };
            receive_archive(&tree, options, &mut tail).map_err(|failure| match failure {
                Failure::Invalid(text) => ApiError::invalid(text),
                Failure::Missing => ApiError::invalid("the archive names a file that it does not have"),
                Failure::Internal(text) => ApiError::internal(text),
            })?;
            if tail.plain() && (tail.last.len() < END || tail.last.iter().any(|byte| *byte != 0)) {
                return Err(ApiError::invalid("the archive is cut short: its end is missing"));
            }
            import.commit(force).map_err(|cause| clone_error(&cause))
        };
        let volume = blocking(work).await??;
        if fresh {
            self.volume_event("create", volume.name.as_str());
        }
        Ok(reply::json(StatusCode::CREATED, &json(&volume)))
    }

    /// Makes a volume with a copy of another one's files; who writes to it may be paused meanwhile.
    pub(crate) async fn volume_copy(&self, name: String, mut call: Call) -> Result<Reply, ApiError> {
        let body: VolumeCopyBody = call.json().await?;
        let spec = volume::Spec { name: Some(parse_name(&body.name)?), labels: body.labels.unwrap_or_default(), ..volume::Spec::default() };
        let mut paused = Vec::new();
        if body.pause {
            for container in self.users(&name).into_iter().filter(|container| container.status == engine::Status::Running) {
                let id = container.id.to_string();
                // One that ends at this moment writes no more.
                if self.engine.pause(&id).await.is_ok() {
                    paused.push(id);
                }
            }
        }
        let volumes = Arc::clone(&self.volumes);
        let engine = self.engine.clone();
        // A task of its own: a client that hangs up must leave nobody paused.
        let work = tokio::spawn(async move {
            let copied = blocking(move || volumes.copy(&name, spec)).await;
            for id in paused {
                // One that was unpaused or removed by hand needs nothing.
                let _ = engine.unpause(&id).await;
            }
            copied
        });
        let copied = work.await.map_err(|_| ApiError::internal("the copy has ended without a result"))?;
        let volume = copied?.map_err(|cause| clone_error(&cause))?;
        self.volume_event("create", volume.name.as_str());
        Ok(reply::json(StatusCode::CREATED, &json(&volume)))
    }
}

//! Brings a result to where the client wants it.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use buildkit::proto::Exporter;
use buildkit::{Build, Solved, Status};
use docker_api::archive::{Source, Tree, pack};
use image::ImageId;
use oci::ImageRef;
use tokio::sync::mpsc;

use super::sources::account;
use crate::app::App;
use crate::error::chain;
use crate::images;

/// Pieces that wait for a slow client, and the bytes of each: below what a message holds.
const PIECES_MAX: usize = 16;
const PIECE_BYTES_MAX: usize = 64 << 10;

/// The names of an exporter.
fn names(exporter: &Exporter) -> Result<Vec<ImageRef>, Status> {
    let names = exporter.attrs.get("name").map_or("", String::as_str).split(',').filter(|name| !name.is_empty());
    names.map(|name| images::reference(name, "").map_err(|cause| Status::invalid_argument(cause.message))).collect()
}

pub(super) async fn export(
    app: App,
    build: Arc<Build>,
    result: Solved,
    exporters: Vec<Exporter>,
) -> Result<HashMap<String, String>, Status> {
    let mut answers = HashMap::new();
    let Some((_, id)) = result.images.first() else { return Ok(answers) };
    let image: ImageId = id.parse().map_err(|_| Status::internal(format!("{id} is no image")))?;
    answers.insert("containerimage.digest".to_owned(), id.clone());
    answers.insert("containerimage.config.digest".to_owned(), id.clone());
    for (index, exporter) in exporters.iter().enumerate() {
        match exporter.r#type.as_str() {
            "moby" | "image" => {
                let names = names(exporter)?;
                let vertex = build.vertex("exporting to image").await;
                for name in &names {
                    app.images.tag(&image, name).map_err(|cause| Status::internal(images::tag_error(&cause).message))?;
                    app.image_event("tag", &image, &name.familiar());
                    vertex.part(&format!("naming to {name}"), 0, None, true);
                }
                vertex.part(&format!("writing image {id}"), 0, None, true);
                vertex.done().await;
                if exporter.attrs.get("push").is_some_and(|it| it == "true") {
                    push(&app, &build, &names).await?;
                }
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                answers.insert("image.name".to_owned(), names.join(","));
            }
            kind @ ("local" | "tar" | "oci" | "docker") => {
                if exporter.attrs.get("tar").is_some_and(|it| it == "false") {
                    return Err(Status::unimplemented("tar=false is not served: leave it out, and unpack the archive"));
                }
                let title = if matches!(kind, "oci" | "docker") {
                    format!("exporting to {kind} image format")
                } else {
                    "exporting to client".to_owned()
                };
                let vertex = build.vertex(&title).await;
                let part = format!("sending {}", if kind == "local" { "files" } else { "tarball" });
                match send(&app, &build, (index, kind), image, names(exporter)?).await {
                    Ok(()) => {
                        vertex.part(&part, 0, None, true);
                        vertex.done().await;
                    }
                    Err(status) => {
                        vertex.failed(status.message()).await;
                        return Err(status);
                    }
                }
            }
            other => return Err(Status::unimplemented(format!("the output {other} is not served"))),
        }
    }
    Ok(answers)
}

/// Pushes names with the client's accounts.
async fn push(app: &App, build: &Arc<Build>, names: &[ImageRef]) -> Result<(), Status> {
    let session = build.session(None).await?;
    for name in names {
        let vertex = build.vertex(&format!("pushing {name}")).await;
        let account = account(&session, name).await;
        if let Err(cause) = app.push_quietly(name, &account).await {
            vertex.failed(&cause.message).await;
            return Err(Status::unknown(format!("failed to push {name}: {}", cause.message)));
        }
        vertex.done().await;
    }
    Ok(())
}

/// Sends a result to the client: its files, a tar of them, or the image as an archive.
async fn send(app: &App, build: &Build, (index, kind): (usize, &str), image: ImageId, names: Vec<ImageRef>) -> Result<(), Status> {
    let session = build.session(None).await?;
    let images = Arc::clone(&app.images);
    if matches!(kind, "oci" | "docker") {
        let (pieces, queue) = mpsc::channel(PIECES_MAX);
        let writing = tokio::task::spawn_blocking(move || images.save_as(&image, &names, Pieces(pieces)).map_err(|cause| chain(&cause)));
        return sent(writing, session.send(index, queue)).await;
    }
    let opened = tokio::task::spawn_blocking(move || images.open_image(&image).map_err(|cause| chain(&cause)));
    let root = opened.await.map_err(|panic| Status::internal(panic.to_string()))?.map_err(Status::internal)?;
    if kind == "local" {
        return session.send_files(index, root).await;
    }
    let (pieces, queue) = mpsc::channel(PIECES_MAX);
    let writing = tokio::task::spawn_blocking(move || {
        let tree = Tree::of_container(root);
        pack(Source { tree: &tree, folder: "/", entry: ".", name: "." }, Pieces(pieces)).map_err(|cause| cause.to_string())
    });
    sent(writing, session.send(index, queue)).await
}

/// Waits for both ends; what cannot be written is said first.
async fn sent(
    writing: tokio::task::JoinHandle<Result<(), String>>,
    sending: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    let (written, sent) = tokio::join!(writing, sending);
    let written = written.map_err(|panic| Status::internal(panic.to_string()))?;
    // A client that has gone ends the writer, too: its word counts.
    sent?;
    written.map_err(Status::internal)
}

/// A writer of pieces that a task sends on.
struct Pieces(mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
        self.0.blocking_send(piece.to_vec()).map_err(|_| std::io::Error::other("the client has gone"))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

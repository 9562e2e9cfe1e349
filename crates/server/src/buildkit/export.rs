//! Brings a result to where the client wants it.

use std::collections::HashMap;
use std::sync::Arc;

use buildkit::proto::Exporter;
use buildkit::{Build, Solved, Status};
use image::ImageId;
use oci::ImageRef;

use crate::app::App;
use crate::images;

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
    for exporter in &exporters {
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
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                answers.insert("image.name".to_owned(), names.join(","));
            }
            "local" | "tar" | "oci" | "docker" => {
                return Err(Status::unimplemented(format!("the output {} is not served", exporter.r#type)));
            }
            other => return Err(Status::unimplemented(format!("the output {other} is not served"))),
        }
    }
    Ok(answers)
}

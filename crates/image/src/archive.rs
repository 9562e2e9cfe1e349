//! Archives of images: what `docker save` writes (old and new) and OCI layouts in a tar.
//!
//! The stream is read once. Which blob is a layer is said only at the end of most archives, so
//! whatever looks like a layer is unpacked into staging while it passes, digests are computed
//! along, and the documents decide afterwards what is kept.
//! **Source:** OCI image specification, `image-layout.md`; Docker Image Specification 1.2, "Combined Image JSON".

mod contents;
mod plan;

pub(crate) use contents::{Contents, LayerBlob, Source, bad_layer};
pub(crate) use plan::{Planned, plan};

//! Images on a real disk, with real overlay mounts in a private mount namespace. Needs root.

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod archives;
mod changed;
mod conformance;
mod explore;
mod hostile;
mod import;
mod lifecycle;
mod platforms;
mod pull;
mod seen;
mod snapshots;
mod tarball;

use std::path::Path;

use image::{ImageId, Images, ImportOptions};
use oci::Digest;
use serde_json::json;

/// A data directory of its own.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) images: Images,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        // In memory where possible: each load syncs its whole file system.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::tempdir_in(place).unwrap();
        let images = Images::open(directory.path()).unwrap();
        Self { directory, images }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn import(&self, tar: &[u8], name: &str) -> ImageId {
        let reference = if name.is_empty() { None } else { Some(name.parse().unwrap()) };
        self.images.import(tar, ImportOptions { reference, ..ImportOptions::default() }).unwrap()
    }

    /// Returns the directory of the only layer of an image.
    pub(crate) fn layer(&self, id: &ImageId) -> std::path::PathBuf {
        let image = self.images.get(id).unwrap();
        self.path("layers").join(image.layers[0].hex())
    }

    /// Asserts that nothing of a failed operation is left.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(names(&self.path("staging")), [""; 0]);
        assert_eq!(names(&self.path("trash")), [""; 0]);
        assert_eq!(names(&self.path("layers")), ["empty"]);
        assert!(self.images.list().is_empty());
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The configuration of an image with these layers.
pub(crate) fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": null},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": layers.iter().map(|_| json!({"created_by": "step"})).collect::<Vec<_>>(),
    }))
    .unwrap()
}

/// An archive as `docker save` writes it since version 25.
pub(crate) fn docker_archive(layers: &[&[u8]], tags: &[&str]) -> Vec<u8> {
    let config = config(layers);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let mut tar = tarball::Tarball::new().directory("blobs/").directory("blobs/sha256/");
    for layer in layers {
        tar = tar.file(&blob(layer), layer);
    }
    let manifest = json!([{
        "Config": blob(&config), "RepoTags": tags,
        "Layers": layers.iter().map(|layer| blob(layer)).collect::<Vec<_>>(),
    }]);
    tar.file(&blob(&config), &config).file("manifest.json", manifest.to_string().as_bytes()).end()
}

pub(crate) fn load(images: &Images, archive: &[u8]) -> Result<Vec<image::Loaded>, image::LoadError> {
    images.load(archive, None, &mut |_| {})
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/main.rs")).unwrap();
    for name in names(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"))) {
        let stem = name.trim_end_matches(".rs");
        assert!(stem == "main" || main.contains(&format!("mod {stem};")), "{name}");
    }
}

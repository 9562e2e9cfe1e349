//! What is in images, and what of it is in vain.

use image::{Backend, Images, SnapshotOptions};

use crate::tarball::Tarball;
use crate::{docker_archive, load};

#[test]
fn what_later_layers_hide_is_in_vain() {
    let base = Tarball::new()
        .file("kept", &[1; 100])
        .file("replaced", &[1; 1000])
        .file("removed", &[1; 2000])
        .file("dir/a", &[1; 300])
        .file("dir/b", &[1; 400])
        .file("linked", &[1; 50])
        .link("again", "linked")
        .end();
    let top = Tarball::new().file("replaced", &[2; 10]).file(".wh.removed", b"").file("dir/.wh..wh..opq", b"").file("dir/a", b"new").end();
    for backend in [Backend::Dir, Backend::Erofs] {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let images = Images::open_with(directory.path(), Some(backend)).unwrap();
        let Ok(loaded) = load(&images, &docker_archive(&[&base, &top], &["app"])) else {
            // A kernel without EROFS still writes such layers.
            panic!("{backend}");
        };
        let Ok(explored) = images.explore(&loaded[0].id) else {
            assert_eq!(backend, Backend::Erofs);
            continue;
        };
        assert_eq!((explored.bytes, explored.wasted_bytes), (3850 + 13, 1000 + 2000 + 700));
        let layers: Vec<_> = explored.layers.iter().map(|layer| (layer.files, layer.directories, layer.whiteouts, layer.bytes)).collect();
        assert_eq!(layers, [(7, 1, 0, 3850), (2, 1, 1, 13)]);
        let wasted: Vec<_> = explored.wasted.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
        assert_eq!(wasted, [("/removed", 2000), ("/replaced", 1000), ("/dir/b", 400), ("/dir/a", 300)]);
    }
}

#[test]
fn a_volatile_snapshot_is_mounted_again() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let images = Images::open(directory.path()).unwrap();
    let tar = Tarball::new().file("a", b"1").end();
    let id = images.import(&tar[..], image::ImportOptions::default()).unwrap();
    let snapshot = images.snapshot("holder", &id, SnapshotOptions { volatile: true }).unwrap();
    for _ in 0..3 {
        drop(images.mount(&snapshot).unwrap());
    }
}

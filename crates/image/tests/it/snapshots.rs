//! Snapshots under a real overlay mount.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use image::{SnapshotError, SnapshotOptions};
use rustix::mount::{MountPropagationFlags, MoveMountFlags};

use crate::tarball::Tarball;
use crate::{Fixture, docker_archive, load, names};

/// Runs a test in a mount namespace of its own thread.
fn in_private_mounts(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare_mounts();
            rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

/// The thread's own mounts; they end with it.
#[expect(deprecated, reason = "the successor is unsafe only for sharing of descriptors, which stays as it is")]
fn unshare_mounts() {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
}

#[test]
#[allow(clippy::too_many_lines, reason = "one scene, told once")]
fn layers_whiteouts_and_writes_are_merged_as_docker_does() {
    let lower = Tarball::new()
        .directory("./")
        .file("gone", b"1")
        .directory("dir/")
        .file("dir/old", b"1")
        .directory("opaque/")
        .file("opaque/old", b"1")
        .directory("again/")
        .file("again/old", b"1")
        .file("kept", b"1")
        .directory("implied/")
        .file("implied/old", b"1")
        .end();
    let upper = Tarball::new()
        .file(".wh.gone", b"")
        .file("dir/new", b"2")
        .file("opaque/new", b"2")
        .file("opaque/.wh..wh..opq", b"")
        // Removed and made again in one layer: the old content must not shine through.
        .file(".wh.again", b"")
        .directory("again/")
        .file("again/new", b"2")
        .file(".wh.implied", b"")
        .file("implied/new", b"2")
        .file(".wh..wh.plnk/ignored", b"")
        .end();
    let fixture = Fixture::new();
    let id = load(&fixture.images, &docker_archive(&[&lower, &upper], &["app"])).unwrap()[0].id;
    let snapshot = fixture.images.snapshot("holder", &id, SnapshotOptions::default()).unwrap();
    assert!(fs_err::symlink_metadata(snapshot.lower[0].join("gone")).unwrap().file_type().is_char_device());
    let target = fixture.path("mounted");
    fs_err::create_dir(&target).unwrap();
    in_private_mounts(|| {
        let root = fixture.images.mount(&snapshot).unwrap();
        rustix::mount::move_mount(&root, "", rustix::fs::CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).unwrap();
        assert_eq!(names(&target), [".dockerenv", "again", "dir", "implied", "kept", "opaque"]);
        assert_eq!(names(&target.join("dir")), ["new", "old"]);
        for hidden in ["again", "implied", "opaque"] {
            assert_eq!(names(&target.join(hidden)), ["new"], "{hidden}");
        }
        fs_err::write(target.join("kept"), "changed").unwrap();
    });
    assert!(names(&target).is_empty());
    assert_eq!(fs_err::read(snapshot.upper.join("kept")).unwrap(), b"changed");
    assert_eq!(fixture.images.snapshot_size("holder").unwrap(), 7);
    // The detached view shows the same, without the mark of a running container.
    let root = fixture.images.open_root(&snapshot).unwrap();
    let view = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root));
    assert_eq!(names(Path::new(&view)), ["again", "dir", "implied", "kept", "opaque"]);
    assert!(fs_err::write(Path::new(&view).join("new"), "x").is_err());
    // The image itself is unchanged.
    let read = |path: &str| fixture.images.read_file(&id, Path::new(path)).unwrap();
    assert_eq!(read("/kept").as_deref(), Some(&b"1"[..]));
    assert_eq!(read("/gone"), None);
    assert_eq!(read("/dir"), None);
    assert_eq!(read("../../dir/../kept").as_deref(), Some(&b"1"[..]));
}

#[test]
fn snapshots_are_kept_by_their_holder_and_go_at_once() {
    let fixture = Fixture::new();
    let images = &fixture.images;
    let tar = Tarball::new().owner(5, 6).mode(0o711).directory("./").end();
    let id = fixture.import(&tar, "app");
    let options = SnapshotOptions { volatile: true };
    let made = images.snapshot("one", &id, options).unwrap();
    let upper = fs_err::metadata(&made.upper).unwrap();
    assert_eq!((upper.uid(), upper.gid(), upper.mode() & 0o7777), (5, 6, 0o711));
    assert!(made.volatile);
    assert_eq!(images.open_snapshot("one", options).unwrap(), made);
    assert!(matches!(images.snapshot("one", &id, options), Err(SnapshotError::Exists { .. })));
    for holder in ["", "..", ".x", "a/b"] {
        assert!(matches!(images.snapshot(holder, &id, options), Err(SnapshotError::Holder { .. })));
        assert!(!images.remove_snapshot(holder).unwrap());
    }
    assert_eq!(images.get(&id).unwrap().holders, ["one"]);
    assert!(images.remove_snapshot("one").unwrap() && !images.remove_snapshot("one").unwrap());
    assert!(names(&fixture.path("snapshots")).is_empty());
    images.empty_trash().unwrap();
    assert!(names(&fixture.path("trash")).is_empty());
}

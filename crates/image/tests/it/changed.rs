//! `diff`, `export` and `commit` of snapshots that are changed through a real overlay mount.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use image::{ChangeKind, CommitOptions, ImageId, SnapshotOptions};

use crate::Fixture;
use crate::tarball::Tarball;

/// A snapshot mounted at a directory, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(fixture: &Fixture, holder: &str, image: &ImageId) -> Self {
        let snapshot = fixture.images.snapshot(holder, image, SnapshotOptions::default()).unwrap();
        let place = fixture.path(&format!("mounted-{holder}"));
        fs_err::create_dir(&place).unwrap();
        let root = fixture.images.mount(&snapshot).unwrap();
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&root, "", rustix::fs::CWD, &place, flags).unwrap();
        Self(place)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn base() -> Vec<u8> {
    Tarball::new()
        .directory("etc/")
        .file("etc/passwd", b"root")
        .file("etc/group", b"root")
        .directory("bin/")
        .file("bin/a", b"a")
        .file("bin/b", b"b")
        .directory("old/")
        .file("old/1", b"1")
        .file("old/2", b"2")
        .directory("same/")
        .file("same/x", b"x")
        .end()
}

/// Makes every kind of change.
fn change(place: &Mounted) {
    fs_err::write(place.at("etc/passwd"), "root and more").unwrap();
    fs_err::remove_file(place.at("etc/group")).unwrap();
    fs_err::remove_file(place.at("bin/a")).unwrap();
    fs_err::remove_dir_all(place.at("old")).unwrap();
    fs_err::create_dir(place.at("old")).unwrap();
    fs_err::write(place.at("old/1"), "new one").unwrap();
    fs_err::create_dir_all(place.at("new/deep")).unwrap();
    fs_err::write(place.at("new/deep/f"), "content").unwrap();
    fs_err::hard_link(place.at("new/deep/f"), place.at("new/hard")).unwrap();
    symlink("/x", place.at("new/ln")).unwrap();
    fs_err::set_permissions(place.at("new/deep/f"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    rustix::fs::setxattr(place.at("new/deep/f"), "user.a", b"b", rustix::fs::XattrFlags::empty()).unwrap();
    std::os::unix::fs::lchown(place.at("new/ln"), Some(3_000_000), Some(7)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.at("new/dev"),
        rustix::fs::FileType::CharacterDevice,
        0o640.into(),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    let long = format!("new/{}", "n".repeat(200));
    fs_err::write(place.at(&long), "long").unwrap();
    // Opened for writing and not changed: copied up, but the same.
    drop(fs_err::OpenOptions::new().append(true).open(place.at("same/x")).unwrap());
    let sparse = fs_err::File::create(place.at("new/sparse")).unwrap();
    sparse.set_len(300_000).unwrap();
    std::os::unix::net::UnixListener::bind(place.at("new/socket")).unwrap();
    // What an engine lays down.
    fs_err::write(place.at("etc/hosts"), "").unwrap();
    fs_err::create_dir(place.at("proc")).unwrap();
}

#[test]
fn every_kind_of_change_is_told_as_docker_tells_it() {
    let fixture = Fixture::new();
    let id = fixture.import(&base(), "base");
    let place = Mounted::new(&fixture, "c", &id);
    assert_eq!(fixture.images.changes("c").unwrap(), []);
    change(&place);
    let expected = format!(
        "C /bin\nD /bin/a\nC /etc\nD /etc/group\nC /etc/passwd\nA /new\nA /new/deep\nA /new/deep/f\nA /new/dev\nA /new/hard\nA /new/ln\nA /new/{}\nA /new/socket\nA /new/sparse\nC /old\nC /old/1\nD /old/2",
        "n".repeat(200)
    );
    let told = |changes: Vec<image::Change>| {
        let lines = changes.into_iter().map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{kind} {}", change.path)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told(fixture.images.changes("c").unwrap()), expected);
    assert!(fixture.images.changes("nosuch").is_err());
}

fn commit(fixture: &Fixture) -> ImageId {
    let options = CommitOptions {
        author: "me".to_owned(),
        comment: "msg".to_owned(),
        created_by: "sh".to_owned(),
        config: serde_json::json!({"Cmd": ["x"], "Labels": {}}),
        ..CommitOptions::default()
    };
    fixture.images.commit_snapshot("c", options).unwrap()
}

/// All paths below a directory with what can be said of them.
fn listing(root: &Path) -> Vec<String> {
    fn walk(root: &Path, path: &Path, lines: &mut Vec<String>) {
        let mut entries: Vec<PathBuf> = fs_err::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            let metadata = fs_err::symlink_metadata(&entry).unwrap();
            let name = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let laid_down = ["proc", "etc/hosts", "new/socket"].contains(&name.as_str());
            let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
            let size = if metadata.is_dir() { 0 } else { metadata.len() };
            if !laid_down {
                lines.push(format!(
                    "{name} {:o} {}:{} {links} {size} {} {}",
                    metadata.mode(),
                    metadata.uid(),
                    metadata.gid(),
                    metadata.rdev(),
                    metadata.mtime()
                ));
            }
            if metadata.is_dir() {
                walk(root, &entry, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines
}

#[test]
fn a_committed_image_shows_the_files_of_its_container() {
    let fixture = Fixture::new();
    let base_id = fixture.import(&base(), "base");
    let place = Mounted::new(&fixture, "c", &base_id);
    change(&place);
    let id = commit(&fixture);
    let child = Mounted::new(&fixture, "d", &id);
    assert_eq!(listing(&child.0), listing(&place.0));
    let mut value = [0; 8];
    assert_eq!(rustix::fs::getxattr(child.at("new/hard"), "user.a", &mut value[..]).unwrap(), 1);
    assert_eq!(fixture.images.changes("d").unwrap(), []);
    let image = fixture.images.get(&id).unwrap();
    assert_eq!((image.layers.len(), image.config.author.as_deref()), (2, Some("me")));
    let history = fixture.images.history(&id).unwrap();
    assert_eq!((history[0].comment.as_str(), history[0].created_by.as_str(), history.len()), ("msg", "sh", 2));
    assert_eq!((history[0].id, history[1].id), (Some(id), Some(base_id)));
    // It is saved and loaded elsewhere, and keeps its parent alive here.
    let mut archive = Vec::new();
    fixture.images.save(&[id.to_string()], None, &mut archive).unwrap();
    assert_eq!(crate::load(&Fixture::new().images, &archive).unwrap()[0].id, id);
    let error = fixture.images.remove(&base_id.to_string(), image::RemoveOptions::default(), &|_| false).unwrap_err();
    assert!(error.to_string().contains("image has dependent child images"), "{error}");
    // Also after a restart.
    let again = image::Images::open(fixture.directory.path()).unwrap();
    assert_eq!(again.history(&id).unwrap()[1].id, Some(base_id));
}

#[test]
fn a_commit_without_changes_makes_no_layer() {
    let fixture = Fixture::new();
    let base_id = fixture.import(&base(), "base");
    let place = Mounted::new(&fixture, "c", &base_id);
    fs_err::write(place.at("etc/hosts"), "").unwrap();
    let image = fixture.images.get(&commit(&fixture)).unwrap();
    assert_eq!(image.layers.len(), 1);
    assert!(image.config.history.last().unwrap().empty_layer);
    drop(place);
}

#[test]
fn an_exported_tree_is_imported_whole() {
    let fixture = Fixture::new();
    let base_id = fixture.import(&base(), "base");
    let place = Mounted::new(&fixture, "c", &base_id);
    change(&place);
    let mut tar = Vec::new();
    fixture.images.export("c", &mut tar).unwrap();
    let id = fixture.import(&tar, "copy");
    let copy = Mounted::new(&fixture, "d", &id);
    assert_eq!(listing(&copy.0), listing(&place.0));
    assert!(fixture.images.export("nosuch", &mut Vec::new()).is_err());
}

#[test]
fn links_of_a_container_lead_nowhere_outside() {
    let fixture = Fixture::new();
    let id = fixture.import(&base(), "base");
    let place = Mounted::new(&fixture, "c", &id);
    symlink("/etc", place.at("out")).unwrap();
    symlink("../../../../../../etc/shadow", place.at("up")).unwrap();
    let mut tar = Vec::new();
    fixture.images.export("c", &mut tar).unwrap();
    assert!(!tar.windows(10).any(|bytes| bytes == b"root:x:0:0" || bytes == b"root:$y$j9"));
    let paths: Vec<String> = fixture.images.changes("c").unwrap().into_iter().map(|change| change.path).collect();
    assert_eq!(paths, ["/out", "/up"]);
    // Deeper than descriptors that are kept open.
    let deep: PathBuf = std::iter::repeat_n("d", 200).collect();
    fs_err::create_dir_all(place.0.join(&deep)).unwrap();
    fs_err::write(place.0.join(&deep).join("f"), "deep").unwrap();
    fs_err::write(place.0.join("d/z"), "last").unwrap();
    assert_eq!(fixture.images.changes("c").unwrap().len(), 2 + 200 + 2);
    commit(&fixture);
}

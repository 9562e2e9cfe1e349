//! Volumes on a real disk. Needs root.

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt};
use std::path::Path;

use volume::{CreateError, Name, RemoveError, Spec, Volumes};

fn fixture() -> (tempfile::TempDir, Volumes) {
    let directory = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(directory.path()).unwrap();
    (directory, volumes)
}

fn named(name: &str) -> Spec {
    Spec { name: Some(name.parse().unwrap()), ..Spec::default() }
}

fn options(pairs: &[(&str, &str)]) -> Spec {
    let driver_opts = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Spec { driver_opts, ..named("special") }
}

#[test]
fn volumes_live_through_a_restart() {
    let (directory, volumes) = fixture();
    let mut spec = named("data");
    spec.labels.insert("a".to_owned(), "b".to_owned());
    let made = volumes.create(spec).unwrap();
    assert_eq!(made.mountpoint, directory.path().join("volumes/data/_data"));
    assert_eq!(volumes.create(named("data")).unwrap(), made);
    let anonymous = volumes.create(Spec::default()).unwrap();
    assert!(anonymous.anonymous && anonymous.name.as_str().len() == 64);
    drop(volumes);
    let volumes = Volumes::open(directory.path()).unwrap();
    assert_eq!(volumes.get("data").unwrap(), made);
    assert_eq!(volumes.list().len(), 2);
    assert_eq!(volumes.prune(false, &|_| false).unwrap().removed, [anonymous.name]);
    volumes.empty_trash().unwrap();
    assert!(fs_err::read_dir(directory.path().join("volumes/.trash")).unwrap().next().is_none());
}

#[test]
fn a_volume_in_use_is_kept() {
    let (_directory, volumes) = fixture();
    let name: Name = "data".parse().unwrap();
    let mount = volumes.attach(&name, "one").unwrap();
    assert_eq!((mount.kind.as_deref(), mount.options.as_slice()), (Some("bind"), &["rbind".to_owned()][..]));
    volumes.attach(&name, "two").unwrap();
    let error = volumes.remove("data", true).unwrap_err();
    assert_eq!(error.to_string(), "remove data: volume is in use - [one, two]");
    assert!(volumes.prune(true, &|_| false).unwrap().removed.is_empty());
    volumes.detach("one");
    volumes.detach("two");
    volumes.remove("data", false).unwrap();
    assert!(matches!(volumes.remove("data", false), Err(RemoveError::NotFound(_))));
    assert_eq!(volumes.remove("data", false).unwrap_err().to_string(), "get data: no such volume");
    volumes.remove("data", true).unwrap();
}

#[test]
fn names_and_options_are_checked() {
    for bad in ["", "a", ".x", "a/b", "..", "-a", "a b"] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
    let (_directory, volumes) = fixture();
    let error = |spec| volumes.create(spec).unwrap_err().to_string();
    assert_eq!(error(options(&[("nosuch", "1")])), "invalid option: \"nosuch\"");
    assert_eq!(error(options(&[("type", "nfs")])), "missing required option: \"device\"");
    assert!(matches!(volumes.create(Spec { driver: "x".to_owned(), ..Spec::default() }), Err(CreateError::Driver { .. })));
    volumes.create(options(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")])).unwrap();
    let mount = volumes.attach(&"special".parse().unwrap(), "holder").unwrap();
    assert_eq!((mount.kind.as_deref(), mount.source.as_deref()), (Some("bind"), Some(Path::new("/srv"))));
    assert_eq!(mount.options, ["bind", "ro"]);
    let other = options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]);
    assert!(matches!(volumes.create(other), Err(CreateError::Exists { .. })));
}

#[test]
fn damage_loses_no_data() {
    let (directory, volumes) = fixture();
    let root = directory.path().join("volumes");
    for name in ["full", "bare", "gone"] {
        volumes.create(named(name)).unwrap();
    }
    drop(volumes);
    fs_err::write(root.join("full/_data/file"), "x").unwrap();
    for name in ["full", "bare"] {
        fs_err::write(root.join(format!(".records/{name}.json")), "").unwrap();
    }
    fs_err::remove_dir_all(root.join("gone")).unwrap();
    fs_err::create_dir(root.join("full/_new-1")).unwrap();
    let volumes = Volumes::open(directory.path()).unwrap();
    assert_eq!(volumes.take_damaged().len(), 2);
    assert_eq!(volumes.list().iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["full"]);
    assert_eq!(volumes.size("full").unwrap(), 1);
    assert!(!root.join("full/_new-1").exists());
}

/// Makes what images have under the paths of their volumes.
fn source(directory: &Path) -> std::fs::File {
    let place = |name: &str| directory.join(name);
    fs_err::create_dir_all(place("below/deep")).unwrap();
    fs_err::write(place("below/file"), "content").unwrap();
    fs_err::hard_link(place("below/file"), place("second")).unwrap();
    fs_err::os::unix::fs::symlink("/etc/shadow", place("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place("pipe"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    rustix::fs::lsetxattr(place("below/file"), "user.key", b"value", rustix::fs::XattrFlags::empty()).unwrap();
    std::os::unix::fs::chown(place("below/file"), Some(7), Some(8)).unwrap();
    fs_err::set_permissions(place("below/file"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs_err::set_permissions(directory, PermissionsExt::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(directory, Some(70), Some(80)).unwrap();
    std::fs::File::open(directory).unwrap()
}

#[test]
fn an_empty_volume_gets_the_files_of_the_image() {
    let image = tempfile::tempdir().unwrap();
    let from = source(image.path());
    let (_directory, volumes) = fixture();
    // Once alone, once while two use it.
    for (name, holders) in [("alone", &["one"][..]), ("shared", &["one", "two"])] {
        let name: Name = name.parse().unwrap();
        for holder in holders {
            volumes.attach(&name, holder).unwrap();
        }
        let data = volumes.get(name.as_str()).unwrap().mountpoint;
        let inode = fs_err::metadata(&data).unwrap().ino();
        assert!(volumes.populate(&name, from.as_fd()).unwrap());
        assert!(!volumes.populate(&name, from.as_fd()).unwrap());
        assert_eq!(fs_err::metadata(&data).unwrap().ino() == inode, holders.len() > 1);
        let stat = |path: &str| fs_err::symlink_metadata(data.join(path)).unwrap();
        assert_eq!((stat(".").mode() & 0o7777, stat(".").uid(), stat(".").gid()), (0o1770, 70, 80));
        assert_eq!((stat("below/file").mode() & 0o7777, stat("below/file").uid()), (0o4711, 7));
        assert_eq!(stat("below/file").mtime_nsec(), fs_err::metadata(image.path().join("second")).unwrap().mtime_nsec());
        assert_eq!((stat("second").ino(), stat("second").nlink()), (stat("below/file").ino(), 2));
        assert_eq!(fs_err::read_link(data.join("link")).unwrap(), Path::new("/etc/shadow"));
        assert!(stat("pipe").file_type().is_fifo() && stat("pipe").mode() & 0o7777 == 0o640);
        assert!(stat("below/deep").is_dir());
        let mut value = [0; 16];
        let length = rustix::fs::lgetxattr(data.join("below/file"), "user.key", &mut value).unwrap();
        assert_eq!(&value[..length], b"value");
    }
}

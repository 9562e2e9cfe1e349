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
    assert!(volumes.attach(&name, "one").unwrap());
    assert!(!volumes.attach(&name, "two").unwrap());
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
    assert_eq!(error(options(&[("size", "1x")])), "invalid size: '1x'");
    assert_eq!(
        error(options(&[("type", "cifs"), ("device", "//host:445/share"), ("o", "x")])),
        "port not allowed in CIFS device URL, include 'port' in 'o='"
    );
    let made = volumes.create(options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")])).unwrap();
    // As Docker: what exists is taken as it is.
    assert_eq!(volumes.create(options(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")])).unwrap(), made);
    assert!(volumes.list().len() == 1 && volumes.prune(true, &|_| false).unwrap().removed.is_empty(), "those with options stay");
}

#[test]
fn the_options_of_the_driver_are_mounted_at_the_first_use_and_unmounted_after_the_last() {
    let (directory, volumes) = fixture();
    let name: Name = "special".parse().unwrap();
    let host = tempfile::tempdir().unwrap();
    fs_err::write(host.path().join("file"), "x").unwrap();
    let device = host.path().display().to_string();
    volumes.create(options(&[("type", "none"), ("device", &device), ("o", "bind,ro")])).unwrap();
    let data = volumes.mount(&name, "one").unwrap();
    assert_eq!(volumes.mount(&name, "two").unwrap(), data);
    assert!(data.join("file").exists());
    assert_eq!(fs_err::write(data.join("new"), "").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(matches!(volumes.remove("special", true), Err(RemoveError::InUse { .. })));
    volumes.unmount("one");
    assert!(data.join("file").exists() && volumes.has_mounts("two"));
    // Another engine on the same data finds it mounted.
    drop(volumes);
    let volumes = Volumes::open(directory.path()).unwrap();
    volumes.adopt_user(&name, "two");
    volumes.settle();
    assert!(data.join("file").exists());
    volumes.detach("two");
    assert!(!data.join("file").exists());
    // What is mounted when the volume is removed is not deleted.
    volumes.mount(&name, "three").unwrap();
    drop(volumes);
    let volumes = Volumes::open(directory.path()).unwrap();
    volumes.remove("special", false).unwrap();
    volumes.empty_trash().unwrap();
    assert!(host.path().join("file").exists() && !data.exists());
    volumes.create(options(&[("type", "nosuchfs"), ("device", "/x"), ("o", "password=secret,a")])).unwrap();
    let error = volumes.mount(&name, "one").unwrap_err().to_string();
    assert!(error.starts_with("error while mounting volume '") && error.contains("failed to mount local volume: mount /x:"), "{error}");
    assert!(error.ends_with("data: password=********,a"), "{error}");
}

#[test]
fn a_file_system_of_its_own_is_filled_whole_or_not_at_all() {
    let image = tempfile::tempdir().unwrap();
    let from = source(image.path());
    let (_directory, volumes) = fixture();
    let name: Name = "special".parse().unwrap();
    volumes.create(options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")])).unwrap();
    let data = volumes.mount(&name, "one").unwrap();
    fs_err::write(image.path().join("large"), vec![1; 2 << 20]).unwrap();
    let error = volumes.populate(&name, from.as_fd()).unwrap_err();
    assert_eq!(error.to_string(), "cannot copy `large` into volume `special`");
    assert_eq!(fs_err::read_dir(&data).unwrap().count(), 0, "nothing half-made");
    // What a crash left there is cleared, and what it left complete is finished.
    fs_err::create_dir(data.join(".teu_new-1")).unwrap();
    fs_err::write(data.join(".teu_new-1/x"), "").unwrap();
    fs_err::remove_file(image.path().join("large")).unwrap();
    assert!(volumes.populate(&name, from.as_fd()).unwrap());
    assert!(data.join("below/file").exists() && !data.join(".teu_new-1").exists());
    assert_eq!(fs_err::metadata(&data).unwrap().uid(), 70);
    volumes.detach("one");
}

#[test]
fn a_copy_or_an_import_appears_whole() {
    let (_directory, volumes) = fixture();
    let original = volumes.create(Spec { labels: [("a".to_owned(), "b".to_owned())].into(), ..named("original") }).unwrap();
    drop(source(&original.mountpoint));
    // A file with a hole stays one.
    let hole = fs_err::File::create(original.mountpoint.join("hole")).unwrap();
    hole.set_len(64 << 20).unwrap();
    let copy = volumes.copy("original", named("copy")).unwrap();
    assert_eq!(copy.labels, original.labels);
    let (one, two) = (volumes.usage("original").unwrap(), volumes.usage("copy").unwrap());
    assert_eq!((one.bytes, one.files, one.directories), (two.bytes, two.files, two.directories));
    assert!(two.disk_bytes < 1 << 20, "{two:?}");
    assert_eq!(fs_err::metadata(copy.mountpoint.join("below/file")).unwrap().uid(), 7);
    assert_eq!(
        volumes.copy("original", named("copy")).unwrap_err().to_string(),
        "volume `copy` exists already: choose another name, or remove it first"
    );
    // An import that is given up leaves nothing of a new volume, and all of an old one.
    drop(volumes.import(named("fresh")).unwrap());
    assert!(volumes.get("fresh").is_err());
    let import = volumes.import(named("copy")).unwrap();
    import.directory().unwrap();
    assert!(import.commit(false).unwrap_err().to_string().contains("has files already"));
    let import = volumes.import(named("copy")).unwrap();
    import.directory().unwrap();
    assert_eq!(fs_err::read_dir(import.commit(true).unwrap().mountpoint).unwrap().count(), 0);
    volumes.hold(&"copy".parse().unwrap(), "c1");
    assert!(volumes.import(named("copy")).unwrap_err().to_string().contains("in use by c1"));
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
    // A complete filling of a shared volume is finished.
    fs_err::create_dir(root.join("full/_ready-2")).unwrap();
    fs_err::write(root.join("full/_ready-2/second"), "yz").unwrap();
    fs_err::write(root.join("full/_ready-2/file"), "other").unwrap();
    for _ in 0..2 {
        let volumes = Volumes::open(directory.path()).unwrap();
        let damaged = volumes.damaged();
        assert_eq!(damaged.len(), 2, "{damaged:?}");
        assert!(damaged[0].starts_with("the record of volume bare was damaged") && damaged[0].ends_with("the volume is not listed"));
        assert!(damaged[1].contains("volume full") && damaged[1].ends_with("its labels and options are lost"));
        assert_eq!(volumes.list().iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["full"]);
        assert_eq!(volumes.usage("full").unwrap().bytes, 3);
        assert!(!root.join("full/_new-1").exists() && !root.join("full/_ready-2").exists());
        // Its options may have said where its files are: an empty one of that name would be another volume.
        assert!(matches!(volumes.create(named("bare")), Err(CreateError::Damaged { .. })));
    }
    let volumes = Volumes::open(directory.path()).unwrap();
    volumes.remove("bare", false).unwrap();
    volumes.remove("full", false).unwrap();
    assert!(volumes.damaged().is_empty());
    volumes.create(named("bare")).unwrap();
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
        assert_eq!(fs_err::read_dir(data.parent().unwrap()).unwrap().count(), 1, "no staging is left");
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

//! `import` keeps what the tar says about each file.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use image::ImportOptions;

use crate::tarball::Tarball;
use crate::{Fixture, names};

#[test]
#[allow(clippy::too_many_lines, reason = "one scene, told once")]
fn owners_modes_times_and_attributes_are_kept() {
    let long = format!("deep/{}/{}", "d".repeat(120), "f".repeat(250));
    let tar = Tarball::new()
        .mode(0o700)
        .directory("./")
        .owner(1000, 1001)
        .mode(0o4755)
        .file("./suid", b"x")
        .mode(0o1777)
        .directory("tmp/")
        .file("tmp/inside", b"")
        .pax("mtime", b"1234567890.123456789")
        .pax("SCHILY.xattr.user.key", b"value\n\0")
        .pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
        .pax("SCHILY.xattr.security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .file("attributes", b"data")
        .symlink("link", "../../../etc/passwd")
        .link("hard", "suid")
        .entry("null", b'3', "", b"")
        .entry("pipe", b'6', "", b"")
        .file(&long, b"long")
        .pax("uid", b"3000000")
        .file("big-owner", b"")
        .end();
    let fixture = Fixture::new();
    let id = fixture.import(&tar, "app");
    let root = fixture.layer(&id);
    let stat = |name: &str| fs_err::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(fs_err::symlink_metadata(&root).unwrap().mode() & 0o7777, 0o700);
    assert_eq!((stat("suid").mode() & 0o7777, stat("suid").uid(), stat("suid").gid()), (0o4755, 1000, 1001));
    assert_eq!((stat("suid").nlink(), stat("hard").ino()), (2, stat("suid").ino()));
    assert_eq!((stat("tmp").mode() & 0o7777, stat("tmp").mtime()), (0o1777, 1_600_000_000));
    assert_eq!((stat("attributes").mtime(), stat("attributes").mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!(fs_err::read_link(root.join("link")).unwrap().to_str(), Some("../../../etc/passwd"));
    assert!(stat("null").file_type().is_char_device() && stat("null").rdev() == rustix::fs::makedev(1, 3));
    assert!(stat("pipe").file_type().is_fifo());
    assert_eq!(fs_err::read(root.join(&long)).unwrap(), b"long");
    assert_eq!(stat("big-owner").uid(), 3_000_000);
    let attribute = |name: &str| {
        let mut value = [0; 64];
        rustix::fs::lgetxattr(root.join("attributes"), name, &mut value).map(|length| value[..length].to_vec())
    };
    assert_eq!(attribute("user.key").unwrap(), b"value\n\0");
    assert_eq!(attribute("security.capability").unwrap().len(), 20);
    assert!(attribute("trusted.overlay.redirect").is_err());
}

#[test]
fn compressed_and_plain_tars_give_the_same_layer() {
    let tar = Tarball::new().file("a", &vec![7; 700_000]).file("b", b"x").end();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (one, two) = tar.split_at(tar.len() / 2);
    let members = [gzip(one), gzip(two)].concat();
    let frames = [zstd::encode_all(one, 1).unwrap(), zstd::encode_all(two, 1).unwrap()].concat();
    let fixture = Fixture::new();
    let ids = [&tar[..], &members, &frames].map(|bytes| fixture.import(bytes, ""));
    let layers = ids.map(|id| fixture.images.get(&id).unwrap().layers);
    assert_eq!(layers[0], [oci::Digest::of(&tar)]);
    assert!(layers.iter().all(|layer| *layer == layers[0]));
    assert_eq!(names(&fixture.path("layers")).len(), 2);
    assert_eq!(names(&fixture.path("trash")).len(), 0);
}

#[test]
fn changes_and_message_are_in_the_configuration() {
    let fixture = Fixture::new();
    let options = ImportOptions {
        reference: Some("app:1".parse().unwrap()),
        changes: vec!["CMD [\"/bin/sh\"]".to_owned(), "ENV A=b".to_owned()],
        message: Some("from a test".to_owned()),
        platform: Some("linux/arm64".parse().unwrap()),
    };
    let id = fixture.images.import(&Tarball::new().end()[..], options).unwrap();
    let image = fixture.images.resolve("app:1").unwrap();
    assert_eq!((image.id, image.config.architecture.as_str()), (id, "arm64"));
    assert_eq!(image.config.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    assert_eq!(image.config.config.env, ["A=b"]);
    let history = fixture.images.history(&id).unwrap();
    assert_eq!((history.len(), history[0].comment.as_str()), (1, "from a test"));
    assert!(image.created.is_some());
}

#[test]
fn zeros_become_holes_and_sparse_files_are_unpacked() {
    let mut zeros = vec![0; 4_000_000];
    zeros.push(1);
    let tar = Tarball::new()
        .file("zeros", &zeros)
        .file("all-zeros", &vec![0; 1_000_000])
        .pax("GNU.sparse.size", b"1000000")
        .pax("GNU.sparse.map", b"10,3,500000,2")
        .file("sparse", b"abcde")
        .end();
    let fixture = Fixture::new();
    let root = fixture.layer(&fixture.import(&tar, ""));
    assert_eq!(fs_err::read(root.join("zeros")).unwrap(), zeros);
    assert!(fs_err::metadata(root.join("zeros")).unwrap().blocks() < 2048);
    assert_eq!(fs_err::metadata(root.join("all-zeros")).unwrap().len(), 1_000_000);
    let sparse = fs_err::read(root.join("sparse")).unwrap();
    assert_eq!((sparse.len(), &sparse[10..13], &sparse[500_000..500_002]), (1_000_000, &b"abc"[..], &b"de"[..]));
}

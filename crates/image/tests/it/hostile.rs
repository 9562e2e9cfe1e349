//! Hostile and broken archives: nothing escapes, nothing is left, nothing panics.

use image::{ImportError, ImportOptions, LoadError};
use oci::Digest;
use serde_json::json;

use crate::tarball::Tarball;
use crate::{Fixture, config, docker_archive, load, names};

/// Imports a tar that must be refused and leave nothing.
fn refused(tar: Tarball) -> ImportError {
    let fixture = Fixture::new();
    let error = fixture.images.import(&tar.end()[..], ImportOptions::default()).unwrap_err();
    fixture.assert_empty();
    error
}

#[test]
fn names_that_climb_are_refused() {
    for name in ["../escape", "a/../../escape", "/../escape", ".."] {
        assert!(refused(Tarball::new().file(name, b"x")).to_string().contains("leads outside of the layer"));
        assert!(refused(Tarball::new().directory(name)).to_string().contains("leads outside of the layer"));
    }
    for target in ["../../etc/passwd", "/../etc/passwd"] {
        let error = refused(Tarball::new().link("passwd", target));
        assert!(error.to_string().contains("leads outside of the layer"), "{error}");
    }
    // An absolute target means the layer, where there is no such file.
    refused(Tarball::new().link("passwd", "/etc/passwd"));
    refused(Tarball::new().link("self", "self"));
    refused(Tarball::new().directory("d").link("l", "d"));
    refused(Tarball::new().link("later", "file").file("file", b""));
}

#[test]
fn links_do_not_lead_out_of_the_layer() {
    let outside = tempfile::tempdir().unwrap();
    fs_err::write(outside.path().join("secret"), "secret").unwrap();
    let mode = fs_err::metadata(outside.path()).unwrap().permissions();
    let target = outside.path().to_str().unwrap();
    let fixture = Fixture::new();
    let tar = Tarball::new()
        // Through a link, absolute and relative: lands below the layer or is refused.
        .directory(&format!("{target}/"))
        .symlink("out", target)
        .file("out/planted", b"x")
        // A directory over a link must not change what the link points to.
        .symlink("over", target)
        .mode(0o777)
        .directory("over/")
        .file("over/planted", b"x")
        // A file over a link must not write through it.
        .symlink("through", &format!("{target}/secret"))
        .file("through", b"mine")
        .symlink("up", "../../../../../../../..")
        .directory("up/below/");
    let id = fixture.import(&tar.end(), "");
    let root = fixture.layer(&id);
    assert_eq!(names(outside.path()), ["secret"]);
    assert_eq!(fs_err::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(fs_err::metadata(outside.path()).unwrap().permissions(), mode);
    assert_eq!(fs_err::read(root.join(&target[1..]).join("planted")).unwrap(), b"x");
    assert_eq!(names(&root.join("over")), ["planted"]);
    assert_eq!(fs_err::read(root.join("through")).unwrap(), b"mine");
    assert_eq!(names(&root.join("below")), [""; 0]);
}

#[test]
fn entries_that_replace_each_other_end_as_the_last() {
    let fixture = Fixture::new();
    let tar = Tarball::new()
        .directory("a")
        .file("a/b/c", b"1")
        .file("a", b"2")
        .file("twice", b"1")
        .file("twice", b"22")
        .symlink("l", "a")
        .directory("l")
        .file("l/x", b"3")
        .file("dir", b"")
        .directory("dir");
    let root = fixture.layer(&fixture.import(&tar.end(), ""));
    assert_eq!(fs_err::read(root.join("a")).unwrap(), b"2");
    assert_eq!(fs_err::read(root.join("twice")).unwrap(), b"22");
    assert_eq!(fs_err::read(root.join("l/x")).unwrap(), b"3");
    assert!(root.join("dir").is_dir());
    // A file cannot be the parent of another.
    refused(Tarball::new().file("f", b"").file("f/g", b""));
    refused(Tarball::new().symlink("dangling", "nowhere").file("dangling/x", b""));
    refused(Tarball::new().symlink("loop", "loop").file("loop/x", b""));
}

#[test]
fn broken_streams_leave_nothing() {
    let whole = Tarball::new().file("a", &[1; 5000]).file("b", b"2").end();
    for end in [1, 511, 700, 5000, 6143] {
        let fixture = Fixture::new();
        assert!(fixture.images.import(&whole[..end], ImportOptions::default()).is_err(), "{end}");
        fixture.assert_empty();
    }
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, &whole).unwrap();
    let zipped = zipped.finish().unwrap();
    let mut wrong_sum = zipped.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let cases: [&[u8]; 4] = [&zipped[..zipped.len() - 9], &wrong_sum, b"not a tar at all", b"BZh91AY"];
    for case in cases {
        let fixture = Fixture::new();
        assert!(fixture.images.import(case, ImportOptions::default()).is_err());
        assert!(load(&fixture.images, case).is_err());
        fixture.assert_empty();
    }
}

#[test]
fn whiteouts_of_nothing_are_refused_and_many_are_cheap() {
    for name in [".wh.", ".wh...", "a/.wh."] {
        refused(Tarball::new().file(name, b""));
    }
    let mut tar = Tarball::new();
    for _ in 0..3_000 {
        tar = tar.file("d/.wh..wh..opq", b"");
    }
    let fixture = Fixture::new();
    let root = fixture.layer(&fixture.import(&tar.end(), ""));
    assert_eq!(names(&root.join("d")), [""; 0]);
}

#[test]
fn digests_that_do_not_fit_are_refused() {
    let layer = Tarball::new().file("a", b"1").end();
    let other = Tarball::new().file("a", b"2").end();
    let sound = docker_archive(&[&layer], &["app"]);
    // The configuration lists another layer.
    let config = config(&[&other]);
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["l/layer.tar"]}]).to_string();
    let swapped = Tarball::new().file("c.json", &config).file("l/layer.tar", &layer).file("manifest.json", manifest.as_bytes()).end();
    // A blob has a name that does not fit.
    let name = format!("blobs/sha256/{}", Digest::of(&other).hex());
    let misnamed = Tarball::new().file(&name, &layer).end();
    for archive in [swapped, misnamed] {
        let fixture = Fixture::new();
        let error = load(&fixture.images, &archive).unwrap_err();
        assert!(matches!(error, LoadError::Digest { .. }), "{error}");
        fixture.assert_empty();
    }
    for end in (512..sound.len() - 1536).step_by(700) {
        let fixture = Fixture::new();
        assert!(load(&fixture.images, &sound[..end]).is_err(), "{end}");
        fixture.assert_empty();
    }
}

#[test]
fn documents_that_make_no_sense_are_refused() {
    let layer = Tarball::new().file("a", b"1").end();
    let sound = config(&[&layer]);
    let with = |manifest: serde_json::Value, config: &[u8]| {
        Tarball::new().file("c.json", config).file("l.tar", &layer).file("manifest.json", manifest.to_string().as_bytes()).end()
    };
    let entry = |layers: &[&str], tags: &[&str]| json!([{"Config": "c.json", "RepoTags": tags, "Layers": layers}]);
    let cases = [
        (with(json!({}), &sound), "cannot read manifest.json"),
        (with(json!([]), &sound), "no image in the archive"),
        (with(entry(&[], &[]), &sound), "layers length mismatch"),
        (with(entry(&["../../l.tar"], &[]), &sound), "missing in the archive"),
        (with(entry(&["c.json"], &[]), &sound), "is no tar archive"),
        (with(entry(&["l.tar"], &["UPPER"]), &sound), "must be lowercase"),
        (with(entry(&["l.tar"], &[]), b"{}"), "layers length mismatch"),
        (with(entry(&["l.tar"], &[]), b"{\"os\":\"windows\"}"), "cannot load windows image on linux"),
        (with(json!([{"Config": "/etc/passwd"}]), &sound), "configuration /etc/passwd is missing"),
        (Tarball::new().file("x", b"y").end(), "does not contain a manifest.json"),
        (Tarball::new().end(), "does not contain a manifest.json"),
    ];
    for (archive, text) in cases {
        let fixture = Fixture::new();
        let error = load(&fixture.images, &archive).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        fixture.assert_empty();
    }
}

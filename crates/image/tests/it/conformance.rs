//! One suite for all backends: what a layer looks like must not depend on how it lies on the disk.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "tests say what they skip, and ask GNU tar")]

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use image::{Backend, Images, ImportOptions, SnapshotOptions};
use oci::Digest;
use proptest::prelude::*;

use crate::seen::{Seen, digest, walk};
use crate::tarball::Tarball;
use crate::{docker_archive, load};

/// A store of one backend on a disk; nothing in memory, which EROFS cannot be mounted from.
struct Store {
    images: Images,
    _directory: tempfile::TempDir,
}

impl Store {
    fn new(backend: Backend) -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let images = Images::open_with(directory.path(), Some(backend)).unwrap();
        Self { images, _directory: directory }
    }
}

/// Whether this kernel has EROFS for files.
fn has_erofs() -> bool {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let has = Images::open(directory.path()).unwrap().backend() == Backend::Erofs;
    if !has {
        println!("skipped: this kernel does not mount an EROFS from a file");
    }
    has
}

/// Returns what the layers look like, merged.
fn view(images: &Images, layers: &[&[u8]]) -> Result<BTreeMap<PathBuf, Seen>, String> {
    let loaded = load(images, &docker_archive(layers, &["app"])).map_err(|error| text(&error))?;
    let snapshot = images.snapshot("holder", &loaded[0].id, SnapshotOptions::default()).unwrap();
    let root = images.open_base(&snapshot).unwrap();
    let seen = walk(Path::new(&format!("/proc/self/fd/{}", root.as_raw_fd())));
    assert_eq!(images.verify().unwrap().faults, []);
    Ok(seen)
}

/// An error with its causes, without what only one backend can say.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Asserts that all backends agree, and returns what they show.
fn agree(layers: &[&[u8]]) -> Result<BTreeMap<PathBuf, Seen>, String> {
    let (dir, erofs) = (Store::new(Backend::Dir), Store::new(Backend::Erofs));
    let (one, other) = (view(&dir.images, layers), view(&erofs.images, layers));
    compare(&one, &other);
    if one.is_ok() {
        // The archive that comes out of either is the same, where the one can write it.
        let save = |images: &Images| {
            let mut bytes = Vec::new();
            images.save(&["app".to_owned()], None, &mut bytes).map(|()| Digest::of(&bytes))
        };
        let saved = save(&erofs.images).unwrap();
        if let Ok(other) = save(&dir.images) {
            assert_eq!(other, saved);
        }
    }
    other
}

fn compare(one: &Result<BTreeMap<PathBuf, Seen>, String>, other: &Result<BTreeMap<PathBuf, Seen>, String>) {
    if let (Ok(one), Ok(other)) = (one, other) {
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (path, seen) in one {
            assert_eq!(Some(seen), other.get(path), "{}", path.display());
        }
    } else {
        assert_eq!(one.as_ref().err(), other.as_ref().err());
    }
}

fn capability() -> Vec<u8> {
    [&[1, 0, 0, 2][..], &0x400_u32.to_le_bytes(), &[0; 12]].concat()
}

/// The table: everything that layers are made of.
#[allow(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<(&'static str, Vec<Tarball>)> {
    let acl: Vec<u8> = [[1_u16, 7], [2, 4], [4, 5], [16, 5], [32, 4]]
        .iter()
        .zip([u32::MAX, 7, u32::MAX, u32::MAX, u32::MAX])
        .fold(2_u32.to_le_bytes().to_vec(), |all, (entry, id)| {
            [&all[..], &entry[0].to_le_bytes(), &entry[1].to_le_bytes(), &id.to_le_bytes()].concat()
        });
    let long = "n".repeat(255);
    let deep: String = (0..60).map(|number| format!("deep{number}/")).collect();
    let mut many = Tarball::new();
    for number in 0..3_000 {
        many = many.file(&format!("many/file{number}-{}", "x".repeat(number % 90)), number.to_string().as_bytes());
    }
    vec![
        ("nothing", vec![Tarball::new()]),
        (
            "kinds",
            vec![
                Tarball::new()
                    .owner(5, 6)
                    .mode(0o1711)
                    .directory("./")
                    .mode(0o4755)
                    .file("setuid", b"x")
                    .mode(0o2755)
                    .directory("setgid/")
                    .file("setgid/inside", b"y")
                    .symlink("link", "setgid/inside")
                    .symlink("long", &"t/".repeat(1500))
                    .symlink("middle", &"m".repeat(470))
                    .link("hard", "setgid/inside")
                    .link("setgid/again", "hard")
                    .entry("null", b'3', "", b"")
                    .entry("disk", b'4', "", b"")
                    .entry("pipe", b'6', "", b"")
                    .mode(0)
                    .file("none", b"")
                    .directory("empty"),
            ],
        ),
        (
            "names",
            vec![
                Tarball::new()
                    .file(&long, b"1")
                    .directory(&format!("{long}d").replace("nnd", "d"))
                    .file(&format!("{deep}file"), b"2")
                    .file("-minus", b"3")
                    .file("!bang", b"4")
                    .file("..dots", b"5")
                    .file("sp ace\n", b"6"),
            ],
        ),
        ("many", vec![many]),
        (
            "attributes",
            vec![
                Tarball::new()
                    .pax("SCHILY.xattr.user.empty", b"")
                    .pax("SCHILY.xattr.user.long", &[b'v'; 600])
                    .pax("SCHILY.xattr.security.capability", &capability())
                    .file("capable", b"x")
                    .pax("SCHILY.xattr.system.posix_acl_access", &acl)
                    .mode(0o754)
                    .file("acl", b"x")
                    .pax("SCHILY.xattr.system.posix_acl_default", &acl)
                    .directory("default/")
                    .file("default/inside", b"x")
                    .pax("SCHILY.xattr.trusted.mine", b"1")
                    .pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
                    .pax("SCHILY.xattr.trusted.overlay.opaque", b"y")
                    .directory("redirected/")
                    .pax("SCHILY.xattr.user.on-link", b"1")
                    .symlink("link", "capable"),
            ],
        ),
        (
            "owners and times",
            vec![
                Tarball::new()
                    .pax("uid", b"4294967294")
                    .pax("gid", b"4294967294")
                    .pax("mtime", b"-1.25")
                    .file("large", b"x")
                    .pax("mtime", b"1700000000.123456789")
                    .directory("exact/")
                    .pax("mtime", b"-1000000000.5")
                    .symlink("old", "x"),
            ],
        ),
        (
            "replaced",
            vec![
                Tarball::new()
                    .directory("a")
                    .file("a/b/c", b"1")
                    .file("a", b"2")
                    .file("twice", b"1")
                    .link("other", "twice")
                    .file("twice", b"22")
                    .mode(0o700)
                    .directory("d")
                    .file("d/x", b"")
                    .file("d", b"")
                    .file("d2/x", b"")
                    .symlink("s", "d2")
                    .file("s/through", b"3")
                    .mode(0o711)
                    .directory("s/under/")
                    .mode(0o722)
                    .directory("d2/under/")
                    .symlink("gone", "d2")
                    .directory("gone/"),
            ],
        ),
        (
            "whiteouts",
            vec![
                Tarball::new()
                    .file("gone", b"1")
                    .file("dir/old", b"1")
                    .file("opaque/old", b"1")
                    .file("again/old", b"1")
                    .file("implied/old", b"1")
                    .file("kept/old", b"1"),
                Tarball::new()
                    .file(".wh.gone", b"")
                    .file("dir/new", b"2")
                    .file("opaque/new", b"2")
                    .file("opaque/.wh..wh..opq", b"")
                    .file(".wh.again", b"")
                    .directory("again/")
                    .file("again/new", b"2")
                    .file(".wh.implied", b"")
                    .file("implied/new", b"2")
                    .file(".wh..wh.plnk/ignored", b"")
                    .file(".wh.never-there", b""),
                Tarball::new().file("again/newer", b"3").file("kept/.wh.old", b""),
            ],
        ),
        ("an opaque root", vec![Tarball::new().file("old", b"1"), Tarball::new().file("new", b"2").file(".wh..wh..opq", b"")]),
    ]
}

#[test]
fn layers_look_the_same_on_all_backends() {
    if !has_erofs() {
        return;
    }
    for (name, layers) in table() {
        println!("{name}");
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Tarball::end).collect();
        let merged: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        agree(&merged).unwrap();
        // Each by itself, too: whiteouts and marks as overlay reads them.
        for layer in merged {
            agree(&[layer]).unwrap();
        }
    }
}

#[test]
fn sparse_files_of_all_forms_have_their_holes() {
    if !has_erofs() {
        return;
    }
    let source = tempfile::tempdir_in("/var/tmp").unwrap();
    let write = |name: &str, parts: &[(u64, &[u8])], size: u64| {
        let file = fs_err::File::create(source.path().join(name)).unwrap();
        for (at, bytes) in parts {
            std::os::unix::fs::FileExt::write_all_at(file.file(), bytes, *at).unwrap();
        }
        file.set_len(size).unwrap();
    };
    write("large", &[(4096, b"early"), (5 << 30, &[7; 9000])], (5 << 30) + 12345);
    write("hole", &[], 1 << 20);
    let many: Vec<(u64, &[u8])> = (0..200).map(|number| (number * 40_000, &b"piece"[..])).collect();
    write("many", &many, 9_000_000);
    for form in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let tar = tar(source.path(), &[&["--sparse"][..], form].concat());
        assert!(tar.len() < 4 << 20, "the archive is sparse");
        let seen = agree(&[&tar]).unwrap();
        for name in ["large", "hole", "many"] {
            let path = source.path().join(name);
            assert_eq!(seen[Path::new(name)].size, fs_err::metadata(&path).unwrap().len());
            assert_eq!(seen[Path::new(name)].content, Some(digest(&path)), "{name} {form:?}");
        }
    }
}

/// Runs GNU tar over a directory.
fn tar(directory: &Path, options: &[&str]) -> Vec<u8> {
    let mut command = std::process::Command::new("tar");
    command.args(["--create", "--numeric-owner", "--directory"]).arg(directory).args(options).arg(".");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_gnu_tar_extracts_is_what_is_seen() {
    if !has_erofs() {
        return;
    }
    let mut compared = 0;
    for (name, layers) in table() {
        if matches!(name, "nothing" | "replaced" | "whiteouts" | "an opaque root" | "attributes") {
            continue;
        }
        let target = tempfile::tempdir_in("/var/tmp").unwrap();
        let archive = target.path().join("layer.tar");
        for layer in layers {
            let layer = layer.end();
            fs_err::write(&archive, &layer).unwrap();
            let root = target.path().join("root");
            fs_err::create_dir(&root).unwrap();
            let mut command = std::process::Command::new("tar");
            command.args(["--extract", "--same-owner", "--same-permissions", "--numeric-owner", "--file"]).arg(&archive);
            assert!(command.arg("--directory").arg(&root).status().unwrap().success());
            let (mut theirs, mut ours) = (walk(&root), agree(&[&layer]).unwrap());
            for seen in [&mut theirs, &mut ours] {
                for (path, entry) in seen.iter_mut() {
                    let bytes = path.as_os_str().as_bytes();
                    if entry.mode & 0o170_000 == 0o40_000 {
                        // A late link in a directory moves its time with GNU tar.
                        entry.mtime = (0, 0);
                    }
                    // Directories that no entry describes are as each likes them.
                    if path.as_os_str().is_empty() || bytes.starts_with(b"deep") || bytes == b"many" {
                        (entry.mode, entry.owner) = (0, (0, 0));
                    }
                }
            }
            compare(&Ok(theirs), &Ok(ours));
            fs_err::remove_dir_all(&root).unwrap();
            compared += 1;
        }
    }
    assert!(compared >= 4);
}

#[test]
fn hostile_layers_are_refused_alike() {
    if !has_erofs() {
        return;
    }
    let long = "n".repeat(256);
    let cases = [
        Tarball::new().file("../escape", b"x"),
        Tarball::new().directory("a/../../escape"),
        Tarball::new().link("passwd", "../../etc/passwd"),
        Tarball::new().link("passwd", "/etc/passwd"),
        Tarball::new().link("self", "self"),
        Tarball::new().directory("d").link("l", "d"),
        Tarball::new().link("later", "file").file("file", b""),
        Tarball::new().file("f", b"").file("f/g", b""),
        Tarball::new().symlink("dangling", "nowhere").file("dangling/x", b""),
        Tarball::new().symlink("loop", "loop").file("loop/x", b""),
        Tarball::new().file(".wh.", b""),
        Tarball::new().file(".wh...", b""),
        Tarball::new().file(&long, b""),
        Tarball::new().directory(&format!("d/{long}/e")),
        Tarball::new().symlink("empty", ""),
        Tarball::new().file("f", b"").link("g", "f").symlink("up", ".").link("up/g", "g"),
        Tarball::new().file(".", b""),
    ];
    for (number, tar) in cases.into_iter().enumerate() {
        assert!(agree(&[&tar.end()]).is_err(), "{number}");
    }
}

#[test]
fn a_layer_that_was_changed_is_found() {
    if !has_erofs() {
        return;
    }
    let tar = Tarball::new().file("a", &[b'a'; 5000]).file("b", b"b").end();
    for backend in [Backend::Dir, Backend::Erofs] {
        let store = Store::new(backend);
        let id = store.images.import(&tar[..], ImportOptions::default()).unwrap();
        let layer = store.images.get(&id).unwrap().layers[0];
        let place = store._directory.path().join("layers").join(layer.hex());
        assert_eq!(store.images.verify().unwrap().faults, []);
        let length = fs_err::metadata(&place).unwrap().len();
        let spots = if backend == Backend::Dir { vec![0] } else { vec![1024, 2060, 4096 + 600, length - 700, length - 300] };
        for spot in spots {
            let path = if backend == Backend::Dir { place.join("a") } else { place.clone() };
            let file = fs_err::OpenOptions::new().read(true).write(true).open(path).unwrap().into_parts().0;
            let mut byte = [0];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, spot).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &[byte[0] ^ 1], spot).unwrap();
            let faults = store.images.verify().unwrap().faults;
            assert_eq!(faults.len(), 1, "{backend} {spot}");
            assert!(faults[0].what.contains(&layer.to_string()));
            std::os::unix::fs::FileExt::write_all_at(&file, &byte, spot).unwrap();
        }
        assert_eq!(store.images.verify().unwrap().faults, []);
    }
}

/// One entry of a random layer.
fn entry() -> impl Strategy<Value = (String, u8, String, Vec<u8>)> {
    let name = || proptest::collection::vec("[abc]|\\.\\.|\\.wh\\.[abc]", 1..4).prop_map(|parts| parts.join("/"));
    let kind = proptest::sample::select(vec![b'0', b'0', b'5', b'5', b'2', b'1', b'6']);
    (name(), kind, name(), proptest::sample::select(vec![vec![], vec![b'x'; 600]]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_layers_look_the_same(layers in proptest::collection::vec(proptest::collection::vec(entry(), 0..12), 1..3)) {
        if !has_erofs() {
            return Ok(());
        }
        let layers: Vec<Vec<u8>> = layers.iter().map(|entries| {
            entries.iter().fold(Tarball::new(), |tar, (name, kind, link, data)| {
                tar.entry(name, *kind, if matches!(kind, b'1' | b'2') { link } else { "" }, if *kind == b'0' { data } else { b"" })
            }).end()
        }).collect();
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        // Most are refused: then by all alike.
        let _ = agree(&layers);
        for layer in layers {
            let _ = agree(&[layer]);
        }
    }
}

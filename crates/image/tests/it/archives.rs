//! Archives of all kinds that tools write.

use std::path::Path;

use oci::Digest;
use serde_json::{Value, json};

use crate::tarball::Tarball;
use crate::{Fixture, config, docker_archive, load, names};

#[test]
fn a_docker_archive_is_loaded_and_loaded_again() {
    let lower = Tarball::new().file("a", b"1").file("same", &vec![3; 100_000]).end();
    let upper = Tarball::new().file("b", b"2").end();
    let archive = docker_archive(&[&lower, &upper], &["app:1", "app:2"]);
    let fixture = Fixture::new();
    let mut done = Vec::new();
    let loaded = fixture
        .images
        .load(&archive[..], None, &mut |progress| {
            if let image::Progress::LayerDone { existed, .. } = progress {
                done.push(existed);
            }
        })
        .unwrap();
    assert_eq!(loaded[0].id.0, Digest::of(&config(&[&lower, &upper])));
    assert_eq!(loaded[0].names.iter().map(oci::ImageRef::familiar).collect::<Vec<_>>(), ["app:1", "app:2"]);
    assert_eq!(done, [false, false]);
    let image = fixture.images.resolve("app:2").unwrap();
    assert_eq!((image.layers.len(), image.size), (2, 100_002));
    done.clear();
    let again = fixture.images.load(&archive[..], None, &mut |progress| {
        if let image::Progress::LayerDone { existed, .. } = progress {
            done.push(existed);
        }
    });
    assert_eq!(again.unwrap(), loaded);
    assert_eq!(done, [true, true]);
    assert_eq!(fixture.images.get(&image.id).unwrap().size, 100_002);
    // Also after a restart.
    let reopened = image::Images::open(fixture.directory.path()).unwrap();
    let image = reopened.resolve("app:1").unwrap();
    assert_eq!((image.repo_tags.len(), image.size), (2, 100_002));
}

#[test]
fn an_old_docker_archive_with_links_between_layers_is_loaded() {
    let layer = Tarball::new().file("a", b"1").end();
    let config = config(&[&layer, &layer]);
    let manifest = json!([{"Config": "abc.json", "RepoTags": ["old:1"], "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    let archive = Tarball::new()
        .directory("one/")
        .file("one/VERSION", b"1.0")
        .file("one/json", b"{}")
        .file("one/layer.tar", &layer)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("abc.json", &config)
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("repositories", b"{}")
        .end();
    let fixture = Fixture::new();
    let loaded = load(&fixture.images, &archive).unwrap();
    assert_eq!(fixture.images.get(&loaded[0].id).unwrap().layers.len(), 2);
    assert_eq!(names(&fixture.path("layers")).len(), 2);
    assert_eq!(names(&fixture.path("staging")).len() + names(&fixture.path("trash")).len(), 0);
}

/// An OCI layout in a tar; each image is a layer (compressed) with a platform.
fn oci_archive(images: &[(&[u8], &str)], name: &str) -> Vec<u8> {
    let mut tar = Tarball::new().file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let descriptor = |bytes: &[u8], kind: &str| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let mut manifests: Vec<Value> = Vec::new();
    for (layer, architecture) in images {
        let blob = zstd::encode_all(*layer, 1).unwrap();
        let mut config: Value = serde_json::from_slice(&config(&[layer])).unwrap();
        config["architecture"] = json!(architecture);
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "config": descriptor(&config, "config.v1+json"),
            "layers": [descriptor(&blob, "layer.v1.tar+zstd")],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor(&manifest, "manifest.v1+json");
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        manifests.push(entry);
        tar = tar.file(&path(&blob), &blob).file(&path(&config), &config).file(&path(&manifest), &manifest);
    }
    let nested = json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes();
    let mut top = descriptor(&nested, "index.v1+json");
    top["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [top]});
    tar.file(&path(&nested), &nested).file("index.json", index.to_string().as_bytes()).end()
}

#[test]
fn an_oci_archive_gives_the_image_of_the_wanted_platform() {
    let (amd64, arm64) = (Tarball::new().file("a", b"amd").end(), Tarball::new().file("a", b"arm").end());
    let archive = oci_archive(&[(&amd64, "amd64"), (&arm64, "arm64")], "docker.io/library/multi:1");
    let fixture = Fixture::new();
    let wanted = "linux/arm64".parse().unwrap();
    let loaded = fixture.images.load(&archive[..], Some(&wanted), &mut |_| {}).unwrap();
    assert_eq!(loaded.len(), 1);
    let image = fixture.images.resolve("multi:1").unwrap();
    assert_eq!((image.config.architecture.as_str(), image.layers[0]), ("arm64", Digest::of(&arm64)));
    // The layer of the other platform is not kept.
    assert_eq!(names(&fixture.path("layers")).len(), 2);
    let error = fixture.images.load(&archive[..], Some(&"linux/s390x".parse().unwrap()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("linux/s390x"));
    let zipped = zstd::encode_all(&archive[..], 1).unwrap();
    // Without a wish all platforms come; the name means the one of this host.
    assert_eq!(load(&fixture.images, &zipped).unwrap().len(), 2);
    assert_eq!(fixture.images.resolve("multi:1").unwrap().config.architecture, oci::Platform::host().architecture);
}

#[test]
fn layers_that_are_here_need_not_come_again() {
    let layer = Tarball::new().file("a", &vec![7; 300_000]).end();
    let archive = oci_archive(&[(&layer, "amd64")], "docker.io/library/app:1");
    let fixture = Fixture::new();
    let reload = |archive: &[u8]| {
        let mut existed = Vec::new();
        let loaded = fixture.images.load(archive, None, &mut |progress| {
            if let image::Progress::LayerDone { existed: known, .. } = progress {
                existed.push(known);
            }
        });
        loaded.map(|_| existed)
    };
    // First the same image by another way: nothing says yet which blob its layer was.
    load(&fixture.images, &docker_archive(&[&layer], &["app:0"])).unwrap();
    assert_eq!(reload(&archive).unwrap(), [false]);
    assert_eq!(reload(&archive).unwrap(), [true]);
    // An archive without the layer is enough here, and nowhere else.
    let config = config(&[&layer]);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let manifest = json!([{"Config": blob(&config), "RepoTags": ["thin:1"], "Layers": [blob(&layer)]}]);
    let thin = Tarball::new().file(&blob(&config), &config).file("manifest.json", manifest.to_string().as_bytes()).end();
    assert!(reload(&thin).unwrap().is_empty());
    assert_eq!(fixture.images.resolve("thin:1").unwrap().id, fixture.images.resolve("app:0").unwrap().id);
    let stranger = Fixture::new();
    let error = load(&stranger.images, &thin).unwrap_err();
    assert!(error.to_string().contains("is missing in the archive"), "{error}");
    stranger.assert_empty();
    assert_eq!(fixture.images.known_layers(&[Digest::of(&layer), Digest::of(b"other")]), [Digest::of(&layer)]);
}

/// Runs a tool of another project; nothing where it is not installed.
#[expect(clippy::disallowed_methods, reason = "other tools' archives are the point of the test")]
fn run(program: &str, arguments: &[&str]) -> Option<bool> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(true)
}

#[test]
#[allow(clippy::too_many_lines, reason = "one scene, told once")]
fn archives_of_umoci_and_skopeo_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let layout = place("layout");
    let image = format!("{layout}:1");
    let made = run("umoci", &["init", "--layout", &layout])
        .and_then(|_| run("umoci", &["new", "--image", &image]))
        .and_then(|_| {
            fs_err::write(Path::new(&place("file")), "content").unwrap();
            run("umoci", &["insert", "--image", &image, &place("file"), "/etc/file"])
        })
        .and_then(|_| run("umoci", &["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.env", "A=b"]))
        .and_then(|_| {
            run(
                "skopeo",
                &["--insecure-policy", "copy", &format!("oci:{image}"), &format!("docker-archive:{}:tool/app:1", place("docker.tar"))],
            )
        })
        .and_then(|_| {
            run("skopeo", &["--insecure-policy", "copy", &format!("oci:{image}"), &format!("oci-archive:{}:tool/app:2", place("oci.tar"))])
        });
    if made.is_none() {
        assert!(!Path::new("/usr/bin/skopeo").exists() || !Path::new("/usr/bin/umoci").exists());
        return;
    }
    let fixture = Fixture::new();
    for name in ["docker.tar", "oci.tar"] {
        load(&fixture.images, &fs_err::read(place(name)).unwrap()).unwrap();
    }
    let (one, two) = (fixture.images.resolve("tool/app:1").unwrap(), fixture.images.resolve("tool/app:2").unwrap());
    assert_eq!(one.layers, two.layers);
    assert_eq!(two.config.config.env.last().map(String::as_str), Some("A=b"));
    let file = fixture.images.read_file(&one.id, Path::new("/etc/file")).unwrap();
    assert_eq!(file.as_deref(), Some(&b"content"[..]));
}

#[test]
#[allow(clippy::too_many_lines, reason = "one scene, told once")]
fn a_saved_archive_has_the_same_layers_and_is_loaded_again() {
    // Odd tars must come out byte for byte: PAX, sparse, missing end, bytes after the end, hard links.
    let odd = [
        &Tarball::new()
            .pax("mtime", b"1.5")
            .file("a", &vec![5; 700_000])
            .link("b", "a")
            .symlink("c", "a")
            .pax("GNU.sparse.size", b"9000")
            .pax("GNU.sparse.map", b"10,3")
            .file("sparse", b"abc")
            .file("empty", b"")
            .end()[..],
        b"after the end",
    ]
    .concat();
    let upper = Tarball::new().file(".wh.a", b"").file("d/e", b"x").end();
    let fixture = Fixture::new();
    let id = load(&fixture.images, &docker_archive(&[&odd, &upper], &["app:1", "app:2", "x/y:z"])).unwrap()[0].id;
    let save = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut archive = Vec::new();
        fixture.images.save(&names, None, &mut archive).map(|()| archive)
    };
    let other = Fixture::new();
    let loaded = load(&other.images, &save(&["app", "x/y:z"]).unwrap()).unwrap();
    assert_eq!((loaded.len(), loaded[0].id), (1, id));
    assert_eq!(loaded[0].names.iter().map(oci::ImageRef::familiar).collect::<Vec<_>>(), ["app:1", "app:2", "x/y:z"]);
    assert_eq!(load(&other.images, &save(&[&id.short()]).unwrap()).unwrap()[0].names, []);
    assert!(save(&["nosuch"]).unwrap_err().to_string().contains("No such image: nosuch:latest"));
    // Changed files are noticed.
    let layer = fixture.images.get(&id).unwrap().layers[0];
    fs_err::write(fixture.path("layers").join(layer.hex()).join("a"), vec![6; 700_000]).unwrap();
    let error = save(&["app"]).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("files were changed"));
    // Other tools read it as OCI layout and as docker-archive.
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let mut archive = Vec::new();
    other.images.save(&["app:1".to_owned()], None, &mut archive).unwrap();
    fs_err::write(place("saved.tar"), archive).unwrap();
    for kind in ["oci-archive", "docker-archive"] {
        let source = format!("{kind}:{}", place("saved.tar"));
        let target = format!("dir:{}", place(kind));
        let ran = run("skopeo", &["--insecure-policy", "copy", &source, &target]);
        assert!(ran.is_some() || !Path::new("/usr/bin/skopeo").exists());
    }
    other.images.remove("app:1", image::RemoveOptions { force: true, ..Default::default() }, &|_| false).unwrap();
    other.images.remove("app:2", image::RemoveOptions::default(), &|_| false).unwrap();
    other.images.remove("x/y:z", image::RemoveOptions::default(), &|_| false).unwrap();
    assert_eq!(names(&other.path("tapes")), [""; 0]);
}

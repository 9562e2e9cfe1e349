//! Naming, removing, pruning, sweeping.

use image::{Images, RemoveOptions, Removed, SnapshotOptions};

use crate::tarball::Tarball;
use crate::{Fixture, docker_archive, load, names};

fn tar(text: &str) -> Vec<u8> {
    Tarball::new().file("f", text.as_bytes()).end()
}

const FORCE: RemoveOptions = RemoveOptions { force: true, no_prune: false };
const PLAIN: RemoveOptions = RemoveOptions { force: false, no_prune: false };

#[test]
fn names_move_and_ids_are_found_by_their_beginning() {
    let fixture = Fixture::new();
    let images = &fixture.images;
    let (one, two) = (fixture.import(&tar("1"), "app"), fixture.import(&tar("2"), "app:2"));
    assert_eq!(images.resolve("app").unwrap().id, one);
    assert_eq!(images.resolve("docker.io/library/app:latest").unwrap().id, one);
    assert_eq!(images.resolve(&one.to_string()).unwrap().id, one);
    assert_eq!(images.resolve(&two.short()).unwrap().id, two);
    images.tag(&two, &"app".parse().unwrap()).unwrap();
    assert_eq!(images.resolve("app").unwrap().id, two);
    assert!(images.get(&one).unwrap().repo_tags.is_empty());
    assert_eq!(images.resolve("nosuch").unwrap_err().to_string(), "No such image: nosuch:latest");
    assert!(images.resolve("UPPER").unwrap_err().to_string().contains("must be lowercase"));
    let zeros = format!("sha256:{}", "0".repeat(64));
    assert_eq!(images.resolve(&zeros).unwrap_err().to_string(), format!("No such image: {zeros}"));
}

#[test]
fn a_name_is_taken_before_the_image_and_layers_are_shared() {
    let fixture = Fixture::new();
    let images = &fixture.images;
    let (base, top) = (tar("base"), tar("top"));
    let small = load(images, &docker_archive(&[&base], &["small"])).unwrap()[0].id;
    let large = load(images, &docker_archive(&[&base, &top], &["large", "other/name:x"])).unwrap()[0].id;
    let removed = images.remove("large", PLAIN, &|_| false).unwrap();
    assert_eq!(removed, [Removed::Untagged("large:latest".parse().unwrap())]);
    let removed = images.remove("other/name:x", PLAIN, &|_| false).unwrap();
    // The image and its own layer go, the shared one stays.
    assert_eq!(removed.len(), 3);
    assert_eq!(removed[1], Removed::Deleted(large.0));
    assert!(images.get(&large).is_none() && images.get(&small).is_some());
    assert_eq!(names(&fixture.path("layers")).len(), 2);
    images.empty_trash().unwrap();
    assert!(names(&fixture.path("trash")).is_empty());
    assert_eq!(images.remove("large", PLAIN, &|_| false).unwrap_err().to_string(), "No such image: large:latest");
}

#[test]
fn conflicts_have_dockers_texts() {
    let fixture = Fixture::new();
    let images = &fixture.images;
    let holder = "c".repeat(64);
    let id = fixture.import(&tar("1"), "app");
    let short = id.short();
    let text = |name: &str, options, running: bool| images.remove(name, options, &|_| running).unwrap_err().to_string();
    images.snapshot(&holder, &id, SnapshotOptions::default()).unwrap();
    assert_eq!(
        text("app", PLAIN, false),
        format!(
            "conflict: unable to remove repository reference \"app\" (must force) - container cccccccccccc is using its referenced image {short}"
        )
    );
    assert_eq!(
        text(&short, PLAIN, false),
        format!("conflict: unable to delete {short} (must be forced) - image is being used by stopped container cccccccccccc")
    );
    assert_eq!(
        text(&short, FORCE, true),
        format!("conflict: unable to delete {short} (cannot be forced) - image is being used by running container cccccccccccc")
    );
    images.tag(&id, &"second:1".parse().unwrap()).unwrap();
    images.remove_snapshot(&holder).unwrap();
    assert_eq!(
        text(&short, PLAIN, false),
        format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories")
    );
    assert_eq!(images.remove(&short, FORCE, &|_| false).unwrap().len(), 4);
    assert!(images.list().is_empty());
}

#[test]
fn an_image_removed_by_force_stays_for_its_holder_and_goes_with_it() {
    let fixture = Fixture::new();
    let id = fixture.import(&tar("1"), "app");
    fixture.images.snapshot("holder", &id, SnapshotOptions::default()).unwrap();
    fixture.images.remove("app", FORCE, &|_| false).unwrap();
    assert!(fixture.images.list().is_empty());
    let reopened = Images::open(fixture.directory.path()).unwrap();
    assert!(reopened.list().is_empty());
    let snapshot = reopened.open_snapshot("holder", SnapshotOptions::default()).unwrap();
    assert!(snapshot.lower[0].join("f").exists());
    assert!(reopened.remove_snapshot("holder").unwrap());
    assert_eq!(names(&fixture.path("layers")), ["empty"]);
}

#[test]
fn prune_takes_what_nobody_needs() {
    let fixture = Fixture::new();
    let images = &fixture.images;
    let dangling = fixture.import(&tar("dangling"), "");
    let used = fixture.import(&tar("used"), "");
    let named = fixture.import(&tar("named"), "named");
    images.pin("holder", &used).unwrap();
    let pruned = images.prune(true, &|_| false).unwrap();
    assert_eq!((pruned.removed[0].clone(), pruned.reclaimed), (Removed::Deleted(dangling.0), 8));
    assert!(images.prune(false, &|image| image.id == named).unwrap().removed.is_empty());
    images.prune(false, &|_| false).unwrap();
    assert_eq!(images.list().iter().map(|image| image.id).collect::<Vec<_>>(), [used]);
    images.unpin("holder");
    images.prune(true, &|_| false).unwrap();
    assert!(images.list().is_empty());
}

#[test]
fn strangers_and_leftovers_are_swept_and_damage_is_told() {
    let fixture = Fixture::new();
    let id = fixture.import(&tar("1"), "app");
    let bad = fixture.import(&tar("2"), "bad");
    for holder in ["kept", "gone"] {
        fixture.images.snapshot(holder, &id, SnapshotOptions::default()).unwrap();
    }
    fs_err::create_dir(fixture.path("layers").join("f".repeat(64))).unwrap();
    fs_err::create_dir(fixture.path("staging").join("crashed")).unwrap();
    let reopened = Images::open(fixture.directory.path()).unwrap();
    assert!(names(&fixture.path("staging")).is_empty());
    let swept = reopened.sweep(&["kept"]).unwrap();
    assert_eq!((swept.snapshots.as_slice(), swept.layers.len()), (&["gone".to_owned()][..], 1));
    assert!(swept.damaged.is_empty());
    assert!(reopened.open_snapshot("kept", SnapshotOptions::default()).is_ok());
    reopened.empty_trash().unwrap();
    // A damaged record does not hide the others, and its layers are kept.
    let record = fixture.path("images/records").join(format!("{}.json", bad.0.hex()));
    fs_err::write(record, "").unwrap();
    let reopened = Images::open(fixture.directory.path()).unwrap();
    assert_eq!(reopened.list().len(), 1);
    let swept = reopened.sweep(&["kept"]).unwrap();
    assert!(swept.damaged.iter().any(|text| text.contains(&bad.0.hex())), "{:?}", swept.damaged);
    assert_eq!(names(&fixture.path("layers")).len(), 3);
}

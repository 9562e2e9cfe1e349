//! One name for images of several platforms.

use image::{ImageId, Images, IndexPlan, ListedKind, Member, RemoveOptions};
use oci::{Digest, ImageRef, Platform};
use serde_json::json;

use crate::tarball::Tarball;
use crate::{Fixture, names};

/// An image of one file with its manifest, as a builder makes it.
fn image(images: &Images, architecture: &str) -> (ImageId, String) {
    let tar = Tarball::new().file("architecture", architecture.as_bytes()).end();
    let options = image::ImportOptions { platform: Some(format!("linux/{architecture}").parse().unwrap()), ..Default::default() };
    let id = images.import(&tar[..], options).unwrap();
    let config = images.raw_config(&id).unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": id, "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::of(&tar), "size": tar.len()}],
    });
    (id, manifest.to_string())
}

fn descriptor(document: &str) -> serde_json::Value {
    json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(document.as_bytes()), "size": document.len()})
}

struct Multi {
    amd64: ImageId,
    arm64: ImageId,
    plan: IndexPlan,
    statement: Vec<u8>,
}

/// An index of two platforms, with an attestation of the first.
fn multi(images: &Images) -> Multi {
    let ((arm64, arm64_manifest), (amd64, amd64_manifest)) = (image(images, "arm64"), image(images, "amd64"));
    let (statement, config) = (br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#.to_vec(), b"{}".to_vec());
    let blob = |bytes: &[u8], kind: &str| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let attestation = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(&statement, "application/vnd.in-toto+json")],
    });
    let attestation = attestation.to_string();
    let mut entries = Vec::new();
    for (document, architecture) in [(&arm64_manifest, "arm64"), (&amd64_manifest, "amd64"), (&attestation, "unknown")] {
        let mut entry = descriptor(document);
        let os = if architecture == "unknown" { "unknown" } else { "linux" };
        entry["platform"] = json!({"os": os, "architecture": architecture});
        if architecture == "unknown" {
            entry["annotations"] = json!({
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": Digest::of(amd64_manifest.as_bytes()),
            });
        }
        entries.push(entry);
    }
    let document = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).to_string();
    let members = vec![
        Member::Image { manifest: arm64_manifest, id: arm64 },
        Member::Image { manifest: amd64_manifest, id: amd64 },
        Member::Artifact { manifest: attestation, blobs: vec![statement.clone(), config] },
    ];
    Multi { amd64, arm64, plan: IndexPlan { document, members }, statement }
}

fn reference(text: &str) -> ImageRef {
    text.parse().unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// What is seen of the index: it is the same whoever brought it.
fn assert_whole(images: &Images, multi: &Multi, name: &str) {
    let image = images.resolve(name).unwrap();
    assert_eq!(image.id, multi.amd64, "the host's platform is meant");
    assert_eq!(images.resolve_for(name, Some(&platform("linux/arm64"))).unwrap().id, multi.arm64);
    let other = images.resolve_for(name, Some(&platform("linux/s390x"))).unwrap_err().to_string();
    assert!(other.contains("its platform (linux/amd64) does not match the specified platform (linux/s390x)"), "{other}");
    let listed = images.listed(&image.index.unwrap()).unwrap();
    assert_eq!((listed.document.as_str(), listed.has_more()), (multi.plan.document.as_str(), true));
    let here: Vec<Option<ImageId>> = listed.entries.iter().map(|entry| entry.image).collect();
    assert_eq!(here, [Some(multi.arm64), Some(multi.amd64), None]);
    assert_eq!(listed.entries[2].kind, ListedKind::Attestation(listed.entries[1].descriptor.digest));
    assert_eq!(images.document(&Digest::of(&multi.statement)).unwrap(), multi.statement);
    assert_eq!(images.list().len(), 1, "one row for all platforms");
    assert_eq!(images.verify().unwrap().faults, []);
}

#[test]
fn an_index_is_recorded_saved_loaded_and_removed_whole() {
    let fixture = Fixture::new();
    let multi = multi(&fixture.images);
    let digest = fixture.images.put_index(&multi.plan, &[reference("multi:1")]).unwrap();
    assert_eq!(digest, Digest::of(multi.plan.document.as_bytes()));
    assert_whole(&fixture.images, &multi, "multi:1");
    // A further name leads to the same; nothing of it is dangling; a restart keeps it.
    fixture.images.tag(&multi.amd64, &reference("other:1")).unwrap();
    fixture.images.remove("multi:1", RemoveOptions::default(), &|_| false).unwrap();
    assert_eq!(fixture.images.prune(true, &|_| false).unwrap().removed, []);
    let again = Images::open(&fixture.path("")).unwrap();
    assert_whole(&again, &multi, "other:1");
    assert_eq!(again.sweep(&[]).unwrap(), image::Swept::default());
    // Its layers were never compressed, so an archive holds the same index.
    let mut archive = Vec::new();
    again.save(&["other:1".to_owned()], None, &mut archive).unwrap();
    let second = Fixture::new();
    second.images.load(&archive[..], None, &mut |_| {}).unwrap();
    assert_whole(&second.images, &multi, "other:1");
    let third = Fixture::new();
    third.images.load(&archive[..], Some(&platform("linux/arm64")), &mut |_| {}).unwrap();
    assert_eq!(third.images.resolve("other:1").unwrap().id, multi.arm64);
    // What another archive brings of the same index joins it.
    third.images.load(&archive[..], None, &mut |_| {}).unwrap();
    assert_whole(&third.images, &multi, "other:1");
    // One platform alone.
    let mut one = Vec::new();
    again.save(&["other:1".to_owned()], Some(&platform("linux/arm64")), &mut one).unwrap();
    let fourth = Fixture::new();
    fourth.images.load(&one[..], None, &mut |_| {}).unwrap();
    assert_eq!((fourth.images.resolve("other:1").unwrap().id, fourth.images.list().len()), (multi.arm64, 1));
    for images in [&again, &second.images, &third.images] {
        images.remove("other:1", RemoveOptions::default(), &|_| false).unwrap();
        assert!(images.list().is_empty() && images.verify().unwrap().faults.is_empty());
    }
    assert_eq!(names(&second.path("images/documents")), [""; 0]);
    assert_eq!(names(&second.path("layers")), ["empty"]);
}

#[test]
fn a_platform_is_removed_and_the_others_stay() {
    let fixture = Fixture::new();
    let multi = multi(&fixture.images);
    fixture.images.put_index(&multi.plan, &[reference("multi:1")]).unwrap();
    let remove = |text: &str| fixture.images.remove_platform("multi:1", &platform(text), RemoveOptions::default(), &|_| false);
    // Whoever holds one platform keeps the name.
    fixture.images.pin("holder", &multi.arm64).unwrap();
    let conflict = fixture.images.remove("multi:1", RemoveOptions::default(), &|_| false).unwrap_err().to_string();
    assert!(conflict.contains("container holder is using its referenced image"), "{conflict}");
    assert!(remove("linux/arm64").unwrap_err().to_string().contains("image is being used by stopped container holder"));
    assert_eq!(fixture.images.prune(false, &|_| false).unwrap().removed, []);
    fixture.images.unpin("holder");
    remove("linux/amd64").unwrap();
    assert_eq!(fixture.images.resolve("multi:1").unwrap().id, multi.arm64);
    assert!(fixture.images.resolve_for("multi:1", Some(&platform("linux/amd64"))).is_err());
    remove("linux/arm64").unwrap();
    assert!(fixture.images.resolve("multi:1").is_err() && fixture.images.list().is_empty());
    assert_eq!(names(&fixture.path("layers")), ["empty"]);
}

#[test]
fn an_index_that_does_not_fit_its_members_is_refused() {
    let fixture = Fixture::new();
    let multi = multi(&fixture.images);
    let refused = |change: &dyn Fn(&mut IndexPlan)| {
        let mut plan = multi.plan.clone();
        change(&mut plan);
        fixture.images.put_index(&plan, &[reference("multi:1")]).unwrap_err().to_string()
    };
    assert!(refused(&|plan| plan.document = "{}".to_owned()).contains("missing field"));
    assert!(refused(&|plan| plan.document = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()).contains("does not list the manifest"));
    assert!(refused(&|plan| plan.members.truncate(0)).contains("no image of it is here"));
    let gone = |plan: &mut IndexPlan| {
        if let Member::Artifact { blobs, .. } = &mut plan.members[2] {
            blobs.pop();
        }
    };
    assert!(refused(&gone).contains("of an artefact is missing"));
    let wrong = |plan: &mut IndexPlan| {
        if let Member::Image { id, .. } = &mut plan.members[0] {
            *id = multi.amd64;
        }
    };
    assert!(refused(&wrong).contains("names the configuration"));
    assert!(fixture.images.resolve("multi:1").is_err());
}

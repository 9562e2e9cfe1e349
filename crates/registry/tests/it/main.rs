//! The client with registries that misbehave.
#![allow(clippy::unwrap_used, reason = "helpers of tests may end the test")]

mod accounts;
mod blobs;
mod manifests;
mod uploads;

use std::time::Duration;

use oci::ImageRef;
use oci::image::Descriptor;
use registry::{Client, Credentials, Error, Session, Settings, Times};
use testkit::faulty::{Faulty, Sample, digest};

/// Times that make waiting bearable.
fn times() -> Times {
    Times {
        connect: Duration::from_secs(5),
        stall: Duration::from_millis(150),
        give_up: Duration::from_millis(600),
        backoff: Duration::from_millis(5),
        attempts: 4,
    }
}

fn settings() -> Settings {
    Settings { times: times(), ..Settings::default() }
}

fn session(server: &Faulty) -> Session {
    Client::new(settings()).session(server.address(), Credentials::default()).unwrap()
}

fn name(server: &Faulty, rest: &str) -> ImageRef {
    format!("{}/{rest}", server.address()).parse().unwrap()
}

fn layer(sample: &Sample, index: usize) -> Descriptor {
    let bytes = &sample.layers[index];
    serde_json::from_value(serde_json::json!({"mediaType": "", "digest": digest(bytes), "size": bytes.len()})).unwrap()
}

/// Reads a blob to its end.
async fn read(session: &Session, name: &ImageRef, blob: &Descriptor, offset: u64) -> Result<Vec<u8>, Error> {
    let mut stream = session.blob(name, blob, offset);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Every file of tests is in this list.
#[test]
fn no_file_is_forgotten() {
    let mut found: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, ["accounts.rs", "blobs.rs", "main.rs", "manifests.rs", "uploads.rs"]);
}

//! Uploads that are cut, and those of a real registry.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use oci::Digest;
use registry::{Client, Credentials, Mounted, Session, Settings, Upload};
use testkit::faulty::{Answer, Fault, Faulty};
use testkit::registry::{Access, Registry};

use crate::{name, session, settings};

async fn begin(session: &Session, name: &oci::ImageRef) -> Upload {
    match session.upload(name, None).await.unwrap() {
        Mounted::No(upload) => upload,
        Mounted::Yes => panic!("nothing was to be mounted"),
    }
}

#[tokio::test]
async fn a_piece_that_is_cut_is_sent_from_where_it_arrived() {
    let (stored, cut) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let server = Faulty::start(move |request| {
        let mut stored = stored.lock().unwrap();
        let location = |answer: Answer| answer.with("Location", "/upload/1");
        match request.method.as_str() {
            "POST" => location(Answer::new(202, "", "")),
            "PATCH" if !cut.swap(true, Ordering::Relaxed) => {
                // Half of it arrives, and the answer never does.
                stored.extend_from_slice(&request.body[..request.body.len() / 2]);
                Answer::new(202, "", "").faulty(Fault::Gone)
            }
            "PATCH" => {
                stored.extend_from_slice(&request.body);
                location(Answer::new(202, "", ""))
            }
            "GET" => location(Answer::new(204, "", "")).with("Range", &format!("0-{}", stored.len() - 1)),
            "PUT" => {
                stored.extend_from_slice(&request.body);
                assert!(
                    request.path.ends_with(&format!("digest={}", Digest::of(&stored).to_string().replace(':', "%3A"))),
                    "{}",
                    request.path
                );
                Answer::new(201, "", "")
            }
            other => panic!("{other}"),
        }
    });
    let server = server.unwrap();
    let session = session(&server);
    let mut upload = begin(&session, &name(&server, "x")).await;
    upload.append(Bytes::from_static(b"0123456789")).await.unwrap();
    upload.finish(&Digest::of(b"0123456789ab"), Bytes::from_static(b"ab")).await.unwrap();
}

#[tokio::test]
async fn a_real_registry_takes_pieces_whole_blobs_and_mounts() {
    let registry = Registry::start(Access::Open).unwrap();
    let client = Client::new(Settings { times: registry::Times::default(), ..settings() });
    let session = client.session(registry.address(), Credentials::default()).unwrap();
    let name = |rest: &str| -> oci::ImageRef { format!("{}/{rest}", registry.address()).parse().unwrap() };
    let (whole, pieces) = (Bytes::from_static(b"whole"), Bytes::from(vec![7; 100_000]));
    begin(&session, &name("a")).await.finish(&Digest::of(&whole), whole.clone()).await.unwrap();
    let mut upload = begin(&session, &name("a")).await;
    upload.append(pieces.slice(..60_000)).await.unwrap();
    upload.append(pieces.slice(60_000..90_000)).await.unwrap();
    upload.finish(&Digest::of(&pieces), pieces.slice(90_000..)).await.unwrap();
    assert_eq!(session.has_blob(&name("a"), &Digest::of(&pieces)).await.unwrap(), Some(100_000));
    assert_eq!(session.has_blob(&name("b"), &Digest::of(&pieces)).await.unwrap(), None);
    assert!(matches!(session.upload(&name("b"), Some((&Digest::of(&pieces), "a"))).await.unwrap(), Mounted::Yes));
    assert_eq!(session.has_blob(&name("b"), &Digest::of(&pieces)).await.unwrap(), Some(100_000));
    let wrong = begin(&session, &name("a")).await.finish(&Digest::of(b"other"), whole).await.unwrap_err();
    assert!(wrong.to_string().starts_with("digest invalid"), "{wrong}");
}

//! Blobs that are cut, stall, have no end or another size.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use registry::{Client, Credentials, Error, Kind, Settings};
use testkit::faulty::{Answer, Fault, Faulty, Sample};

use crate::{layer, name, read, session, settings, times};

fn sample() -> Sample {
    Sample::new(1, 300_000).unwrap()
}

/// Serves the sample's layer with these faults, one a request, and then as it should be.
fn faults(faults: &'static [Fault]) -> (Faulty, Sample) {
    let sample = sample();
    let served = sample.clone();
    let count = AtomicUsize::new(0);
    let server = Faulty::start(move |request| {
        let answer = served.answer(request);
        if !served.asks_layer(request) {
            return answer;
        }
        match faults.get(count.fetch_add(1, Ordering::Relaxed)) {
            Some(fault) => answer.faulty(*fault),
            None => answer,
        }
    });
    (server.unwrap(), sample)
}

fn begins(server: &Faulty) -> Vec<usize> {
    server.requests().iter().filter(|request| request.path.contains("/blobs/")).map(testkit::faulty::Request::begin).collect()
}

#[tokio::test]
async fn a_blob_that_is_cut_goes_on_where_it_ended() {
    let (server, sample) = faults(&[Fault::Cut(100_000), Fault::Cut(0), Fault::Cut(50_000)]);
    let bytes = read(&session(&server), &name(&server, "x"), &layer(&sample, 0), 0).await.unwrap();
    assert_eq!(bytes, sample.layers[0]);
    assert_eq!(begins(&server), [0, 100_000, 100_000, 150_000]);
}

#[tokio::test]
async fn a_blob_that_stalls_is_asked_for_again_from_its_offset() {
    let (server, sample) = faults(&[Fault::Stall(70_000)]);
    let begin = Instant::now();
    let bytes = read(&session(&server), &name(&server, "x"), &layer(&sample, 0), 10).await.unwrap();
    assert_eq!(bytes, sample.layers[0][10..]);
    assert_eq!(begins(&server), [10, 70_010]);
    assert!(begin.elapsed() >= times().stall);
}

#[tokio::test]
async fn a_host_that_only_stalls_is_given_up_in_time() {
    let sample = sample();
    let served = sample.clone();
    let server = Faulty::start(move |request| {
        let sent = if request.begin() == 0 { 1000 } else { 0 };
        served.answer(request).faulty(Fault::Stall(sent))
    });
    let server = server.unwrap();
    let begin = Instant::now();
    let first_piece_then_nothing = read(&session(&server), &name(&server, "x"), &layer(&sample, 0), 0).await;
    let first_piece_then_nothing = first_piece_then_nothing.map(|bytes| bytes.len());
    let error = first_piece_then_nothing.unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains(server.address()) && error.to_string().contains("stalls"), "{error}");
    assert!(begin.elapsed() < times().give_up * 6, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_next_host_goes_on_where_a_mirror_stopped() {
    let (mirror, sample) = faults(&[Fault::Cut(5000), Fault::Stall(0), Fault::Stall(0), Fault::Stall(0), Fault::Stall(0), Fault::Stall(0)]);
    let served = sample.clone();
    let origin = Faulty::start(move |request| served.answer(request)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join(origin.address());
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        origin.address(),
        mirror.address()
    );
    std::fs::write(folder.join("hosts.toml"), text).unwrap();
    let settings = Settings { certs_directories: vec![directory.path().to_owned()], ..settings() };
    let session = Client::new(settings).session(origin.address(), Credentials::default()).unwrap();
    let bytes = read(&session, &name(&origin, "x"), &layer(&sample, 0), 0).await.unwrap();
    assert_eq!(bytes, sample.layers[0]);
    assert_eq!(begins(&origin), [5000]);
    let asked = mirror.requests();
    assert!(asked.iter().all(|request| request.path.ends_with(&format!("?ns={}", origin.address().replace(':', "%3A")))), "{asked:?}");
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_sends_all_again() {
    let sample = sample();
    let served = sample.clone();
    let count = AtomicUsize::new(0);
    let server = Faulty::start(move |_| {
        let answer = Answer::new(200, "application/octet-stream", served.layers[0].clone());
        if count.fetch_add(1, Ordering::Relaxed) == 0 { answer.faulty(Fault::Cut(123_456)) } else { answer }
    });
    let server = server.unwrap();
    let bytes = read(&session(&server), &name(&server, "x"), &layer(&sample, 0), 0).await.unwrap();
    assert_eq!(bytes, sample.layers[0]);
    assert_eq!(begins(&server), [0, 123_456]);
}

#[tokio::test]
async fn bodies_of_another_size_are_refused() {
    let sample = sample();
    let endless = Faulty::start(|_| Answer::new(200, "application/octet-stream", "").faulty(Fault::Endless)).unwrap();
    let error = read(&session(&endless), &name(&endless, "x"), &layer(&sample, 0), 0).await.unwrap_err();
    assert!(matches!(error, Error::Size { .. }), "{error:?}");
    let text = error.to_string();
    let blob = layer(&sample, 0);
    assert!(text.contains(endless.address()) && text.contains(&blob.digest.to_string()) && text.contains(&blob.size.to_string()), "{text}");
    let short = Faulty::start(|_| Answer::new(200, "application/octet-stream", "short")).unwrap();
    let error = read(&session(&short), &name(&short, "x"), &blob, 0).await.unwrap_err();
    assert!(error.to_string().ends_with(&format!("has 5 bytes, its manifest says {}", blob.size)), "{error}");
    let page = Faulty::start(|_| Answer::new(200, "text/html", "<html>")).unwrap();
    let error = read(&session(&page), &name(&page, "x"), &blob, 0).await.unwrap_err();
    assert!(error.to_string().ends_with("the answer is `text/html`, not a blob: is this a registry?"), "{error}");
}

#[tokio::test]
async fn secrets_do_not_follow_a_redirect_to_another_host() {
    let sample = sample();
    let served = sample.clone();
    let storage = Faulty::start(move |request| served.answer(request)).unwrap();
    let elsewhere = storage.address().to_owned();
    let registry = Faulty::start(move |request| {
        if request.header("authorization").is_empty() {
            return Answer::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        Answer::new(307, "text/plain", "").with("Location", &format!("http://{elsewhere}{}?signature=1", request.path))
    });
    let registry = registry.unwrap();
    let credentials = Credentials { username: "u".to_owned(), password: "p".to_owned(), ..Credentials::default() };
    let session = Client::new(settings()).session(registry.address(), credentials).unwrap();
    let bytes = read(&session, &name(&registry, "x"), &layer(&sample, 0), 0).await.unwrap();
    assert_eq!(bytes, sample.layers[0]);
    let asked = storage.requests();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].path.ends_with("?signature=1") && asked[0].header("authorization").is_empty(), "{asked:?}");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Faulty::start(|request| Answer::new(307, "text/plain", "").with("Location", &request.path)).unwrap();
    let error = session(&server).manifest(&name(&server, "x:1")).await.unwrap_err();
    assert!(error.to_string().ends_with("stopped after 10 redirects"), "{error}");
    assert_eq!(server.requests().len(), 11);
}

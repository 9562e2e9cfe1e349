//! Manifests that are wrong, too large or no manifests.

use registry::{Client, Credentials, Error, Kind, Settings};
use testkit::faulty::{Answer, Fault, Faulty, INDEX, MANIFEST, Sample, digest};

use crate::{name, session, settings};

async fn failure(answer: Answer) -> (Error, Faulty) {
    let server = Faulty::start(move |_| answer.clone()).unwrap();
    let error = session(&server).manifest(&name(&server, "x:1")).await.unwrap_err();
    assert!(error.to_string().contains(server.address()), "{error}");
    (error, server)
}

#[tokio::test]
async fn wrong_documents_are_named_as_what_they_are() {
    let (error, _) = failure(Answer::new(200, "text/html; charset=utf-8", "<html>log in</html>")).await;
    assert!(error.to_string().ends_with("the answer is `text/html; charset=utf-8`, not a manifest: is this a registry?"), "{error}");
    let (error, _) = failure(Answer::new(200, MANIFEST, "{}").with("Docker-Content-Digest", &digest(b"other"))).await;
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    assert!(error.to_string().ends_with(&format!("expected {}, got {}", digest(b"other"), digest(b"{}"))), "{error}");
    let (error, _) = failure(Answer::new(200, MANIFEST, vec![b' '; (4 << 20) + 1])).await;
    assert!(error.to_string().ends_with("the answer is larger than 4194304 bytes"), "{error}");
    let (error, _) = failure(Answer::new(200, MANIFEST, "").faulty(Fault::Endless)).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    let (error, _) = failure(Answer::new(404, "text/html", "<html>")).await;
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().ends_with("404 Not Found: a web page answers, is this a registry?"), "{error}");
    let (error, server) = failure(Answer::new(503, "text/plain", "busy")).await;
    assert!(error.to_string().ends_with("503 Service Unavailable"), "{error}");
    assert_eq!(server.requests().iter().filter(|request| request.method == "GET").count(), crate::times().attempts as usize);
}

#[tokio::test]
async fn a_digest_in_the_name_binds() {
    let sample = Sample::new(1, 10).unwrap();
    let other = sample.manifest.clone();
    let server = Faulty::start(move |_| Answer::new(200, MANIFEST, other.clone())).unwrap();
    let wanted = name(&server, "x").with_digest(oci::Digest::of(b"wanted"));
    let error = session(&server).manifest(&wanted).await.unwrap_err();
    assert!(error.to_string().contains(&digest(b"wanted")), "{error}");
}

#[tokio::test]
async fn an_index_of_a_thousand_platforms_is_searched() {
    let mut entries: Vec<String> = (0..1000)
        .map(|number: u32| {
            let digest = digest(&number.to_le_bytes());
            format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"a{number}"}}}}"#)
        })
        .collect();
    let own = digest(b"own");
    entries.push(format!(r#"{{"mediaType":"{MANIFEST}","digest":"{own}","size":3,"platform":{{"os":"linux","architecture":"amd64"}}}}"#));
    let body = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    let server = Faulty::start(move |_| Answer::new(200, INDEX, body.clone())).unwrap();
    let document = session(&server).manifest(&name(&server, "x:1")).await.unwrap();
    assert!(document.is_index());
    let index = serde_json::from_slice(&document.bytes).unwrap();
    assert_eq!(registry::choose(&index, &"linux/amd64".parse().unwrap()).unwrap().digest.to_string(), own);
    assert!(registry::choose(&index, &"linux/none".parse().unwrap()).is_err());
}

#[tokio::test]
async fn limits_are_waited_for_or_told() {
    let limit = || Answer::error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.");
    let (error, server) = failure_without_address(limit().with("Retry-After", "600").with("RateLimit-Limit", "100;w=21600")).await;
    assert_eq!(error.kind(), Kind::RateLimited);
    let expected = format!(
        "toomanyrequests: You have reached your pull rate limit. ({} allows 100 requests in 6 hours, try again in 10 minutes)",
        server.address()
    );
    assert_eq!(error.to_string(), expected);
    let sample = Sample::new(1, 10).unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let patient = Faulty::start(move |request| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => limit().with("Retry-After", "0"),
        _ => sample.answer(request),
    });
    let patient = patient.unwrap();
    session(&patient).manifest(&name(&patient, "x:1")).await.unwrap();
}

async fn failure_without_address(answer: Answer) -> (Error, Faulty) {
    let server = Faulty::start(move |_| answer.clone()).unwrap();
    (session(&server).manifest(&name(&server, "x:1")).await.unwrap_err(), server)
}

#[tokio::test]
async fn tags_come_in_pages_and_end() {
    let server = Faulty::start(|request| {
        if request.path.contains("last=b") {
            return Answer::new(200, "application/json", r#"{"tags":["c"]}"#);
        }
        Answer::new(200, "application/json", r#"{"tags":["a","b"]}"#).with("Link", "</v2/x/tags/list?last=b>; rel=\"next\"")
    });
    let server = server.unwrap();
    assert_eq!(session(&server).tags(&name(&server, "x")).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_proxy_carries_requests_to_other_hosts_only() {
    let sample = Sample::new(1, 10).unwrap();
    let served = sample.clone();
    let proxy = Faulty::start(move |request| {
        let path = request.path.trim_start_matches("http://r.example:5000").to_owned();
        served.answer(&testkit::faulty::Request { path, ..request.clone() })
    });
    let proxy = proxy.unwrap();
    let through = format!("http://u:p@{}", proxy.address());
    let proxies = registry::Proxy { http: Some(through.clone()), https: Some(through), none: Vec::new() };
    let settings = Settings { proxy: proxies, insecure: vec!["r.example:5000".to_owned()], ..settings() };
    let session = Client::new(settings).session("r.example:5000", Credentials::default()).unwrap();
    let name: oci::ImageRef = "r.example:5000/x:1".parse().unwrap();
    let found = session.manifest(&name).await.unwrap();
    assert_eq!(found.digest.to_string(), digest(&sample.manifest));
    let asked = proxy.requests();
    let tunnel = asked.iter().find(|request| request.method == "CONNECT").unwrap();
    assert_eq!((tunnel.path.as_str(), tunnel.header("proxy-authorization")), ("r.example:5000", "Basic dTpw"));
    let plain = asked.iter().find(|request| request.method == "GET").unwrap();
    assert_eq!(plain.path, "http://r.example:5000/v2/x/manifests/1");
    assert_eq!(plain.header("proxy-authorization"), "Basic dTpw");
}

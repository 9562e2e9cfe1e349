//! Pulls from registries that misbehave, and pulls that are killed: each failure is clear, and nothing of it stays.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use testkit::daemon::{Daemon, Network};
use testkit::faulty::{Answer, Fault, Faulty, INDEX, MANIFEST, Request, Sample, digest};

/// Longest wait for something that happens at once.
const SOON: Duration = Duration::from_secs(20);

type Handler = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Names below a folder of the engine's data.
fn names(daemon: &Daemon, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(daemon.dir().join("root").join(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_nothing_stays(daemon: &Daemon, why: &str) {
    assert_eq!(daemon.ok(["images", "-aq"]).unwrap(), "", "{why}");
    assert_eq!(names(daemon, "staging"), Vec::<String>::new(), "{why}");
    assert_eq!(names(daemon, "layers"), ["empty"], "{why}");
}

fn cases(sample: &Sample) -> Vec<(&'static str, Handler, &'static str)> {
    let with_layer = |change: fn(Answer) -> Answer| -> Handler {
        let sample = sample.clone();
        Box::new(move |request| {
            let answer = sample.answer(request);
            if sample.asks_layer(request) { change(answer) } else { answer }
        })
    };
    let with_manifest = |answer: Answer| -> Handler {
        let sample = sample.clone();
        Box::new(move |request| if request.path.contains("/manifests/") { answer.clone() } else { sample.answer(request) })
    };
    let strange = Sample::of(vec![b"this is no tar at all".to_vec()], &[digest(b"x")]);
    let other_diff = Sample::of(sample.layers.clone(), &[digest(b"x"), digest(b"y")]);
    let fewer = Sample::of(sample.layers.clone(), &[digest(b"x")]);
    let elsewhere = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"s390x"}}}}]}}"#,
        digest(b"z")
    );
    vec![
        (
            "wrong digest",
            with_layer(|answer| {
                let body = answer.body.iter().map(|byte| byte ^ 1).collect();
                Answer { body, ..answer }
            }),
            "content does not match its digest: got sha256:",
        ),
        ("wrong size", with_layer(|answer| Answer { body: b"short".to_vec(), ..answer }), "bytes, its manifest says"),
        ("endless body", with_layer(|answer| answer.faulty(Fault::Endless)), "has more bytes, its manifest says"),
        ("web page as a layer", with_layer(|_| Answer::new(200, "text/html", "<html>")), "not a blob: is this a registry?"),
        ("web page as a manifest", with_manifest(Answer::new(200, "text/html", "<html>")), "not a manifest: is this a registry?"),
        ("redirect loop", with_manifest(Answer::new(307, "", "").with("Location", "/v2/x/manifests/1")), "stopped after 10 redirects"),
        ("manifest bomb", with_manifest(Answer::new(200, MANIFEST, vec![b'['; 5 << 20])), "the answer is larger than 4194304 bytes"),
        ("deep manifest", with_manifest(Answer::new(200, MANIFEST, vec![b'['; 1 << 20])), "makes no sense"),
        ("no platform", with_manifest(Answer::new(200, INDEX, elsewhere)), "no matching manifest for linux/"),
        (
            "limit",
            with_manifest(Answer::error(429, "TOOMANYREQUESTS", "slow down").with("Retry-After", "99")),
            "toomanyrequests: slow down",
        ),
        (
            "refused",
            with_manifest(Answer::error(401, "UNAUTHORIZED", "who are you").with("WWW-Authenticate", "Basic realm=\"x\"")),
            "no basic auth credentials",
        ),
        ("strange layer", Box::new(move |request| strange.answer(request)), "failed to register layer sha256:"),
        ("other content", Box::new(move |request| other_diff.answer(request)), "does not match the image's configuration"),
        ("other count", Box::new(move |request| fewer.answer(request)), "the manifest has 2 layers, but the image configuration 1"),
    ]
}

#[test]
fn each_fault_is_named_and_leaves_nothing() {
    let daemon = Daemon::start(crate::teu(), Network::Host).unwrap();
    let sample = Sample::new(2, 200_000).unwrap();
    for (what, handler, expected) in cases(&sample) {
        let server = Faulty::start(handler).unwrap();
        let name = format!("{}/x:1", server.address());
        let output = daemon.teu(["pull", &name]).unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{what}");
        assert!(text.contains(expected), "{what}: {text}");
        let names_it = text.contains(server.address())
            || text.contains("sha256:")
            || text.contains("toomanyrequests")
            || text.contains("the manifest has");
        assert!(names_it, "{what}: {text}");
        assert_nothing_stays(&daemon, what);
    }
    // After all of that the same layers come from a sound registry, cuts and all.
    let (served, cuts) = (sample.clone(), AtomicUsize::new(0));
    let server = Faulty::start(move |request| {
        let answer = served.answer(request);
        let cut = served.asks_layer(request) && cuts.fetch_add(1, Ordering::Relaxed) < 2;
        if cut { answer.faulty(Fault::Cut(90_000)) } else { answer }
    });
    let name = format!("{}/x:1", server.as_ref().unwrap().address());
    daemon.ok(["pull", &name]).unwrap();
    assert_eq!(daemon.ok(["inspect", "-f", "{{.Id}}", &name]).unwrap(), digest(&sample.config));
    assert_eq!(names(&daemon, "ingest"), Vec::<String>::new());
}

#[test]
fn two_pulls_share_one_download() {
    let daemon = Daemon::start(crate::teu(), Network::Host).unwrap();
    let sample = Sample::new(2, 50_000).unwrap();
    let manifests = (Mutex::new(0), Condvar::new());
    let served = sample.clone();
    let server = Faulty::start(move |request| {
        let (count, changed) = &manifests;
        let mut asked = count.lock().unwrap();
        if request.path.contains("/manifests/") {
            *asked += 1;
            changed.notify_all();
        } else if served.asks_layer(request) {
            // No layer comes before both pulls know what they want.
            drop(changed.wait_timeout_while(asked, SOON, |asked| *asked < 2).unwrap());
        }
        served.answer(request)
    });
    let server = server.unwrap();
    let name = format!("{}/x:1", server.address());
    let pulls: Vec<Child> =
        (0..2).map(|_| daemon.command().args(["pull", &name]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for pull in pulls {
        let output = pull.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let layers = server.requests().iter().filter(|request| sample.asks_layer(request)).count();
    assert_eq!(layers, sample.layers.len());
}

#[test]
fn a_killed_pull_shows_nothing_and_goes_on_where_it_stopped() {
    let mut daemon = Daemon::start(crate::teu(), Network::Host).unwrap();
    for (round, stop) in [1usize, 5000, 131_072, 262_145, 399_999].into_iter().enumerate() {
        // Other bytes each time, so that no round finds the layers of the last one.
        let sample = Sample::new(2, 400_000 + round).unwrap();
        let last = sample.layers[1].clone();
        let (served, hangs) = (sample.clone(), AtomicUsize::new(0));
        let slow = digest(&last);
        let server = Faulty::start(move |request| {
            let answer = served.answer(request);
            let hang = request.path.contains(&slow) && hangs.fetch_add(1, Ordering::Relaxed) == 0;
            if hang { answer.faulty(Fault::Stall(stop)) } else { answer }
        });
        let server = server.unwrap();
        let name = format!("{}/x:1", server.address());
        let mut pull = daemon.command().args(["pull", "-q", &name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let kept = daemon.dir().join("root/ingest").join(digest(&last).trim_start_matches("sha256:"));
        let length = || std::fs::metadata(&kept).map_or(0, |file| usize::try_from(file.len()).unwrap());
        let begin = Instant::now();
        while length() < stop {
            assert!(begin.elapsed() < SOON, "{stop}: only {} bytes are kept\n{}", length(), daemon.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon.kill().unwrap();
        assert!(!pull.wait().unwrap().success());
        daemon.restart().unwrap();
        assert_nothing_stays(&daemon, "a killed pull");
        daemon.ok(["pull", &name]).unwrap();
        assert_eq!(daemon.ok(["inspect", "-f", "{{.Id}}", &name]).unwrap(), digest(&sample.config));
        let begins: Vec<usize> =
            server.requests().iter().filter(|request| request.path.contains(&digest(&last))).map(Request::begin).collect();
        assert_eq!(begins, [0, stop]);
        daemon.ok(["rmi", &name]).unwrap();
        assert_eq!(names(&daemon, "ingest"), Vec::<String>::new());
    }
}

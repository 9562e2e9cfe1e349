//! The API on the wire, byte by byte.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use testkit::daemon::{Daemon, Network};

/// Sends bytes and reads until the engine ends the connection.
fn exchange(daemon: &Daemon, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(daemon: &Daemon, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n");
    match body {
        Some(body) => text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())),
        None => text.push_str("\r\n"),
    }
    let answer = exchange(daemon, text.as_bytes());
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), answer)
}

#[test]
fn clients_can_negotiate() {
    let daemon = Daemon::start(crate::teu(), Network::Private).unwrap();
    for (method, path) in [("GET", "/_ping"), ("HEAD", "/_ping"), ("GET", "/v1.24/_ping")] {
        let (status, answer) = request(&daemon, method, path, None);
        assert_eq!(status, 200, "{answer}");
        let lower = answer.to_lowercase();
        for header in [
            "api-version: 1.51\r\n",
            "ostype: linux\r\n",
            "builder-version: 2\r\n",
            "docker-experimental: false\r\n",
            "swarm: inactive\r\n",
            "cache-control: no-cache, no-store, must-revalidate\r\n",
            "pragma: no-cache\r\n",
            "server: docker/",
        ] {
            assert!(lower.contains(header), "{header}: {answer}");
        }
        assert_eq!(answer.ends_with("\r\n\r\nOK"), method == "GET", "{answer}");
    }
    let (status, answer) = request(&daemon, "GET", "/v1.99/info", None);
    assert_eq!(status, 400);
    assert!(answer.contains("client version 1.99 is too new."), "{answer}");
    let (status, answer) = request(&daemon, "GET", "/v1.12/info", None);
    assert_eq!(status, 400);
    assert!(answer.contains("client version 1.12 is too old."), "{answer}");
}

#[test]
fn what_is_not_there_is_a_404_with_an_exact_type() {
    let daemon = Daemon::start(crate::teu(), Network::Private).unwrap();
    for (method, path, message) in [
        ("GET", "/nope", "page not found"),
        ("PUT", "/containers/json", "page not found"),
        ("GET", "/containers/nosuch/json", "No such container: nosuch"),
        ("POST", "/containers/nosuch/start", "No such container: nosuch"),
        ("POST", "/containers/nosuch/attach?stream=1&stdout=1", "No such container: nosuch"),
        ("POST", "/containers/nosuch/wait", "No such container: nosuch"),
        ("GET", "/containers/nosuch/logs?stdout=1", "No such container: nosuch"),
        ("DELETE", "/containers/nosuch", "No such container: nosuch"),
        ("GET", "/exec/nosuch/json", "No such exec instance: nosuch"),
        ("GET", "/images/nosuch/json", "No such image: nosuch:latest"),
        ("GET", "/images/reg%3A5000/a/b:t/json", "No such image: reg:5000/a/b:t"),
        ("GET", "/networks/nosuch", "network nosuch not found"),
        ("GET", "/volumes/nosuch", "get nosuch: no such volume"),
    ] {
        let (status, answer) = request(&daemon, method, path, None);
        assert_eq!(status, 404, "{method} {path}: {answer}");
        assert!(answer.contains(&format!("{{\"message\":\"{message}")), "{path}: {answer}");
        let lower = answer.to_lowercase();
        assert!(lower.contains("content-type: application/json\r\n"), "{answer}");
    }
}

#[test]
fn bad_bodies_are_refused_and_the_engine_lives() {
    let daemon = Daemon::start(crate::teu(), Network::Private).unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        "{",
        "[]",
        "zz",
        "{\"Image\":5}",
        "{} {}",
        "\u{0}",
        "{\"HostConfig\":{\"Memory\":\"a\"}}",
        "{\"HostConfig\":{\"Memory\":1e999}}",
        "{\"HostConfig\":{\"PortBindings\":{\"99999/tcp\":[{}]}},\"Image\":\"a\"}",
        "{\"Image\":\"a\",\"HostConfig\":{\"Binds\":[\":::::\"]}}",
        "{\"Image\":\"a\",\"HostConfig\":{\"ConsoleSize\":[-1,70000]}}",
        deep.as_str(),
    ];
    for body in bodies {
        for path in ["/containers/create", "/v1.24/containers/create?name=x", "/teu/run"] {
            let (status, answer) = request(&daemon, "POST", path, Some(body));
            let start: String = body.chars().take(40).collect();
            assert_eq!(status, 400, "{path} {start}: {answer}");
            assert!(answer.contains("{\"message\":\""), "{answer}");
        }
    }
    for path in ["/volumes/create", "/networks/create"] {
        let (status, answer) = request(&daemon, "POST", path, Some("{"));
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer.contains("invalid JSON"), "{answer}");
    }
    for path in [
        "/containers/json?filters=zz",
        "/containers/json?filters=%7B%22nosuch%22:[%22a%22]%7D",
        "/containers/json?filters=%7B%22status%22:[%22nosuch%22]%7D",
        "/containers/json?limit=zz",
        "/images/json?filters=%7B%22dangling%22:[%22maybe%22]%7D",
        "/events?since=yesterday",
        "/networks?filters=[]",
        "/volumes?filters=7",
    ] {
        let (status, answer) = request(&daemon, "GET", path, None);
        assert_eq!(status, 400, "{path}: {answer}");
    }
    assert_eq!(request(&daemon, "GET", "/_ping", None).0, 200);
}

#[test]
fn a_body_without_a_type_is_refused_in_docker_s_words() {
    let daemon = Daemon::start(crate::teu(), Network::Private).unwrap();
    let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\n";
    for (kind, message) in [
        ("", "malformed Content-Type header (): mime: no media type"),
        ("Content-Type: text/plain\r\n", "unsupported Content-Type header (text/plain): must be 'application/json'"),
    ] {
        let text = format!("{head}{kind}Content-Length: 2\r\n\r\n{{}}");
        let answer = exchange(&daemon, text.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains(message), "{answer}");
    }
    let chunked = format!("{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n");
    let answer = exchange(&daemon, chunked.as_bytes());
    assert!(answer.contains("config cannot be empty"), "{answer}");
}

#[test]
fn noise_on_the_socket_does_no_harm() {
    let daemon = Daemon::start(crate::teu(), Network::Private).unwrap();
    let long = [b"GET /".as_slice(), &[b'a'; 200_000], b" HTTP/1.1\r\n\r\n"].concat();
    for noise in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long,
    ] {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        // The engine may hang up in the middle.
        let _ = stream.write_all(noise);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        assert_eq!(request(&daemon, "GET", "/_ping", None).0, 200);
    }
}

/// Makes an exec in the container `wired` and gives its identity.
fn exec(daemon: &Daemon, command: &str) -> String {
    let body = format!("{{\"AttachStdout\":true,\"Cmd\":[\"sh\",\"-c\",\"{command}\"]}}");
    let (status, answer) = request(daemon, "POST", "/containers/wired/exec", Some(&body));
    assert_eq!(status, 201, "{answer}");
    let (_, rest) = answer.split_once("\"Id\":\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The request that starts an exec, as the client library for Python sends it.
fn start(id: &str) -> String {
    let body = "{\"Tty\":false,\"Detach\":false}";
    format!(
        "POST /exec/{id}/start HTTP/1.1\r\nHost: d\r\nUser-Agent: docker-sdk-python/7.1.0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn client_libraries_get_all_output_and_the_exit_code_at_its_end() {
    let daemon = Daemon::with_busybox(crate::teu(), Network::Private).unwrap();
    daemon.ok(["run", "-d", "--name", "wired", "--network", "none", "busybox", "sleep", "1000"]).unwrap();
    for round in 0..20 {
        let id = exec(&daemon, "echo out; exit 7");
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.write_all(start(&id).as_bytes()).unwrap();
        // One read with a large buffer, which this library throws away behind the head: nothing may be there.
        let mut head = [0; 8192];
        let length = stream.read(&mut head).unwrap();
        let text = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{round}: {text}");
        let mut output = Vec::new();
        stream.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"\x01\0\0\0\0\0\0\x04out\n", "{round}");
        let (_, shown) = request(&daemon, "GET", &format!("/exec/{id}/json"), None);
        assert!(shown.contains("\"Running\":false") && shown.contains("\"ExitCode\":7"), "{round}: {shown}");
    }
}

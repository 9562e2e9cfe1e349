use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

/// Serves one connection with fixed bytes and gives what the client sent until it
/// closed its side or the answer was out.
fn serve(
    answer: &'static [u8],
    request_end: &'static str,
) -> (Client, thread::JoinHandle<String>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut piece = [0; 1024];
        while !String::from_utf8_lossy(&request).ends_with(request_end) {
            let count = stream.read(&mut piece).unwrap();
            assert!(
                count > 0,
                "the client went away: {}",
                String::from_utf8_lossy(&request)
            );
            request.extend(&piece[..count]);
        }
        // Small pieces, so that no reader can rely on one read.
        for part in answer.chunks(3) {
            stream.write_all(part).unwrap();
        }
        String::from_utf8(request).unwrap()
    });
    (Client::new(Endpoint::Unix(path), "test"), served, directory)
}

#[test]
fn a_body_of_known_length() {
    let (client, served, _directory) = serve(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellonothing",
        "\r\n\r\n",
    );
    assert_eq!(client.get("/x").unwrap(), b"hello");
    assert!(
        served
            .join()
            .unwrap()
            .starts_with("GET /x HTTP/1.1\r\nHost: ")
    );
}

#[test]
fn a_chunked_body_and_a_version() {
    let (mut client, served, _directory) = serve(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n",
        "{}",
    );
    client.set_version(Some(ApiVersion::v1(47)));
    let body = client
        .call("POST", "/x", Body::Json(b"{}".to_vec()))
        .unwrap();
    assert_eq!(body, b"hello!");
    let request = served.join().unwrap();
    assert!(
        request.starts_with("POST /v1.47/x HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("Content-Length: 2\r\n"), "{request}");
}

#[test]
fn a_cut_chunk_is_an_error() {
    let (client, served, _directory) = serve(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "\r\n\r\n",
    );
    assert!(matches!(client.get("/x"), Err(Error::Broken { .. })));
    served.join().unwrap();
}

#[test]
fn a_refusal_carries_the_engines_words() {
    let (client, served, _directory) = serve(
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"message\":\"no such thing\"}",
        "\r\n\r\n",
    );
    let error = client.get("/x").unwrap_err();
    assert_eq!(error.status(), Some(404));
    served.join().unwrap();
}

#[test]
fn a_streamed_body_goes_out_in_chunks() {
    let (client, served, _directory) = serve(b"HTTP/1.1 204 No Content\r\n\r\n", "0\r\n\r\n");
    let mut source = &b"abc"[..];
    let body = Body::Stream {
        content_type: "application/x-tar",
        source: &mut source,
    };
    assert_eq!(client.call("POST", "/x", body).unwrap(), b"");
    let request = served.join().unwrap();
    assert!(
        request.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "{request}"
    );
}

#[test]
fn an_upgrade_keeps_the_bytes_behind_the_head() {
    let (client, served, _directory) = serve(
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\nearly",
        "\r\n\r\n",
    );
    let mut stream = client.upgrade("/x", Body::Empty).unwrap();
    assert_eq!(stream.multiplexed(), Some(true));
    stream.writer().unwrap().shutdown_write().unwrap();
    let mut bytes = Vec::new();
    stream.reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"early");
    assert!(served.join().unwrap().contains("Upgrade: tcp\r\n"));
}

#[test]
fn negotiation_takes_the_older_side() {
    let (mut client, served, _directory) = serve(
        b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10 (linux)\r\n\r\n",
        "\r\n\r\n",
    );
    let ping = client.negotiate().unwrap();
    assert_eq!(ping.server, "Docker/20.10 (linux)");
    assert_eq!(client.version(), Some(ApiVersion::v1(41)));
    served.join().unwrap();
}

#[test]
fn nobody_there_is_told_in_dockers_words() {
    let client = Client::new(Endpoint::Unix("/nonexistent/x.sock".into()), "test");
    assert_eq!(
        client.get("/x").unwrap_err().to_string(),
        "Cannot connect to the Docker daemon at unix:///nonexistent/x.sock. Is the docker daemon running?"
    );
}

#[test]
fn texts_are_escaped_for_paths() {
    assert_eq!(escape("a/b:c d~é"), "a%2Fb%3Ac%20d~%C3%A9");
}

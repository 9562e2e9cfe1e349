//! The wire as a client sees it, with handlers of the tests' own.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Socket;
use std::thread;

/// Serves one connection with a handler that sends back all that it gets.
fn echo_server(hold: bool) -> Socket {
    let (client, server) = Socket::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let stream = UnixStream::from_std(server).unwrap();
            serve(stream, move |request: Request<Incoming>| {
                let attach = request.uri().path() == "/attach";
                let upgrade = request.headers().contains_key("upgrade");
                (attach, async move {
                    if !attach {
                        return Outcome::Reply(reply::typed(http::StatusCode::OK, "text/plain", Bytes::from_static(b"plain")));
                    }
                    Outcome::Hijack(Hijack {
                        content_type: "application/vnd.docker.raw-stream",
                        container: None,
                        websocket: None,
                        upgrade: upgrade.then_some("tcp"),
                        hold,
                        takeover: Box::new(|fd| Box::pin(async move { echo(fd) })),
                    })
                })
            })
            .await;
        });
    });
    client
}

/// Sends back what comes, then a mark, from a thread as a supervisor would.
fn echo(fd: OwnedFd) {
    thread::spawn(move || {
        let mut socket = Socket::from(fd);
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        all.extend_from_slice(b"|end");
        socket.write_all(&all).unwrap();
    });
}

fn exchange(mut client: Socket, pieces: &[&[u8]]) -> String {
    for piece in pieces {
        client.write_all(piece).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

const UPGRADE: &[u8] = b"POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\n\
                         Upgrade: tcp\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_client_that_ends_its_side_at_once_still_gets_the_stream() {
    let answer = exchange(echo_server(false), &[UPGRADE]);
    assert!(answer.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{answer}");
    assert!(answer.contains("\r\nUpgrade: tcp\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n|end"), "{answer}");
}

#[test]
fn bytes_right_behind_the_head_belong_to_the_stream() {
    let early = [UPGRADE, b"early "].concat();
    let answer = exchange(echo_server(false), &[&early, b"late"]);
    assert!(answer.ends_with("\r\n\r\nearly late|end"), "{answer}");
}

#[test]
fn without_upgrade_the_stream_follows_a_200() {
    let head = b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n";
    let answer = exchange(echo_server(false), &[head, b"in"]);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nin|end"), "{answer}");
}

#[test]
fn the_head_comes_alone() {
    let mut client = echo_server(true);
    client.write_all(UPGRADE).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut buffer = [0; 4096];
    let length = client.read(&mut buffer).unwrap();
    let head = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "|end");
}

#[test]
fn plain_requests_share_a_connection_before_a_hijack() {
    let plain = b"GET /plain HTTP/1.1\r\nHost: d\r\n\r\n";
    let answer = exchange(echo_server(false), &[plain, plain, UPGRADE, b"x"]);
    assert_eq!(answer.matches("plain").count(), 2 + 2, "{answer}");
    assert!(answer.ends_with("x|end"), "{answer}");
}

#[test]
fn garbage_ends_the_connection() {
    let answer = exchange(echo_server(false), &[b"\x16\x03\x01\x00\xff garbage\r\n\r\n"]);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

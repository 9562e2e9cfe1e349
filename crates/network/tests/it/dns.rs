//! Questions and answers through the resolver inside a container's namespace.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use network::Networks;
use network::dns::Names;
use network::endpoint::EndpointSpec;
use network::files::DnsOptions;
use network::network::NetworkSpec;

use crate::host::{Host, Namespace, OUTSIDE};

const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![3, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// Asks by a datagram; answers the code and the addresses.
fn ask(from: &Namespace, name: &str, kind: u16) -> (u8, Vec<IpAddr>) {
    let socket = from.udp(Ipv4Addr::UNSPECIFIED, 0);
    socket.connect(RESOLVER).expect("to connect");
    let question = question(name, kind);
    socket.send(&question).expect("to ask");
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).expect("an answer");
    read(&buffer[..length], question.len())
}

fn ask_by_stream(from: &Namespace, name: &str, kind: u16) -> (u8, Vec<IpAddr>) {
    let mut stream = from.run(|| TcpStream::connect(RESOLVER)).expect("to connect");
    let question = question(name, kind);
    stream.write_all(&u16::try_from(question.len()).expect("it to work").to_be_bytes()).expect("it to work");
    stream.write_all(&question).expect("it to work");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("it to work");
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).expect("it to work");
    read(&answer, question.len())
}

fn read(answer: &[u8], question: usize) -> (u8, Vec<IpAddr>) {
    assert_eq!((answer[0], answer[1]), (3, 1), "the question's id");
    let mut addresses = Vec::new();
    let mut rest = &answer[question..];
    for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
        let length = usize::from(u16::from_be_bytes([rest[10], rest[11]]));
        match (length, &rest[12..12 + length]) {
            (4, data) => addresses.push(IpAddr::from(<[u8; 4]>::try_from(data).expect("it to work"))),
            (16, data) => addresses.push(IpAddr::from(<[u8; 16]>::try_from(data).expect("it to work"))),
            (_, data) => addresses.extend(String::from_utf8_lossy(data).contains("web").then_some(IpAddr::from([0, 0, 0, 0]))),
        }
        rest = &rest[12 + length..];
    }
    (answer[3] & 15, addresses)
}

fn open(host: &Host, names: Names) -> Networks {
    let options = network::Options { names: Some(Arc::new(names)), ..host.options() };
    host.namespace.run(|| Networks::open(options)).expect("networks")
}

fn spec(network: &str, names: &[&str], servers: &[IpAddr]) -> EndpointSpec {
    EndpointSpec {
        network: network.to_owned(),
        container_name: names[0].to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        dns: DnsOptions { servers: servers.to_vec(), ..DnsOptions::default() },
        ..EndpointSpec::default()
    }
}

#[test]
fn names_are_answered_in_the_container_and_others_asked() {
    let (host, a, b, c) = (Host::new(), Namespace::new(), Namespace::new(), Namespace::new());
    let networks = open(&host, Names::spawn().expect("it to work"));
    for name in ["shop", "other"] {
        host.namespace.run(|| networks.create(NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() })).expect("a network");
    }
    let linked = EndpointSpec { links: vec![("store".to_owned(), "db".to_owned())], ..spec("shop", &["web", "www"], &[OUTSIDE.into()]) };
    let web = host.attach_as(&networks, "a", &a, &linked).expect("to attach");
    let db = host.attach_as(&networks, "b", &b, &spec("shop", &["db"], &[])).expect("to attach");
    host.attach_as(&networks, "c", &c, &spec("other", &["lone"], &[OUTSIDE.into()])).expect("to attach");
    let known = |endpoint: &network::endpoint::Endpoint| (0, vec![IpAddr::from(endpoint.address)]);
    for (name, wanted) in [("db", known(&db)), ("DB.shop", known(&db)), ("store", known(&db)), ("www", known(&web))] {
        assert_eq!(ask(&a, name, 1), wanted, "{name}");
        assert_eq!(ask_by_stream(&a, name, 1), wanted, "{name}");
    }
    assert_eq!(ask(&a, "db", 28), (0, vec![]), "a name without an address of this family exists");
    assert_eq!(ask(&b, "web", 1), known(&web));
    let [w, x, y, z] = web.address.octets();
    assert_eq!(ask(&b, &format!("{z}.{y}.{x}.{w}.in-addr.arpa"), 12), (0, vec![IpAddr::from([0, 0, 0, 0])]));
    // No connection is tracked, and the container may have a name server of its own.
    let own = b.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53))).expect("port 53 to be free");
    assert_eq!(ask(&b, "web", 1), known(&web));
    drop(own);

    // A server outside, asked from the container's address.
    let server = host.outside.udp(OUTSIDE, 53);
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        for code in [0_u8, 0] {
            let (length, client) = server.recv_from(&mut buffer).expect("a question");
            let mut answer = buffer[..length].to_vec();
            (answer[2], answer[3], answer[7]) = (0x81, 0x80 | code, 1);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 198, 51, 100, 7]);
            server.send_to(&answer, client).expect("to answer");
        }
    });
    let outside = (0, vec![IpAddr::from([198, 51, 100, 7])]);
    assert_eq!(ask(&a, "example.org", 1), outside);
    // A name of another network is no name here.
    assert_eq!(ask(&c, "web", 1), outside);
    thread.join().expect("it to work");

    host.namespace.run(|| networks.rename("b", "store2")).expect("to rename");
    networks.sync_names().expect("to tell");
    assert_eq!(ask(&a, "store2", 1), known(&db));
    for (holder, namespace) in [("a", &a), ("b", &b), ("c", &c)] {
        for endpoint in networks.endpoints(holder) {
            host.namespace.run(|| networks.disconnect(holder, &endpoint.network_name, Some(namespace.as_fd()))).expect("to disconnect");
        }
        host.namespace.run(|| networks.detach(holder)).expect("to detach");
    }
    for name in ["shop", "other"] {
        host.namespace.run(|| networks.remove(name)).expect("to remove");
    }
    host.close(&networks);
}

#[test]
fn names_go_on_without_an_engine_and_are_handed_to_the_next() {
    let (host, a, b) = (Host::new(), Namespace::new(), Namespace::new());
    let first = open(&host, Names::spawn().expect("it to work"));
    host.namespace.run(|| first.create(NetworkSpec { name: "shop".to_owned(), ..NetworkSpec::default() })).expect("a network");
    let web = host.attach_as(&first, "a", &a, &spec("shop", &["web"], &[])).expect("to attach");
    let db = host.attach_as(&first, "b", &b, &spec("shop", &["db"], &[])).expect("to attach");
    // The engine dies: its end of the connection closes.
    drop(first);
    assert_eq!(ask(&a, "db", 1), (0, vec![db.address.into()]));
    let asker = std::thread::spawn({
        let socket = b.udp(Ipv4Addr::UNSPECIFIED, 0);
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it to work");
        move || {
            socket.connect(RESOLVER).expect("it to work");
            let mut buffer = [0; 512];
            let question = question("web", 1);
            for _ in 0..2000 {
                socket.send(&question).expect("it to work");
                let length = socket.recv(&mut buffer).expect("an answer, whoever is there");
                assert_eq!(read(&buffer[..length], question.len()), (0, vec![web.address.into()]));
            }
        }
    });
    let second = open(&host, Names::spawn().expect("it to work"));
    asker.join().expect("it to work");
    host.namespace.run(|| second.rename("b", "db2")).expect("to rename");
    second.sync_names().expect("to tell");
    assert_eq!(ask(&a, "db2", 1), (0, vec![db.address.into()]), "the next engine is heard");
    for holder in ["a", "b"] {
        host.namespace.run(|| second.disconnect(holder, "shop", None)).expect("to disconnect");
        host.namespace.run(|| second.detach(holder)).expect("to detach");
    }
    host.namespace.run(|| second.remove("shop")).expect("to remove");
    host.close(&second);
}

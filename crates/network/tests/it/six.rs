//! IPv6: addresses, published ports, masquerade.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use network::endpoint::EndpointSpec;
use network::network::{NetworkSpec, SixSpec};
use network::port::{BindError, PortSpec, Protocol};
use network::{AttachError, CreateError};

use crate::host::{Host, Namespace, port};

const UPLINK: &str = "2001:db8::1";
const OUTSIDE: &str = "2001:db8::9";

fn six(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn listen(on: &Namespace, port: u16) -> TcpListener {
    on.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).expect("to listen")
}

/// Connects, exchanges a byte and answers whom the listener saw.
fn reach(from: &Namespace, to: Ipv6Addr, port: u16, listener: &TcpListener) -> IpAddr {
    let to = SocketAddr::new(to.into(), port);
    let mut client = from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5))).unwrap_or_else(|error| panic!("{to}: {error}"));
    let (mut server, peer) = listener.accept().expect("a connection");
    server.write_all(b"s").expect("to write");
    let mut byte = [0];
    client.read_exact(&mut byte).expect("to read");
    peer.ip()
}

fn is_blocked(from: &Namespace, to: Ipv6Addr, port: u16) -> bool {
    let to = SocketAddr::new(to.into(), port);
    from.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(150))).is_err()
}

fn host() -> Host {
    let host = Host::new();
    for (namespace, link, address) in [(&host.namespace, "up0", UPLINK), (&host.outside, "eth0", OUTSIDE)] {
        namespace.tool(&format!("ip -6 address add {address}/64 dev {link} nodad"));
    }
    host.namespace.tool(&format!("ip -6 route add default via {OUTSIDE}"));
    host
}

fn spec(name: &str, subnet: Option<&str>) -> NetworkSpec {
    let subnet = subnet.map(|text| text.parse().expect("a subnet"));
    NetworkSpec { name: name.to_owned(), six: Some(SixSpec { subnet, ..SixSpec::default() }), ..NetworkSpec::default() }
}

fn on(network: &str, ports: Vec<PortSpec>) -> EndpointSpec {
    EndpointSpec { network: network.to_owned(), container_name: "c".to_owned(), ports, ..EndpointSpec::default() }
}

#[test]
fn containers_have_both_families_and_ports_on_both() {
    let (host, a, b, c) = (host(), Namespace::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    host.namespace.run(|| networks.create(spec("one", Some("fd00:9::/64")))).expect("a network");
    host.namespace.run(|| networks.create(spec("two", None))).expect("a network");
    let taken = host.namespace.run(|| networks.create(spec("three", Some("fd00:9::/80"))));
    assert!(matches!(&taken, Err(CreateError::Overlap { other, .. }) if other == "one"), "{taken:?}");
    let unique = networks.inspect("two").expect("the network").bridge.and_then(|bridge| bridge.six).expect("IPv6");
    assert!(unique.subnet.to_string().starts_with("fd") && unique.subnet.prefix() == 64);

    let first = host.attach_as(&networks, "a", &a, &on("one", vec![port(Protocol::Tcp, 8080, 80)])).expect("to attach");
    let asked = EndpointSpec { ip6: Some(six("fd00:9::77")), ..on("one", vec![]) };
    host.attach_as(&networks, "b", &b, &asked).expect("to attach");
    let third = host.attach_as(&networks, "c", &c, &on("two", vec![])).expect("to attach");
    let own = first.six.expect("an address").address.address();
    assert_eq!(own, six("fd00:9::2"));
    assert_eq!(first.ports.iter().map(|port| port.host_ip.to_string()).collect::<Vec<_>>(), ["0.0.0.0", "::"]);
    let listener = listen(&a, 80);
    assert_eq!(reach(&b, own, 80, &listener), IpAddr::from(six("fd00:9::77")), "a neighbour");
    assert_eq!(reach(&host.outside, six(UPLINK), 8080, &listener), IpAddr::from(six(OUTSIDE)), "from outside, under the true address");
    assert_eq!(reach(&host.namespace, six(UPLINK), 8080, &listener), IpAddr::from(six(UPLINK)), "from the host");
    assert_eq!(reach(&b, six(UPLINK), 8080, &listener), IpAddr::from(six("fd00:9::1")), "a neighbour by way of the host");
    assert_eq!(reach(&c, six(UPLINK), 8080, &listener), IpAddr::from(third.six.expect("an address").address.address()));
    assert!(is_blocked(&c, own, 80), "another network");
    host.outside.tool(&format!("ip -6 route add fd00:9::/64 via {UPLINK}"));
    assert!(is_blocked(&host.outside, own, 80), "what is not published is closed, whoever knows the way");
    assert_eq!(reach(&a, six(OUTSIDE), 7000, &listen(&host.outside, 7000)), IpAddr::from(six(UPLINK)), "to the outside");
    let listing = host.namespace.tool("nft list table inet teu");
    assert!(listing.contains("map pub6") && listing.contains("fd00:9::2"), "{listing}");

    // All of it is there again for the next engine.
    drop(networks);
    let networks = host.open();
    assert_eq!(reach(&host.outside, six(UPLINK), 8080, &listener), IpAddr::from(six(OUTSIDE)));
    for (holder, network) in [("a", "one"), ("b", "one"), ("c", "two")] {
        host.namespace.run(|| networks.disconnect(holder, network, None)).expect("to disconnect");
    }
    assert!(is_blocked(&host.outside, six(UPLINK), 8080));
    for name in ["one", "two"] {
        host.namespace.run(|| networks.remove(name)).expect("to remove");
    }
    host.close(&networks);
}

#[test]
fn what_cannot_be_published_is_refused() {
    let (host, a) = (host(), Namespace::new());
    let networks = host.open();
    let wish = PortSpec { host_ip: Some(six("::1").into()), ..port(Protocol::Tcp, 8080, 80) };
    let refused = host.attach(&networks, "a", &a, vec![wish]);
    assert!(matches!(refused, Err(AttachError::Bind { source: BindError::Family { .. }, .. })), "{refused:?}");
    let sctp = host.attach(&networks, "a", &a, vec![port(Protocol::Sctp, 8080, 80)]);
    match sctp {
        Ok(_) => {
            assert!(host.namespace.tool("nft list table inet teu").contains("sctp"));
            host.namespace.run(|| networks.disconnect("a", "bridge", None)).expect("to disconnect");
        }
        Err(error) => assert!(matches!(error, AttachError::Bind { source: BindError::Protocol { .. }, .. }), "{error:?}"),
    }
    host.attach(&networks, "a", &a, vec![]).expect("nothing is left of what was refused");
    host.close(&networks);
}

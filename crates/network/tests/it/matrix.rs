//! Who reaches whom, as one table.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use network::endpoint::EndpointSpec;
use network::network::NetworkSpec;
use network::port::{PortSpec, Protocol};

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port};

/// Where a container listens, and the ports under which two of them are published.
const DIRECT: u16 = 80;
const PUBLISHED: u16 = 8080;
const ON_LOOPBACK: u16 = 8081;

/// From, to, whether it gets there.
#[rustfmt::skip]
const MATRIX: &[(&str, &str, bool)] = &[
    ("a", "b", true), ("b", "a", true),              // one network
    ("a", "c", false), ("c", "a", false),            // two networks
    ("c", "published", true), ("b", "published", true), ("a", "published", true), // also its own
    ("f", "published", true), ("d", "published", false), // an internal network has no way out
    ("host", "published", true), ("outside", "published", true),
    ("host", "loopback", true), ("outside", "loopback by uplink", false), ("a", "loopback by uplink", false),
    ("d", "e", true), ("d", "a", false), ("a", "d", false), ("outside", "d", false), ("d", "outside", false), ("host", "d", true),
    ("f", "g", false), ("g", "f", false), ("f", "a", false), ("f", "outside", true), ("host", "f", true),
    ("a", "outside", true), ("c", "outside", true),
    ("outside", "a", false), ("outside", "b", false), ("outside", "f", false), ("host", "a", true),
];

fn reaches(from: &Namespace, to: (Ipv4Addr, u16), patience: Duration) -> bool {
    from.run(|| TcpStream::connect_timeout(&SocketAddr::from(to), patience)).is_ok()
}

fn create(host: &Host, networks: &network::Networks, name: &str, internal: bool, icc: bool) {
    let options = if icc { vec![] } else { vec![("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned())] };
    let spec = NetworkSpec { name: name.to_owned(), internal, options: options.into_iter().collect(), ..NetworkSpec::default() };
    host.namespace.run(|| networks.create(spec)).expect("a network");
}

#[test]
fn the_isolation_matrix() {
    let host = Host::new();
    let networks = host.open();
    create(&host, &networks, "one", false, true);
    create(&host, &networks, "two", false, true);
    create(&host, &networks, "inner", true, true);
    create(&host, &networks, "apart", false, false);
    let on_loopback = PortSpec { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..port(Protocol::Tcp, ON_LOOPBACK, DIRECT) };
    let members = [
        ("a", "one", vec![port(Protocol::Tcp, PUBLISHED, DIRECT)]),
        ("b", "one", vec![]),
        ("c", "two", vec![on_loopback]),
        ("d", "inner", vec![]),
        ("e", "inner", vec![]),
        ("f", "apart", vec![]),
        ("g", "apart", vec![]),
    ];
    let mut containers = Vec::new();
    for (name, network, ports) in members {
        let namespace = Namespace::new();
        let spec = EndpointSpec { network: network.to_owned(), container_name: name.to_owned(), ports, ..EndpointSpec::default() };
        let endpoint = host.attach_as(&networks, name, &namespace, &spec).expect("to attach");
        let listener = namespace.listen(DIRECT);
        containers.push((name, namespace, endpoint.address, listener));
    }
    let outside = host.outside.listen(DIRECT);
    // Somebody outside who knows the way to the containers' addresses.
    for third in 18..=21 {
        host.outside.tool(&format!("ip route add 172.{third}.0.0/16 via {UPLINK}"));
    }
    let place = |name: &str| match name {
        "host" => &host.namespace,
        "outside" => &host.outside,
        name => containers.iter().find(|(own, ..)| *own == name).map(|(_, namespace, ..)| namespace).expect("a container"),
    };
    let address = |name: &str| match name {
        "published" => (UPLINK, PUBLISHED),
        "loopback" => (Ipv4Addr::LOCALHOST, ON_LOOPBACK),
        "loopback by uplink" => (UPLINK, ON_LOOPBACK),
        "outside" => (OUTSIDE, DIRECT),
        name => (containers.iter().find(|(own, ..)| *own == name).map(|(_, _, address, _)| *address).expect("a container"), DIRECT),
    };
    let check = |rows: &[(&str, &str, bool)]| {
        for (from, to, wanted) in rows {
            let patience = Duration::from_millis(if *wanted { 5000 } else { 150 });
            assert_eq!(reaches(place(from), address(to), patience), *wanted, "{from} -> {to}");
        }
    };
    check(MATRIX);

    // The administrator's chain, which nobody but the administrator changes.
    host.namespace
        .tool(&format!("nft add rule inet teu-admin forward ip saddr {OUTSIDE} meta l4proto tcp ct original proto-dst {PUBLISHED} drop"));
    check(&[("outside", "published", false), ("host", "published", true), ("c", "published", true)]);
    host.namespace.tool("nft delete table inet teu");
    drop(networks);
    let networks = host.open();
    check(&[("outside", "published", false), ("host", "published", true), ("a", "c", false), ("a", "b", true)]);
    host.namespace.tool("nft flush chain inet teu-admin forward");
    check(&[("outside", "published", true)]);
    drop(outside);
    for (name, ..) in &containers {
        for endpoint in networks.endpoints(name) {
            host.namespace.run(|| networks.disconnect(name, &endpoint.network_name, None)).expect("to disconnect");
        }
    }
    for name in ["one", "two", "inner", "apart"] {
        host.namespace.run(|| networks.remove(name)).expect("to remove");
    }
    host.close(&networks);
}

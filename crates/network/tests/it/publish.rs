//! Published ports: real packets from everywhere.

use std::net::Ipv4Addr;

use network::port::Protocol;

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn a_published_tcp_port_is_reached_from_everywhere() {
    let (host, web, other) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let endpoint = host
        .attach(&networks, "web", &web, vec![port(Protocol::Tcp, 8080, 80)])
        .expect("to attach");
    let neighbour = host
        .attach(&networks, "other", &other, Vec::new())
        .expect("to attach");
    let listener = web.listen(80);
    assert_eq!(
        host.outside.reach((UPLINK, 8080), &listener),
        OUTSIDE,
        "the source address is kept"
    );
    let gateway = Ipv4Addr::new(172, 17, 0, 1);
    assert_eq!(host.namespace.reach((LOCALHOST, 8080), &listener), gateway);
    assert_eq!(host.namespace.reach((UPLINK, 8080), &listener), UPLINK);
    // Through the host back into the same network, and to itself.
    assert_eq!(other.reach((UPLINK, 8080), &listener), gateway);
    assert_eq!(web.reach((UPLINK, 8080), &listener), gateway);
    assert_ne!(neighbour.address, endpoint.address);
    // Another port is not open, and a route to the container does not help.
    let hidden = web.listen(81);
    host.outside
        .tool(&format!("ip route add 172.17.0.0/16 via {UPLINK}"));
    assert!(host.outside.is_blocked((endpoint.address, 80)));
    assert!(host.outside.is_blocked((endpoint.address, 81)));
    drop(hidden);
    host.namespace
        .run(|| networks.detach("web"))
        .expect("to detach");
    assert!(host.outside.is_blocked((UPLINK, 8080)));
    host.close(&networks);
}

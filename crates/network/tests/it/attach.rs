//! Links, addresses, records, sweeps.

use std::net::Ipv4Addr;

use network::AttachError;
use network::endpoint::EndpointSpec;
use network::port::Protocol;

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port};

#[test]
fn a_container_gets_link_address_and_route() {
    let (host, container) = (Host::new(), Namespace::new());
    let networks = host.open();
    let endpoint = host.attach(&networks, "c1", &container, Vec::new()).expect("to attach");
    assert_eq!(endpoint.address, Ipv4Addr::new(172, 17, 0, 2));
    assert_eq!(endpoint.mac.to_string(), "02:42:ac:11:00:02");
    assert_eq!((endpoint.prefix, endpoint.gateway), (16, Some(Ipv4Addr::new(172, 17, 0, 1))));
    let addresses = container.tool("ip -o address show");
    assert!(addresses.contains("eth0    inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0"), "{addresses}");
    assert!(addresses.contains("127.0.0.1/8") && !addresses.contains("fe80"), "{addresses}");
    assert!(container.tool("ip -o link show eth0").contains("mtu 1400"), "the uplink's mtu");
    assert_eq!(container.tool("ip route").lines().next(), Some("default via 172.17.0.1 dev eth0 "));
    assert!(host.namespace.tool("ip -o link show").contains(&endpoint.link));
    assert!(!host.namespace.tool("ip -o address show").contains("fe80::42"));

    // Outwards, under the host's address.
    let listener = host.outside.listen(7000);
    assert_eq!(container.reach((OUTSIDE, 7000), &listener), UPLINK);
    // The host reaches the container, and the container the host.
    let listener = container.listen(80);
    assert_eq!(host.namespace.reach((endpoint.address, 80), &listener), Ipv4Addr::new(172, 17, 0, 1));
    host.close(&networks);
}

#[test]
fn neighbours_talk_and_others_are_kept_out() {
    let (host, one, two) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let first = host.attach(&networks, "c1", &one, Vec::new()).expect("to attach");
    let second = host.attach(&networks, "c2", &two, Vec::new()).expect("to attach");
    let listener = one.listen(80);
    assert_eq!(two.reach((first.address, 80), &listener), second.address);
    // A neighbour of the host that knows the way is not let in.
    host.outside.tool(&format!("ip route add 172.17.0.0/16 via {UPLINK}"));
    assert!(host.outside.is_blocked((first.address, 80)));
    host.close(&networks);
}

#[test]
fn addresses_are_given_once() {
    let (host, one, two) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let fixed = EndpointSpec {
        network: "bridge".to_owned(),
        container_name: "web".to_owned(),
        ip: Some(Ipv4Addr::new(172, 17, 9, 9)),
        ..EndpointSpec::default()
    };
    host.attach_as(&networks, "c1", &one, &fixed).expect("to attach");
    let again = host.attach_as(&networks, "c2", &two, &fixed).expect_err("a taken address");
    assert_eq!(again.to_string(), "Address already in use");
    assert!(matches!(host.attach_as(&networks, "c1", &one, &fixed), Err(AttachError::AlreadyAttached { .. })));
    host.namespace.run(|| networks.detach("c1")).expect("to detach");
    // Free at once, though the first namespace still is there, and wakes up.
    one.tool("ip link set eth0 down");
    one.tool("ip link set eth0 up");
    host.attach_as(&networks, "c2", &two, &fixed).expect("to attach");
    let listener = two.listen(80);
    assert_eq!(host.namespace.reach((Ipv4Addr::new(172, 17, 9, 9), 80), &listener), Ipv4Addr::new(172, 17, 0, 1));
    host.close(&networks);
}

#[test]
fn a_failed_attachment_leaves_nothing() {
    let (host, one) = (Host::new(), Namespace::new());
    let networks = host.open();
    one.tool("ip link add eth0 type veth peer name other");
    let error = host.attach(&networks, "c1", &one, Vec::new()).expect_err("a taken name");
    assert_eq!(error.to_string(), "cannot create veth pair");
    assert!(networks.endpoints("c1").is_empty());
    host.close(&networks);
}

#[test]
fn a_namespace_made_in_advance_is_like_any_other() {
    let (host, other) = (Host::new(), Namespace::new());
    let networks = host.open();
    host.namespace.run(|| networks.prepare()).expect("to prepare");
    let take = |holder: &str| networks.take_prepared(holder).map(Namespace::from);
    let (first, second) = (take("c1").expect("one"), take("c2").expect("two"));
    assert!(take("c3").is_none());
    assert!(networks.inspect("bridge").expect("the network").endpoints.is_empty());
    let endpoint = host.attach(&networks, "c1", &first, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    assert_eq!((endpoint.holder.as_str(), endpoint.interface.as_str()), ("c1", "eth0"));
    let listener = first.listen(80);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    assert_eq!(first.reach((UPLINK, 8080), &listener), Ipv4Addr::new(172, 17, 0, 1));
    host.attach(&networks, "other", &other, Vec::new()).expect("to attach");
    assert_eq!(other.tool("ip -o address show eth0").matches("172.17.0.4/16").count(), 1);

    // A conflict leaves it to `detach`, and so does a container that is never attached.
    let error = host.attach(&networks, "c2", &second, vec![port(Protocol::Tcp, 8080, 80)]);
    assert!(matches!(error, Err(AttachError::Bind { .. })));
    host.namespace.run(|| networks.detach("c2")).expect("to detach");
    drop(second);
    host.close(&networks);
}

#[test]
fn a_namespace_whose_bridge_has_gone_is_not_given_away() {
    let host = Host::new();
    let networks = host.open();
    host.namespace.run(|| networks.prepare()).expect("to prepare");
    host.namespace.tool("ip link delete teu0");
    assert!(networks.take_prepared("c1").is_none());
    host.close(&networks);
}

//! Published ports: real packets from everywhere.

use std::net::{Ipv4Addr, UdpSocket};

use network::port::{PortSpec, Protocol};

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port, quiet};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn a_published_tcp_port_is_reached_from_everywhere() {
    published_tcp_port(true);
}

#[test]
fn a_published_tcp_port_needs_no_rules_inside_of_bridges() {
    published_tcp_port(false);
}

fn published_tcp_port(bridges_call_rules: bool) {
    let (host, web, other) = (Host::new(), Namespace::new(), Namespace::new());
    host.bridges_call_rules(bridges_call_rules);
    let networks = host.open();
    let endpoint = host.attach(&networks, "web", &web, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    let neighbour = host.attach(&networks, "other", &other, Vec::new()).expect("to attach");
    let listener = web.listen(80);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE, "the source address is kept");
    let gateway = Ipv4Addr::new(172, 17, 0, 1);
    assert_eq!(host.namespace.reach((LOCALHOST, 8080), &listener), gateway);
    assert_eq!(host.namespace.reach((UPLINK, 8080), &listener), UPLINK);
    // Through the host back into the same network, and to itself.
    assert_eq!(other.reach((UPLINK, 8080), &listener), gateway);
    assert_eq!(web.reach((UPLINK, 8080), &listener), gateway);
    assert_ne!(neighbour.address, endpoint.address);
    // Another port is not open, and a route to the container does not help.
    let hidden = web.listen(81);
    host.outside.tool(&format!("ip route add 172.17.0.0/16 via {UPLINK}"));
    assert!(host.outside.is_blocked((endpoint.address, 80)));
    assert!(host.outside.is_blocked((endpoint.address, 81)));
    drop(hidden);
    host.namespace.run(|| networks.detach("web")).expect("to detach");
    assert!(host.outside.is_blocked((UPLINK, 8080)));
    host.close(&networks);
}

#[test]
fn a_published_udp_port_answers_from_everywhere() {
    let (host, web) = (Host::new(), Namespace::new());
    let networks = host.open();
    host.attach(&networks, "web", &web, vec![port(Protocol::Udp, 5353, 53)]).expect("to attach");
    let server = web.udp(Ipv4Addr::UNSPECIFIED, 53);
    for (client, to) in
        [(host.outside.udp(OUTSIDE, 0), UPLINK), (host.namespace.udp(LOCALHOST, 0), LOCALHOST), (host.namespace.udp(UPLINK, 0), UPLINK)]
    {
        exchange(&client, (to, 5353), &server);
    }
    host.close(&networks);
}

/// Sends one packet there and one back.
fn exchange(client: &UdpSocket, to: (Ipv4Addr, u16), server: &UdpSocket) {
    let mut buffer = [0; 8];
    client.send_to(b"ask", to).expect("to send");
    let (_, peer) = server.recv_from(&mut buffer).expect("a packet");
    server.send_to(b"answer", peer).expect("to send");
    let (length, from) = client.recv_from(&mut buffer).expect("an answer");
    assert_eq!((&buffer[..length], from), (b"answer".as_slice(), to.into()));
}

#[test]
fn a_udp_flow_follows_its_port() {
    let (host, old, new) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let ports = || vec![port(Protocol::Udp, 5353, 53)];
    // A flow that is older than the port: the host takes it at first.
    let client = host.outside.udp(OUTSIDE, 4000);
    let own = host.namespace.udp(UPLINK, 5353);
    exchange(&client, (UPLINK, 5353), &own);
    let guard = quiet();
    drop(own);
    host.attach(&networks, "old", &old, ports()).expect("to attach");
    exchange(&client, (UPLINK, 5353), &old.udp(Ipv4Addr::UNSPECIFIED, 53));
    drop(guard);
    // The same flow goes to the next container that has the port.
    let guard = quiet();
    host.namespace.run(|| networks.detach("old")).expect("to detach");
    host.attach(&networks, "new", &new, ports()).expect("to attach");
    exchange(&client, (UPLINK, 5353), &new.udp(Ipv4Addr::UNSPECIFIED, 53));
    drop(guard);
    host.close(&networks);
}

#[test]
fn a_port_on_one_address_is_closed_on_others() {
    let (host, web, other) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let on = |host_ip: Ipv4Addr, number, container_port| PortSpec {
        host_ip: Some(host_ip.into()),
        ..port(Protocol::Tcp, number, container_port)
    };
    let ports = vec![on(LOCALHOST, 8080, 80), on(UPLINK, 8081, 81)];
    host.attach(&networks, "web", &web, ports).expect("to attach");
    let (private, public) = (web.listen(80), web.listen(81));
    let gateway = Ipv4Addr::new(172, 17, 0, 1);
    assert_eq!(host.namespace.reach((LOCALHOST, 8080), &private), gateway);
    assert_eq!(host.outside.reach((UPLINK, 8081), &public), OUTSIDE);
    assert!(host.namespace.is_blocked((LOCALHOST, 8081)));
    assert!(host.outside.is_blocked((UPLINK, 8080)));
    // A neighbour, or a container, that sends packets for 127.0.0.1 gets nowhere.
    host.outside.tool("ip link set lo down");
    host.outside.tool("sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
    host.outside.tool(&format!("ip route add 127.0.0.0/8 via {UPLINK}"));
    assert!(host.outside.is_blocked((LOCALHOST, 8080)));
    host.attach(&networks, "other", &other, Vec::new()).expect("to attach");
    other.tool("ip link set lo down");
    other.tool("sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
    other.tool("ip route add 127.0.0.0/8 via 172.17.0.1");
    assert!(other.is_blocked((LOCALHOST, 8080)));
    host.close(&networks);
}

#[test]
fn conflicts_are_told_in_dockers_words() {
    let (host, one, two) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    host.attach(&networks, "one", &one, vec![port(Protocol::Tcp, 8080, 80)]).expect("to attach");
    let error = host.attach(&networks, "two", &two, vec![port(Protocol::Tcp, 8080, 80)]).expect_err("a conflict");
    let text = error.to_string();
    assert!(text.starts_with("driver failed programming external connectivity on endpoint two ("), "{text}");
    assert!(text.ends_with("): Bind for 0.0.0.0:8080 failed: port is already allocated"), "{text}");
    // The same number is free for the other protocol.
    host.attach(&networks, "udp", &two, vec![port(Protocol::Udp, 8080, 80)]).expect("to attach");
    host.namespace.run(|| networks.disconnect("udp", "bridge", None)).expect("to disconnect");

    for (protocol, number) in [(Protocol::Tcp, 9090), (Protocol::Udp, 9091)] {
        let (tcp, udp) = (host.namespace.listen(number), host.namespace.udp(LOCALHOST, number));
        let error = host.attach(&networks, "two", &two, vec![port(protocol, number, 80)]).expect_err("a conflict");
        let text = error.to_string();
        assert!(text.contains(&format!("failed to bind host port for 0.0.0.0:{number}:172.17.0.")), "{text}");
        assert!(text.ends_with(&format!(":80/{protocol}: address already in use")), "{text}");
        drop((tcp, udp));
    }
    // And the other way round: a process of the host cannot take a published port.
    assert!(host.namespace.run(|| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080))).is_err());
    let guard = quiet();
    host.namespace.run(|| networks.detach("one")).expect("to detach");
    host.attach(&networks, "two", &two, vec![port(Protocol::Tcp, 8080, 80)]).expect("a port that is free again");
    drop(guard);
    host.close(&networks);
}

#[test]
fn a_range_gives_its_first_free_port_and_zero_any() {
    let (host, one, two) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let range = || vec![PortSpec { host_port: Some(9000..=9002), ..port(Protocol::Tcp, 1, 80) }];
    let taken = host.namespace.listen(9000);
    let first = host.attach(&networks, "one", &one, range()).expect("to attach");
    assert_eq!(first.ports[0].host_port, 9001);
    let many = (0..3).flat_map(|_| range()).collect();
    let error = host.attach(&networks, "two", &two, many).expect_err("a full range");
    assert!(error.to_string().ends_with("all ports are allocated"), "{error}");
    drop(taken);
    let any = vec![port(Protocol::Tcp, 0, 80), port(Protocol::Udp, 0, 80)];
    let second = host.attach(&networks, "two", &two, any).expect("to attach");
    let listener = two.listen(80);
    assert_eq!(host.outside.reach((UPLINK, second.ports[0].host_port), &listener), OUTSIDE);
    assert_ne!(second.ports[1].host_port, 0);
    host.close(&networks);
}

#[test]
fn a_thousand_ports_are_one_transaction() {
    let (host, web) = (Host::new(), Namespace::new());
    let networks = host.open();
    let ports = (0..1000).map(|number| port(Protocol::Tcp, 20_000 + number, 10_000 + number)).collect();
    host.attach(&networks, "web", &web, ports).expect("to attach");
    let listener = web.listen(10_999);
    assert_eq!(host.outside.reach((UPLINK, 20_999), &listener), OUTSIDE);
    host.namespace.run(|| networks.detach("web")).expect("to detach");
    assert!(!host.namespace.tool("nft list map inet teu pub4").contains("172.17"));
    host.close(&networks);
}

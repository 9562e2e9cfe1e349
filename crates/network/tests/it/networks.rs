//! User-defined networks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use network::endpoint::{EndpointSpec, Limits};
use network::network::NetworkSpec;
use network::port::Protocol;
use network::{CreateError, Networks, RemoveError, ResolveError};

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port};

fn create(host: &Host, networks: &Networks, spec: NetworkSpec) -> Result<String, CreateError> {
    host.namespace.run(|| networks.create(spec)).map(|id| id.to_string())
}

fn named(name: &str) -> NetworkSpec {
    NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() }
}

fn on(network: &str) -> EndpointSpec {
    EndpointSpec { network: network.to_owned(), container_name: "c".to_owned(), ..EndpointSpec::default() }
}

#[test]
fn networks_are_kept_apart_but_published_ports_are_not() {
    let (host, a, b, c) = (Host::new(), Namespace::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    let id = create(&host, &networks, named("one")).expect("a network");
    create(&host, &networks, named("two")).expect("a network");
    let shown = networks.inspect(&id[..12]).expect("the network");
    let bridge = shown.bridge.expect("a bridge");
    assert_eq!((bridge.subnet.to_string(), bridge.link.to_string()), ("172.18.0.0/16".to_owned(), format!("br-{}", &id[..12])));

    let first = EndpointSpec { ports: vec![port(Protocol::Tcp, 8080, 80)], ..on("one") };
    let first = host.attach_as(&networks, "a", &a, &first).expect("to attach");
    host.attach_as(&networks, "b", &b, &on("one")).expect("to attach");
    let third = host.attach_as(&networks, "c", &c, &on("two")).expect("to attach");
    let listener = a.listen(80);
    assert_eq!(b.reach((first.address, 80), &listener), Ipv4Addr::new(172, 18, 0, 3));
    assert!(c.is_blocked((first.address, 80)), "another network");
    assert_eq!(c.reach((UPLINK, 8080), &listener), third.address, "a published port, under the true address");
    assert_eq!(c.reach((OUTSIDE, 7000), &host.outside.listen(7000)), UPLINK);

    // A second network of a running container, and out of it again.
    let second = host.attach_as(&networks, "c", &c, &on("one")).expect("to attach");
    assert_eq!(second.interface, "eth1");
    assert_eq!(c.reach((first.address, 80), &listener), second.address);
    assert!(matches!(networks.remove("one"), Err(RemoveError::InUse { .. })));
    host.namespace.run(|| networks.disconnect("c", "one", None)).expect("to disconnect");
    assert!(!c.tool("ip -o link show").contains("eth1"));
    for (holder, network) in [("a", "one"), ("b", "one"), ("c", "two")] {
        host.namespace.run(|| networks.disconnect(holder, network, None)).expect("to disconnect");
    }
    for name in ["one", "two"] {
        host.namespace.run(|| networks.remove(name)).expect("to remove");
    }
    assert!(!host.namespace.tool("ip -o link show").contains("br-"));
    assert!(!host.namespace.tool("nft list table inet teu").contains("br-"));
    host.close(&networks);
}

#[test]
fn an_internal_network_has_no_way_out_or_in() {
    let (host, a, b, c) = (Host::new(), Namespace::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    create(&host, &networks, NetworkSpec { internal: true, ..named("closed") }).expect("a network");
    let published = EndpointSpec { ports: vec![port(Protocol::Tcp, 8080, 80)], ..on("closed") };
    let first = host.attach_as(&networks, "a", &a, &published).expect("to attach");
    assert_eq!(first.gateway, None);
    host.attach_as(&networks, "b", &b, &on("closed")).expect("to attach");
    host.attach_as(&networks, "c", &c, &on("bridge")).expect("to attach");
    let listener = a.listen(80);
    b.reach((first.address, 80), &listener);
    assert_eq!(host.namespace.reach((first.address, 80), &listener), Ipv4Addr::new(172, 18, 0, 1));
    assert!(host.outside.is_blocked((UPLINK, 8080)));
    assert!(c.is_blocked((first.address, 80)));
    a.tool("ip route add default via 172.18.0.1");
    let _outside = host.outside.listen(7000);
    assert!(a.is_blocked((OUTSIDE, 7000)));
    host.namespace.run(|| {
        networks.disconnect("a", "closed", None).expect("to disconnect");
        networks.disconnect("b", "closed", None).expect("to disconnect");
        networks.remove("closed").expect("to remove");
    });
    host.close(&networks);
}

#[test]
fn without_icc_neighbours_do_not_talk() {
    without_icc(true);
}

#[test]
fn without_icc_ports_are_isolated_if_bridges_call_no_rules() {
    without_icc(false);
}

fn without_icc(bridges_call_rules: bool) {
    let (host, a, b) = (Host::new(), Namespace::new(), Namespace::new());
    host.bridges_call_rules(bridges_call_rules);
    let networks = host.open();
    let options = BTreeMap::from([("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned())]);
    create(&host, &networks, NetworkSpec { options, ..named("shy") }).expect("a network");
    let published = EndpointSpec { ports: vec![port(Protocol::Tcp, 8080, 80)], ..on("shy") };
    let first = host.attach_as(&networks, "a", &a, &published).expect("to attach");
    host.attach_as(&networks, "b", &b, &on("shy")).expect("to attach");
    let listener = a.listen(80);
    assert!(b.is_blocked((first.address, 80)));
    b.reach((UPLINK, 8080), &listener);
    host.namespace.run(|| {
        networks.disconnect("a", "shy", None).expect("to disconnect");
        networks.disconnect("b", "shy", None).expect("to disconnect");
        networks.remove("shy").expect("to remove");
    });
    host.close(&networks);
}

#[test]
fn bad_requests_are_refused() {
    let host = Host::new();
    let networks = host.open();
    create(&host, &networks, NetworkSpec { subnet: Some("10.1.0.0/24".parse().expect("a subnet")), ..named("one") }).expect("a network");
    assert!(matches!(create(&host, &networks, named("one")), Err(CreateError::NameTaken { .. })));
    assert!(matches!(create(&host, &networks, named("bridge")), Err(CreateError::NameTaken { .. })));
    assert!(matches!(create(&host, &networks, named("a/b")), Err(CreateError::Invalid { .. })));
    let overlap = NetworkSpec { subnet: Some("10.1.0.128/25".parse().expect("a subnet")), ..named("two") };
    assert!(matches!(create(&host, &networks, overlap), Err(CreateError::Overlap { .. })));
    let foreign =
        NetworkSpec { subnet: Some("10.2.0.0/24".parse().expect("a subnet")), gateway: Some(Ipv4Addr::new(10, 3, 0, 1)), ..named("two") };
    assert!(matches!(create(&host, &networks, foreign), Err(CreateError::Invalid { .. })));
    for name in ["bridge", "host", "none"] {
        let error = host.namespace.run(|| networks.remove(name)).expect_err("a predefined network");
        assert_eq!(error.to_string(), format!("{name} is a pre-defined network and cannot be removed"));
    }
    assert!(matches!(networks.inspect("nosuch"), Err(ResolveError::NotFound { .. })));
    // A network on record is there again after a restart.
    drop(networks);
    let networks = host.open();
    assert_eq!(networks.inspect("one").expect("the network").bridge.expect("a bridge").subnet.to_string(), "10.1.0.0/24");
    host.namespace.run(|| networks.remove("one")).expect("to remove");
    host.close(&networks);
}

#[test]
fn the_highest_priority_leads_out_and_has_the_ports() {
    let (host, c) = (Host::new(), Namespace::new());
    let networks = host.open();
    for name in ["one", "two"] {
        create(&host, &networks, named(name)).expect("a network");
    }
    let first = EndpointSpec { ports: vec![port(Protocol::Tcp, 8080, 80)], ..on("one") };
    host.attach_as(&networks, "c", &c, &first).expect("to attach");
    let listener = c.listen(80);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    let preferred = EndpointSpec { gateway_priority: 1, ..on("two") };
    let second = host.attach_as(&networks, "c", &c, &preferred).expect("to attach");
    assert_eq!(second.ports.len(), 1, "the ports follow the default route");
    assert!(c.tool("ip route").contains("default via 172.19.0.1 dev eth1"));
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    host.namespace.run(|| networks.disconnect("c", "two", Some(c.as_fd()))).expect("to disconnect");
    assert!(c.tool("ip route").contains("default via 172.18.0.1 dev eth0"));
    assert_eq!(networks.endpoints("c")[0].ports.len(), 1);
    assert_eq!(host.outside.reach((UPLINK, 8080), &listener), OUTSIDE);
    host.namespace.run(|| networks.disconnect("c", "one", None)).expect("to disconnect");
    assert!(host.outside.is_blocked((UPLINK, 8080)));
    for name in ["one", "two"] {
        host.namespace.run(|| networks.remove(name)).expect("to remove");
    }
    host.close(&networks);
}

#[test]
fn an_endpoint_receives_and_sends_no_more_than_it_may() {
    let (host, limited, free) = (Host::new(), Namespace::new(), Namespace::new());
    let networks = host.open();
    create(&host, &networks, named("one")).expect("a network");
    // A megabyte a second, of which 20 ms go at once.
    let limits = Limits { receive: Some(1_000_000), send: Some(1_000_000) };
    let spec = EndpointSpec { limits, ..on("one") };
    let limited_address = host.attach_as(&networks, "a", &limited, &spec).expect("to attach").address;
    let free_address = host.attach_as(&networks, "b", &free, &on("one")).expect("to attach").address;
    let bytes = 500_000;
    for (from, to, address) in [(&free, &limited, limited_address), (&limited, &free, free_address)] {
        let listener = to.listen(80);
        let begin = std::time::Instant::now();
        let receiver = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("to receive")
        });
        let mut sender = from.run(|| std::net::TcpStream::connect((address, 80))).expect("to connect");
        std::io::Write::write_all(&mut sender, &vec![7; bytes]).expect("to send");
        drop(sender);
        assert_eq!(receiver.join().expect("to receive"), bytes as u64);
        assert!(begin.elapsed() > std::time::Duration::from_millis(350), "{:?}", begin.elapsed());
    }
    for holder in ["a", "b"] {
        host.namespace.run(|| networks.disconnect(holder, "one", None)).expect("to disconnect");
    }
    host.namespace.run(|| networks.remove("one")).expect("to remove");
    host.close(&networks);
}

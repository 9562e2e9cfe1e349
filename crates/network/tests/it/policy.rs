//! Policies with real packets: who reaches whom is one table, read from top to bottom.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use network::Networks;
use network::endpoint::{Endpoint, EndpointSpec};
use network::network::{NetworkSpec, SixSpec};
use network::policy::{Action, Block, Direction, Policy, Ports, Rule, Selector};
use network::port::Protocol;

use crate::host::{Host, Namespace, OUTSIDE, UPLINK, port};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A service, a network as `network=n`, a block, or `any`.
fn selector(text: &str) -> Selector {
    match text.split_once('=') {
        Some((_, network)) => Selector { network: Some(network.to_owned()), ..Selector::default() },
        None if text == "any" => Selector::default(),
        None if text.contains('/') => {
            let block = text.parse().map(Block::Four).or_else(|_| text.parse().map(Block::Six)).expect("a block");
            Selector { block: Some(block), ..Selector::default() }
        }
        None if text == "front" => Selector { labels: vec![("tier".to_owned(), Some("front".to_owned()))], ..Selector::default() },
        None => Selector { service: Some(text.to_owned()), ..Selector::default() },
    }
}

/// `allow in web 80`: a rule about a TCP port, or about everything.
fn rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split(' ').collect();
    let ports = words.get(3).map(|port| match port.strip_prefix("udp") {
        Some(port) => (UDP, port.parse::<u16>().expect("a port")),
        None => (TCP, port.parse().expect("a port")),
    });
    Rule {
        action: if words[0] == "allow" { Action::Allow } else { Action::Deny },
        direction: if words[1] == "in" { Direction::In } else { Direction::Out },
        peer: selector(words[2]),
        ports: ports.into_iter().map(|(protocol, port)| Ports { protocol, range: port..=port }).collect(),
    }
}

fn policy(subject: &str, default_deny: &[Direction], rules: &[&str]) -> Policy {
    Policy {
        name: "p".to_owned(),
        subjects: vec![selector(subject)],
        default_deny: default_deny.to_vec(),
        rules: rules.iter().map(|text| rule(text)).collect(),
        ..Policy::default()
    }
}

struct Container {
    name: &'static str,
    namespace: Namespace,
    endpoint: Endpoint,
    _listeners: Vec<TcpListener>,
}

struct World {
    host: Host,
    networks: Networks,
    containers: Vec<Container>,
    _outside: TcpListener,
}

impl World {
    /// `web`, `api`, `db` in network `shop` with both families, `lone` in network `other`; `web` is published.
    fn new() -> Self {
        let host = Host::new();
        let networks = host.open();
        for (name, six) in [("shop", true), ("other", false)] {
            let spec = NetworkSpec { name: name.to_owned(), six: six.then(SixSpec::default), ..NetworkSpec::default() };
            host.namespace.run(|| networks.create(spec)).expect("a network");
        }
        let mut containers = Vec::new();
        for (name, network) in [("web", "shop"), ("api", "shop"), ("db", "shop"), ("lone", "other")] {
            let namespace = Namespace::new();
            let tier = if name == "web" { "front" } else { "back" };
            let spec = EndpointSpec {
                network: network.to_owned(),
                container_name: name.to_owned(),
                ports: if name == "web" { vec![port(Protocol::Tcp, 8080, 80)] } else { vec![] },
                labels: [("tier".to_owned(), tier.to_owned())].into(),
                ..EndpointSpec::default()
            };
            let endpoint = host.attach_as(&networks, name, &namespace, &spec).expect("to attach");
            let listeners = [80, 81].map(|port| namespace.run(|| TcpListener::bind(("::", port))).expect("to listen")).into();
            containers.push(Container { name, namespace, endpoint, _listeners: listeners });
        }
        let outside = host.outside.listen(80);
        Self { host, networks, containers, _outside: outside }
    }

    fn container(&self, name: &str) -> &Container {
        self.containers.iter().find(|container| container.name == name).expect("a container")
    }

    fn place(&self, name: &str) -> &Namespace {
        match name {
            "host" => &self.host.namespace,
            "outside" => &self.host.outside,
            name => &self.container(name).namespace,
        }
    }

    /// `db:80`, `db6:80` by IPv6, `outside:80`, `published` or `host:PORT` by the gateway's address.
    fn address(&self, text: &str) -> SocketAddr {
        let (name, port) = text.split_once(':').unwrap_or((text, "8080"));
        let address: IpAddr = match name {
            "outside" => OUTSIDE.into(),
            "published" | "host" => UPLINK.into(),
            name => match name.strip_suffix('6') {
                Some(name) => self.container(name).endpoint.six.expect("IPv6").address.address().into(),
                None => self.container(name).endpoint.address.into(),
            },
        };
        SocketAddr::new(address, port.parse().expect("a port"))
    }

    fn reaches(&self, from: &str, to: &str, wanted: bool) -> bool {
        let patience = Duration::from_millis(if wanted { 5000 } else { 120 });
        let address = self.address(to);
        self.place(from).run(|| TcpStream::connect_timeout(&address, patience)).is_ok()
    }

    /// A line is `FROM TO [no]`.
    fn check(&self, lines: &[&str]) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let wanted = words.get(2) != Some(&"no");
            assert_eq!(self.reaches(words[0], words[1], wanted), wanted, "{line}");
        }
    }

    fn put(&self, policy: Policy) -> Vec<String> {
        self.host.namespace.run(|| self.networks.put_policy(policy, true)).expect("a policy")
    }

    fn remove(&self, name: &str) {
        self.host.namespace.run(|| self.networks.remove_policy(name)).expect("to remove");
    }

    fn close(self) {
        for container in &self.containers {
            let network = &container.endpoint.network_name;
            self.host.namespace.run(|| self.networks.disconnect(container.name, network, None)).expect("to disconnect");
        }
        for name in ["shop", "other"] {
            self.host.namespace.run(|| self.networks.remove(name)).expect("to remove");
        }
        self.host.close(&self.networks);
    }
}

/// With no policy at all.
const OPEN: &[&str] = &[
    "web db:80",
    "api db:81",
    "web db6:80",
    "lone db:80 no",
    "outside published",
    "host published",
    "host db:80",
    "db outside:80",
    "lone published",
];

#[test]
fn the_policy_matrix() {
    const BOTH: &[Direction] = &[Direction::In, Direction::Out];
    #[rustfmt::skip]
    let matrix: &[(Policy, &[&str])] = &[
        // A default for one direction; neighbours of one bridge, both families, the outside by a published port.
        (policy("db", &[Direction::In], &[]), &["web db:80 no", "web db6:80 no", "db web:80", "db outside:80", "web api:80", "host db:80"]),
        (policy("db", &[Direction::Out], &[]), &["web db:80", "db web:80 no", "db web6:80 no", "db outside:80 no", "db published no", "db host:9 no"]),
        (policy("web", &[Direction::In], &[]), &["outside published no", "lone published no", "api web:80 no", "web published no", "host published"]),
        (policy("any", BOTH, &[]), &["web db:80 no", "api web:81 no", "outside published no", "db outside:80 no", "host db:80"]),
        // By service, label, network, port.
        (policy("db", &[Direction::In], &["allow in api 80"]), &["api db:80", "api db6:80", "api db:81 no", "web db:80 no", "web db6:80 no"]),
        (policy("db", &[Direction::In], &["allow in front"]), &["web db:80", "web db:81", "api db:80 no"]),
        (policy("network=shop", &[Direction::In], &["allow in network=shop 80"]), &["web db:80", "web db:81 no", "outside published no", "api web:80"]),
        // What is denied is never allowed, whatever stands first.
        (policy("db", &[], &["allow in any", "deny in web 80"]), &["web db:80 no", "web db6:80 no", "web db:81", "api db:80"]),
        // Blocks, of the outside and of containers.
        (policy("db", &[], &["deny out 192.0.2.0/24"]), &["db outside:80 no", "db web:80", "api outside:80"]),
        (policy("web", &[Direction::In], &["allow in 192.0.2.9/32 80"]), &["outside published", "lone published no", "api web:80 no", "api web6:80 no"]),
        (policy("db", &[], &["deny in 0.0.0.0/0"]), &["web db:80 no", "web db6:80"]),
        // Deny towards a service from the subject's side.
        (policy("web", &[], &["deny out db 80", "deny out ::/0 81"]), &["web db:80 no", "web db:81", "web db6:81 no", "api db:80", "web api:80"]),
        // Another protocol is not meant.
        (policy("db", &[], &["deny in any udp80"]), &["web db:80", "web db6:80"]),
    ];
    let world = World::new();
    world.check(OPEN);
    for (policy, lines) in matrix {
        world.put(policy.clone());
        world.check(lines);
    }
    world.remove("p");
    world.check(OPEN);
    // Nothing of it is left in force, nor paid for by packets.
    let rules = world.host.namespace.tool("nft list chains");
    assert!(!rules.contains("chain policy"), "{rules}");
    world.close();
}

#[test]
fn policies_survive_the_engine_and_meet_new_containers() {
    let world = World::new();
    world.put(policy("front", &[Direction::In, Direction::Out], &["allow in api 80", "allow out 192.0.2.0/24 80"]));
    let names = |networks: &Networks| networks.policies().into_iter().map(|policy| policy.name).collect::<Vec<_>>();
    let lines = ["api web:80", "api web:81 no", "db web:80 no", "web outside:80", "web db:80 no", "outside published no"];
    world.check(&lines);
    let World { host, networks, containers, _outside } = world;
    drop(networks); // as a kill does
    let networks = host.open();
    assert_eq!(names(&networks), ["p"]);
    let world = World { host, networks, containers, _outside };
    world.check(&lines);

    // A container of a known class is one more address; one of a new class has what is denied to it at once.
    for (name, tier, reached) in [("web2", "front", false), ("new", "middle", true)] {
        let namespace = Namespace::new();
        let spec = EndpointSpec {
            network: "shop".to_owned(),
            container_name: name.to_owned(),
            labels: [("tier".to_owned(), tier.to_owned())].into(),
            ..EndpointSpec::default()
        };
        let endpoint = world.host.attach_as(&world.networks, name, &namespace, &spec).expect("to attach");
        let _listener = namespace.listen(80);
        let connect = |from: &Namespace, to: std::net::Ipv4Addr| {
            from.run(|| TcpStream::connect_timeout(&(to, 80).into(), Duration::from_millis(if reached { 5000 } else { 120 }))).is_ok()
        };
        assert_eq!(connect(&world.container("db").namespace, endpoint.address), reached, "{name}");
        assert!(namespace.run(|| TcpStream::connect_timeout(&world.address("web:80"), Duration::from_millis(120))).is_err(), "{name}");
        world.host.namespace.run(|| world.networks.disconnect(name, "shop", None)).expect("to disconnect");
    }
    // Somebody flushes all rules of the host: the next change brings everything back.
    world.host.namespace.tool("nft flush ruleset");
    world.put(policy("front", &[Direction::In], &["allow in api 80"]));
    world.check(&["api web:80", "api web:81 no", "db web:80 no", "web db:80", "outside published no"]);
    // Renamed, it is another service.
    world.put(policy("db", &[Direction::In], &[]));
    world.host.namespace.run(|| world.networks.rename("db", "store")).expect("to rename");
    world.check(&["web db:80"]);
    world.remove("p");
    world.close();
}

#[test]
fn a_new_policy_ends_open_connections() {
    let world = World::new();
    let exchange = |client: &mut TcpStream| {
        use std::io::{Read, Write};
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let mut byte = [0];
        client.write_all(b"x").is_ok() && client.read(&mut byte).is_ok_and(|count| count == 1)
    };
    // One between neighbours, whose packets no rule has seen before; one that stays allowed; one from outside.
    let (db, web) = (world.container("db"), world.container("web"));
    let echo = |namespace: &Namespace, port: u16| {
        let listener = namespace.listen(port);
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut peer, _) = listener.accept().expect("a connection");
            let mut byte = [0];
            while peer.read(&mut byte).is_ok_and(|count| count == 1) && peer.write_all(&byte).is_ok() {}
        })
    };
    let connect =
        |from: &Namespace, to: SocketAddr| from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5))).expect("to connect");
    let threads = [echo(&db.namespace, 90), echo(&db.namespace, 91), echo(&world.host.outside, 90)];
    let mut denied = connect(&web.namespace, SocketAddr::new(db.endpoint.address.into(), 90));
    let mut allowed = connect(&web.namespace, SocketAddr::new(db.endpoint.address.into(), 91));
    let mut out = connect(&web.namespace, SocketAddr::new(OUTSIDE.into(), 90));
    assert!(exchange(&mut denied) && exchange(&mut allowed) && exchange(&mut out));
    world.put(policy("web", &[], &["deny out db 90", "deny out 192.0.2.0/24"]));
    assert!(!exchange(&mut denied) && exchange(&mut allowed) && !exchange(&mut out));
    // It goes on when the policy goes: nothing but packets was dropped.
    world.remove("p");
    let patient = |client: &mut TcpStream| {
        use std::io::Read;
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        client.read(&mut [0]).is_ok_and(|count| count == 1)
    };
    assert!(patient(&mut denied) && patient(&mut out));
    drop((denied, allowed, out));
    threads.into_iter().for_each(|thread| thread.join().expect("an echo"));
    world.close();
}

#[test]
fn what_a_policy_lets_send_is_bounded() {
    use std::io::{Read, Write};
    const BYTES: usize = 6 << 20;
    let world = World::new();
    // 4 MiB may come at once; the other two take half a second.
    world.put(Policy { send_limit: Some(4 << 20), ..policy("web", &[], &[]) });
    let (web, db) = (world.container("web"), world.container("db"));
    let listener = db.namespace.listen(90);
    let address = SocketAddr::new(db.endpoint.address.into(), 90);
    let sender = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut client = web.namespace.run(|| TcpStream::connect(address)).expect("to connect");
            client.write_all(&vec![0; BYTES]).expect("to send");
        });
        let (mut peer, _) = listener.accept().expect("a connection");
        let began = std::time::Instant::now();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).expect("to receive");
        sender.join().expect("the sender");
        (received.len(), began.elapsed())
    });
    assert_eq!(sender.0, BYTES);
    // No clock can make this one faster than the limit allows.
    assert!(sender.1 > Duration::from_millis(300), "{:?}", sender.1);
    assert!(
        world.host.namespace.tool("nft list limits").contains("4096 kbytes/second")
            || world.host.namespace.tool("nft list limits").contains("4 mbytes/second")
    );
    world.remove("p");
    assert_eq!(world.host.namespace.tool("nft list limits").matches("limit ").count(), 0);
    world.close();
}

#[test]
fn a_test_says_what_decides() {
    let world = World::new();
    world.put(policy("db", &[Direction::In], &["allow in api 80", "deny in web"]));
    let test = |from: &str, to: &str, port: u16| {
        let verdicts = world.networks.test(from, to, (TCP, port)).expect("a verdict");
        verdicts
            .into_iter()
            .map(|verdict| format!("{} {}", if verdict.allowed { "yes:" } else { "no:" }, verdict.reason))
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(test("api", "db", 80), "yes: allowed by rule 1 of policy p (of db)");
    assert_eq!(test("web", "db", 80), "no: denied by rule 2 of policy p (of db)");
    assert_eq!(test("api", "db", 81), "no: no rule allows it, and policy p (of db) denies the rest");
    assert_eq!(test("api", "web", 81), "yes: no policy speaks of it");
    assert_eq!(test("lone", "db", 80), "no: lone and db are not in one network");
    assert_eq!(test("192.0.2.9", "db", 80), "no: port 80 of db is not published");
    assert_eq!(test("192.0.2.9", "web", 80), "yes: no policy speaks of it");
    assert_eq!(test(&world.container("web").endpoint.address.to_string(), "db", 80), test("web", "db", 80));
    assert!(matches!(world.networks.test("nobody", "db", (TCP, 1)), Err(network::PolicyError::Unknown { .. })));
    let path = |from: &str| world.networks.paths().into_iter().find(|path| path.from == from && path.to == "db").expect("a path");
    assert_eq!((path("api").open, path("api").all), (vec![(TCP, 80, 80)], false));
    assert!(path("web").open.is_empty());
    world.remove("p");
    assert!(path("web").all);
    world.close();
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let world = World::new();
    let refused = |policy: Policy| {
        let refused = world.host.namespace.run(|| world.networks.put_policy(policy, false)).expect_err("a refusal");
        assert!(world.networks.policies().len() < 2);
        refused.to_string()
    };
    assert_eq!(refused(policy("db", &[], &[])), "policy p does nothing: give it a rule, a default or an egress limit");
    assert_eq!(refused(policy("db", &[], &["deny in network=nope"])), "network nope not found");
    assert_eq!(refused(policy("10.0.0.0/8", &[Direction::In], &[])), "policy p: subjects are containers; a CIDR can only be a rule's peer");
    assert_eq!(
        refused(Policy { name: "a/b".to_owned(), ..policy("db", &[Direction::In], &[]) }),
        "invalid policy name: \"a/b\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    );
    assert_eq!(world.put(policy("db", &[Direction::In], &["allow in nobody"])), ["no running container is service=nobody"]);
    assert_eq!(refused(policy("db", &[Direction::In], &[])), "network policy p already exists");
    assert_eq!(world.networks.remove_policy("q").expect_err("a refusal").to_string(), "network policy q not found");
    world.remove("p");
    world.close();
}

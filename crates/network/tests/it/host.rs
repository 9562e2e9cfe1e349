//! A private host: a network namespace with an uplink to an outside namespace.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use network::endpoint::{Endpoint, EndpointSpec, Sandbox};
use network::port::{PortSpec, Protocol};
use network::{AttachError, Networks, Options};

/// The host's address towards the outside.
pub(crate) const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside's address.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// How long a packet that must arrive may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a packet that must not arrive is waited for.
const IMPATIENCE: Duration = Duration::from_millis(150);

/// Keeps other tests from starting programs, which for a moment hold copies of all sockets: while a port is given
/// back and taken again, nobody may.
pub(crate) fn quiet() -> MutexGuard<'static, ()> {
    static STARTS: Mutex<()> = Mutex::new(());
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A network namespace.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    pub(crate) fn new() -> Self {
        Self(sys::netlink::create_namespace().expect("a namespace"))
    }

    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        sys::netlink::inside(self.0.as_fd(), work).expect("to enter the namespace")
    }

    /// Runs a tool with arguments separated by spaces and returns what it prints.
    pub(crate) fn tool(&self, line: &str) -> String {
        self.run(|| {
            let mut words = line.split(' ');
            #[allow(clippy::disallowed_methods, reason = "only tests may start programs")]
            let mut command = std::process::Command::new(words.next().expect("a program"));
            command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
            let guard = quiet();
            let child = command.spawn().expect("the tool to start");
            drop(guard);
            let output = child.wait_with_output().expect("the tool to end");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        })
    }

    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).expect("to listen")
    }

    pub(crate) fn udp(&self, address: Ipv4Addr, port: u16) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind((address, port))).expect("to bind");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }

    /// Connects, and exchanges a byte with the listener in both directions; returns whom the listener saw.
    pub(crate) fn reach(&self, to: (Ipv4Addr, u16), listener: &TcpListener) -> Ipv4Addr {
        let mut client = self.run(|| TcpStream::connect_timeout(&address(to), PATIENCE)).expect("to connect");
        let (mut server, peer) = listener.accept().expect("a connection");
        server.write_all(b"s").expect("to write");
        client.write_all(b"c").expect("to write");
        let mut byte = [0];
        client.read_exact(&mut byte).expect("to read");
        server.read_exact(&mut byte).expect("to read");
        let SocketAddr::V4(peer) = peer else { panic!("{peer}") };
        *peer.ip()
    }

    /// Whether nothing answers.
    pub(crate) fn is_blocked(&self, to: (Ipv4Addr, u16)) -> bool {
        self.run(|| TcpStream::connect_timeout(&address(to), IMPATIENCE)).is_err()
    }
}

impl From<OwnedFd> for Namespace {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn address((ip, port): (Ipv4Addr, u16)) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(ip, port))
}

/// A host with an engine's networks.
pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    pub(crate) outside: Namespace,
    directory: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self { namespace: Namespace::new(), outside: Namespace::new(), directory: tempfile::tempdir().expect("a directory") };
        // The outside's link is made on the host's side and moved by the file of its namespace.
        let path = format!("/proc/{}/fd/{}", std::process::id(), host.outside.as_fd().as_raw_fd());
        host.namespace.tool("ip link set lo up");
        host.namespace.tool(&format!("ip link add up0 mtu 1400 type veth peer name eth0 mtu 1400 netns {path}"));
        host.namespace.tool(&format!("ip address add {UPLINK}/24 dev up0"));
        host.namespace.tool("ip link set up0 up");
        host.outside.tool("ip link set lo up");
        host.outside.tool(&format!("ip address add {OUTSIDE}/24 dev eth0"));
        host.outside.tool("ip link set eth0 up");
        host.namespace.tool(&format!("ip route add default via {OUTSIDE}"));
        host
    }

    /// Decides whether packets inside of a bridge pass the IP rules, as Docker or Kubernetes on the same host may
    /// have it. Without the kernel's module they never do.
    pub(crate) fn bridges_call_rules(&self, yes: bool) {
        let key = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        self.namespace.run(|| match fs_err::write(key, if yes { "1" } else { "0" }) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            Err(_) | Ok(()) => {}
        });
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            data: self.directory.path().join("data"),
            run: self.directory.path().join("run"),
            bridge: "teu0".parse().expect("a name"),
            address: None,
            mtu: None,
            names: None,
        }
    }

    pub(crate) fn open(&self) -> Networks {
        self.namespace.run(|| Networks::open(self.options())).expect("networks")
    }

    pub(crate) fn attach(
        &self,
        networks: &Networks,
        holder: &str,
        container: &Namespace,
        ports: Vec<PortSpec>,
    ) -> Result<Endpoint, AttachError> {
        let spec = EndpointSpec { network: "bridge".to_owned(), container_name: holder.to_owned(), ports, ..EndpointSpec::default() };
        self.attach_as(networks, holder, container, &spec)
    }

    pub(crate) fn attach_as(
        &self,
        networks: &Networks,
        holder: &str,
        container: &Namespace,
        spec: &EndpointSpec,
    ) -> Result<Endpoint, AttachError> {
        self.namespace.run(|| networks.attach(&Sandbox { holder, netns: container.as_fd() }, spec))
    }

    /// Removes everything and checks that nothing is left.
    pub(crate) fn close(&self, networks: &Networks) {
        self.namespace.run(|| {
            for network in networks.list() {
                for endpoint in network.endpoints {
                    networks.disconnect(&endpoint.holder, &network.name, None).expect("to disconnect");
                }
            }
            networks.sweep(&BTreeSet::new()).expect("to sweep");
            networks.close().expect("to close");
        });
        let links = self.namespace.tool("ip -o link show");
        assert!(!links.contains("veth") && !links.contains("teu"), "{links}");
        assert!(!self.namespace.tool("nft list tables").contains("teu"));
    }
}

/// A port to publish on all addresses.
pub(crate) fn port(protocol: Protocol, host: u16, container: u16) -> PortSpec {
    PortSpec { protocol, host_ip: None, host_port: (host != 0).then_some(host..=host), container_port: container }
}

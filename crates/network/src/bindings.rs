//! The host's ports that the engine's containers hold.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use sys::reserve::{Transport, reserve};

use crate::port::{BindError, BoundPort, PortSpec, Protocol};

/// How often the kernel may choose a port that is taken for one of the addresses.
const ATTEMPTS_MAX: u8 = 16;

/// The ports, each with the socket that reserves it.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    held: BTreeMap<(Protocol, u16), Vec<Reservation>>,
}

/// One address of a port, with the socket that keeps others off.
#[derive(Debug)]
struct Reservation {
    address: IpAddr,
    /// None if the port was taken by somebody else before the engine came back.
    _socket: Option<OwnedFd>,
}

/// A port with the addresses of the host on which it is published, all with the same number, and where each leads.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What was asked for.
    pub(crate) spec: PortSpec,
    /// The host's addresses, each with the container's.
    pub(crate) addresses: Vec<(IpAddr, IpAddr)>,
}

impl Bindings {
    /// Takes all the ports, or none.
    pub(crate) fn bind(&mut self, wanted: &[Wanted]) -> Result<Vec<BoundPort>, BindError> {
        let mut bound = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            match self.bind_one(wanted) {
                Ok(ports) => bound.extend(ports),
                Err(error) => {
                    self.release(&bound);
                    return Err(error);
                }
            }
        }
        Ok(bound)
    }

    /// Gives ports back.
    pub(crate) fn release(&mut self, ports: &[BoundPort]) {
        for port in ports {
            let key = (port.protocol, port.host_port);
            if let Some(holders) = self.held.get_mut(&key) {
                holders.retain(|reservation| reservation.address != port.host_ip);
                if holders.is_empty() {
                    self.held.remove(&key);
                }
            }
        }
    }

    /// Takes the ports of a record from an earlier life, reserved or not: their rules are in force.
    pub(crate) fn restore(&mut self, ports: &[BoundPort]) {
        for port in ports {
            let socket = reserve(transport(port.protocol), SocketAddr::new(port.host_ip, port.host_port));
            let holder = Reservation { address: port.host_ip, _socket: socket.ok().map(|(socket, _)| socket) };
            self.held.entry((port.protocol, port.host_port)).or_default().push(holder);
        }
    }

    fn bind_one(&mut self, wanted: &Wanted) -> Result<Vec<BoundPort>, BindError> {
        let range = wanted.spec.host_port.clone().filter(|range| *range.start() != 0);
        let Some(range) = range else {
            return self.bind_any(wanted);
        };
        let (first, last) = (*range.start(), *range.end());
        for port in first..=last {
            match self.bind_all(wanted, port) {
                Ok(bound) => return Ok(bound),
                Err(error) if first == last || matches!(error, BindError::Protocol { .. }) => return Err(error),
                Err(_) => {}
            }
        }
        Err(BindError::RangeAllocated { host_ip: first_address(wanted), first, last })
    }

    /// Lets the kernel choose for the first address; it does not know ports whose reservation failed in `restore`, nor
    /// what is taken on the other addresses.
    fn bind_any(&mut self, wanted: &Wanted) -> Result<Vec<BoundPort>, BindError> {
        let mut refused = Vec::new(); // kept open, so that the kernel does not choose them again
        for _ in 0..ATTEMPTS_MAX {
            let Some(place) = wanted.addresses.first() else {
                return Ok(Vec::new());
            };
            let (socket, bound) = open(&wanted.spec, *place, 0)?;
            let free = !self.is_held(bound.protocol, bound.host_ip, bound.host_port);
            let further = Wanted { addresses: wanted.addresses[1..].to_vec(), ..wanted.clone() };
            if free && let Ok(others) = self.bind_all(&further, bound.host_port) {
                self.hold(socket, bound);
                return Ok(std::iter::once(bound).chain(others).collect());
            }
            refused.push(socket);
        }
        Err(BindError::RangeAllocated { host_ip: first_address(wanted), first: 1, last: u16::MAX })
    }

    /// Takes one port on all addresses, or on none.
    fn bind_all(&mut self, wanted: &Wanted, host_port: u16) -> Result<Vec<BoundPort>, BindError> {
        let mut opened = Vec::new();
        for place in &wanted.addresses {
            if self.is_held(wanted.spec.protocol, place.0, host_port) {
                return Err(BindError::Allocated { host_ip: place.0, host_port });
            }
            opened.push(open(&wanted.spec, *place, host_port)?);
        }
        let hold = |(socket, bound)| {
            self.hold(socket, bound);
            bound
        };
        Ok(opened.into_iter().map(hold).collect())
    }

    fn hold(&mut self, socket: OwnedFd, bound: BoundPort) {
        let holders = self.held.entry((bound.protocol, bound.host_port)).or_default();
        holders.push(Reservation { address: bound.host_ip, _socket: Some(socket) });
    }

    fn is_held(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.held.get(&(protocol, port)).is_some_and(|holders| {
            holders.iter().any(|reservation| {
                let held = reservation.address;
                held.is_ipv4() == address.is_ipv4() && (held == address || held.is_unspecified() || address.is_unspecified())
            })
        })
    }
}

fn first_address(wanted: &Wanted) -> IpAddr {
    wanted.addresses.first().map_or(IpAddr::from([0, 0, 0, 0]), |(host, _)| *host)
}

fn open(spec: &PortSpec, (host_ip, container_ip): (IpAddr, IpAddr), port: u16) -> Result<(OwnedFd, BoundPort), BindError> {
    let (protocol, container_port) = (spec.protocol, spec.container_port);
    let fail = |answer: io::Error| {
        let missing = [Errno::PROTONOSUPPORT, Errno::SOCKTNOSUPPORT].map(|errno| Some(errno.raw_os_error()));
        if missing.contains(&answer.raw_os_error()) {
            return BindError::Protocol { protocol, container_port };
        }
        BindError::Host { host_ip, host_port: port, container_ip, container_port, protocol, answer }
    };
    let (socket, address) = reserve(transport(protocol), SocketAddr::new(host_ip, port)).map_err(fail)?;
    Ok((socket, BoundPort { protocol, container_port, host_ip, host_port: address.port() }))
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp,
    }
}

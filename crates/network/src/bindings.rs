//! The host's ports that the engine's containers hold.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use sys::reserve::{Transport, reserve};

use crate::port::{BindError, BoundPort, PortSpec, Protocol};

/// How often the kernel may choose a port that an earlier life of the engine gave away.
const ATTEMPTS_MAX: u8 = 16;

/// The ports, each with the socket that reserves it.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    held: BTreeMap<(Protocol, u16), Vec<Reservation>>,
}

/// One address of a port, with the socket that keeps others off.
#[derive(Debug)]
struct Reservation {
    address: Ipv4Addr,
    /// None if the port was taken by somebody else before the engine came back.
    _socket: Option<OwnedFd>,
}

impl Bindings {
    /// Takes all the ports, or none.
    pub(crate) fn bind(&mut self, specs: &[PortSpec], container: Ipv4Addr) -> Result<Vec<BoundPort>, BindError> {
        let mut bound = Vec::with_capacity(specs.len());
        for spec in specs {
            match self.bind_one(spec, container) {
                Ok(port) => bound.push(port),
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
            let socket = reserve(transport(port.protocol), SocketAddrV4::new(port.host_ip, port.host_port));
            let holder = Reservation { address: port.host_ip, _socket: socket.ok().map(|(socket, _)| socket) };
            self.held.entry((port.protocol, port.host_port)).or_default().push(holder);
        }
    }

    fn bind_one(&mut self, spec: &PortSpec, container: Ipv4Addr) -> Result<BoundPort, BindError> {
        let Some(range) = &spec.host_port else {
            return self.bind_any(spec, container);
        };
        let (first, last) = (*range.start(), *range.end());
        if first == 0 {
            return self.bind_any(spec, container);
        }
        for port in first..=last {
            match self.bind_port(spec, port, container) {
                Ok(bound) => return Ok(bound),
                Err(error) if first == last => return Err(error),
                Err(_) => {}
            }
        }
        Err(BindError::RangeAllocated { host_ip: spec.host_ip, first, last })
    }

    /// Lets the kernel choose; it does not know ports whose reservation failed in `restore`.
    fn bind_any(&mut self, spec: &PortSpec, container: Ipv4Addr) -> Result<BoundPort, BindError> {
        let mut refused = Vec::new(); // kept open, so that the kernel does not choose them again
        for _ in 0..ATTEMPTS_MAX {
            let (socket, bound) = self.open(spec, 0, container)?;
            if !self.is_held(spec.protocol, bound.host_ip, bound.host_port) {
                return Ok(self.hold(socket, bound));
            }
            refused.push(socket);
        }
        Err(BindError::RangeAllocated { host_ip: spec.host_ip, first: 1, last: u16::MAX })
    }

    fn bind_port(&mut self, spec: &PortSpec, host_port: u16, container: Ipv4Addr) -> Result<BoundPort, BindError> {
        if self.is_held(spec.protocol, spec.host_ip, host_port) {
            return Err(BindError::Allocated { host_ip: spec.host_ip, host_port });
        }
        let (socket, bound) = self.open(spec, host_port, container)?;
        Ok(self.hold(socket, bound))
    }

    fn open(&self, spec: &PortSpec, port: u16, container: Ipv4Addr) -> Result<(OwnedFd, BoundPort), BindError> {
        let fail = |answer: io::Error| BindError::Host {
            host_ip: spec.host_ip,
            host_port: port,
            container_ip: container,
            container_port: spec.container_port,
            protocol: spec.protocol,
            answer,
        };
        let address = SocketAddrV4::new(spec.host_ip, port);
        let (socket, address) = reserve(transport(spec.protocol), address).map_err(fail)?;
        let bound =
            BoundPort { protocol: spec.protocol, container_port: spec.container_port, host_ip: spec.host_ip, host_port: address.port() };
        Ok((socket, bound))
    }

    fn hold(&mut self, socket: OwnedFd, bound: BoundPort) -> BoundPort {
        let holders = self.held.entry((bound.protocol, bound.host_port)).or_default();
        holders.push(Reservation { address: bound.host_ip, _socket: Some(socket) });
        bound
    }

    fn is_held(&self, protocol: Protocol, address: Ipv4Addr, port: u16) -> bool {
        self.held.get(&(protocol, port)).is_some_and(|holders| {
            holders.iter().any(|reservation| {
                let held = reservation.address;
                held == address || held.is_unspecified() || address.is_unspecified()
            })
        })
    }
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    }
}

//! Who answers for the calls of a container: the program behind `listenerPath`.
//!
//! **Source:** runtime-spec, `config-linux.md`, The Container Process State; seccomp_unotify(2).

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use oci::runtime::{Spec, State};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use serde_json::json;

use crate::child::{Failure, Outcome, Trying as _};

/// Sends the filter's descriptor and the process it is of to the listener of the specification.
pub(crate) fn hand_over(spec: &Spec, state: &State, pid: Pid, fd: OwnedFd) -> Outcome<()> {
    let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let Some((profile, path)) = profile.and_then(|profile| Some((profile, profile.listener_path.as_ref()?))) else {
        return Err(Failure("seccomp: SCMP_ACT_NOTIFY needs a listenerPath".into()));
    };
    let what = || format!("handing the seccomp descriptor over to {}", path.display());
    let document = json!({
        "ociVersion": oci::runtime::VERSION,
        "fds": ["seccompFd"],
        "pid": pid.as_raw_nonzero().get(),
        "metadata": profile.listener_metadata.as_deref().unwrap_or_default(),
        "state": state,
    })
    .to_string();
    let address = SocketAddrUnix::new(path).trying(what)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).trying(what)?;
    rustix::net::connect(&socket, &address).trying(what)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = rustix::net::sendmsg(&socket, &[IoSlice::new(document.as_bytes())], &mut control, SendFlags::NOSIGNAL).trying(what)?;
    // A document this short goes out as a whole or the socket is broken.
    if sent == document.len() { Ok(()) } else { Err(Failure(format!("{}: it was cut off", what()))) }
}

//! What create, run and exec share: pid files, consoles, sockets.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use super::CliError;
use super::error::During as _;
use crate::Stdio;

/// Writes a process id; a reader never sees half of it.
pub(super) fn write_pid_file(path: &Path, pid: Pid) -> Result<(), CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}"));
    fs::write(&draft, pid.as_raw_nonzero().to_string())
        .and_then(|()| fs::rename(&draft, path))
        .during(|| format!("cannot write {}", path.display()))
}

/// The caller who waits for a descriptor at a stream socket.
#[derive(Debug)]
pub(super) struct Receiver(OwnedFd);

impl Receiver {
    pub(super) fn connect(path: &Path) -> Result<Self, CliError> {
        let what = || format!("cannot connect to {}", path.display());
        let address = SocketAddrUnix::new(path).during(what)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).during(what)?;
        rustix::net::connect(&socket, &address).during(what)?;
        Ok(Self(socket))
    }

    /// Hands a descriptor over with a name as the message, as runc does.
    pub(super) fn send(&self, fd: impl AsFd, name: &str) -> Result<(), CliError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        rustix::net::sendmsg(&self.0, &[IoSlice::new(name.as_bytes())], &mut control, SendFlags::NOSIGNAL)
            .during(|| "cannot hand the descriptor over".into())?;
        Ok(())
    }
}

/// How the streams of a process are made.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) stdio: Stdio,
    pub(super) receiver: Option<Receiver>,
}

impl Console {
    /// Checks that terminal, detaching and console socket fit together. **Source:** runc, `utils_linux.go`, `setupIO`.
    pub(super) fn new(terminal: bool, detached: bool, socket: Option<&Path>) -> Result<Self, CliError> {
        match (terminal, detached, socket) {
            (false, _, Some(_)) => Err(CliError::Usage("cannot use console socket if runc will not detach or allocate tty".into())),
            (true, true, None) => Err(CliError::Usage("cannot allocate tty if runc will detach without setting console socket".into())),
            (true, false, Some(_)) => Err(CliError::Usage("cannot use console socket if runc will not detach or allocate tty".into())),
            (false, _, None) => Ok(Self { stdio: Stdio::Inherit, receiver: None }),
            (true, _, socket) => {
                let receiver = socket.map(Receiver::connect).transpose()?;
                Ok(Self { stdio: Stdio::Terminal, receiver })
            }
        }
    }
}

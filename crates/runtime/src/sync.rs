//! The two ends between a container's first process and its creator.
//!
//! | from | message | meaning |
//! |---|---|---|
//! | parent | `j` | you are in your cgroup and your ids are mapped: go on |
//! | child | `r`, with the terminal's master if there is one | ready: waiting for the start |
//! | child | `n`, with a descriptor | who listens to the filter takes this |
//! | child | `h` | run the hooks of the runtime's namespace |
//! | child | `e` text | failed; the text is for people |
//! | child | `w` text | a warning |
//! | parent | `s` | start |
//!
//! The child's end is close-on-exec: end of file after `s` means that the program runs.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recvmsg, sendmsg, socketpair,
};

/// Longest text of an error.
const MESSAGE_BYTES_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct End(OwnedFd);

/// What arrived.
#[derive(Debug)]
pub(crate) enum Message {
    Joined,
    Ready(Option<OwnedFd>),
    Hooks,
    Listener(OwnedFd),
    Failed(String),
    Warning(String),
    Start,
    Closed,
}

pub(crate) fn pair() -> io::Result<(End, End)> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((End(a), End(b)))
}

impl End {
    pub(crate) fn send(&self, kind: u8, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = text.as_bytes();
        let text = &text[..text.len().min(MESSAGE_BYTES_MAX - 1)];
        let data = [&[kind], text].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(&self.0, &[io::IoSlice::new(&data)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    pub(crate) fn receive(&self) -> io::Result<Message> {
        let mut data = [0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.0, &mut [io::IoSliceMut::new(&mut data)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                // The other end has gone without reading our last word; what it said before is still there. **Source:** unix(7).
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                result => break result?,
            }
        };
        let mut fd = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                fd = fds.last();
            }
        }
        let text = |from: usize| String::from_utf8_lossy(&data[from..received.bytes]).into_owned();
        Ok(match data.first().filter(|_| received.bytes > 0) {
            None => Message::Closed,
            Some(b'j') => Message::Joined,
            Some(b'r') => Message::Ready(fd),
            Some(b'h') => Message::Hooks,
            Some(b'n') => match fd {
                Some(fd) => Message::Listener(fd),
                None => Message::Failed("the listener of the filter is missing".into()),
            },
            Some(b'w') => Message::Warning(text(1)),
            Some(b's') => Message::Start,
            Some(_) => Message::Failed(text(1)),
        })
    }
}

impl End {
    /// Takes a message that has come already.
    pub(crate) fn receive_now(&self) -> io::Result<Option<Message>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&at_once)))?;
        if ready == 0 { Ok(None) } else { self.receive().map(Some) }
    }

    /// Waits for the parent's word to go on.
    pub(crate) fn wait_joined(&self) -> Result<(), String> {
        match self.receive() {
            Ok(Message::Joined) => Ok(()),
            Ok(other) => Err(format!("unexpected message of the parent: {other:?}")),
            Err(error) => Err(format!("waiting for the parent: {error}")),
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

//! Bytes between the caller's streams and a container's.

use std::io::{Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use docker_api::client::{Client, Hijacked};
use docker_api::stream::{Kind, read_frame};

use crate::error::Outcome;
use crate::{printer, terminal};

/// Keys that let a container go where none are chosen. **Source:** docker/cli, `ctrl-p,ctrl-q`.
const DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// Notices the keys that let a container go, which the engine acts on.
#[derive(Debug)]
struct Keys {
    sequence: Vec<u8>,
    matched: usize,
}

impl Keys {
    /// Reads keys such as `ctrl-p,x`; what makes no sense is as if nothing was chosen, and the engine says so.
    fn new(text: Option<&str>) -> Self {
        let key = |key: &str| match (key.strip_prefix("ctrl-"), key.as_bytes()) {
            (Some(letter), _) => letter.bytes().next().filter(|_| letter.len() == 1).map(|letter| letter.to_ascii_lowercase() & 0x1f),
            (None, [byte]) => Some(*byte),
            (None, _) => None,
        };
        let sequence = text.filter(|text| !text.is_empty()).and_then(|text| text.split(',').map(key).collect());
        Self { sequence: sequence.unwrap_or_else(|| DETACH_KEYS.to_vec()), matched: 0 }
    }

    /// Whether these bytes complete the sequence.
    fn complete(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            let goes_on = self.sequence.get(self.matched) == Some(byte);
            self.matched = if goes_on { self.matched + 1 } else { usize::from(self.sequence.first() == Some(byte)) };
            if self.matched == self.sequence.len() {
                return true;
            }
        }
        false
    }
}

/// Sends standard input on, and the end of it, on a thread of its own. With `keys` (an empty text is Docker's own) the
/// result tells whether a person has let the container go by them.
///
/// # Errors
/// If there are no descriptors left.
pub fn send_stdin(stream: &Hijacked, keys: Option<&str>) -> Outcome<Arc<AtomicBool>> {
    let mut writer = stream.writer()?;
    let detached = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&detached);
    let mut keys = keys.map(|keys| Keys::new(Some(keys)));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if keys.as_mut().is_some_and(|keys| keys.complete(&buffer[..count])) => {
                    told.store(true, Ordering::Release);
                    if writer.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
                Ok(count) if writer.write_all(&buffer[..count]).is_ok() => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
        let _engine_gone = writer.close_write();
    });
    Ok(detached)
}

/// Prints what comes until the stream ends; frames go to the stream they name.
///
/// # Errors
/// If the stream breaks. Data of a frame of the kind [`Kind::Result`] is returned.
pub fn print(stream: &mut impl Read, multiplexed: bool) -> Outcome<Option<Vec<u8>>> {
    let mut buffer = vec![0; 32 << 10];
    if !multiplexed {
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => printer::raw(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // A terminal that closes ends the session, not the command.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    while let Some(kind) = read_frame(stream, &mut buffer)? {
        match kind {
            Kind::Stdin | Kind::Stdout => printer::raw(&buffer),
            Kind::Stderr | Kind::System => printer::raw_error(&buffer),
            Kind::Result => return Ok(Some(buffer)),
        }
    }
    Ok(None)
}

/// Tells the engine the terminal's size now and whenever it changes.
pub fn follow_size(client: &Client, path: String) {
    let mut client = client.another();
    std::thread::spawn(move || {
        let mut sent = None;
        let Ok(changes) = crate::terminal::size_changes() else {
            return;
        };
        loop {
            let size = terminal::size();
            if let Some((rows, columns)) = size.filter(|_| size != sent) {
                let target = format!("{path}?h={rows}&w={columns}");
                // The process may not be there yet, or be gone: the next change tells again.
                if client.call::<serde_json::Value>("POST", &target, None).is_ok() {
                    sent = size;
                }
            }
            if changes.recv().is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn detach_keys_are_noticed_across_reads() {
        let mut keys = Keys::new(None);
        assert!(!keys.complete(b"ab\x10") && keys.complete(b"\x11"));
        let mut keys = Keys::new(Some("ctrl-x,q"));
        assert!(!keys.complete(b"\x10\x11\x18\x18") && keys.complete(b"q"));
    }
}

//! Bytes between the caller's streams and a container's.

use std::io::{Read, Write as _};

use docker_api::client::{Client, Hijacked};
use docker_api::stream::{Kind, read_frame};

use crate::error::Outcome;
use crate::{printer, terminal};

/// Sends standard input on, and the end of it, on a thread of its own.
///
/// # Errors
/// If there are no descriptors left.
pub fn send_stdin(stream: &Hijacked) -> Outcome<()> {
    let mut writer = stream.writer()?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) if writer.write_all(&buffer[..count]).is_ok() => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
        let _engine_gone = writer.close_write();
    });
    Ok(())
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

//! A request's body for readers that block.

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// How many bytes are read on after a refusal: a client that still sends then hears the answer.
const REFUSED_BYTES_MAX: usize = 64 << 20;

/// How many pieces wait for the reader; the client waits beyond that.
const PIECES_MAX: usize = 8;

/// Reads a body piece by piece.
#[derive(Debug)]
pub(crate) struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Upload {
    /// Begins to fetch the body; dropping the reader ends that, a little later.
    pub(crate) fn new(mut body: Incoming) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            let mut refused = 0;
            while let Some(frame) = body.frame().await {
                let piece = match frame {
                    Ok(frame) => frame.into_data().map_err(|_| ()),
                    Err(cause) => {
                        let _ = sender.send(Err(io::Error::other(cause))).await;
                        return;
                    }
                };
                let Ok(piece) = piece else { continue };
                let bytes = piece.len();
                if sender.send(Ok(piece)).await.is_err() {
                    refused += bytes;
                    if refused > REFUSED_BYTES_MAX {
                        return;
                    }
                }
            }
        });
        Self { pieces, current: Bytes::new() }
    }
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

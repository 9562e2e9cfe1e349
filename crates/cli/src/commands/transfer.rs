//! How far a copy is, on a terminal.

use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::{human, printer};

/// How often the figure is drawn anew. **Source:** docker/cli, `copyProgressUpdateThreshold`.
const PERIOD: Duration = Duration::from_millis(75);

/// A figure that grows, drawn on standard error if that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bytes: Arc<AtomicU64>,
    drawing: Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
    quiet: bool,
}

impl Progress {
    pub(super) fn start(header: &'static str, quiet: bool) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut progress = Self { bytes: Arc::clone(&bytes), drawing: None, quiet };
        if quiet || !io::stderr().is_terminal() {
            return progress;
        }
        let (stop, stopped) = mpsc::channel();
        // Saves the place of the cursor; each figure goes back to it and clears the line.
        printer::raw_error(b"\x1b7Preparing to copy...");
        let draw = move || {
            let mut drawn = 0;
            while stopped.recv_timeout(PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = bytes.load(Ordering::Relaxed);
                if now != drawn {
                    drawn = now;
                    printer::raw_error(format!("\x1b8\x1b[2K{header}{}", shown(now)).as_bytes());
                }
            }
            printer::raw_error(b"\x1b8\x1b[2K");
        };
        progress.drawing = Some((stop, std::thread::spawn(draw)));
        progress
    }

    /// Says how much was copied to where.
    pub(super) fn finish(self, target: &str) {
        if let Some((stop, thread)) = self.drawing {
            drop(stop);
            // A panic there has been shown already.
            let _ = thread.join();
        }
        if !self.quiet {
            printer::error(&format!("Successfully copied {} to {target}", shown(self.bytes.load(Ordering::Relaxed))));
        }
    }
}

fn shown(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
    human::size_short(bytes as f64)
}

/// Counts what goes through.
#[derive(Debug)]
pub(super) struct Counted<'a, T> {
    inner: T,
    bytes: &'a AtomicU64,
}

impl<'a, T> Counted<'a, T> {
    pub(super) fn new(inner: T, progress: &'a Progress) -> Self {
        Self { inner, bytes: &progress.bytes }
    }

    fn count(&self, count: usize) {
        self.bytes.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
    }
}

impl<T: Read> Read for Counted<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count(count);
        Ok(count)
    }
}

impl<T: Write> Write for Counted<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

//! Reads logs, and replays them to clients.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use supervisor::logs::{Grep, LogEntry, Logs, Next, Query, ReadError, Stream};
use supervisor::protocol::LogDriver;
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::error::OperationError;
use crate::registry::Cell;
use crate::types::{AttachOptions, LogStream, LogsOptions, WaitCondition};
use crate::view::Container;

/// Entries that wait for a slow reader.
const ENTRIES_MAX: usize = 256;
/// Entries that are read before others get a turn.
const ENTRIES_AT_ONCE: usize = 64;

fn failed(error: &ReadError) -> OperationError {
    match error {
        ReadError::Unsupported => OperationError::Unsupported("configured logging driver does not support reading"),
        ReadError::Io { .. } => OperationError::Supervisor(crate::error::chain(error)),
    }
}

fn open(view: &Container, query: Query) -> Result<Logs, OperationError> {
    let driver = match view.spec.host.log.driver.as_str() {
        "none" => LogDriver::None,
        "local" => LogDriver::Local,
        _ => LogDriver::JsonFile,
    };
    Logs::open(driver, view.log_path.clone(), query).map_err(|error| failed(&error))
}

/// Starts a task that reads and, if asked, follows.
pub(crate) fn read(cell: &Arc<Cell>, options: LogsOptions) -> Result<LogStream, OperationError> {
    let view = cell.view();
    let running = view.status.is_running() || view.status == crate::view::Status::Restarting || options.across_restarts;
    let grep = options.grep.as_deref().map(Grep::new).transpose().map_err(|error| OperationError::Invalid(error.to_string()))?;
    let query = Query { tail: options.tail, since: options.since, until: options.until, grep, follow: options.follow && running };
    let follow = query.follow;
    if follow && let Some(directory) = view.log_path.parent() {
        // Its log may not have begun.
        let io = |source| OperationError::Io { act: "make the directory of the log", source };
        crate::deps::make_directory(directory).map_err(io)?;
    }
    // Before the log is opened: an end between the two is not missed.
    let ended = cell.wait(if options.across_restarts { WaitCondition::Removed } else { WaitCondition::NotRunning });
    let logs = open(&view, query)?;
    let (sender, receiver) = mpsc::channel(ENTRIES_MAX);
    tokio::spawn(async move {
        let result = if follow { pass_on_and_follow(logs, &sender, ended).await } else { pass_on(logs, &sender).await };
        if let Err(error) = result {
            // A reader that has gone needs no error.
            let _ = sender.send(Err(failed(&error))).await;
        }
    });
    Ok(LogStream(receiver))
}

type Sender = mpsc::Sender<Result<LogEntry, OperationError>>;

/// Passes on what is there; the disk is read on a thread of its own.
async fn pass_on(mut logs: Logs, sender: &Sender) -> Result<(), ReadError> {
    let sender = sender.clone();
    let read = move || {
        while let Next::Entry(entry) = logs.next()? {
            if sender.blocking_send(Ok(entry)).is_err() {
                break;
            }
        }
        Ok(())
    };
    // A panic there has been shown already.
    tokio::task::spawn_blocking(read).await.unwrap_or(Ok(()))
}

async fn pass_on_and_follow(logs: Logs, sender: &Sender, ended: crate::types::WaitHandle) -> Result<(), ReadError> {
    let watched = crate::connection::watch(logs);
    let Ok(mut logs) = watched else { return Ok(()) };
    let mut ended = std::pin::pin!(ended.wait());
    let mut over = false;
    let mut count = 0_usize;
    loop {
        match logs.get_mut().next()? {
            Next::Entry(entry) => {
                if sender.send(Ok(entry)).await.is_err() {
                    return Ok(());
                }
                count += 1;
                if count.is_multiple_of(ENTRIES_AT_ONCE) {
                    tokio::task::yield_now().await;
                }
            }
            Next::End => return Ok(()),
            Next::Pending => {
                tokio::select! {
                    biased;
                    ready = logs.readable() => match ready {
                        Ok(mut guard) => guard.clear_ready(),
                        Err(_) => return Ok(()),
                    },
                    _ = &mut ended, if !over => {
                        over = true;
                        logs.get_mut().container_ended();
                    }
                    () = sender.closed() => return Ok(()),
                }
            }
        }
    }
}

impl Engine {
    /// Writes what is in the log already to a client that is about to be attached.
    pub(crate) async fn replay(
        &self,
        cell: &Arc<Cell>,
        options: &AttachOptions,
        frames: bool,
        client: OwnedFd,
    ) -> Result<OwnedFd, OperationError> {
        let mut logs = open(&cell.view(), Query::default())?;
        let (stdout, stderr) = (options.stdout, options.stderr);
        let write = move || {
            let io = |source| OperationError::Io { act: "replay the log", source };
            // The supervisor sets the mode it needs itself.
            rustix::io::ioctl_fionbio(client.as_fd(), false).map_err(|e| io(e.into()))?;
            let mut file = std::fs::File::from(client);
            while let Next::Entry(entry) = logs.next().map_err(|error| failed(&error))? {
                let (wanted, kind) = match entry.stream {
                    Stream::Stdout => (stdout, 1),
                    Stream::Stderr => (stderr, 2),
                };
                if !wanted {
                    continue;
                }
                let mut bytes = Vec::with_capacity(entry.line.len() + 8);
                if frames {
                    let length = u32::try_from(entry.line.len()).unwrap_or(u32::MAX);
                    bytes.extend([kind, 0, 0, 0]);
                    bytes.extend(length.to_be_bytes());
                }
                bytes.extend(entry.line);
                file.write_all(&bytes).map_err(io)?;
            }
            Ok(OwnedFd::from(file))
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|error| OperationError::Io { act: "replay the log", source: std::io::Error::other(error) })?
    }
}

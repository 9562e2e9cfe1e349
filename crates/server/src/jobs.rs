//! Work that blocks, and writes while it works.

use crate::ApiError;
use crate::reply::{self, Reply};
use bytes::Bytes;
use docker_api::types::Progress;
use tokio::sync::{mpsc, oneshot};

/// How progress lines end.
const LINE_END: &str = "\r\n";

/// Runs blocking work; a panic in it is a 500.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|cause| ApiError::internal(cause.to_string()))
}

/// Where a job writes its lines; the first one decides that the answer is a 200.
pub(crate) struct Output {
    lines: mpsc::Sender<Bytes>,
    started: Option<oneshot::Sender<Result<(), ApiError>>>,
}

impl Output {
    fn start(&mut self) {
        if let Some(started) = self.started.take() {
            let _ = started.send(Ok(()));
        }
    }

    /// Writes a line; a client that is gone does not stop the work.
    pub(crate) fn line(&mut self, progress: &Progress) {
        self.start();
        let _ = self.lines.blocking_send(reply::line(progress, LINE_END));
    }

    /// Whether the client has gone away.
    pub(crate) fn is_gone(&self) -> bool {
        self.lines.is_closed()
    }

    /// Writes a line unless the client is slow.
    pub(crate) fn hint(&mut self, progress: &Progress) {
        self.start();
        let _ = self.lines.try_send(reply::line(progress, LINE_END));
    }
}

/// Runs a job that writes progress. Its error is the answer if it wrote nothing, else the last line.
pub(crate) async fn stream_job(job: impl FnOnce(&mut Output) -> Result<(), ApiError> + Send + 'static) -> Result<Reply, ApiError> {
    let (lines, answer) = reply::stream("application/json");
    let (started, first) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let mut output = Output { lines, started: Some(started) };
        match job(&mut output) {
            Ok(()) => output.start(),
            Err(cause) => match output.started.take() {
                Some(started) => drop(started.send(Err(cause))),
                None => output.line(&Progress {
                    error: cause.message.clone(),
                    error_detail: Some(docker_api::types::ErrorDetail { code: 0, message: cause.message }),
                    ..Progress::default()
                }),
            },
        }
    });
    match first.await {
        Ok(result) => result.map(|()| answer),
        Err(_) => Err(ApiError::internal("the job has ended without a result")),
    }
}

/// Runs a job whose lines nobody reads.
pub(crate) async fn quiet_job(job: impl FnOnce(&mut Output) -> Result<(), ApiError> + Send + 'static) -> Result<(), ApiError> {
    let (lines, mut unread) = mpsc::channel(16);
    tokio::spawn(async move { while unread.recv().await.is_some() {} });
    blocking(move || job(&mut Output { lines, started: None })).await?
}

/// Runs a job whose error is the last line of the stream, always.
pub(crate) async fn told_job(job: impl FnOnce(&mut Output) -> Result<(), ApiError> + Send + 'static) -> Result<Reply, ApiError> {
    stream_job(move |output| {
        output.start();
        job(output)
    })
    .await
}

/// A writer into a body; its first bytes decide that the answer is a 200.
pub(crate) struct Archive {
    pieces: mpsc::Sender<Bytes>,
    started: Option<oneshot::Sender<Result<(), ApiError>>>,
}

impl Archive {
    /// Makes a writer that tells `started` of its first bytes.
    pub(crate) fn new(pieces: mpsc::Sender<Bytes>, started: oneshot::Sender<Result<(), ApiError>>) -> Self {
        Self { pieces, started: Some(started) }
    }

    /// Gives back whom to tell, if nothing was written.
    pub(crate) fn into_started(self) -> Option<oneshot::Sender<Result<(), ApiError>>> {
        self.started
    }
}

impl std::io::Write for Archive {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(started) = self.started.take() {
            let _ = started.send(Ok(()));
        }
        let piece = Bytes::copy_from_slice(bytes);
        match self.pieces.blocking_send(piece) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

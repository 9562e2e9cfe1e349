//! Attach, exec, logs, wait and the one-request run: what does not end with its head.

use crate::app::App;
use crate::connection::{Hijack, Outcome, Takeover};
use crate::convert::create;
use crate::error::of_kind;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, images, time};
use bytes::{BufMut, Bytes, BytesMut};
use docker_api::types::{ExecStartBody, RunBody, RunResult, WaitError, WaitResponse};
use docker_api::version::ApiVersion;
use engine::{AttachOptions, ExecStartOptions, LogsOptions, PreparedRun, RunOptions, Stream, WaitCondition};
use http::StatusCode;
use std::io::Write;
use std::os::fd::OwnedFd;

/// Bytes as the terminal gives them.
const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Pieces with 8-byte heads.
const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
/// Kind of the frame that ends `POST /teu/run`.
const FRAME_RESULT: u8 = 4;

/// Tells the type of a stream; before 1.42 both were called raw.
fn stream_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || version < ApiVersion::v1(42) { RAW_STREAM } else { MULTIPLEXED_STREAM }
}

fn hijack(call: &Call, content_type: &'static str, takeover: Takeover) -> Outcome {
    Outcome::Hijack(Hijack {
        content_type,
        container: None,
        websocket: None,
        upgrade: call.wants_upgrade().then_some("tcp"),
        hold: call.wants_hold(),
        takeover,
    })
}

/// Writes a frame: kind, three zeros, length, bytes.
/// **Source:** Docker Engine API, `ContainerAttach`, "Stream format".
fn frame(kind: u8, bytes: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(bytes.len() + 8);
    framed.put_u32(u32::from(kind) << 24);
    framed.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    framed.put_slice(bytes);
    framed.freeze()
}

impl App {
    pub(crate) fn container_attach(&self, name: &str, call: &Call) -> Result<Outcome, ApiError> {
        let container = self.lookup(name)?;
        let query = &call.query;
        let options = AttachOptions {
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
            logs: query.flag("logs"),
            stream: query.flag("stream"),
            multiplexed: false,
            detach_keys: query.text("detachKeys").to_owned(),
        };
        if container.status == engine::Status::Paused {
            return Err(ApiError::conflict(format!("container {name} is paused, unpause the container before attach")));
        }
        let tty = container.spec.config.tty;
        let (engine, id) = (self.engine.clone(), container.id.to_string());
        let on_the_way = self.joining.announce(&id);
        let takeover: Takeover = Box::new(move |client| {
            Box::pin(async move {
                let copy = client.try_clone();
                let attached = engine.attach(&id, options, client).await;
                drop(on_the_way);
                if let Err(cause) = attached {
                    // The head is sent: the error can only go into the stream.
                    tell(copy, tty, &crate::error::chain(&cause)).await;
                }
            })
        });
        Ok(hijack(call, stream_type(tty, call.version), takeover))
    }

    pub(crate) async fn exec_start(&self, id: String, mut call: Call) -> Result<Outcome, ApiError> {
        let body: ExecStartBody = call.json().await?;
        let exec = self.engine.exec_inspect(&id).await;
        let exec = exec.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let console_size = body.console_size.unwrap_or_default();
        if body.detach {
            let options = ExecStartOptions { client: None, console_size, multiplexed: false };
            let started = self.engine.exec_start(&id, options).await;
            started.map_err(|cause| of_kind(cause.kind(), &cause))?;
            return Ok(Outcome::Reply(reply::empty(StatusCode::OK)));
        }
        if exec.running || exec.exit_code.is_some() {
            return Err(ApiError::conflict(format!("exec {id} has already run: create another one")));
        }
        // As Docker does: the form of the stream is what this request says, whatever the process has.
        let (engine, tty) = (self.engine.clone(), body.tty);
        let takeover: Takeover = Box::new(move |client| {
            Box::pin(async move {
                let copy = client.try_clone();
                let options = ExecStartOptions { client: Some(client), console_size, multiplexed: !tty };
                if let Err(cause) = engine.exec_start(&id, options).await {
                    tell(copy, tty, &crate::error::chain(&cause)).await;
                }
            })
        });
        Ok(hijack(&call, stream_type(tty, call.version), takeover))
    }

    pub(crate) async fn container_logs(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let query = &call.query;
        let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
        if !stdout && !stderr {
            return Err(ApiError::invalid("Bad parameters: you must choose at least one stream"));
        }
        let container = self.lookup(name)?;
        let tty = container.spec.config.tty;
        let bound = |name: &str| -> Result<Option<u64>, ApiError> {
            let nanos = time::moment(query.text(name))?;
            Ok(nanos.and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0))
        };
        let options = LogsOptions {
            tail: query.text("tail").parse().ok(),
            since: bound("since")?,
            until: bound("until")?,
            grep: query.find("grep").map(str::to_owned),
            follow: query.flag("follow"),
            across_restarts: query.flag("across-restarts"),
        };
        let (timestamps, details) = (query.flag("timestamps"), query.flag("details"));
        let logs = self.engine.logs(&container.id.to_string(), options).await;
        let mut logs = logs.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let (sender, answer) = reply::stream(stream_type(tty, call.version));
        tokio::spawn(async move {
            loop {
                let entry = tokio::select! {
                    entry = logs.next() => entry,
                    () = sender.closed() => return,
                };
                let (kind, line) = match entry {
                    None => return,
                    // Frame kind 3 is an error of the system.
                    Some(Err(cause)) => (3, crate::error::chain(&cause).into_bytes()),
                    Some(Ok(entry)) => {
                        let kind = match entry.stream {
                            Stream::Stdout if stdout => 1,
                            Stream::Stderr if stderr => 2,
                            Stream::Stdout | Stream::Stderr => continue,
                        };
                        (kind, decorate_line(entry, timestamps, details))
                    }
                };
                let piece = if tty { Bytes::from(line) } else { frame(kind, &line) };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(answer)
    }

    pub(crate) fn container_wait(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let condition = match call.query.text("condition") {
            "" | "not-running" => WaitCondition::NotRunning,
            "next-exit" => WaitCondition::NextExit,
            "removed" => WaitCondition::Removed,
            other => {
                return Err(ApiError::invalid(format!("invalid condition: \"{other}\"")));
            }
        };
        let waiting = self.engine.wait(name, condition);
        let waiting = waiting.map_err(|cause| of_kind(cause.kind(), &cause))?;
        // The head goes out now: it tells the client that the wait is registered.
        let (sender, answer) = reply::stream("application/json");
        tokio::spawn(async move {
            let waited = tokio::select! {
                waited = waiting.wait() => waited,
                () = sender.closed() => return,
            };
            if let Some(waited) = waited {
                // Who waits for the next exit has started it too, and hears there why it failed.
                let told = condition == WaitCondition::NotRunning;
                let error = waited.error.filter(|_| told);
                let body = WaitResponse { error: error.map(|message| WaitError { message }), status_code: i64::from(waited.exit_code) };
                let _ = sender.send(reply::line(&body, "\n")).await;
            }
        });
        Ok(answer)
    }

    /// Creates, attaches, starts and waits in one request.
    pub(crate) async fn run(&self, mut call: Call) -> Result<Outcome, ApiError> {
        let body = call.json_with(RunBody::from_slice).await?;
        let body = body.ok_or_else(|| ApiError::invalid("invalid JSON: got EOF while reading request body"))?;
        let mut spec = create::spec(body.config)?;
        spec.host.console_size = body.console_size;
        let options = RunOptions { name: (!body.name.is_empty()).then_some(body.name), spec, platform: images::platform(&body.platform)? };
        let prepared = self.engine.prepare_run(options).await;
        let prepared = prepared.map_err(|cause| of_kind(cause.kind(), &cause))?.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let attach = AttachOptions {
            stdin: body.attach_stdin,
            stdout: body.attach_stdout,
            stderr: body.attach_stderr,
            logs: false,
            stream: true,
            multiplexed: true,
            detach_keys: body.detach_keys,
        };
        let id = prepared.id().to_string();
        let takeover: Takeover = Box::new(move |client| Box::pin(run_prepared(prepared, attach, client)));
        match hijack(&call, MULTIPLEXED_STREAM, takeover) {
            Outcome::Hijack(hijack) => Ok(Outcome::Hijack(Hijack { container: Some(id), ..hijack })),
            other => Ok(other),
        }
    }
}

/// Runs to the end and writes the last frame.
async fn run_prepared(prepared: PreparedRun, attach: AttachOptions, client: OwnedFd) {
    let Ok(copy) = client.try_clone() else { return };
    let id = prepared.id().to_string();
    for warning in prepared.warnings() {
        // A client that is gone hears nothing more. Nothing is in the stream yet, so this does not block.
        let written = rustix::io::write(&copy, &frame(2, format!("WARNING: {warning}\n").as_bytes()));
        if written.is_err() {
            return;
        }
    }
    let attached = attach.stdin || attach.stdout || attach.stderr;
    let result = match prepared.run(attached.then_some(client), attach).await {
        Ok(waited) => RunResult { id, status_code: i64::from(waited.exit_code), error: waited.error.unwrap_or_default() },
        Err(cause) => RunResult { id, status_code: i64::from(cause.exit_code()), error: crate::error::chain(&cause) },
    };
    let text = serde_json::to_vec(&result).unwrap_or_default();
    send(copy, frame(FRAME_RESULT, &text)).await;
}

/// Writes an error into a stream that has begun.
async fn tell(client: std::io::Result<OwnedFd>, tty: bool, message: &str) {
    let Ok(client) = client else { return };
    let text = format!("{message}\r\n").into_bytes();
    send(client, if tty { Bytes::from(text) } else { frame(1, &text) }).await;
}

/// Writes the last bytes of a connection and ends our side. Nobody is told if the client is gone.
async fn send(client: OwnedFd, bytes: Bytes) {
    use rustix::net::{SendFlags, Shutdown};

    // A few bytes mostly find room, and need no thread that may wait.
    let sent = rustix::net::send(&client, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or_default();
    let bytes = bytes.slice(sent.min(bytes.len())..);
    if bytes.is_empty() {
        let _ = rustix::net::shutdown(&client, Shutdown::Write);
        return;
    }
    let sent = tokio::task::spawn_blocking(move || {
        let mut socket = std::os::unix::net::UnixStream::from(client);
        // A client that does not read must not keep a thread.
        socket.set_write_timeout(Some(std::time::Duration::from_secs(10)))?;
        socket.write_all(&bytes)?;
        socket.shutdown(std::net::Shutdown::Write)
    });
    let _ = sent.await;
}

/// Puts the time and the attributes before a line.
fn decorate_line(entry: engine::LogEntry, timestamps: bool, details: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(entry.line.len() + 32);
    if timestamps {
        let nanos = i64::try_from(entry.time).unwrap_or(i64::MAX);
        line.extend_from_slice(time::rfc3339_fixed(nanos).as_bytes());
        line.push(b' ');
    }
    if details && let Some(attributes) = &entry.attributes {
        line.extend_from_slice(attribute_list(attributes).as_bytes());
        line.push(b' ');
    }
    line.extend_from_slice(&entry.line);
    line
}

/// Writes the attributes of a log entry as `a=b,c=d`.
fn attribute_list(json: &str) -> String {
    let map: std::collections::BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_default();
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

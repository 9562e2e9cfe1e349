//! Messages between the engine, the spawner and a supervisor.
//!
//! One message is one `SOCK_SEQPACKET` datagram with JSON in it; descriptors travel beside it
//! (`SCM_RIGHTS`). A message that is too large for a datagram travels in a memory file, see
//! [`codec`]. Unknown fields are ignored, so that a new engine can talk to an old supervisor.

mod bytes;
pub mod codec;
mod keys;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use bytes::Bytes;
pub use keys::{DetachKeys, ParseDetachKeysError};
pub use process::Process;

/// The version that is spoken here; a supervisor names its own in [`State::version`].
pub const VERSION: u32 = 1;

/// All that a supervisor needs to create one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// The container as the OCI runtime specification describes it.
    pub spec: oci::runtime::Spec,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Where the supervisor listens for engines.
    pub control_path: PathBuf,
    /// Where the exit record is written.
    pub exit_path: PathBuf,
    /// Whether the exit record is flushed to the disk before the exit is announced.
    pub durable_exit: bool,
    /// What the first process finds as its standard input; of no meaning with a terminal.
    pub stdin: Stdin,
    /// Where output is logged.
    pub log: Log,
    /// The result of [`crate::compile_seccomp`], instead of `spec.linux.seccomp`.
    pub seccomp: Option<Bytes>,
    /// Whether our own init is put before the program as process 1.
    pub init: bool,
}

/// Standard input of the container's first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Closed,
    /// A pipe that stays open when an attached client ends its input (`OpenStdin`).
    Open,
    /// A pipe that is closed when the first attached client ends its input (`StdinOnce`).
    Once,
}

/// Where output is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// The format.
    pub driver: LogDriver,
    /// The current file; rotated ones get `.1`, `.2` and so on, the newest first.
    pub path: PathBuf,
    /// Bytes after which a file is rotated; none is unlimited.
    pub bytes_max: Option<u64>,
    /// Files that are kept, the current one included; at least 1.
    pub files_max: u32,
    /// Written with each entry as `attrs` (json-file only).
    pub attributes: BTreeMap<String, String>,
}

/// Formats of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Docker's `json-file`.
    JsonFile,
    /// Compact frames.
    Local,
    /// Nothing is kept.
    #[default]
    None,
}

/// A command to the supervisor; it is answered by one [`Reply`] with the same number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the sender.
    pub sequence: u64,
    /// What to do.
    pub command: Command,
}

/// What an engine asks of a supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Lets the waiting first process execute its program.
    Start,
    /// Sends a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// To all processes of the container instead of the first.
        all: bool,
    },
    /// Freezes all processes.
    Pause,
    /// Thaws them.
    Resume,
    /// Changes limits.
    Update {
        /// The limits that change.
        resources: Box<oci::runtime::Resources>,
    },
    /// Joins a client (one descriptor beside the message) with the first process.
    Attach(Attach),
    /// Starts one more process, with a client (one descriptor) or without.
    Exec(Box<Exec>),
    /// Sends a signal to the process of an exec.
    SignalExec {
        /// Which.
        exec_id: String,
        /// The signal's number.
        signal: i32,
    },
    /// Changes the size of a terminal.
    Resize {
        /// The terminal of this exec; none is the one of the first process.
        exec_id: Option<String>,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Asks for counters.
    Stats,
    /// Asks for all processes.
    Processes,
    /// Asks for the state; all events that happened before come before the reply.
    State,
}

/// How a client is joined with a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attach {
    /// The client's bytes become input.
    pub stdin: bool,
    /// It gets standard output, or the terminal's.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
    /// Output has 8-byte headers, also that of a terminal; else it is raw.
    /// **Source:** Docker Engine API, `ContainerAttach`, "Stream format".
    pub multiplexed: bool,
    /// Input that lets the client go, with terminals only; empty is never.
    pub detach_keys: DetachKeys,
    /// At the end the connection stays open for whoever else holds it, for a last word of its own;
    /// [`Event::Exited`] is told only after all output has been sent there.
    pub keep_open: bool,
}

/// One more process in a running container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// Chosen by the engine.
    pub exec_id: String,
    /// The process.
    pub process: oci::runtime::Process,
    /// How the client that comes along, if any, is joined with it.
    pub attach: Attach,
}

/// What a supervisor says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// An answer to a request on this connection.
    Reply(Reply),
    /// Something happened; all connections hear it.
    Event(Event),
}

/// The answer to one [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Number of the request.
    pub sequence: u64,
    /// The answer.
    pub result: Outcome,
}

/// Answers to requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The process runs; [`Event::ExecExited`] will follow.
    ExecStarted {
        /// As the host sees it.
        pid: i32,
    },
    /// Counters.
    Stats(Box<Stats>),
    /// All processes of the container.
    Processes(Vec<Process>),
    /// The state.
    State(State),
    /// It failed, with the whole chain of causes.
    Failed {
        /// For people.
        message: String,
        /// What kind of failure.
        kind: FailureKind,
    },
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// No such exec, or its process has ended.
    NotFound,
    /// Not possible in this state, such as starting twice.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// The system refused.
    Internal,
}

/// Counters of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Unix time in nanoseconds.
    pub read_at: u64,
    /// Processor time of all processors together, nanoseconds.
    pub cpu_total_ns: u64,
    /// That of each processor, nanoseconds; empty where the kernel does not count it.
    pub cpu_each_ns: Vec<u64>,
    /// Processor time in user mode, nanoseconds.
    pub cpu_user_ns: u64,
    /// Processor time in kernel mode, nanoseconds.
    pub cpu_kernel_ns: u64,
    /// Enforcement periods that have passed.
    pub cpu_periods: u64,
    /// Those in which the container was throttled.
    pub cpu_throttled_periods: u64,
    /// Time it was throttled, nanoseconds.
    pub cpu_throttled_ns: u64,
    /// Memory in use, page cache included, bytes.
    pub memory_usage: u64,
    /// Highest use, bytes; none where the kernel does not count it.
    pub memory_peak: Option<u64>,
    /// Limit in bytes; none is unlimited.
    pub memory_limit: Option<u64>,
    /// How often the limit was hit.
    pub memory_failures: u64,
    /// Lines of `memory.stat`.
    pub memory_stat: BTreeMap<String, u64>,
    /// Number of tasks.
    pub pids_current: u64,
    /// Their limit; none is unlimited.
    pub pids_limit: Option<u64>,
    /// Bytes of block I/O by device and direction.
    pub block_io_bytes: Vec<BlockIo>,
    /// Operations of block I/O by device and direction; empty where the kernel does not count them.
    pub block_io_operations: Vec<BlockIo>,
    /// Those of network interfaces, by name, without the loopback.
    pub networks: BTreeMap<String, InterfaceStats>,
}

/// Block I/O of one device in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `Read` or `Write`.
    pub operation: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Counters of a network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Errors on receipt.
    pub rx_errors: u64,
    /// Packets dropped on receipt.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Errors on sending.
    pub tx_errors: u64,
    /// Packets dropped on sending.
    pub tx_dropped: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// First message on each connection made by [`crate::connect`]; the network namespace's
    /// descriptor comes along from creation to exit.
    State(State),
    /// The first process waits for [`Command::Start`]; the network namespace's descriptor comes
    /// along.
    Created {
        /// As the host sees it.
        pid: i32,
    },
    /// The container could not be created; the supervisor has undone all and ends.
    CreateFailed {
        /// For people; contains what Docker's command line looks for, such as
        /// `executable file not found in $PATH`.
        message: String,
    },
    /// The program runs.
    Started {
        /// Unix time in nanoseconds.
        started_at: u64,
    },
    /// All processes are frozen.
    Paused,
    /// They run again.
    Resumed,
    /// The kernel killed a process because the limit was reached.
    OutOfMemory(OutOfMemory),
    /// A client let go by its detach keys.
    Detached {
        /// The exec it was attached to; none is the first process.
        exec_id: Option<String>,
    },
    /// The process of an exec ended and its output is with its client.
    ExecExited {
        /// Which.
        exec_id: String,
        /// 128 and the signal's number for signals.
        code: i32,
    },
    /// The first process ended, all output is in the log, the exit record is written.
    Exited(Box<Exit>),
}

/// Circumstances of a kill by the kernel for want of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutOfMemory {
    /// Bytes; none is unlimited.
    pub limit: Option<u64>,
    /// Highest use so far, bytes.
    pub peak: Option<u64>,
    /// The process with most memory at that time.
    pub biggest_process: Option<BiggestProcess>,
}

/// The process with most memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BiggestProcess {
    /// As the host sees it.
    pub pid: i32,
    /// Its name.
    pub command: String,
    /// Resident bytes.
    pub memory: u64,
}

/// The state of a supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// [`VERSION`] of the supervisor.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// Where in its life the container is.
    pub phase: Phase,
    /// First process as the host sees it.
    pub pid: Option<i32>,
    /// Unix time in nanoseconds.
    pub started_at: Option<u64>,
    /// Whether it is frozen.
    pub paused: bool,
    /// Whether the kernel has killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// Running execs, and ended ones whose exit nobody was there to hear.
    pub execs: Vec<ExecState>,
}

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It is being made.
    #[default]
    Creating,
    /// It waits for the start.
    Created,
    /// It runs.
    Running,
    /// It has ended; the exit record tells how.
    Exited,
}

/// The state of an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecState {
    /// Which.
    pub exec_id: String,
    /// As the host sees it.
    pub pid: i32,
    /// Exit code, once it has ended.
    pub code: Option<i32>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// Exit code, 128 and the signal's number for signals.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Who sent that signal, where it is known.
    pub sender: Option<Sender>,
    /// Whether the kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// Memory limit, bytes; none is unlimited.
    pub memory_limit: Option<u64>,
    /// Highest use of memory, bytes.
    pub memory_peak: Option<u64>,
    /// The process with most memory when memory ran out.
    pub biggest_process: Option<BiggestProcess>,
    /// The last lines of the log, oldest first, if the code is not 0.
    pub last_log_lines: Vec<String>,
    /// Unix time in nanoseconds; none if it never started.
    pub started_at: Option<u64>,
    /// Unix time in nanoseconds.
    pub finished_at: u64,
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// The kernel, for want of memory.
    OutOfMemory,
    /// An engine, by a request.
    Engine {
        /// Its process id.
        pid: i32,
        /// Its user id.
        uid: u32,
    },
}

//! Why a container ended or does not run: an extension of our own, `GET /teu/why/{name}`.

use serde::{Deserialize, Serialize};

/// What is known of a container's last end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Why {
    /// Name, without a slash.
    pub name: String,
    /// Id.
    pub id: String,
    /// Image, as it was asked for.
    pub image: String,
    /// Docker's word for where in its life it is.
    pub status: String,
    /// Why it did not start; empty if it did.
    pub error: String,
    /// Seconds since 1970; 0 if it never started.
    pub started_at: i64,
    /// Seconds since 1970; 0 if it never ended.
    pub finished_at: i64,
    /// The last end; none if it never ended.
    pub death: Option<Death>,
    /// How often its policy has started it.
    pub restart_count: u32,
    /// Its restart policy.
    pub restart_policy: String,
    /// Most restarts by its policy; 0 is no limit.
    pub restarts_max: u32,
    /// Its memory limit now, bytes; 0 is none.
    pub memory_limit: i64,
    /// Its health, or empty.
    pub health: String,
    /// Failed probes in a row.
    pub failing_streak: u32,
    /// What the last failed probe wrote.
    pub probe_output: String,
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Death {
    /// Exit code, 128 and the signal's number for signals.
    pub exit_code: i32,
    /// The signal that killed it; 0 is none.
    pub signal: i32,
    /// Who sent it: `kernel` for want of memory, `engine` by a request, or empty if it is not known.
    pub sender: String,
    /// Whether the kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// Memory limit then, bytes; 0 is none.
    pub memory_limit: u64,
    /// Highest use of memory, bytes; 0 is not known.
    pub memory_peak: u64,
    /// Name of the process with most memory when memory ran out, or empty.
    pub biggest_process: String,
    /// Its process id on the host.
    pub biggest_pid: i32,
    /// Its resident bytes.
    pub biggest_memory: u64,
    /// The last lines of the log, oldest first, if the code is not 0.
    pub last_log_lines: Vec<String>,
    /// Seconds since 1970; 0 if the program never ran.
    pub started_at: i64,
    /// Seconds since 1970.
    pub finished_at: i64,
}

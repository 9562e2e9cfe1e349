//! A line of the table of processes.

use serde::{Deserialize, Serialize};

/// A process of the container as the host sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Parent's process id.
    pub ppid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Device number of its terminal; 0 is none.
    pub tty: i32,
    /// Processor time in nanoseconds.
    pub cpu_ns: u64,
    /// When it started, Unix time in nanoseconds.
    pub started_at: u64,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Arguments joined by blanks, or the name in brackets.
    pub command: String,
    /// Its name.
    pub name: String,
    /// One letter, see proc_pid_stat(5).
    pub state: String,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    /// Whether it is in the foreground of its terminal.
    pub foreground: bool,
    /// Nice value.
    pub nice: i32,
    /// Priority as the kernel shows it.
    pub priority: i32,
    /// Number of threads.
    pub threads: u32,
    /// Size of its address space in bytes.
    pub virtual_memory: u64,
}

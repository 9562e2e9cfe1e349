//! What a container has used.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Cgroup, Mode};

/// Figures of a container's cgroups; what the machine does not count is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time in nanoseconds.
    pub cpu_total: u64,
    /// Of it in user mode.
    pub cpu_user: u64,
    /// Of it in the kernel.
    pub cpu_system: u64,
    /// Periods with a quota.
    pub cpu_periods: u64,
    /// Of them throttled.
    pub cpu_throttled_periods: u64,
    /// Nanoseconds throttled.
    pub cpu_throttled: u64,
    /// Bytes in use.
    pub memory_usage: u64,
    /// Most bytes ever in use.
    pub memory_peak: u64,
    /// Limit in bytes; `u64::MAX` without one.
    pub memory_limit: u64,
    /// Bytes of the page cache that can be dropped at once.
    pub memory_inactive_file: u64,
    /// Times the limit was hit.
    pub memory_failures: u64,
    /// Tasks.
    pub pids: u64,
    /// Most tasks; `u64::MAX` without a limit.
    pub pids_limit: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to them.
    pub written_bytes: u64,
}

/// The value after `key` in lines of `key value`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key)).and_then(|(_, value)| value.trim().parse().ok())
}

fn text(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_default()
}

/// A file with one number; `max` and huge v1 values are no limit.
fn number(folder: &Path, file: &str) -> u64 {
    let text = text(folder, file);
    if text.trim() == "max" { u64::MAX } else { text.trim().parse().unwrap_or_default() }
}

impl Stats {
    pub(super) fn read(group: &Cgroup) -> Self {
        match (group.mode, group.folders.first()) {
            (Mode::Unified, Some(folder)) => Self::unified(folder),
            (Mode::Hybrid, Some(_)) => Self::v1(group),
            (Mode::Unified | Mode::Hybrid, None) => Self::default(),
        }
    }

    fn unified(folder: &Path) -> Self {
        let cpu = text(folder, "cpu.stat");
        let micro = |key| keyed(&cpu, key).unwrap_or_default();
        let io = text(folder, "io.stat");
        let sum = |key: &str| io.split_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok()).sum();
        Self {
            cpu_total: micro("usage_usec") * 1000,
            cpu_user: micro("user_usec") * 1000,
            cpu_system: micro("system_usec") * 1000,
            cpu_periods: micro("nr_periods"),
            cpu_throttled_periods: micro("nr_throttled"),
            cpu_throttled: micro("throttled_usec") * 1000,
            memory_usage: number(folder, "memory.current"),
            memory_peak: number(folder, "memory.peak"),
            memory_limit: number(folder, "memory.max"),
            memory_inactive_file: keyed(&text(folder, "memory.stat"), "inactive_file").unwrap_or_default(),
            memory_failures: keyed(&text(folder, "memory.events"), "max").unwrap_or_default(),
            pids: number(folder, "pids.current"),
            pids_limit: number(folder, "pids.max"),
            read_bytes: sum("rbytes"),
            written_bytes: sum("wbytes"),
        }
    }

    fn v1(group: &Cgroup) -> Self {
        const TICK: u64 = 10_000_000; // USER_HZ is 100
        let mut stats = Self { memory_limit: u64::MAX, pids_limit: u64::MAX, ..Self::default() };
        if let Some(folder) = group.controller("cpuacct") {
            let text = text(&folder, "cpuacct.stat");
            stats.cpu_total = number(&folder, "cpuacct.usage");
            stats.cpu_user = keyed(&text, "user").unwrap_or_default() * TICK;
            stats.cpu_system = keyed(&text, "system").unwrap_or_default() * TICK;
        }
        if let Some(folder) = group.controller("cpu") {
            let text = text(&folder, "cpu.stat");
            stats.cpu_periods = keyed(&text, "nr_periods").unwrap_or_default();
            stats.cpu_throttled_periods = keyed(&text, "nr_throttled").unwrap_or_default();
            stats.cpu_throttled = keyed(&text, "throttled_time").unwrap_or_default();
        }
        if let Some(folder) = group.controller("memory") {
            let limit = number(&folder, "memory.limit_in_bytes");
            stats.memory_usage = number(&folder, "memory.usage_in_bytes");
            stats.memory_peak = number(&folder, "memory.max_usage_in_bytes");
            // Without a limit v1 shows the largest multiple of the page size.
            stats.memory_limit = if limit >= 1 << 62 { u64::MAX } else { limit };
            stats.memory_inactive_file = keyed(&text(&folder, "memory.stat"), "total_inactive_file").unwrap_or_default();
            stats.memory_failures = number(&folder, "memory.failcnt");
        }
        if let Some(folder) = group.controller("pids") {
            stats.pids = number(&folder, "pids.current");
            stats.pids_limit = number(&folder, "pids.max");
        }
        if let Some(folder) = group.controller("blkio") {
            let text = text(&folder, "blkio.throttle.io_service_bytes_recursive");
            let sum = |kind: &str| {
                text.lines()
                    .filter_map(|line| {
                        line.split_whitespace()
                            .collect::<Vec<_>>()
                            .get(1..3)
                            .filter(|words| words[0] == kind)
                            .and_then(|words| words[1].parse::<u64>().ok())
                    })
                    .sum()
            };
            stats.read_bytes = sum("Read");
            stats.written_bytes = sum("Write");
        }
        stats
    }
}

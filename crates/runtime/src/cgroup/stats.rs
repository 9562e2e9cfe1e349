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
    /// CPU time of each processor in nanoseconds; cgroup v2 does not count it.
    pub cpu_each: Vec<u64>,
    /// Bytes to and from block devices.
    pub block_bytes: Vec<BlockCount>,
    /// Operations on them; Docker shows none on cgroup v2.
    pub block_operations: Vec<BlockCount>,
}

/// A counter of one block device and one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCount {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// In the kernel's words of v1: `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`.
    pub operation: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Lines of v1, `MAJOR:MINOR OPERATION VALUE`; the last one, all devices together, has no device.
fn block_v1(text: &str) -> Vec<BlockCount> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let operation = words.next()?.to_owned();
        Some(BlockCount { major: major.parse().ok()?, minor: minor.parse().ok()?, operation, value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// Lines of v2, `MAJOR:MINOR KEY=VALUE…`, in v1's words.
fn block_v2(text: &str, keys: [(&str, &str); 2]) -> Vec<BlockCount> {
    let mut counts = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        let values: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        for (key, operation) in keys {
            let value = values.iter().find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok());
            counts.extend(value.map(|value| BlockCount { major, minor, operation: operation.to_owned(), value }));
        }
    }
    counts
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

/// Limit and peak of the memory of a group.
pub(super) fn memory_bounds(mode: Mode, folder: &Path) -> (u64, u64) {
    match mode {
        Mode::Unified => (number(folder, "memory.max"), number(folder, "memory.peak")),
        Mode::Hybrid => {
            let limit = number(folder, "memory.limit_in_bytes");
            // Without a limit v1 shows the largest multiple of the page size.
            (if limit >= 1 << 62 { u64::MAX } else { limit }, number(folder, "memory.max_usage_in_bytes"))
        }
    }
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
        let (memory_limit, memory_peak) = memory_bounds(Mode::Unified, folder);
        Self {
            cpu_total: micro("usage_usec") * 1000,
            cpu_user: micro("user_usec") * 1000,
            cpu_system: micro("system_usec") * 1000,
            cpu_periods: micro("nr_periods"),
            cpu_throttled_periods: micro("nr_throttled"),
            cpu_throttled: micro("throttled_usec") * 1000,
            memory_usage: number(folder, "memory.current"),
            memory_peak,
            memory_limit,
            memory_inactive_file: keyed(&text(folder, "memory.stat"), "inactive_file").unwrap_or_default(),
            memory_failures: keyed(&text(folder, "memory.events"), "max").unwrap_or_default(),
            pids: number(folder, "pids.current"),
            pids_limit: number(folder, "pids.max"),
            cpu_each: Vec::new(),
            block_bytes: block_v2(&io, [("rbytes", "Read"), ("wbytes", "Write")]),
            block_operations: Vec::new(),
        }
    }

    fn v1(group: &Cgroup) -> Self {
        const TICK: u64 = 10_000_000; // USER_HZ is 100
        let mut stats = Self { memory_limit: u64::MAX, pids_limit: u64::MAX, ..Self::default() };
        if let Some(folder) = group.controller("cpuacct") {
            let text = text(&folder, "cpuacct.stat");
            stats.cpu_total = number(&folder, "cpuacct.usage");
            stats.cpu_each =
                self::text(&folder, "cpuacct.usage_percpu").split_ascii_whitespace().filter_map(|value| value.parse().ok()).collect();
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
            stats.memory_usage = number(&folder, "memory.usage_in_bytes");
            (stats.memory_limit, stats.memory_peak) = memory_bounds(Mode::Hybrid, &folder);
            stats.memory_inactive_file = keyed(&text(&folder, "memory.stat"), "total_inactive_file").unwrap_or_default();
            stats.memory_failures = number(&folder, "memory.failcnt");
        }
        if let Some(folder) = group.controller("pids") {
            stats.pids = number(&folder, "pids.current");
            stats.pids_limit = number(&folder, "pids.max");
        }
        if let Some(folder) = group.controller("blkio") {
            let counts = |file| block_v1(&text(&folder, file));
            stats.block_bytes = counts("blkio.throttle.io_service_bytes_recursive");
            stats.block_operations = counts("blkio.throttle.io_serviced_recursive");
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_are_counted_by_direction() {
        let of = |operation: &str, value| BlockCount { major: 8, minor: 16, operation: operation.into(), value };
        assert_eq!(block_v1("8:16 Read 4096\n8:16 Write 10\nTotal 4106\n"), [of("Read", 4096), of("Write", 10)]);
        let text = "8:16 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n";
        assert_eq!(block_v2(text, [("rbytes", "Read"), ("wbytes", "Write")]), [of("Read", 4096), of("Write", 10)]);
    }
}

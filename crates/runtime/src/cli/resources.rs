//! `update`, and statistics as runc prints them.

use std::ffi::OsString;

use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources};
use serde_json::{Value, json};

use super::arguments::{Parsed, Syntax};
use super::create::read_json;
use super::record::{Record, Status};
use super::{CliError, Global};
use crate::cgroup::{BlockCount, Stats};

const SYNTAX: Syntax = Syntax {
    flags: &[],
    values: &[
        "resources",
        "blkio-weight",
        "cpu-period",
        "cpu-quota",
        "cpu-burst",
        "cpu-share",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "cpuset-cpus",
        "cpuset-mems",
        "cpu-idle",
        "memory",
        "memory-reservation",
        "memory-swap",
        "pids-limit",
    ],
    repeated: &[],
    short: &[('r', "resources")],
    stop_at_word: false,
};

/// Changes limits of a container that exists and remembers them.
pub(super) fn update(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    let parsed = SYNTAX.parse(arguments)?;
    let mut record = Record::load(global, &parsed.only_id()?)?;
    if record.status() == Status::Stopped {
        return Err(CliError::State("container not running".into()));
    }
    let resources = match parsed.path("resources") {
        Some(path) => read_json(&path)?,
        None => from_options(&parsed)?,
    };
    record.cgroup().update(&resources)?;
    let own = record.spec.linux.get_or_insert_default().resources.get_or_insert_default();
    remember(own, resources);
    record.save()
}

fn from_options(parsed: &Parsed) -> Result<Resources, CliError> {
    let cpu = Cpu {
        shares: parsed.number("cpu-share")?,
        quota: parsed.number("cpu-quota")?,
        burst: parsed.number("cpu-burst")?,
        period: parsed.number("cpu-period")?,
        realtime_runtime: parsed.number("cpu-rt-runtime")?,
        realtime_period: parsed.number("cpu-rt-period")?,
        cpus: parsed.text("cpuset-cpus"),
        mems: parsed.text("cpuset-mems"),
        idle: parsed.number("cpu-idle")?,
    };
    let memory = Memory {
        limit: bytes(parsed, "memory")?,
        reservation: bytes(parsed, "memory-reservation")?,
        swap: bytes(parsed, "memory-swap")?,
        ..Memory::default()
    };
    let weight = parsed.number("blkio-weight")?;
    Ok(Resources {
        cpu: (cpu != Cpu::default()).then_some(cpu),
        memory: (memory != Memory::default()).then_some(memory),
        pids: parsed.number("pids-limit")?.map(|limit| Pids { limit }),
        block_io: weight.map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// A size such as `64m`; −1 is unlimited.
fn bytes(parsed: &Parsed, name: &str) -> Result<Option<i64>, CliError> {
    let Some(text) = parsed.text(name) else {
        return Ok(None);
    };
    size(&text).map(Some).ok_or_else(|| CliError::Usage(format!("invalid value for {name}: {text}")))
}

fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let plain = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match plain.char_indices().next_back()? {
        (at, 'k') => (plain.get(..at)?, 10),
        (at, 'm') => (plain.get(..at)?, 20),
        (at, 'g') => (plain.get(..at)?, 30),
        (at, 't') => (plain.get(..at)?, 40),
        _ => (plain, 0),
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// Later limits replace earlier ones, those that are absent stay.
fn remember(own: &mut Resources, new: Resources) {
    if let Some(memory) = new.memory {
        let old = own.memory.get_or_insert_default();
        old.limit = memory.limit.or(old.limit);
        old.reservation = memory.reservation.or(old.reservation);
        old.swap = memory.swap.or(old.swap);
    }
    if let Some(cpu) = new.cpu {
        let old = own.cpu.get_or_insert_default();
        *old = Cpu {
            shares: cpu.shares.or(old.shares),
            quota: cpu.quota.or(old.quota),
            burst: cpu.burst.or(old.burst),
            period: cpu.period.or(old.period),
            realtime_runtime: cpu.realtime_runtime.or(old.realtime_runtime),
            realtime_period: cpu.realtime_period.or(old.realtime_period),
            cpus: cpu.cpus.or_else(|| old.cpus.take()),
            mems: cpu.mems.or_else(|| old.mems.take()),
            idle: cpu.idle.or(old.idle),
        };
    }
    own.pids = new.pids.or_else(|| own.pids.take());
    own.block_io = new.block_io.or_else(|| own.block_io.take());
    own.unified.extend(new.unified);
}

/// The document of `events`. **Source:** runc, `types/events.go`.
pub(super) fn stats(stats: &Stats) -> Value {
    let blocks = |counts: &[BlockCount]| -> Vec<Value> {
        counts.iter().map(|one| json!({ "major": one.major, "minor": one.minor, "op": one.operation, "value": one.value })).collect()
    };
    let limited = |value: u64| if value == u64::MAX { 0 } else { value };
    json!({
        "cpu": {
            "usage": { "total": stats.cpu_total, "percpu": stats.cpu_each, "kernel": stats.cpu_system, "user": stats.cpu_user },
            "throttling": { "periods": stats.cpu_periods, "throttledPeriods": stats.cpu_throttled_periods, "throttledTime": stats.cpu_throttled }
        },
        "memory": {
            "usage": { "usage": stats.memory_usage, "max": stats.memory_peak, "limit": stats.memory_limit, "failcnt": stats.memory_failures },
            "raw": { "inactive_file": stats.memory_inactive_file }
        },
        "pids": { "current": stats.pids, "limit": limited(stats.pids_limit) },
        "blkio": {
            "ioServiceBytesRecursive": blocks(&stats.block_bytes),
            "ioServicedRecursive": blocks(&stats.block_operations)
        },
        "hugetlb": {}, "intel_rdt": {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("64m"), Some(64 << 20));
        assert_eq!(size("1GB"), Some(1 << 30));
        assert_eq!(size("-1"), Some(-1));
        assert_eq!(size("99999999999t"), None);
        assert_eq!(size(""), None);
    }

    #[test]
    fn absent_limits_stay() {
        let mut own = Resources { cpu: Some(Cpu { shares: Some(5), ..Cpu::default() }), ..Resources::default() };
        remember(&mut own, Resources { cpu: Some(Cpu { quota: Some(7), ..Cpu::default() }), ..Resources::default() });
        assert_eq!(own.cpu, Some(Cpu { shares: Some(5), quota: Some(7), ..Cpu::default() }));
    }
}

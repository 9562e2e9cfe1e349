//! Limits as the OCI specification has them.

use oci::runtime::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, ThrottleDevice, WeightDevice};

use super::{Facts, PIDS_LIMIT_DEFAULT};
use crate::profile;
use crate::spec::{self, Spec};

/// **Source:** Linux, `Documentation/scheduler/sched-bwc.rst`: the default period, microseconds.
const PERIOD: u64 = 100_000;

fn some(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|v| *v != 0)
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

pub(crate) fn resources(spec: &Spec, facts: &Facts) -> Resources {
    let r = &spec.host.resources;
    let mut devices = if spec.host.privileged {
        vec![DeviceRule { allow: true, kind: Some("a".to_owned()), access: Some("rwm".to_owned()), ..DeviceRule::default() }]
    } else {
        profile::device_rules()
    };
    devices.extend(facts.devices.iter().map(|d| DeviceRule {
        allow: true,
        kind: Some(d.device.kind.clone()),
        major: d.device.major,
        minor: d.device.minor,
        access: Some(d.access.clone()),
    }));
    devices.extend(r.device_cgroup_rules.iter().map(|rule| DeviceRule {
        allow: true,
        kind: Some(rule.kind.to_string()),
        major: rule.major,
        minor: rule.minor,
        access: Some(rule.access.clone()),
    }));
    let limits = limits(r);
    Resources {
        devices,
        pids: Some(Pids {
            limit: match r.pids_limit {
                None => PIDS_LIMIT_DEFAULT,
                Some(limit) if limit <= 0 => -1,
                Some(limit) => limit,
            },
        }),
        block_io: block_io(r, &facts.block_devices),
        ..limits
    }
}

/// Memory and processor limits, also for an update.
pub(crate) fn limits(r: &spec::Resources) -> Resources {
    let swap = match (r.memory, r.memory_swap) {
        (0, swap) => some(swap),
        // As much swap as memory. **Source:** moby, `adaptContainerSettings`.
        (memory, 0) => Some(memory.saturating_mul(2)),
        (_, swap) => Some(swap),
    };
    let memory = Memory {
        limit: some(r.memory),
        reservation: some(r.memory_reservation),
        swap,
        swappiness: r.memory_swappiness.and_then(|s| u64::try_from(s).ok()),
        disable_oom_killer: r.oom_kill_disable.filter(|off| *off),
        ..Memory::default()
    };
    let (quota, period) = if r.nano_cpus > 0 {
        // Billionths of a processor times microseconds of a period.
        (Some(r.nano_cpus / 10_000), Some(PERIOD))
    } else {
        (some(r.cpu_quota), positive(r.cpu_period))
    };
    let cpu = Cpu {
        shares: positive(r.cpu_shares),
        quota,
        period,
        realtime_runtime: some(r.cpu_realtime_runtime),
        realtime_period: positive(r.cpu_realtime_period),
        cpus: text(&r.cpuset_cpus),
        mems: text(&r.cpuset_mems),
        ..Cpu::default()
    };
    Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        ..Resources::default()
    }
}

fn block_io(r: &spec::Resources, numbers: &[(String, i64, i64)]) -> Option<BlockIo> {
    let number = |path: &str| numbers.iter().find(|(p, ..)| p == path);
    let throttle = |list: &[spec::ThrottleDevice]| -> Vec<ThrottleDevice> {
        let found = |d: &spec::ThrottleDevice| {
            number(&d.path).map(|(_, major, minor)| ThrottleDevice { major: *major, minor: *minor, rate: d.rate })
        };
        list.iter().filter_map(found).collect()
    };
    let weights = r.blkio_weight_device.iter().filter_map(|d| {
        number(&d.path).map(|(_, major, minor)| WeightDevice {
            major: *major,
            minor: *minor,
            weight: Some(d.weight.into()),
            leaf_weight: None,
        })
    });
    let asked = r.blkio_weight != 0 || !r.blkio_weight_device.is_empty();
    // The creation has warned of it. **Source:** moby, `verifyPlatformContainerResources`.
    let weighted = asked && crate::validate::has_weights();
    let block_io = BlockIo {
        weight: (r.blkio_weight != 0 && weighted).then(|| r.blkio_weight.into()),
        weight_device: weights.filter(|_| weighted).collect(),
        throttle_read_bps_device: throttle(&r.blkio_device_read_bps),
        throttle_write_bps_device: throttle(&r.blkio_device_write_bps),
        throttle_read_iops_device: throttle(&r.blkio_device_read_iops),
        throttle_write_iops_device: throttle(&r.blkio_device_write_iops),
        ..BlockIo::default()
    };
    (block_io != BlockIo::default()).then_some(block_io)
}

//! cgroup v2. **Source:** Linux, `Documentation/admin-guide/cgroup-v2.rst`.

use std::io;
use std::path::Path;

use oci::runtime::{BlockIo, Memory, Resources, ThrottleDevice};
use rustix::event::{PollFd, PollFlags, poll};

use super::{Cgroup, CgroupError, ROOT, set};

pub(super) fn make(group: &mut Cgroup, resources: Option<&Resources>) -> Result<(), CgroupError> {
    let Some(hierarchy) = group.hierarchies.first() else {
        return Err(CgroupError::new(&group.path, "no cgroup file system is mounted", io::ErrorKind::NotFound.into()));
    };
    let folder = group.folder(hierarchy);
    std::fs::create_dir_all(&folder).map_err(|error| CgroupError::new(&folder, "making the group", error))?;
    delegate(&folder);
    group.folders.push(folder);
    match resources {
        Some(resources) => limit(group, resources),
        None => Ok(()),
    }
}

/// Turns the controllers on from the root down to the parent of `folder`; one that is refused is missed by the limit that
/// needs it, which then names it.
fn delegate(folder: &Path) {
    let available = std::fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
    let mut levels: Vec<&Path> = folder.ancestors().skip(1).take_while(|level| level.starts_with(ROOT)).collect();
    levels.reverse();
    for level in levels {
        let on = std::fs::read_to_string(level.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in available.split_whitespace().filter(|name| !on.split_whitespace().any(|on| on == *name)) {
            let _refused = std::fs::write(level.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

pub(super) fn limit(group: &Cgroup, resources: &Resources) -> Result<(), CgroupError> {
    let Some(folder) = group.folders.first() else {
        return Err(CgroupError::new(&group.path, "the group is gone", io::ErrorKind::NotFound.into()));
    };
    if let Some(limits) = &resources.memory {
        memory(folder, limits)?;
    }
    if let Some(pids) = &resources.pids {
        set(folder, "pids.max", or_max(Some(pids.limit).filter(|limit| *limit > 0)))?;
    }
    if let Some(limits) = &resources.cpu {
        cpu(folder, limits)?;
    }
    if let Some(limits) = &resources.block_io {
        block_io(folder, limits)?;
    }
    for limit in &resources.hugepage_limits {
        set(folder, &format!("hugetlb.{}.max", limit.page_size), limit.limit)?;
        // Reservations count too, where the kernel counts them. **Source:** runc, `cgroups/fs2/hugetlb.go`.
        let reserved = format!("hugetlb.{}.rsvd.max", limit.page_size);
        if folder.join(&reserved).exists() {
            set(folder, &reserved, limit.limit)?;
        }
    }
    for (device, limits) in &resources.rdma {
        let value = |value: Option<u32>| value.map_or("max".to_owned(), |value| value.to_string());
        set(
            folder,
            "rdma.max",
            format_args!("{device} hca_handle={} hca_object={}", value(limits.hca_handles), value(limits.hca_objects)),
        )?;
    }
    // An update without rules leaves those that are.
    if !resources.devices.is_empty() {
        let rules = super::devices::rules(&resources.devices);
        super::device_filter::enforce(folder, rules.as_deref()).map_err(|error| CgroupError::new(folder, "restricting devices", error))?;
    }
    for (file, value) in &resources.unified {
        if file.contains('/') {
            return Err(CgroupError::new(folder, format!("unified: `{file}` is not a file name"), io::ErrorKind::InvalidInput.into()));
        }
        set(folder, file, value)?;
    }
    Ok(())
}

fn cpu(folder: &Path, cpu: &oci::runtime::Cpu) -> Result<(), CgroupError> {
    if let Some(shares) = cpu.shares.filter(|shares| *shares > 0) {
        set(folder, "cpu.weight", weight(shares))?;
    }
    let period = cpu.period.filter(|period| *period > 0);
    if cpu.quota.is_some() || period.is_some() {
        // What is not given stays: the kernel keeps the period of a line without one, and is told the quota it has.
        let own = || std::fs::read_to_string(folder.join("cpu.max")).ok()?.split_ascii_whitespace().next().map(str::to_owned);
        let quota = match cpu.quota {
            Some(quota) => or_max(Some(quota).filter(|quota| *quota > 0)),
            None => own().unwrap_or_else(|| "max".into()),
        };
        let period = period.map_or_else(String::new, |period| format!(" {period}"));
        set(folder, "cpu.max", format_args!("{quota}{period}"))?;
    }
    if let Some(burst) = cpu.burst {
        set(folder, "cpu.max.burst", burst)?;
    }
    if let Some(idle) = cpu.idle {
        set(folder, "cpu.idle", idle)?;
    }
    if let Some(cpus) = cpu.cpus.as_ref().filter(|cpus| !cpus.is_empty()) {
        set(folder, "cpuset.cpus", cpus)?;
    }
    if let Some(mems) = cpu.mems.as_ref().filter(|mems| !mems.is_empty()) {
        set(folder, "cpuset.mems", mems)?;
    }
    Ok(())
}

fn memory(folder: &Path, limits: &Memory) -> Result<(), CgroupError> {
    let positive = |value: i64| Some(value).filter(|value| *value > 0);
    if let Some(limit) = limits.limit {
        set(folder, "memory.max", or_max(positive(limit)))?;
    }
    if let Some(reservation) = limits.reservation {
        set(folder, "memory.low", positive(reservation).unwrap_or_default())?;
    }
    // v1 and Docker count memory and swap together, v2 counts swap alone.
    if let Some(swap) = limits.swap.filter(|_| folder.join("memory.swap.max").exists()) {
        match (positive(swap), limits.limit.and_then(positive)) {
            (Some(swap), Some(limit)) => set(folder, "memory.swap.max", swap.saturating_sub(limit).max(0))?,
            (Some(_), None) => {}
            (None, _) => set(folder, "memory.swap.max", "max")?,
        }
    }
    Ok(())
}

fn block_io(folder: &Path, limits: &BlockIo) -> Result<(), CgroupError> {
    // 10…1000 of v1 are 1…10000 of v2, where BFQ is not in charge. **Source:** runc, `cgroups/utils.go`.
    let (file, convert): (_, fn(u64) -> u64) = if folder.join("io.bfq.weight").exists() {
        ("io.bfq.weight", |weight| weight)
    } else {
        ("io.weight", |weight| 1 + (weight.clamp(10, 1000) - 10) * 9999 / 990)
    };
    if let Some(weight) = limits.weight.filter(|weight| *weight > 0) {
        set(folder, file, convert(weight))?;
    }
    for device in &limits.weight_device {
        if let Some(weight) = device.weight.filter(|weight| *weight > 0) {
            set(folder, file, super::device_line(device.major, device.minor, convert(weight)))?;
        }
    }
    let rates: [(&str, &[ThrottleDevice]); 4] = [
        ("rbps", &limits.throttle_read_bps_device),
        ("wbps", &limits.throttle_write_bps_device),
        ("riops", &limits.throttle_read_iops_device),
        ("wiops", &limits.throttle_write_iops_device),
    ];
    for (key, devices) in rates {
        for device in devices {
            set(folder, "io.max", super::device_line(device.major, device.minor, format_args!("{key}={}", device.rate)))?;
        }
    }
    Ok(())
}

/// 2…262144 shares of v1 are 1…10000 weight of v2. **Source:** runtime-spec conversions; runc, `ConvertCPUSharesToCgroupV2Value`.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn or_max(value: Option<i64>) -> String {
    value.map_or("max".into(), |value| value.to_string())
}

/// Freezes or thaws and waits for the kernel's event. **Source:** cgroup-v2.rst, `cgroup.events` is pollable.
pub(super) fn set_frozen(folder: &Path, frozen: bool) -> io::Result<()> {
    std::fs::write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    let events = std::fs::File::open(folder.join("cgroup.events"))?;
    let mut wait = [PollFd::new(&events, PollFlags::PRI)];
    loop {
        let mut text = [0; 256];
        let length = rustix::io::pread(&events, &mut text, 0)?;
        let wanted: &[u8] = if frozen { b"frozen 1" } else { b"frozen 0" };
        if text[..length].windows(wanted.len()).any(|part| part == wanted) {
            return Ok(());
        }
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        if poll(&mut wait, Some(&limit))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

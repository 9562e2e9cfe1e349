//! cgroup v1: a folder per controller. **Source:** Linux, `Documentation/admin-guide/cgroup-v1/`.

use std::io;
use std::path::{Path, PathBuf};

use oci::runtime::{BlockIo, Cpu, DeviceRule, Memory, Resources};

use super::{Cgroup, CgroupError, Hierarchy, device_line, set};

/// Controllers that are joined by every container: they count, list and stop processes.
const ALWAYS: [&str; 5] = ["pids", "freezer", "memory", "cpuacct", "blkio"];

/// Says which folders the container gets.
pub(super) fn plan(group: &mut Cgroup, resources: Option<&Resources>) {
    let mut needed: Vec<&str> = ALWAYS.to_vec();
    if let Some(resources) = resources {
        needed.extend(needs(resources));
    }
    for controller in needed {
        group.folders.extend(further(group, controller));
    }
}

/// Makes the planned folders and sets their limits.
pub(super) fn make(group: &Cgroup, resources: Option<&Resources>) -> Result<(), CgroupError> {
    for folder in &group.folders {
        make_folder(group, folder)?;
    }
    // Whoever asks for a limit this machine has no controller for is told; `limit` below fails on the missing folder.
    match resources {
        Some(resources) => limit(group, resources),
        None => Ok(()),
    }
}

pub(super) fn update(group: &mut Cgroup, resources: &Resources) -> Result<(), CgroupError> {
    let processes = group.processes().map_err(|error| CgroupError::new(&group.path, "listing processes", error))?;
    for controller in needs(resources) {
        if let Some(folder) = further(group, controller) {
            make_folder(group, &folder)?;
            group.folders.push(folder.clone());
            for pid in &processes {
                // One that has ended meanwhile needs no place.
                let _already_gone = std::fs::write(folder.join("cgroup.procs"), pid.as_raw_nonzero().to_string());
            }
        }
    }
    limit(group, resources)
}

/// Controllers that some limits need.
fn needs(resources: &Resources) -> Vec<&'static str> {
    let mut needed = Vec::new();
    let cpu = resources.cpu.as_ref();
    let memory = resources.memory.as_ref();
    if cpu.is_some_and(|cpu| *cpu != Cpu::default()) || memory.is_some_and(|memory| *memory != Memory::default()) {
        // Language runtimes believe limits only where they find all of these mounted.
        // **Source:** OpenJDK, `cgroupSubsystem_linux.cpp`.
        needed.extend(["cpu", "cpuset"]);
    }
    if super::devices::rules(&resources.devices).is_some() {
        needed.push("devices");
    }
    if resources.block_io.is_some() {
        needed.push("blkio");
    }
    if !resources.hugepage_limits.is_empty() {
        needed.push("hugetlb");
    }
    if let Some(network) = &resources.network {
        needed.extend(network.class_id.map(|_| "net_cls"));
        needed.extend((!network.priorities.is_empty()).then_some("net_prio"));
    }
    needed
}

/// The folder of a controller, if this machine has it and it is new to the container.
fn further(group: &Cgroup, controller: &str) -> Option<PathBuf> {
    let hierarchy = group.hierarchies.iter().find(|hierarchy| has(hierarchy, controller))?;
    Some(group.folder(hierarchy)).filter(|folder| !group.folders.contains(folder))
}

fn has(hierarchy: &Hierarchy, controller: &str) -> bool {
    hierarchy.name.split(',').any(|part| part == controller)
}

fn make_folder(group: &Cgroup, folder: &Path) -> Result<(), CgroupError> {
    std::fs::create_dir_all(folder).map_err(|error| CgroupError::new(folder, "making the group", error))?;
    match group.hierarchies.iter().find(|hierarchy| has(hierarchy, "cpuset")) {
        Some(hierarchy) if folder.starts_with(&hierarchy.mount) => inherit_cpuset(&hierarchy.mount, folder),
        Some(_) | None => Ok(()),
    }
}

/// A new cpuset is empty and takes no process: each level copies its parent's. **Source:** cpuset(7).
fn inherit_cpuset(mount: &Path, folder: &Path) -> Result<(), CgroupError> {
    let mut levels: Vec<&Path> = folder.ancestors().take_while(|level| *level != mount).collect();
    levels.reverse();
    for level in levels {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let read = |folder: &Path| {
                std::fs::read_to_string(folder.join(file)).map_err(|error| CgroupError::new(folder, format!("reading {file}"), error))
            };
            if read(level)?.trim().is_empty() {
                set(level, file, read(level.parent().unwrap_or(mount))?.trim())?;
            }
        }
    }
    Ok(())
}

fn limit(group: &Cgroup, resources: &Resources) -> Result<(), CgroupError> {
    let missing =
        |name: &str| CgroupError::new(&group.path, format!("this machine has no {name} controller"), io::ErrorKind::NotFound.into());
    let folder = |name: &str| group.controller(name).ok_or_else(|| missing(name));
    if let Some(limits) = &resources.memory {
        memory(&folder("memory")?, limits)?;
    }
    if let Some(pids) = &resources.pids {
        let value = if pids.limit > 0 { pids.limit.to_string() } else { "max".into() };
        set(&folder("pids")?, "pids.max", value)?;
    }
    if let Some(limits) = &resources.cpu {
        cpu(&folder, limits)?;
    }
    if let Some(rules) = super::devices::rules(&resources.devices) {
        devices(&folder("devices")?, &rules)?;
    } else if let (false, Some(folder)) = (resources.devices.is_empty(), group.controller("devices")) {
        // An update that allows everything undoes what was denied before.
        set(&folder, "devices.allow", "a")?;
    }
    if let Some(limits) = &resources.block_io {
        block_io(&folder("blkio")?, limits)?;
    }
    for limit in &resources.hugepage_limits {
        set(&folder("hugetlb")?, &format!("hugetlb.{}.limit_in_bytes", limit.page_size), limit.limit)?;
    }
    if let Some(network) = &resources.network {
        if let Some(class) = network.class_id {
            set(&folder("net_cls")?, "net_cls.classid", class)?;
        }
        for priority in &network.priorities {
            set(&folder("net_prio")?, "net_prio.ifpriomap", format_args!("{} {}", priority.name, priority.priority))?;
        }
    }
    Ok(())
}

fn memory(folder: &Path, limits: &Memory) -> Result<(), CgroupError> {
    let (limit_file, swap_file) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    // Memory may never be above memory and swap: raise the outer one first, lower the inner one first.
    let order = match (limits.limit, limits.swap) {
        (Some(limit), Some(swap)) => {
            let current =
                std::fs::read_to_string(folder.join(swap_file)).ok().and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or(i64::MAX);
            if swap == -1 || limit > current {
                vec![(swap_file, swap), (limit_file, limit)]
            } else {
                vec![(limit_file, limit), (swap_file, swap)]
            }
        }
        (Some(limit), None) => vec![(limit_file, limit)],
        (None, Some(swap)) => vec![(swap_file, swap)],
        (None, None) => Vec::new(),
    };
    for (file, value) in order {
        // A kernel without swap accounting has no such file; the memory limit holds all the same.
        if file != swap_file || folder.join(file).exists() {
            set(folder, file, value)?;
        }
    }
    if let Some(value) = limits.reservation {
        set(folder, "memory.soft_limit_in_bytes", value)?;
    }
    if let Some(value) = limits.swappiness {
        set(folder, "memory.swappiness", value)?;
    }
    if let Some(value) = limits.disable_oom_killer {
        set(folder, "memory.oom_control", u8::from(value))?;
    }
    if let Some(value) = limits.kernel_tcp {
        set(folder, "memory.kmem.tcp.limit_in_bytes", value)?;
    }
    Ok(())
}

fn cpu(folder: &dyn Fn(&str) -> Result<PathBuf, CgroupError>, limits: &Cpu) -> Result<(), CgroupError> {
    let values = [
        ("cpu.shares", limits.shares.filter(|shares| *shares > 0).map(|value| value.to_string())),
        ("cpu.cfs_period_us", limits.period.filter(|period| *period > 0).map(|value| value.to_string())),
        ("cpu.cfs_quota_us", limits.quota.filter(|quota| *quota != 0).map(|value| value.to_string())),
        ("cpu.cfs_burst_us", limits.burst.map(|value| value.to_string())),
        ("cpu.rt_period_us", limits.realtime_period.map(|value| value.to_string())),
        ("cpu.rt_runtime_us", limits.realtime_runtime.map(|value| value.to_string())),
        ("cpu.idle", limits.idle.map(|value| value.to_string())),
    ];
    for (file, value) in values {
        if let Some(value) = value {
            set(&folder("cpu")?, file, value)?;
        }
    }
    if let Some(cpus) = limits.cpus.as_ref().filter(|cpus| !cpus.is_empty()) {
        set(&folder("cpuset")?, "cpuset.cpus", cpus)?;
    }
    if let Some(mems) = limits.mems.as_ref().filter(|mems| !mems.is_empty()) {
        set(&folder("cpuset")?, "cpuset.mems", mems)?;
    }
    Ok(())
}

fn devices(folder: &Path, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    for rule in rules {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        if super::devices::covers_all(rule) {
            set(folder, file, "a")?;
            continue;
        }
        let number = |number: Option<i64>| super::devices::number(number).map_or("*".into(), |number| number.to_string());
        let (major, minor) = (number(rule.major), number(rule.minor));
        let access = rule.access.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
        // The kernel reads `a` as every device, whatever the numbers behind it say.
        let kinds: &[&str] = match rule.kind.as_deref() {
            Some("b") => &["b"],
            Some("c" | "u") => &["c"],
            _ => &["b", "c"],
        };
        for kind in kinds {
            set(folder, file, format_args!("{kind} {major}:{minor} {access}"))?;
        }
    }
    Ok(())
}

fn block_io(folder: &Path, limits: &BlockIo) -> Result<(), CgroupError> {
    // The weights moved with the scheduler: `blkio.bfq.weight` where BFQ is in use.
    let weight_file = if folder.join("blkio.weight").exists() { "blkio.weight" } else { "blkio.bfq.weight" };
    if let Some(weight) = limits.weight.filter(|weight| *weight > 0) {
        set(folder, weight_file, weight)?;
    }
    for device in &limits.weight_device {
        if let Some(weight) = device.weight {
            set(folder, &format!("{weight_file}_device"), device_line(device.major, device.minor, weight))?;
        }
    }
    let rates = [
        ("blkio.throttle.read_bps_device", &limits.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &limits.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &limits.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &limits.throttle_write_iops_device),
    ];
    for (file, devices) in rates {
        for device in devices {
            set(folder, file, device_line(device.major, device.minor, device.rate))?;
        }
    }
    Ok(())
}

/// Freezes or thaws and waits until the kernel says so: `freezer.state` reads FREEZING while some still run, and each write
/// moves it on. **Source:** Linux, `cgroup-v1/freezer-subsystem.rst`.
pub(super) fn set_frozen(folder: &Path, frozen: bool) -> io::Result<()> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let file = folder.join("freezer.state");
    for _ in 0..1000 {
        std::fs::write(&file, wanted)?;
        if std::fs::read_to_string(&file)?.trim() == wanted {
            return Ok(());
        }
        std::thread::yield_now();
    }
    std::fs::write(&file, "THAWED")?;
    Err(io::ErrorKind::TimedOut.into())
}

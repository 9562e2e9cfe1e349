//! Who the process is and what it may use: ids, groups, limits, scheduling.

use oci::runtime::{Process, User};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid};

use super::{Failure, Outcome, Trying as _};

/// Ids and groups of a process.
#[derive(Debug)]
pub(crate) struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    umask: Option<u32>,
}

impl Identity {
    pub(crate) fn new(user: &User) -> Self {
        let groups = user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
        Self { uid: Uid::from_raw(user.uid), gid: Gid::from_raw(user.gid), groups, umask: user.umask }
    }

    /// Root of the namespace: what a process must become after its ids were mapped.
    pub(crate) fn root() -> Self {
        Self { uid: Uid::ROOT, gid: Gid::ROOT, groups: Vec::new(), umask: None }
    }

    /// Groups first, the user last: afterwards nothing of it is allowed any more. The groups are set exactly, so that none of
    /// the caller's stays (CVE-2022-36109).
    pub(crate) fn apply_ids(&self) -> Outcome<()> {
        match set_thread_groups(&self.groups) {
            Ok(()) => {}
            // A user namespace of an unprivileged user denies setgroups; then there is nothing to drop either.
            Err(rustix::io::Errno::PERM) if self.groups.is_empty() => {}
            Err(error) => {
                return Err(Failure(format!("setting the supplementary groups: {error}")));
            }
        }
        set_thread_gid(self.gid).trying(|| format!("setting group {}", self.gid.as_raw()))?;
        set_thread_uid(self.uid).trying(|| format!("setting user {}", self.uid.as_raw()))?;
        if let Some(mask) = self.umask {
            umask(rustix::fs::Mode::from_raw_mode(mask));
        } else {
            umask(rustix::fs::Mode::from_raw_mode(0o022));
        }
        Ok(())
    }
}

const LIMITS: [(&str, Resource); 16] = [
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_STACK", Resource::Stack),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
];

/// Sets the limits; returns a warning for each that could only be set as high as the caller's own.
pub(crate) fn apply_limits(process: &Process) -> Outcome<Vec<String>> {
    let mut warnings = Vec::new();
    for limit in &process.rlimits {
        let what = || format!("error setting rlimit type {}", limit.kind);
        let resource = LIMITS.iter().find(|(name, _)| *name == limit.kind).ok_or_else(|| Failure(format!("{}: unknown", what())))?.1;
        let value = |value: u64| (value != u64::MAX).then_some(value);
        let wanted = Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
        let own = getrlimit(resource);
        match setrlimit(resource, wanted) {
            Ok(()) => {}
            Err(rustix::io::Errno::PERM) => {
                let hard = own.maximum.unwrap_or(u64::MAX);
                let soft = limit.soft.min(hard);
                setrlimit(resource, Rlimit { current: value(soft), maximum: own.maximum }).trying(what)?;
                warnings
                    .push(format!("{}: raising the hard limit to {} needs CAP_SYS_RESOURCE; it stays at {hard}", limit.kind, limit.hard));
            }
            Err(error) => return Err(Failure(format!("{}: {error}", what()))),
        }
    }
    Ok(warnings)
}

/// Scheduling policy and I/O priority.
pub(crate) fn apply_scheduling(process: &Process) -> Outcome<()> {
    if let Some(priority) = &process.io_priority {
        let class = match priority.class.as_str() {
            "IOPRIO_CLASS_RT" => 1,
            "IOPRIO_CLASS_BE" => 2,
            "IOPRIO_CLASS_IDLE" => 3,
            other => return Err(Failure(format!("ioPriority: unknown class {other}"))),
        };
        let level = u32::try_from(priority.priority).trying(|| "ioPriority".into())?;
        sys::process::set_io_priority(class, level).trying(|| "setting ioPriority".into())?;
    }
    if let Some(scheduler) = &process.scheduler {
        let policy = match scheduler.policy.as_str() {
            "SCHED_OTHER" => 0,
            "SCHED_FIFO" => 1,
            "SCHED_RR" => 2,
            "SCHED_BATCH" => 3,
            "SCHED_ISO" => 4,
            "SCHED_IDLE" => 5,
            "SCHED_DEADLINE" => 6,
            other => return Err(Failure(format!("scheduler: unknown policy {other}"))),
        };
        let flag = |name: &String| match name.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => Ok(0x1),
            "SCHED_FLAG_RECLAIM" => Ok(0x2),
            "SCHED_FLAG_DL_OVERRUN" => Ok(0x4),
            "SCHED_FLAG_KEEP_POLICY" => Ok(0x8),
            "SCHED_FLAG_KEEP_PARAMS" => Ok(0x10),
            "SCHED_FLAG_UTIL_CLAMP_MIN" => Ok(0x20),
            "SCHED_FLAG_UTIL_CLAMP_MAX" => Ok(0x40),
            other => Err(Failure(format!("scheduler: unknown flag {other}"))),
        };
        let flags = scheduler.flags.iter().try_fold(0, |all, name| Ok::<u64, Failure>(all | flag(name)?))?;
        let attributes = sys::process::SchedulerAttributes {
            policy,
            flags,
            nice: i32::try_from(scheduler.nice.unwrap_or_default()).trying(|| "scheduler: nice".into())?,
            priority: u32::try_from(scheduler.priority.unwrap_or_default()).trying(|| "scheduler: priority".into())?,
            runtime: scheduler.runtime.unwrap_or_default(),
            deadline: scheduler.deadline.unwrap_or_default(),
            period: scheduler.period.unwrap_or_default(),
            ..Default::default()
        };
        sys::process::set_scheduler(attributes).trying(|| "setting the scheduler".into())?;
    }
    Ok(())
}

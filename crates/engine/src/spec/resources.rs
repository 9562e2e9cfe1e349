//! Limits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Limits of a container; zero and none mean that nothing was said.
///
/// **Source:** Docker Engine API, `Resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes, at least 6 MiB.
    pub memory: i64,
    /// Memory and swap together in bytes; −1 is unlimited.
    pub memory_swap: i64,
    /// Soft limit in bytes.
    pub memory_reservation: i64,
    /// 0 to 100; −1 is as the host's.
    pub memory_swappiness: Option<i64>,
    /// Bytes of kernel memory, kept for display.
    pub kernel_memory: i64,
    /// Whether the out-of-memory killer is off (version 1).
    pub oom_kill_disable: Option<bool>,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: i64,
    /// Microseconds, 1000 to 1000000.
    pub cpu_period: i64,
    /// Microseconds a period, at least 1000.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds.
    pub cpu_realtime_runtime: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// CPU list.
    pub cpuset_cpus: String,
    /// Memory node list.
    pub cpuset_mems: String,
    /// Number of tasks; 0 or less is unlimited, none is the engine's default.
    pub pids_limit: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// By device.
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes a second.
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes a second.
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Operations a second.
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Operations a second.
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// Devices of the host.
    pub devices: Vec<DeviceMapping>,
    /// Further device rules.
    pub device_cgroup_rules: Vec<DeviceRule>,
    /// Requests to device drivers.
    pub device_requests: Vec<DeviceRequest>,
    /// Limits of processes.
    pub ulimits: Vec<Ulimit>,
}

/// The share of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightDevice {
    /// Path on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// The limit of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// Path on the host.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A device of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host: a device or a directory of some.
    pub path_on_host: String,
    /// Path in the container; empty is the same.
    pub path_in_container: String,
    /// Some of `rwm`; empty is all.
    pub permissions: String,
}

/// A request to a device driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Driver.
    pub driver: String,
    /// How many; −1 is all.
    pub count: i64,
    /// Which.
    pub device_ids: Vec<String>,
    /// Lists of capabilities, one of which must hold.
    pub capabilities: Vec<Vec<String>>,
    /// Options.
    pub options: std::collections::BTreeMap<String, String>,
}

/// A limit of processes; −1 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Lower-case name without `RLIMIT_`.
    pub name: String,
    /// Soft.
    pub soft: i64,
    /// Hard.
    pub hard: i64,
}

/// A device rule, `c 1:3 rwm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceRule {
    /// `a`, `c` or `b`.
    pub kind: char,
    /// None is any.
    pub major: Option<i64>,
    /// None is any.
    pub minor: Option<i64>,
    /// Some of `rwm`.
    pub access: String,
}

/// A device rule that cannot be parsed; the text is Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid device cgroup rule format: '{0}'")]
pub struct ParseDeviceError(pub String);

impl FromStr for DeviceRule {
    type Err = ParseDeviceError;
    fn from_str(text: &str) -> Result<Self, ParseDeviceError> {
        let parse = || {
            let mut words = text.split(' ');
            let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
            let kind = match kind {
                "a" => 'a',
                "b" => 'b',
                "c" => 'c',
                _ => return None,
            };
            let number = |text: &str| match text {
                "*" => Some(None),
                text => text.parse::<u32>().ok().map(|n| Some(i64::from(n))),
            };
            let (major, minor) = numbers.split_once(':')?;
            let known = (1..=3).contains(&access.len()) && access.chars().all(|c| "rwm".contains(c));
            (known && words.next().is_none()).then_some(Self {
                kind,
                major: number(major)?,
                minor: number(minor)?,
                access: access.to_owned(),
            })
        };
        parse().ok_or_else(|| ParseDeviceError(text.to_owned()))
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<i64>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let (major, minor) = (number(self.major), number(self.minor));
        write!(f, "{} {major}:{minor} {}", self.kind, self.access)
    }
}

impl TryFrom<String> for DeviceRule {
    type Error = ParseDeviceError;
    fn try_from(text: String) -> Result<Self, ParseDeviceError> {
        text.parse()
    }
}

impl From<DeviceRule> for String {
    fn from(rule: DeviceRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_rules_survive_their_text() {
        for text in ["c 1:3 rwm", "b *:* r", "a 4:* rw"] {
            assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
        for text in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 rwx", "c 1:3 r w"] {
            assert!(text.parse::<DeviceRule>().is_err(), "{text}");
        }
    }
}

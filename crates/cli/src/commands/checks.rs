//! What the flags of `run` and `create` may be, before the engine is asked.
//!
//! **Source:** docker/cli, `cli/command/container/opts.go`, `opts/*.go`; texts of the client 28.5.2.

use serde_json::{Map, Value, json};

use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::human;

/// Limits that `--ulimit` knows. **Source:** docker/go-units, `ulimit.go`.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Kernel parameters of namespaces. **Source:** docker/cli, `opts/opts.go`, `ValidateSysctl`.
const SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

fn refuse<T>(message: String) -> Outcome<T> {
    Err(Failure::Message { message, code: 125, run: true })
}

fn invalid(flag: &str, text: &str, why: &str) -> Failure {
    Failure::Message { message: format!("invalid argument \"{text}\" for \"--{flag}\" flag: {why}"), code: 125, run: false }
}

/// Refuses what no engine would take.
pub(super) fn check(given: &Given) -> Outcome<()> {
    let modes: [(&str, &str, &[&str]); 4] = [
        ("pid", "PID", &["", "host"]),
        ("uts", "UTS", &["", "host"]),
        ("userns", "USER", &["", "host"]),
        ("cgroupns", "CGROUP", &["", "host", "private"]),
    ];
    for (flag, what, known) in modes {
        let mode = given.get(flag).unwrap_or_default();
        let joins = flag == "pid" && mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
        if !joins && !known.contains(&mode) {
            return refuse(format!("--{flag}: invalid {what} mode"));
        }
    }
    if let Some(value) = given.number("memory-swappiness")?.filter(|value| *value != -1 && !(0..=100).contains(value)) {
        return refuse(format!("invalid value: {value}. Valid memory swappiness range is 0-100"));
    }
    if given.number("health-retries")?.is_some_and(|retries| retries < 0) {
        return refuse("--health-retries cannot be negative".into());
    }
    if given.on("rm") && given.get("restart").is_some_and(|policy| !matches!(policy, "" | "no")) {
        return refuse("conflicting options: cannot specify both --restart and --rm".into());
    }
    if let Some(mac) = given.get("mac-address").filter(|mac| !is_mac(mac)) {
        return refuse(format!("{mac} is not a valid mac address"));
    }
    if given.on("use-api-socket") {
        return refuse("--use-api-socket is not supported: mount the engine's socket with -v SOCKET:/var/run/docker.sock".into());
    }
    if given.get("shm-size") == Some("-1") {
        return Err(invalid("shm-size", "-1", "invalid size: '-1'"));
    }
    lists(given)
}

fn lists(given: &Given) -> Outcome<()> {
    let alone = ["no-new-privileges", "writable-cgroups"];
    if let Some(option) = given.all("security-opt").iter().find(|text| !text.contains(['=', ':']) && !alone.contains(&text.as_str())) {
        return refuse(format!("Invalid --security-opt: \"{option}\""));
    }
    for text in given.all("sysctl") {
        let name = text.split('=').next().unwrap_or_default();
        if !(SYSCTLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")) || !text.contains('=') {
            return Err(invalid("sysctl", text, &format!("sysctl '{text}' is not allowed")));
        }
    }
    for text in given.all("ulimit") {
        let name = text.split('=').next().unwrap_or_default();
        if !ULIMITS.contains(&name) {
            return Err(invalid("ulimit", text, &format!("invalid ulimit type: {name}")));
        }
    }
    for text in given.all("device-cgroup-rule") {
        if !is_device_rule(text) {
            return Err(invalid("device-cgroup-rule", text, &format!("invalid device cgroup format '{text}'")));
        }
    }
    Ok(())
}

/// Six or eight bytes in hex digits. **Source:** Go, `net.ParseMAC`.
fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    [6, 8, 20].contains(&parts.len()) && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `c 1:3 rwm`, with `*` for any number.
fn is_device_rule(text: &str) -> bool {
    let number = |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = text.split(' ');
    let (Some("a" | "b" | "c"), Some(numbers), Some(access), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let numbers = numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor));
    numbers && (1..=3).contains(&access.len()) && access.chars().all(|c| "rwm".contains(c))
}

/// Limits by device: `/dev/sda:1mb`.
pub(super) fn block_devices(given: &Given, host: &mut Map<String, Value>) -> Outcome<()> {
    for (field, flag) in [
        ("BlkioWeightDevice", "blkio-weight-device"),
        ("BlkioDeviceReadBps", "device-read-bps"),
        ("BlkioDeviceWriteBps", "device-write-bps"),
        ("BlkioDeviceReadIOps", "device-read-iops"),
        ("BlkioDeviceWriteIOps", "device-write-iops"),
    ] {
        let list: Outcome<Vec<Value>> =
            given.all(flag).iter().map(|text| block_device(flag, text).map_err(|why| invalid(flag, text, &why))).collect();
        host.insert(field.into(), list?.into());
    }
    Ok(())
}

fn block_device(flag: &str, text: &str) -> Result<Value, String> {
    let (path, value) = text.split_once(':').filter(|(path, _)| !path.is_empty()).ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    if flag == "blkio-weight-device" {
        let weight = value.parse::<u16>().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
        return weight.map(|weight| json!({"Path": path, "Weight": weight})).ok_or_else(|| format!("invalid weight for device: {text}"));
    }
    let form = "invalid rate for device: ";
    let (rate, form) = if flag.ends_with("bps") {
        let rate = human::parse_size(value).and_then(|rate| u64::try_from(rate).ok());
        (
            rate,
            format!(
                "{form}{text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            ),
        )
    } else {
        (value.parse().ok(), format!("{form}{text}. The correct format is <device-path>:<number>. Number must be a positive integer"))
    };
    rate.map(|rate| json!({"Path": path, "Rate": rate})).ok_or(form)
}

/// Devices by path, and requests for those by name and for processors of graphics.
pub(super) fn devices(given: &Given, host: &mut Map<String, Value>) -> Outcome<()> {
    let (names, paths): (Vec<&String>, Vec<&String>) = given.all("device").iter().partition(|text| is_cdi_name(text));
    host.insert("Devices".into(), json!(paths.into_iter().map(|text| super::mount::device(text)).collect::<Outcome<Vec<_>>>()?));
    let mut requests = Vec::new();
    if !names.is_empty() {
        requests.push(json!({"Driver": "cdi", "DeviceIDs": names}));
    }
    for text in given.all("gpus") {
        requests.push(gpus(text).map_err(|why| invalid("gpus", text, &why))?);
    }
    if !requests.is_empty() {
        host.insert("DeviceRequests".into(), requests.into());
    }
    Ok(())
}

/// `vendor.com/class=name`. **Source:** Container Device Interface, `SPEC.md`.
fn is_cdi_name(text: &str) -> bool {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
    };
    let parts = text.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
    parts.is_some_and(|((vendor, class), name)| word(vendor) && word(class) && word(name))
}

/// `all`, a number, or `device=1,capabilities=utility,driver=nvidia,options=…`. **Source:** docker/cli, `opts/gpus.go`.
fn gpus(text: &str) -> Result<Value, String> {
    let (mut driver, mut count, mut ids, mut capabilities) = (String::new(), 0_i64, Vec::new(), vec!["gpu".to_owned()]);
    let number = |text: &str| match text {
        "all" => Ok(-1),
        text => text.parse().map_err(|_| {
            format!("invalid count ({text}): value must be either \"all\" or an integer: strconv.Atoi: parsing \"{text}\": invalid syntax")
        }),
    };
    for part in text.split(',') {
        match part.split_once('=') {
            None => count = number(part)?,
            Some(("count", value)) => count = number(value)?,
            Some(("driver", value)) => driver = value.to_owned(),
            Some(("device", value)) => ids.push(value.to_owned()),
            Some(("capabilities", value)) => capabilities.push(value.to_owned()),
            Some(("options", _)) => {}
            Some((key, _)) => return Err(format!("unexpected key '{key}' in '{part}'")),
        }
    }
    if count == 0 && ids.is_empty() {
        count = 1;
    }
    Ok(json!({"Driver": driver, "Count": count, "DeviceIDs": ids, "Capabilities": [capabilities]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart() {
        assert!(is_cdi_name("nvidia.com/gpu=all") && !is_cdi_name("/dev/a=b") && !is_cdi_name("/dev/null:/dev/x"));
        assert_eq!(gpus("all").unwrap()["Count"], -1);
        assert_eq!(gpus("device=1,capabilities=utility").unwrap()["Capabilities"], json!([["gpu", "utility"]]));
        assert!(is_device_rule("c 1:* rw") && !is_device_rule("x 1:3") && !is_device_rule("c 1:3 "));
        assert!(is_mac("02:42:ac:11:00:99") && !is_mac("zz"));
    }
}

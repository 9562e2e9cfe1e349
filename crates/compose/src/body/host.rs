//! The part of the body that the host gives: mounts, ports, limits, namespaces.

use serde_json::{Map, Value, json};

use super::{Wish, networks_by_priority};
use crate::desired::{Desired, Service, text, texts};

/// A Go duration such as `1m30s`, in nanoseconds.
#[must_use]
pub fn duration(text: &str) -> Option<i64> {
    let units = [
        ("ns", 1i64),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(end);
        let stop = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(stop);
        let scale = units.iter().find(|(name, _)| *name == unit)?.1;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        total = total.checked_add(whole.parse::<i64>().unwrap_or_default().checked_mul(scale)?)?;
        let mut step = scale;
        for digit in part.bytes() {
            step /= 10;
            total = total.checked_add(i64::from(digit - b'0') * step)?;
        }
        rest = after;
    }
    Some(total)
}

/// A size such as `134217728`, `128m` or `1.5gb`, in bytes.
#[must_use]
pub fn size(value: &Value) -> Option<i64> {
    let text = match value {
        Value::Number(number) => return number.as_i64(),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // What is after the point, exactly; more than 18 digits make no byte.
    let part: String = part.chars().take(18).collect();
    let fraction: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let unit = 1_i128 << shift;
    i64::try_from(whole.parse::<i128>().ok()?.checked_mul(unit)? + fraction * unit / scale).ok()
}

/// Exposed ports and their bindings.
pub(super) fn ports(config: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let (mut exposed, mut bindings) = (Map::new(), Map::<String, Value>::new());
    let shown =
        |value: Option<&Value>| value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default();
    for entry in config.get("expose").and_then(Value::as_array).into_iter().flatten() {
        let text = shown(Some(entry));
        let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            exposed.extend((first..=last).map(|port| (format!("{port}/{protocol}"), json!({}))));
        }
    }
    for port in config.get("ports").and_then(Value::as_array).into_iter().flatten() {
        let protocol = Some(text(port, "protocol")).filter(|protocol| !protocol.is_empty()).unwrap_or("tcp");
        let key = format!("{}/{protocol}", shown(port.get("target")));
        let binding = json!({"HostIp": text(port, "host_ip"), "HostPort": shown(port.get("published"))});
        exposed.insert(key.clone(), json!({}));
        if let Some(list) = bindings.entry(key).or_insert_with(|| json!([])).as_array_mut() {
            list.push(binding);
        }
    }
    (exposed, bindings)
}

fn volumes(config: &Value) -> impl Iterator<Item = &Value> {
    config.get("volumes").and_then(Value::as_array).into_iter().flatten()
}

/// Places of the volumes that have no name.
pub(super) fn anonymous_volumes(config: &Value) -> Vec<String> {
    volumes(config)
        .filter(|volume| text(volume, "type") == "volume" && text(volume, "source").is_empty())
        .map(|volume| text(volume, "target").to_owned())
        .collect()
}

/// Binds in the short form, and mounts for what has no short form.
fn mounts(project: &Desired, service: &Service, wish: &Wish<'_>) -> (Vec<String>, Vec<Value>) {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for volume in volumes(&service.config) {
        let (kind, source, target) = (text(volume, "type"), text(volume, "source"), text(volume, "target"));
        let read_only = volume.get("read_only").and_then(Value::as_bool).unwrap_or_default();
        let bind = volume.get("bind").cloned().unwrap_or_default();
        let makes_path = bind.get("create_host_path").and_then(Value::as_bool).unwrap_or(true);
        match kind {
            "bind" if makes_path && bind.get("recursive").is_none() => {
                let mut options = vec![if read_only { "ro" } else { "rw" }];
                options.extend(["selinux", "propagation"].into_iter().map(|field| text(&bind, field)).filter(|option| !option.is_empty()));
                binds.push(format!("{source}:{target}:{}", options.join(",")));
            }
            "volume" if source.is_empty() => {}
            "volume" => {
                let name = project.volumes.get(source).map_or(source, |volume| volume.name.as_str());
                let own = volume.get("volume").and_then(Value::as_object);
                let plain = own.is_none_or(|own| own.keys().all(|key| key == "nocopy"));
                if plain {
                    let copies = own.and_then(|own| own.get("nocopy")).and_then(Value::as_bool) != Some(true);
                    binds.push(format!("{name}:{target}:{}{}", if read_only { "ro" } else { "rw" }, if copies { "" } else { ",nocopy" }));
                } else {
                    let own = |field: &str| own.and_then(|own| own.get(field)).cloned().unwrap_or(Value::Null);
                    let options = json!({"NoCopy": own("nocopy") == true, "Labels": own("labels"), "Subpath": own("subpath").as_str().unwrap_or_default()});
                    mounts
                        .push(json!({"Type": "volume", "Source": name, "Target": target, "ReadOnly": read_only, "VolumeOptions": options}));
                }
            }
            "tmpfs" => {
                let own = volume.get("tmpfs").cloned().unwrap_or_default();
                let options = json!({"SizeBytes": own.get("size").and_then(size).unwrap_or_default(), "Mode": own.get("mode").and_then(mode).unwrap_or_default()});
                mounts.push(json!({"Type": "tmpfs", "Target": target, "ReadOnly": read_only, "TmpfsOptions": options}));
            }
            _ => {
                let mut mount = json!({"Type": kind, "Source": source, "Target": target, "ReadOnly": read_only});
                if kind == "bind" {
                    let recursive = text(&bind, "recursive");
                    mount["BindOptions"] = json!({
                        "Propagation": text(&bind, "propagation"),
                        "CreateMountpoint": makes_path,
                        "NonRecursive": recursive == "disabled",
                        "ReadOnlyForceRecursive": recursive == "readonly",
                    });
                }
                if kind == "image" {
                    mount["ImageOptions"] =
                        json!({"Subpath": volume.pointer("/image/subpath").and_then(Value::as_str).unwrap_or_default()});
                }
                mounts.push(mount);
            }
        }
    }
    mounts.extend(files(project, service));
    for (place, name) in wish.replaces.iter().flat_map(|old| &old.volumes) {
        binds.push(format!("{name}:{place}:rw"));
    }
    (binds, mounts)
}

/// An octal text or a number.
pub(crate) fn mode(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| i64::from_str_radix(value.as_str()?, 8).ok())
}

/// Secrets and configs that lie in files of the host: read-only mounts.
fn files(project: &Desired, service: &Service) -> Vec<Value> {
    let mut mounts = Vec::new();
    for (field, defined, place) in [("secrets", &project.secrets, "/run/secrets/"), ("configs", &project.configs, "/")] {
        for entry in service.config.get(field).and_then(Value::as_array).into_iter().flatten() {
            let Some(definition) = defined.get(text(entry, "source")) else { continue };
            if let Some(file) = definition.get("file").and_then(Value::as_str) {
                mounts.push(json!({"Type": "bind", "Source": file, "Target": target(entry, place), "ReadOnly": true}));
            }
        }
    }
    mounts
}

/// Where a secret or config is seen.
pub(crate) fn target(entry: &Value, place: &str) -> String {
    match text(entry, "target") {
        "" => format!("{place}{}", text(entry, "source")),
        target if target.starts_with('/') => target.to_owned(),
        target => format!("{place}{target}"),
    }
}

/// A namespace of another service's container, by its id.
fn shared(mode: &str, wish: &Wish<'_>) -> String {
    match mode.strip_prefix("service:") {
        Some(name) => format!("container:{}", wish.shared.get(name).map_or(name, String::as_str)),
        None => mode.to_owned(),
    }
}

pub(super) fn host_config(project: &Desired, service: &Service, bindings: Map<String, Value>, wish: &Wish<'_>) -> Value {
    let config = &service.config;
    let copy = |field: &str| config.get(field).cloned().unwrap_or(Value::Null);
    let flag = |field: &str| config.get(field).and_then(Value::as_bool).unwrap_or_default();
    let mode = match text(config, "network_mode") {
        "" => networks_by_priority(service)
            .first()
            .and_then(|key| project.networks.get(key))
            .map_or_else(|| "none".to_owned(), |network| network.name.clone()),
        mode => shared(mode, wish),
    };
    let (binds, mounts) = mounts(project, service, wish);
    let from: Vec<String> = texts(config, "volumes_from").map(|from| volumes_from(from, wish)).collect();
    let mut host = json!({
        "Binds": binds,
        "Mounts": mounts,
        "NetworkMode": mode,
        "PortBindings": bindings,
        "RestartPolicy": restart(config, wish),
        "AutoRemove": wish.oneoff.as_ref().is_some_and(|oneoff| oneoff.remove),
        "VolumesFrom": from,
        "Privileged": flag("privileged"),
        "ReadonlyRootfs": flag("read_only"),
        "CapAdd": copy("cap_add"),
        "CapDrop": copy("cap_drop"),
        "Dns": list(config, "dns"),
        "DnsOptions": list(config, "dns_opt"),
        "DnsSearch": list(config, "dns_search"),
        "ExtraHosts": texts(config, "extra_hosts").map(|line| line.replacen('=', ":", 1)).collect::<Vec<String>>(),
        "GroupAdd": copy("group_add"),
        "IpcMode": shared(text(config, "ipc"), wish),
        "PidMode": shared(text(config, "pid"), wish),
        "UTSMode": text(config, "uts"),
        "UsernsMode": text(config, "userns_mode"),
        "CgroupnsMode": text(config, "cgroup"),
        "CgroupParent": text(config, "cgroup_parent"),
        "Runtime": text(config, "runtime"),
        "SecurityOpt": copy("security_opt"),
        "Sysctls": sysctls(config),
        "StorageOpt": copy("storage_opt"),
        "Annotations": copy("annotations"),
        "Tmpfs": tmpfs(config),
        "DeviceCgroupRules": copy("device_cgroup_rules"),
        "Devices": devices(config),
        "OomScoreAdj": config.get("oom_score_adj").and_then(Value::as_i64).unwrap_or_default(),
        "OomKillDisable": flag("oom_kill_disable"),
        "Ulimits": ulimits(config),
    });
    if let Some(init) = config.get("init").filter(|init| init.is_boolean()) {
        host["Init"] = init.clone();
    }
    if let Some(bytes) = config.get("shm_size").and_then(size) {
        host["ShmSize"] = bytes.into();
    }
    if let Some(logging) = config.get("logging").filter(|logging| logging.is_object()) {
        host["LogConfig"] =
            json!({"Type": text(logging, "driver"), "Config": logging.get("options").cloned().unwrap_or_else(|| json!({}))});
    }
    limits(config, &mut host);
    host
}

fn volumes_from(from: &str, wish: &Wish<'_>) -> String {
    if let Some(container) = from.strip_prefix("container:") {
        return container.to_owned();
    }
    let (name, mode) = from.split_once(':').unwrap_or((from, ""));
    let id = wish.shared.get(name).map_or(name, String::as_str);
    if mode.is_empty() { id.to_owned() } else { format!("{id}:{mode}") }
}

/// A list that may be given as one text.
fn list(config: &Value, field: &str) -> Value {
    match config.get(field) {
        Some(Value::String(one)) => json!([one]),
        Some(list) => list.clone(),
        None => Value::Null,
    }
}

fn sysctls(config: &Value) -> Value {
    let Some(map) = config.get("sysctls").and_then(Value::as_object) else { return Value::Null };
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.iter().map(|(name, value)| (name.clone(), Value::String(shown(value)))).collect::<Map<_, _>>().into()
}

fn tmpfs(config: &Value) -> Value {
    let lines = match config.get("tmpfs") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => return Value::Null,
    };
    let split =
        |line: &str| line.split_once(':').map_or((line.to_owned(), json!("")), |(place, options)| (place.to_owned(), json!(options)));
    lines.into_iter().map(split).collect::<Map<_, _>>().into()
}

fn devices(config: &Value) -> Vec<Value> {
    let devices = config.get("devices").and_then(Value::as_array).into_iter().flatten();
    devices
        .map(|device| match device.as_str() {
            Some(line) => {
                let mut parts = line.split(':');
                let source = parts.next().unwrap_or_default();
                let target = parts.next().unwrap_or(source);
                json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": parts.next().unwrap_or("rwm")})
            }
            None => {
                let permissions = Some(text(device, "permissions")).filter(|permissions| !permissions.is_empty()).unwrap_or("rwm");
                let target = Some(text(device, "target")).filter(|target| !target.is_empty()).unwrap_or_else(|| text(device, "source"));
                json!({"PathOnHost": text(device, "source"), "PathInContainer": target, "CgroupPermissions": permissions})
            }
        })
        .collect()
}

fn ulimits(config: &Value) -> Vec<Value> {
    let limits = config.get("ulimits").and_then(Value::as_object).into_iter().flatten();
    limits
        .map(|(name, limit)| match limit.as_i64() {
            Some(both) => json!({"Name": name, "Soft": both, "Hard": both}),
            None => json!({"Name": name, "Soft": limit.get("soft"), "Hard": limit.get("hard")}),
        })
        .collect()
}

fn restart(config: &Value, wish: &Wish<'_>) -> Value {
    if wish.oneoff.is_some() {
        return json!({"Name": "no"});
    }
    if let Some(policy) = config.get("restart").and_then(Value::as_str) {
        let (name, count) = policy.split_once(':').unwrap_or((policy, "0"));
        return json!({"Name": name, "MaximumRetryCount": count.parse::<i64>().unwrap_or_default()});
    }
    if let Some(policy) = config.pointer("/deploy/restart_policy").filter(|policy| policy.is_object()) {
        let name = match text(policy, "condition") {
            "none" => "no",
            "on-failure" => "on-failure",
            _ => "always",
        };
        let count = policy.get("max_attempts").and_then(Value::as_i64).filter(|_| name == "on-failure").unwrap_or_default();
        return json!({"Name": name, "MaximumRetryCount": count});
    }
    json!({"Name": ""})
}

/// Limits of memory, processors and processes; `deploy` counts where both are set.
fn limits(config: &Value, host: &mut Value) {
    for (field, name) in [
        ("cpu_shares", "CpuShares"),
        ("cpu_rt_runtime", "CpuRealtimeRuntime"),
        ("cpu_rt_period", "CpuRealtimePeriod"),
        ("pids_limit", "PidsLimit"),
        ("mem_swappiness", "MemorySwappiness"),
        ("cpu_count", "CpuCount"),
    ] {
        if let Some(number) = config.get(field).and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok())) {
            host[name] = number.into();
        }
    }
    for (field, name) in [("cpu_quota", "CpuQuota"), ("cpu_period", "CpuPeriod")] {
        let micros =
            |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok()).or_else(|| Some(duration(value.as_str()?)? / 1000));
        if let Some(number) = config.get(field).and_then(micros) {
            host[name] = number.into();
        }
    }
    if let Some(set) = config.get("cpuset").and_then(Value::as_str) {
        host["CpusetCpus"] = set.into();
    }
    for (field, name) in [("mem_limit", "Memory"), ("mem_reservation", "MemoryReservation"), ("memswap_limit", "MemorySwap")] {
        if let Some(bytes) = config.get(field).and_then(size) {
            host[name] = bytes.into();
        }
    }
    if let Some(cpus) = config.get("cpus").and_then(nano_cpus) {
        host["NanoCpus"] = cpus.into();
    }
    let limits = config.pointer("/deploy/resources/limits").cloned().unwrap_or_default();
    if let Some(cpus) = limits.get("cpus").and_then(nano_cpus) {
        host["NanoCpus"] = cpus.into();
    }
    if let Some(bytes) = limits.get("memory").and_then(size) {
        host["Memory"] = bytes.into();
    }
    if let Some(pids) = limits.get("pids").and_then(Value::as_i64) {
        host["PidsLimit"] = pids.into();
    }
    if let Some(bytes) = config.pointer("/deploy/resources/reservations/memory").and_then(size) {
        host["MemoryReservation"] = bytes.into();
    }
    let mut requests = Vec::new();
    let lists = [config.pointer("/deploy/resources/reservations/devices"), config.get("gpus")];
    for device in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
        let count = match device.get("count") {
            Some(Value::Number(number)) => number.as_i64().unwrap_or(-1),
            Some(Value::String(text)) if text != "all" => text.parse().unwrap_or(-1),
            _ if device.get("device_ids").is_some() => 0,
            _ => -1,
        };
        let capabilities = device.get("capabilities").cloned().unwrap_or_else(|| json!(["gpu"]));
        requests.push(json!({
            "Driver": text(device, "driver"), "Count": count, "DeviceIDs": device.get("device_ids"),
            "Capabilities": [capabilities], "Options": device.get("options"),
        }));
    }
    if !requests.is_empty() {
        host["DeviceRequests"] = requests.into();
    }
    blkio(config, host);
}

/// `cpus` as billionths of a processor.
fn nano_cpus(value: &Value) -> Option<i64> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let mut nanos = whole.parse::<i64>().unwrap_or_default().checked_mul(1_000_000_000)?;
    let mut step = 1_000_000_000i64;
    for digit in part.bytes().filter(u8::is_ascii_digit) {
        step /= 10;
        nanos = nanos.checked_add(i64::from(digit - b'0') * step)?;
    }
    Some(nanos)
}

fn blkio(config: &Value, host: &mut Value) {
    let Some(own) = config.get("blkio_config").filter(|own| own.is_object()) else { return };
    if let Some(weight) = own.get("weight").and_then(Value::as_i64) {
        host["BlkioWeight"] = weight.into();
    }
    let rows = |field: &str, unit: &str| -> Vec<Value> {
        let rows = own.get(field).and_then(Value::as_array).into_iter().flatten();
        rows.map(|row| {
            let number = row.get(if unit == "Weight" { "weight" } else { "rate" }).and_then(size);
            json!({"Path": text(row, "path"), unit: number})
        })
        .collect()
    };
    for (field, name, unit) in [
        ("weight_device", "BlkioWeightDevice", "Weight"),
        ("device_read_bps", "BlkioDeviceReadBps", "Rate"),
        ("device_write_bps", "BlkioDeviceWriteBps", "Rate"),
        ("device_read_iops", "BlkioDeviceReadIOps", "Rate"),
        ("device_write_iops", "BlkioDeviceWriteIOps", "Rate"),
    ] {
        let rows = rows(field, unit);
        if !rows.is_empty() {
            host[name] = rows.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{duration, nano_cpus, size};

    #[test]
    fn words_of_go_are_numbers() {
        assert_eq!(duration("1m30s"), Some(90_000_000_000));
        assert_eq!(duration("1.5s"), Some(1_500_000_000));
        assert_eq!(duration("500ms"), Some(500_000_000));
        assert_eq!(duration("soon"), None);
        assert_eq!(size(&json!("134217728")), Some(134_217_728));
        assert_eq!(size(&json!("1.5gb")), Some(1_610_612_736));
        assert_eq!(nano_cpus(&json!(0.5)), Some(500_000_000));
        assert_eq!(nano_cpus(&json!("1.25")), Some(1_250_000_000));
    }
}

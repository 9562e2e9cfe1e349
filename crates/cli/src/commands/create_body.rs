//! From the flags of `run` and `create` to the body of the API call.

use docker_api::client::query;
use serde_json::{Map, Value, json};

use super::{create_network, mount};
use crate::error::{Failure, Outcome};
use crate::flags::{Given, cpus};
use crate::human;

/// The body of a create call. `attach` says which streams the caller wants.
pub(super) fn body(given: &Given, attach: &[&str]) -> Outcome<Value> {
    super::checks::check(given)?;
    let mut body = Map::new();
    let stdin = given.on("interactive");
    body.insert("Image".into(), given.args[0].clone().into());
    body.insert("Cmd".into(), if given.args.len() > 1 { json!(given.args[1..]) } else { Value::Null });
    body.insert("Tty".into(), given.on("tty").into());
    body.insert("OpenStdin".into(), stdin.into());
    body.insert("StdinOnce".into(), (stdin && attach.contains(&"stdin")).into());
    for (field, stream) in [("AttachStdin", "stdin"), ("AttachStdout", "stdout"), ("AttachStderr", "stderr")] {
        body.insert(field.into(), attach.contains(&stream).into());
    }
    for (field, flag) in
        [("Hostname", "hostname"), ("Domainname", "domainname"), ("User", "user"), ("WorkingDir", "workdir"), ("StopSignal", "stop-signal")]
    {
        body.insert(field.into(), given.get(flag).unwrap_or_default().into());
    }
    if let Some(seconds) = given.number("stop-timeout")? {
        body.insert("StopTimeout".into(), seconds.into());
    }
    if let Some(entrypoint) = given.get("entrypoint") {
        body.insert("Entrypoint".into(), if entrypoint.is_empty() { json!([""]) } else { json!([entrypoint]) });
    }
    body.insert("Env".into(), environment(given)?.into());
    body.insert("Labels".into(), labels(given.all("label"), given.all("label-file"))?);
    let (exposed, bindings) = ports(given)?;
    body.insert("ExposedPorts".into(), exposed);
    if let Some(check) = health(given)? {
        body.insert("Healthcheck".into(), check);
    }
    let mut volumes = Map::new();
    let host = host_config(given, bindings, &mut volumes)?;
    body.insert("Volumes".into(), Value::Object(volumes));
    body.insert("HostConfig".into(), host);
    body.insert("NetworkingConfig".into(), create_network::networking(given)?);
    Ok(Value::Object(body))
}

/// Adds the proxies of the client's configuration that the command did not set.
pub(super) fn add_proxies(body: &mut Value, host: &str) {
    let Some(environment) = body.get_mut("Env").and_then(Value::as_array_mut) else {
        return;
    };
    for (name, value) in crate::config::proxies(host) {
        let known = |entry: &Value| entry.as_str().is_some_and(|entry| entry.split('=').next() == Some(name.as_str()));
        if !environment.iter().any(known) {
            environment.push(format!("{name}={value}").into());
        }
    }
}

/// The query of a create call.
pub(super) fn create_query(given: &Given) -> String {
    query(&[("name", given.get("name")), ("platform", given.get("platform"))])
}

fn environment(given: &Given) -> Outcome<Vec<String>> {
    let mut entries = Vec::new();
    for file in given.all("env-file") {
        let text = std::fs::read_to_string(file).map_err(|_| Failure::new(format!("open {file}: no such file or directory")))?;
        entries.extend(text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    entries.extend_from_slice(given.all("env"));
    // A bare name takes the caller's value, and is left out if the caller has none.
    Ok(entries
        .into_iter()
        .filter_map(
            |entry| {
                if entry.contains('=') { Some(entry) } else { std::env::var(&entry).ok().map(|value| format!("{entry}={value}")) }
            },
        )
        .collect())
}

/// `a=b` pairs as a map.
pub(super) fn labels(pairs: &[String], files: &[String]) -> Outcome<Value> {
    let mut map = Map::new();
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|_| Failure::new(format!("open {file}: no such file or directory")))?;
        lines.extend(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    for pair in lines.iter().chain(pairs) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        map.insert(name.to_owned(), value.into());
    }
    Ok(Value::Object(map))
}

fn range(text: &str, what: &str, whole: &str) -> Outcome<std::ops::RangeInclusive<u16>> {
    let wrong = || Failure::Message { message: format!("invalid {what}: {whole}"), code: 125, run: true };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first > last { Err(wrong()) } else { Ok(first..=last) }
}

/// Exposed ports and their bindings. **Source:** docker/go-connections, `nat.ParsePortSpec`.
fn ports(given: &Given) -> Outcome<(Value, Value)> {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for text in given.all("expose") {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        for port in range(ports, "range format for --expose", text)? {
            exposed.insert(format!("{port}/{protocol}"), json!({}));
        }
    }
    for text in given.all("publish") {
        let (left, container) = text.rsplit_once(':').unwrap_or(("", text));
        let (host_ip, host) = match left.strip_prefix('[').and_then(|rest| rest.split_once("]:").or_else(|| rest.split_once(']'))) {
            Some((ip, port)) => (ip, port),
            None => left.rsplit_once(':').unwrap_or(("", left)),
        };
        let (host_ip, host) = if text.matches(':').count() == 1 { ("", left) } else { (host_ip, host) };
        let (ports, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
        let protocol = protocol.to_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(Failure::Message { message: format!("invalid proto: {protocol}"), code: 125, run: true });
        }
        let ports = range(ports, "containerPort", ports)?;
        let hosts = if host.is_empty() { None } else { Some(range(host, "hostPort", host)?) };
        let (wanted, offered) = (ports.len(), hosts.as_ref().map_or(0, ExactSizeIterator::len));
        if offered != 0 && offered != wanted && wanted != 1 {
            return Err(Failure::Message {
                message: format!("invalid ranges specified for container and host Ports: {container} and {host}"),
                code: 125,
                run: true,
            });
        }
        for (index, port) in ports.enumerate() {
            let host_port = match &hosts {
                Some(hosts) if wanted == 1 && offered > 1 => {
                    format!("{}-{}", hosts.start(), hosts.end())
                }
                Some(hosts) => hosts.clone().nth(index).map(|port| port.to_string()).unwrap_or_default(),
                None => String::new(),
            };
            let key = format!("{port}/{protocol}");
            exposed.insert(key.clone(), json!({}));
            let list = bindings.entry(key).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!({"HostIp": host_ip, "HostPort": host_port}));
            }
        }
    }
    Ok((Value::Object(exposed), Value::Object(bindings)))
}

fn health(given: &Given) -> Outcome<Option<Value>> {
    if given.on("no-healthcheck") {
        return Ok(Some(json!({"Test": ["NONE"]})));
    }
    let mut check = Map::new();
    if let Some(command) = given.get("health-cmd") {
        check.insert("Test".into(), json!(["CMD-SHELL", command]));
    } else if let Some(url) = given.get("health-http") {
        check.insert("Test".into(), json!(["HTTP", url]));
    } else if let Some(port) = given.get("health-tcp") {
        check.insert("Test".into(), json!(["TCP", port]));
    }
    for (field, flag) in [
        ("Interval", "health-interval"),
        ("Timeout", "health-timeout"),
        ("StartPeriod", "health-start-period"),
        ("StartInterval", "health-start-interval"),
    ] {
        if let Some(text) = given.get(flag) {
            let nanos = docker_api::time::go_duration(text).unwrap_or_default();
            check.insert(field.into(), nanos.into());
        }
    }
    if let Some(retries) = given.number("health-retries")? {
        check.insert("Retries".into(), retries.into());
    }
    Ok((!check.is_empty()).then_some(Value::Object(check)))
}

/// A size flag in bytes; the parser has checked it.
pub(super) fn size(given: &Given, flag: &str) -> i64 {
    match given.get(flag) {
        Some("-1") => -1,
        text => text.and_then(human::parse_size).unwrap_or_default(),
    }
}

/// `no`, `always`, `on-failure:3`, …
pub(super) fn restart_policy(text: &str) -> Outcome<Value> {
    let (name, count) = text.split_once(':').unwrap_or((text, "0"));
    let count: i64 =
        count.parse().map_err(|_| Failure::Message { message: "maximum retry count must be an integer".into(), code: 125, run: true })?;
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

#[allow(clippy::too_many_lines, reason = "one short line for each field of Docker's HostConfig")]
fn host_config(given: &Given, bindings: Value, volumes: &mut Map<String, Value>) -> Outcome<Value> {
    let mut host = Map::new();
    host.insert("PortBindings".into(), bindings);
    let mut binds = Vec::new();
    for text in given.all("volume") {
        mount::volume(text, &mut binds, volumes)?;
    }
    host.insert("Binds".into(), if binds.is_empty() { Value::Null } else { json!(binds) });
    let mounts = given.all("mount").iter().map(|text| mount::parse(text)).collect::<Outcome<Vec<_>>>()?;
    if !mounts.is_empty() {
        host.insert("Mounts".into(), mounts.into());
    }
    host.insert("NetworkMode".into(), create_network::mode(given)?.into());
    host.insert("RestartPolicy".into(), restart_policy(given.get("restart").unwrap_or("no"))?);
    for (field, flag) in
        [("AutoRemove", "rm"), ("Privileged", "privileged"), ("PublishAllPorts", "publish-all"), ("ReadonlyRootfs", "read-only")]
    {
        host.insert(field.into(), given.on(flag).into());
    }
    for (field, flag) in [("Init", "init"), ("OomKillDisable", "oom-kill-disable")] {
        if given.has(flag) {
            host.insert(field.into(), given.on(flag).into());
        }
    }
    let texts = [
        ("IpcMode", "ipc"),
        ("PidMode", "pid"),
        ("UTSMode", "uts"),
        ("UsernsMode", "userns"),
        ("CgroupnsMode", "cgroupns"),
        ("CgroupParent", "cgroup-parent"),
        ("VolumeDriver", "volume-driver"),
        ("ContainerIDFile", "cidfile"),
        ("Runtime", "runtime"),
        ("Isolation", "isolation"),
        ("CpusetCpus", "cpuset-cpus"),
        ("CpusetMems", "cpuset-mems"),
    ];
    for (field, flag) in texts {
        host.insert(field.into(), given.get(flag).unwrap_or_default().into());
    }
    let lists = [
        ("Dns", "dns"),
        ("DnsSearch", "dns-search"),
        ("GroupAdd", "group-add"),
        ("Links", "link"),
        ("VolumesFrom", "volumes-from"),
        ("DeviceCgroupRules", "device-cgroup-rule"),
    ];
    for (field, flag) in lists {
        let values = given.all(flag);
        host.insert(field.into(), if values.is_empty() { Value::Null } else { json!(values) });
    }
    let (add, drop) = capabilities(given.all("cap-add"), given.all("cap-drop"));
    for (field, values) in [("CapAdd", add), ("CapDrop", drop)] {
        host.insert(field.into(), if values.is_empty() { Value::Null } else { json!(values) });
    }
    host.insert("DnsOptions".into(), json!([given.all("dns-option"), given.all("dns-opt")].concat()));
    host.insert(
        "ExtraHosts".into(),
        json!(
            given
                .all("add-host")
                .iter()
                .map(|host| if host.contains(':') { host.clone() } else { host.replacen('=', ":", 1) })
                .collect::<Vec<_>>()
        ),
    );
    host.insert("SecurityOpt".into(), json!(given.all("security-opt").iter().map(|option| security(option)).collect::<Outcome<Vec<_>>>()?));
    for (field, flag) in [("Sysctls", "sysctl"), ("StorageOpt", "storage-opt"), ("Annotations", "annotation")] {
        host.insert(field.into(), labels(given.all(flag), &[])?);
    }
    let tmpfs: Map<String, Value> = given
        .all("tmpfs")
        .iter()
        .map(|text| text.split_once(':').unwrap_or((text, "")))
        .map(|(path, options)| (path.to_owned(), options.into()))
        .collect();
    host.insert("Tmpfs".into(), Value::Object(tmpfs));
    host.insert(
        "LogConfig".into(),
        json!({"Type": given.get("log-driver").unwrap_or_default(), "Config": labels(given.all("log-opt"), &[])?}),
    );
    super::checks::devices(given, &mut host)?;
    host.insert("Ulimits".into(), json!(given.all("ulimit").iter().map(|text| ulimit(text)).collect::<Outcome<Vec<_>>>()?));
    resources(given, &mut host)?;
    Ok(Value::Object(host))
}

/// Names of capabilities in their full form, sorted; what is added is not dropped.
///
/// **Source:** docker/cli, `opts/capabilities.go`, `EffectiveCapAddCapDrop`.
fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let full = |names: &[String]| {
        let full = |name: &String| match name.trim().to_uppercase() {
            name if name == "ALL" || name == "RESET" || name.starts_with("CAP_") => name,
            name => format!("CAP_{name}"),
        };
        let names: std::collections::BTreeSet<String> = names.iter().map(full).collect();
        // All trumps every other.
        if names.contains("ALL") { std::iter::once("ALL".to_owned()).collect() } else { names }
    };
    let add: std::collections::BTreeSet<String> = full(add);
    let drop = full(drop).into_iter().filter(|name| !add.contains(name)).collect();
    (add.into_iter().collect(), drop)
}

/// Limits that `run`, `create` and `update` share.
pub(super) fn resources(given: &Given, host: &mut Map<String, Value>) -> Outcome<()> {
    for (field, flag) in
        [("Memory", "memory"), ("MemoryReservation", "memory-reservation"), ("MemorySwap", "memory-swap"), ("ShmSize", "shm-size")]
    {
        host.insert(field.into(), size(given, flag).into());
    }
    host.insert("NanoCpus".into(), given.get("cpus").and_then(|text| cpus(text).ok()).unwrap_or_default().into());
    let numbers = [
        ("CpuShares", "cpu-shares"),
        ("CpuPeriod", "cpu-period"),
        ("CpuQuota", "cpu-quota"),
        ("CpuRealtimePeriod", "cpu-rt-period"),
        ("CpuRealtimeRuntime", "cpu-rt-runtime"),
        ("BlkioWeight", "blkio-weight"),
        ("OomScoreAdj", "oom-score-adj"),
    ];
    for (field, flag) in numbers {
        host.insert(field.into(), given.number(flag)?.unwrap_or_default().into());
    }
    for (field, flag) in [("PidsLimit", "pids-limit"), ("MemorySwappiness", "memory-swappiness")] {
        if let Some(value) = given.number(flag)? {
            host.insert(field.into(), value.into());
        }
    }
    super::checks::block_devices(given, host)?;
    Ok(())
}

/// Reads the file of a seccomp profile: the engine may be on another machine.
fn security(option: &str) -> Outcome<String> {
    let Some(file) = option
        .strip_prefix("seccomp=")
        .or_else(|| option.strip_prefix("seccomp:"))
        .filter(|file| !matches!(*file, "unconfined" | "builtin"))
    else {
        return Ok(option.to_owned());
    };
    let text = std::fs::read_to_string(file).map_err(|error| Failure::Message {
        message: format!("opening seccomp profile ({file}) failed: {error}"),
        code: 125,
        run: true,
    })?;
    let value: Value = serde_json::from_str(&text).map_err(|error| Failure::Message {
        message: format!("compacting json for seccomp profile ({file}) failed: {error}"),
        code: 125,
        run: true,
    })?;
    Ok(format!("seccomp={value}"))
}

pub(super) fn ulimit(text: &str) -> Outcome<Value> {
    let wrong = |why: &str| Failure::Message {
        message: format!("invalid argument \"{text}\" for \"--ulimit\" flag: {why}"),
        code: 125,
        run: false,
    };
    let (name, values) = text.split_once('=').ok_or_else(|| wrong("invalid ulimit argument: ".to_owned().as_str()))?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| text.parse::<i64>().map_err(|_| wrong(&format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(wrong(&format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")));
    }
    Ok(json!({"Name": name, "Soft": soft, "Hard": hard}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Value {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        body(&crate::commands::find("run").unwrap().command.parse(&words).unwrap(), &["stdout"]).unwrap()
    }

    #[test]
    fn ports_are_read_in_every_form() {
        let body = parse(&["-p", "8080:80", "-p", "127.0.0.1:53:53/udp", "-p", "443", "-p", "[::1]:81:81", "-p", "90-91:70-71", "image"]);
        let bindings = &body["HostConfig"]["PortBindings"];
        assert_eq!(bindings["80/tcp"], json!([{"HostIp": "", "HostPort": "8080"}]));
        assert_eq!(bindings["53/udp"], json!([{"HostIp": "127.0.0.1", "HostPort": "53"}]));
        assert_eq!(bindings["443/tcp"], json!([{"HostIp": "", "HostPort": ""}]));
        assert_eq!(bindings["81/tcp"], json!([{"HostIp": "::1", "HostPort": "81"}]));
        assert_eq!(bindings["71/tcp"], json!([{"HostIp": "", "HostPort": "91"}]));
    }

    #[test]
    fn limits_and_streams_are_read() {
        let body = parse(&[
            "-it",
            "-m",
            "64m",
            "--cpus",
            "1.5",
            "--ulimit",
            "nofile=10:20",
            "--network",
            "name=n,alias=a",
            "image",
            "sh",
            "-c",
            "x",
        ]);
        assert_eq!(body["HostConfig"]["Memory"], 64 << 20);
        assert_eq!(body["HostConfig"]["NanoCpus"], 1_500_000_000);
        assert_eq!(body["HostConfig"]["Ulimits"], json!([{"Name": "nofile", "Soft": 10, "Hard": 20}]));
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["n"]["Aliases"], json!(["a"]));
        assert_eq!(body["Cmd"], json!(["sh", "-c", "x"]));
        assert_eq!(body["Tty"], true);
    }
}

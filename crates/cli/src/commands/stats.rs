//! `stats`.

use docker_api::client::{Client, escape};
use serde_json::{Value, json};

use super::Entry;
use crate::context::Context;
use crate::error::Outcome;
use crate::flags::{Command, Given, described};
use crate::json::{short, text as field};
use crate::output::{self, Column, List};
use crate::{human, printer};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("stats"), act: stats }];

const COLUMNS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

fn stats(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let client = context.client()?;
    loop {
        let names = if given.args.is_empty() { running(&mut client.another(), given.on("all"))? } else { given.args.clone() };
        // Each answer takes the engine one interval: all are asked at once.
        let answers: Vec<Result<Value, docker_api::client::Error>> = std::thread::scope(|scope| {
            let ask = |name: &String| {
                let mut client = client.another();
                let path = format!("/containers/{}/stats?stream=0", escape(name));
                scope.spawn(move || client.call("GET", &path, None))
            };
            let workers: Vec<_> = names.iter().map(ask).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
        });
        let rows = answers.into_iter().map(|answer| Ok(row(&answer?, given.on("no-trunc")))).collect::<Outcome<Vec<_>>>()?;
        let live = !given.on("no-stream");
        if live && printer::stdout_is_terminal() {
            printer::raw(b"\x1b[2J\x1b[H");
        }
        let whole = given.on("no-trunc");
        let format = output::format(given, "statsFormat");
        List {
            kind: "*container.statsContext",
            format: format.as_deref(),
            whole,
            columns: COLUMNS,
            headings: &[("Container", "CONTAINER")],
        }
        .print(&rows)?;
        if !live {
            return Ok(0);
        }
    }
}

fn running(client: &mut Client, all: bool) -> Outcome<Vec<String>> {
    let list: Vec<Value> = client.call("GET", if all { "/containers/json?all=1" } else { "/containers/json" }, None)?;
    Ok(list.iter().map(|container| field(container, "Id").to_owned()).collect())
}

/// Docker's figures. **Source:** docker/cli, `cli/command/container/stats_helpers.go`.
fn row(stats: &Value, whole: bool) -> Value {
    let at = |path: &str| stats.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    let cpu = at("/cpu_stats/cpu_usage/total_usage") - at("/precpu_stats/cpu_usage/total_usage");
    let system = at("/cpu_stats/system_cpu_usage") - at("/precpu_stats/system_cpu_usage");
    let percent = if cpu > 0.0 && system > 0.0 { cpu / system * at("/cpu_stats/online_cpus").max(1.0) * 100.0 } else { 0.0 };
    let inactive = at("/memory_stats/stats/total_inactive_file").max(at("/memory_stats/stats/inactive_file"));
    let (used, limit) = ((at("/memory_stats/usage") - inactive).max(0.0), at("/memory_stats/limit"));
    let networks = stats.get("networks").and_then(Value::as_object);
    let net = |field: &str| human::size(networks.into_iter().flatten().filter_map(|(_, link)| link.get(field)?.as_f64()).sum());
    let block = |kind: &str| {
        let entries = stats.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array);
        human::size(
            entries
                .into_iter()
                .flatten()
                .filter(|entry| field(entry, "op").eq_ignore_ascii_case(kind))
                .filter_map(|entry| entry.get("value")?.as_f64())
                .sum(),
        )
    };
    let id = field(stats, "id");
    json!({
        "Container": id,
        "ID": if whole { id.to_owned() } else { short(id) },
        "Name": field(stats, "name").trim_start_matches('/'),
        "CPUPerc": format!("{percent:.2}%"),
        "MemUsage": format!("{} / {}", human::binary_size(used), human::binary_size(limit)),
        "MemPerc": format!("{:.2}%", if limit > 0.0 { used / limit * 100.0 } else { 0.0 }),
        "NetIO": format!("{} / {}", net("rx_bytes"), net("tx_bytes")),
        "BlockIO": format!("{} / {}", block("read"), block("write")),
        "PIDs": format!("{}", at("/pids_stats/current")),
    })
}

//! `stats`.
//! **Source:** docker/cli, `cli/command/container/stats.go`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::Add as _;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use docker_api::client::{Client, escape, query};
use serde_json::{Value, json};

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
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

/// How often the figures are drawn. **Source:** docker/cli, `RunStats`.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the first figures of all containers are waited for.
const FIRST_MAX: Duration = Duration::from_secs(5);

/// What a watcher of one container has to say.
enum News {
    /// A container to watch, as the engine names it.
    Appeared(String),
    /// New figures.
    Figures(String, Value),
    /// The container has gone, or why it could not be watched.
    Ended(String, Option<Failure>),
}

/// One line of the table.
struct Line {
    /// Place in the list, which is the order of the table.
    place: usize,
    figures: Option<Value>,
}

fn stats(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let live = !given.on("no-stream");
    let names = if given.args.is_empty() { listed(&mut client, given.on("all"))? } else { given.args.clone() };
    let (sender, news) = mpsc::channel();
    let mut lines = BTreeMap::new();
    for name in &names {
        watch(&client, name, live, &sender);
        lines.insert(name.clone(), Line { place: lines.len(), figures: None });
    }
    let follow = live && given.args.is_empty();
    if follow {
        watch_events(&client, &sender);
    }
    let mut table = Table { given, client, sender, lines, failures: Vec::new() };
    if !live {
        return table.once(&news);
    }
    let mut next = Instant::now();
    table.wait_for_first(&news);
    loop {
        table.draw(true)?;
        next += PERIOD;
        while let Ok(one) = news.recv_timeout(next.saturating_duration_since(Instant::now())) {
            table.take(one);
        }
        if let Some(failure) = table.failures.pop() {
            return Err(failure);
        }
        if table.lines.is_empty() && !follow {
            return Ok(0);
        }
    }
}

fn listed(client: &mut Client, all: bool) -> Outcome<Vec<String>> {
    let list: Vec<Value> = client.call("GET", if all { "/containers/json?all=1" } else { "/containers/json" }, None)?;
    Ok(list.iter().map(|container| field(container, "Id").to_owned()).collect())
}

/// Watches one container on a connection of its own.
fn watch(client: &Client, name: &str, live: bool, sender: &Sender<News>) {
    let (mut client, name, sender) = (client.another(), name.to_owned(), sender.clone());
    std::thread::spawn(move || {
        let path = format!("/containers/{}/stats?stream={}", escape(&name), u8::from(live));
        let failure = match client.stream("GET", &path, None) {
            Err(error) => Some(Failure::from(error)),
            Ok(body) => {
                for line in BufReader::new(body).lines().map_while(Result::ok) {
                    let Ok(figures) = serde_json::from_str(&line) else { continue };
                    if sender.send(News::Figures(name.clone(), figures)).is_err() {
                        return;
                    }
                }
                None
            }
        };
        // Who no longer listens has ended.
        let _ = sender.send(News::Ended(name, failure));
    });
}

/// Learns of containers that start while the table is shown.
fn watch_events(client: &Client, sender: &Sender<News>) {
    let (mut client, sender) = (client.another(), sender.clone());
    std::thread::spawn(move || {
        let filters = json!({"type": {"container": true}, "event": {"start": true}}).to_string();
        let path = format!("/events{}", query(&[("filters", Some(&filters))]));
        let Ok(body) = client.stream("GET", &path, None) else { return };
        for line in BufReader::new(body).lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let id = event.pointer("/Actor/ID").and_then(Value::as_str).unwrap_or_default();
            if !id.is_empty() && sender.send(News::Appeared(id.to_owned())).is_err() {
                return;
            }
        }
    });
}

struct Table<'a> {
    given: &'a Given,
    client: Client,
    sender: Sender<News>,
    lines: BTreeMap<String, Line>,
    failures: Vec<Failure>,
}

impl Table<'_> {
    fn take(&mut self, news: News) {
        match news {
            News::Appeared(id) => {
                if !self.lines.contains_key(&id) {
                    watch(&self.client, &id, true, &self.sender);
                    let place = self.lines.values().map(|line| line.place + 1).max().unwrap_or_default();
                    self.lines.insert(id, Line { place, figures: None });
                }
            }
            News::Figures(name, figures) => {
                if let Some(line) = self.lines.get_mut(&name) {
                    line.figures = Some(figures);
                }
            }
            News::Ended(name, None) if self.given.on("no-stream") || self.given.on("all") => drop(name),
            News::Ended(name, failure) => {
                self.lines.remove(&name);
                self.failures.extend(failure);
            }
        }
    }

    fn wait_for_first(&mut self, news: &Receiver<News>) {
        let deadline = Instant::now() + FIRST_MAX;
        while self.lines.values().any(|line| line.figures.is_none()) && self.failures.is_empty() {
            match news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(one) => self.take(one),
                Err(_) => return,
            }
        }
    }

    /// Prints the figures once.
    fn once(mut self, news: &Receiver<News>) -> Outcome<u8> {
        self.wait_for_first(news);
        if let Some(failure) = self.failures.pop() {
            return Err(failure);
        }
        self.draw(false)?;
        Ok(0)
    }

    fn draw(&self, over: bool) -> Outcome<()> {
        let mut lines: Vec<(&String, &Line)> = self.lines.iter().collect();
        lines.sort_by_key(|(_, line)| line.place);
        if let Some(key) = self.given.get("sort") {
            let weigh = weight(key)?;
            let weight = |line: &Line| line.figures.as_ref().map_or(0.0, &weigh);
            if key == "name" {
                lines.sort_by_key(|(_, line)| line.figures.as_ref().map(|figures| field(figures, "name").to_owned()));
            } else {
                lines.sort_by(|(_, left), (_, right)| weight(right).total_cmp(&weight(left)));
            }
        }
        let whole = self.given.on("no-trunc");
        let rows: Vec<Value> = lines
            .into_iter()
            .map(|(name, line)| line.figures.as_ref().map_or_else(|| unknown(name, whole), |figures| row(figures, name, whole)))
            .collect();
        let format = output::format(self.given, "statsFormat");
        let (format, headings): (_, &[Column]) = (format.as_deref(), &[("Container", "CONTAINER")]);
        let text = List { kind: "*container.statsContext", format, whole, columns: COLUMNS, headings, ..List::default() }.text(&rows)?;
        if !over {
            printer::raw(text.as_bytes());
            return Ok(());
        }
        // Drawn over the last table: each line is cleared to its end, and what is left below.
        let lines: String = text.lines().map(|line| format!("{line} \x1b[K\n")).collect();
        printer::raw(format!("\x1b[H{lines}\x1b[J").as_bytes());
        Ok(())
    }
}

/// What a table is sorted by, the largest first.
fn weight(key: &str) -> Outcome<impl Fn(&Value) -> f64 + use<>> {
    let figure: fn(&Figures) -> f64 = match key {
        "name" | "cpu" => |figures| figures.cpu,
        "mem" | "memory" => |figures| figures.used,
        "net" => |figures| figures.net.0 + figures.net.1,
        "block" => |figures| figures.block.0 + figures.block.1,
        "pids" => |figures| figures.pids,
        other => return Err(Failure::new(format!("cannot sort by `{other}`: name, cpu, mem, net, block or pids"))),
    };
    Ok(move |value: &Value| figure(&Figures::of(value)))
}

/// A container of which nothing is known yet.
fn unknown(name: &str, whole: bool) -> Value {
    let id = if whole { name.to_owned() } else { short(name) };
    json!({
        "Container": name, "ID": id, "Name": "--", "CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--",
        "NetIO": "--", "BlockIO": "--", "PIDs": "--",
    })
}

struct Figures {
    cpu: f64,
    used: f64,
    limit: f64,
    net: (f64, f64),
    block: (f64, f64),
    pids: f64,
}

impl Figures {
    /// Docker's figures. **Source:** docker/cli, `cli/command/container/stats_helpers.go`.
    fn of(stats: &Value) -> Self {
        let at = |path: &str| stats.pointer(path).and_then(Value::as_f64).unwrap_or_default();
        let cpu = at("/cpu_stats/cpu_usage/total_usage") - at("/precpu_stats/cpu_usage/total_usage");
        let system = at("/cpu_stats/system_cpu_usage") - at("/precpu_stats/system_cpu_usage");
        let inactive = at("/memory_stats/stats/total_inactive_file").max(at("/memory_stats/stats/inactive_file"));
        let networks = stats.get("networks").and_then(Value::as_object);
        let net = |field: &str| networks.into_iter().flatten().filter_map(|(_, link)| link.get(field)?.as_f64()).fold(0.0, f64::add);
        let block = |kind: &str| {
            let entries = stats.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array);
            let of_kind = entries.into_iter().flatten().filter(|entry| field(entry, "op").eq_ignore_ascii_case(kind));
            // Not `sum`: that of nothing is −0.
            of_kind.filter_map(|entry| entry.get("value")?.as_f64()).fold(0.0, f64::add)
        };
        Self {
            cpu: if cpu > 0.0 && system > 0.0 { cpu / system * at("/cpu_stats/online_cpus").max(1.0) * 100.0 } else { 0.0 },
            used: (at("/memory_stats/usage") - inactive).max(0.0),
            limit: at("/memory_stats/limit"),
            net: (net("rx_bytes"), net("tx_bytes")),
            block: (block("read"), block("write")),
            pids: at("/pids_stats/current"),
        }
    }
}

fn row(stats: &Value, asked: &str, whole: bool) -> Value {
    let figures = Figures::of(stats);
    let id = field(stats, "id");
    let pair = |(left, right): (f64, f64)| format!("{} / {}", human::size_short(left), human::size_short(right));
    json!({
        "Container": asked,
        "ID": if whole { id.to_owned() } else { short(id) },
        "Name": field(stats, "name").trim_start_matches('/'),
        "CPUPerc": format!("{:.2}%", figures.cpu),
        "MemUsage": format!("{} / {}", human::binary_size(figures.used), human::binary_size(figures.limit)),
        "MemPerc": format!("{:.2}%", if figures.limit > 0.0 { figures.used / figures.limit * 100.0 } else { 0.0 }),
        "NetIO": pair(figures.net),
        "BlockIO": pair(figures.block),
        "PIDs": format!("{}", figures.pids),
    })
}

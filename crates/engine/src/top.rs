//! The table of processes as `ps` shows it.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use supervisor::protocol::Process;

use crate::error::OperationError;
use crate::types::Top;

/// Columns of `ps -ef`. **Source:** ps(1), "STANDARD FORMAT SPECIFIERS".
const FULL: &[&str] = &["uid", "pid", "ppid", "c", "stime", "tname", "time", "cmd"];
/// Columns of `ps aux`.
const USER: &[&str] = &["user", "pid", "%cpu", "%mem", "vsz", "rss", "tname", "stat", "start", "bsdtime", "command"];
/// Columns of `ps -l`.
const LONG: &[&str] = &["f", "s", "uid#", "pid", "ppid", "c", "pri", "ni", "addr", "sz", "wchan", "tname", "time", "ucmd"];
/// Columns of `ps -e`.
const SHORT: &[&str] = &["pid", "tname", "time", "ucmd"];

/// Makes the table of these processes; empty arguments are `-ef`.
///
/// # Errors
/// Arguments that we do not know, or columns without the process id.
pub(crate) fn table(processes: Vec<Process>, arguments: &str) -> Result<Top, OperationError> {
    let columns = columns(arguments)?;
    if !columns.iter().any(|(name, _)| name == "pid") {
        return Err(OperationError::Invalid("Couldn't find PID field in ps output".to_owned()));
    }
    let host = Host::look(TimeZone::system());
    let titles = columns.iter().map(|(_, title)| title.clone()).collect();
    let row = |process: &Process| columns.iter().map(|(name, _)| host.cell(process, name)).collect();
    Ok(Top { titles, processes: processes.iter().map(row).collect() })
}

/// The columns that the arguments of ps(1) ask for, with their heads.
fn columns(arguments: &str) -> Result<Vec<(String, String)>, OperationError> {
    let owned = |list: &[&str]| list.iter().map(|name| ((*name).to_owned(), title(name))).collect();
    let unknown = || OperationError::Invalid(format!("ps: unknown arguments `{arguments}`"));
    let mut words = arguments.split_whitespace();
    let mut named: Vec<(String, String)> = Vec::new();
    let (mut full, mut user, mut long) = (arguments.trim().is_empty(), false, false);
    while let Some(word) = words.next() {
        let unix = word.starts_with('-');
        let letters = word.trim_start_matches('-');
        if letters.is_empty() || word.starts_with("--") {
            return Err(unknown());
        }
        for (at, letter) in letters.char_indices() {
            match (letter, unix) {
                ('o' | 'O', _) => {
                    let rest = &letters[at + 1..];
                    let list = if rest.is_empty() { words.next().ok_or_else(unknown)? } else { rest };
                    for name in list.split(',').filter(|name| !name.is_empty()) {
                        let (name, own) = name.split_once('=').map_or((name, None), |(name, own)| (name, Some(own)));
                        let name = name.to_ascii_lowercase();
                        let head = title(&name);
                        if head.is_empty() {
                            return Err(OperationError::Invalid(format!("error: unknown user-defined format specifier \"{name}\"")));
                        }
                        named.push((name, own.map_or(head, str::to_owned)));
                    }
                    break;
                }
                ('f' | 'F', true) => full = true,
                ('u', false) => user = true,
                ('l', _) => long = true,
                ('e' | 'A' | 'a' | 'x' | 'd' | 'w' | 'H' | 'y' | 'L', _) | ('f' | 'h' | 'r', false) => {}
                // `-aux` is taken as `aux`, as ps(1) does.
                ('u', true) if letters.contains('a') => user = true,
                _ => return Err(unknown()),
            }
        }
    }
    Ok(match (named.is_empty(), user, long, full) {
        (false, ..) => named,
        (true, true, ..) => owned(USER),
        (true, _, true, _) => owned(LONG),
        (true, _, _, true) => owned(FULL),
        _ => owned(SHORT),
    })
}

fn title(column: &str) -> String {
    match column {
        "uid" | "uid#" | "euid" => "UID",
        "user" | "euser" | "uname" => "USER",
        "ruser" => "RUSER",
        "pid" | "tgid" => "PID",
        "ppid" => "PPID",
        "pgid" | "pgrp" => "PGID",
        "sid" | "sess" | "session" => "SID",
        "c" => "C",
        "f" | "flags" => "F",
        "s" | "state" => "S",
        "stat" => "STAT",
        "stime" => "STIME",
        "start" | "bsdstart" | "start_time" => "START",
        "lstart" => "STARTED",
        "tname" => "TTY",
        "tty" | "tt" => "TT",
        "time" | "cputime" | "bsdtime" => "TIME",
        "etime" | "etimes" => "ELAPSED",
        "cmd" | "ucmd" => "CMD",
        "command" | "args" | "comm" | "ucomm" => "COMMAND",
        "rss" | "rssize" | "rsz" => "RSS",
        "vsz" | "vsize" => "VSZ",
        "sz" => "SZ",
        "%cpu" | "pcpu" => "%CPU",
        "%mem" | "pmem" => "%MEM",
        "ni" | "nice" => "NI",
        "pri" => "PRI",
        "nlwp" | "thcount" => "NLWP",
        "addr" => "ADDR",
        "wchan" => "WCHAN",
        _ => "",
    }
    .to_owned()
}

fn users() -> HashMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(user).collect()
}

struct Host {
    now: u64,
    users: HashMap<u32, String>,
    memory: u64,
    zone: TimeZone,
}

const SECOND: u64 = 1_000_000_000;

impl Host {
    fn look(zone: TimeZone) -> Self {
        let info = rustix::system::sysinfo();
        Self { now: crate::now(), users: users(), memory: info.totalram.saturating_mul(u64::from(info.mem_unit)), zone }
    }

    fn cell(&self, process: &Process, column: &str) -> String {
        let age = self.now.saturating_sub(process.started_at).max(1);
        let tenths = process.cpu_ns.saturating_mul(1000) / age;
        let cpu_seconds = process.cpu_ns / SECOND;
        match column {
            "uid" | "user" | "euser" | "ruser" | "uname" => self.user(process.uid),
            "uid#" | "euid" => process.uid.to_string(),
            "pid" | "tgid" => process.pid.to_string(),
            "ppid" => process.ppid.to_string(),
            "pgid" | "pgrp" => process.group.to_string(),
            "sid" | "sess" | "session" => process.session.to_string(),
            "c" => (tenths / 10).min(99).to_string(),
            "f" | "flags" => "4".to_owned(),
            "s" | "state" => process.state.clone(),
            "stat" => status(process),
            "stime" | "start_time" => self.clock(process.started_at, false),
            "start" | "bsdstart" => self.clock(process.started_at, true),
            "lstart" => self.time(process.started_at).strftime("%a %b %e %H:%M:%S %Y").to_string(),
            "tty" | "tt" | "tname" => terminal(process.tty),
            "time" | "cputime" => duration(cpu_seconds),
            "bsdtime" => format!("{}:{:02}", cpu_seconds / 60, cpu_seconds % 60),
            "etime" => elapsed(age / SECOND),
            "etimes" => (age / SECOND).to_string(),
            "rss" | "rssize" | "rsz" => (process.memory / 1024).to_string(),
            "vsz" | "vsize" => (process.virtual_memory / 1024).to_string(),
            "sz" => (process.virtual_memory / 4096).to_string(),
            "%cpu" | "pcpu" => format!("{}.{}", tenths / 10, tenths % 10),
            "%mem" | "pmem" => {
                let tenths = process.memory.saturating_mul(1000).checked_div(self.memory).unwrap_or(0);
                format!("{}.{}", tenths / 10, tenths % 10)
            }
            "ni" | "nice" => process.nice.to_string(),
            "pri" => (60 + process.priority).to_string(),
            "nlwp" | "thcount" => process.threads.to_string(),
            "comm" | "ucomm" | "ucmd" => process.name.clone(),
            "cmd" | "command" | "args" => process.command.clone(),
            _ => "-".to_owned(),
        }
    }

    /// A user's name; its number where the name is unknown or too long, as ps(1) shows it.
    fn user(&self, uid: u32) -> String {
        match self.users.get(&uid) {
            Some(name) if name.len() <= 8 => name.clone(),
            Some(name) => format!("{}+", name.chars().take(7).collect::<String>()),
            None => uid.to_string(),
        }
    }

    fn time(&self, nanoseconds: u64) -> jiff::Zoned {
        let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
        time.to_zoned(self.zone.clone())
    }

    /// Hours and minutes, or the day, or the year. **Source:** procps, `ps/output.c`, `pr_stime` and `pr_bsdstart`.
    fn clock(&self, started: u64, bsd: bool) -> String {
        let (then, now) = (self.time(started), self.time(self.now));
        let today = if bsd { self.now.saturating_sub(started) < 86_400 * SECOND } else { then.date() == now.date() };
        let format = if today {
            "%H:%M"
        } else if bsd || then.year() == now.year() {
            "%b%d"
        } else {
            "%Y"
        };
        then.strftime(format).to_string()
    }
}

/// **Source:** ps(1), "PROCESS STATE CODES".
fn status(process: &Process) -> String {
    let mut text = process.state.clone();
    let mut mark = |on: bool, letter: char| {
        if on {
            text.push(letter);
        }
    };
    mark(process.nice < 0, '<');
    mark(process.nice > 0, 'N');
    mark(process.session == process.pid, 's');
    mark(process.threads > 1, 'l');
    mark(process.foreground, '+');
    text
}

fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 { format!("{days}-{rest}") } else { rest }
}

fn elapsed(seconds: u64) -> String {
    if seconds >= 3600 { duration(seconds) } else { format!("{:02}:{:02}", seconds / 60, seconds % 60) }
}

/// **Source:** Linux, `Documentation/admin-guide/devices.txt`: 136 to 143 are `pts`.
fn terminal(device: i32) -> String {
    let device = u32::try_from(device).unwrap_or_default();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_columns() {
        let process =
            Process { pid: 7, ppid: 1, tty: 0x8801, name: "sleep".to_owned(), command: "/bin/sleep 9".to_owned(), ..Process::default() };
        let top = table(vec![process.clone()], "").unwrap();
        assert_eq!(top.titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(top.processes[0][1], "7");
        assert_eq!(top.processes[0][5], "pts/1");
        for (arguments, titles) in [
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid,comm=NAME", "PID NAME"),
            ("o user,pid,args", "USER PID COMMAND"),
            ("-e", "PID TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-el", "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
        ] {
            assert_eq!(table(vec![process.clone()], arguments).unwrap().titles.join(" "), titles, "{arguments}");
        }
        assert_eq!(table(vec![process], "-o pid,comm").unwrap().processes, [["7", "sleep"]]);
        assert!(table(Vec::new(), "-o comm").is_err());
        assert!(table(Vec::new(), "--nosuch").is_err());
    }

    #[test]
    fn times_are_those_of_the_hosts_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = 1_795_523_400 * SECOND; // 2026-11-24 12:30 UTC
        let host = Host { now, users: HashMap::new(), memory: 1, zone };
        assert_eq!(host.clock(now - 3600 * SECOND, false), "13:30");
        assert_eq!(host.clock(now - 86_400 * 3 * SECOND, false), "Nov21");
        assert_eq!(host.clock(now - 86_400 * 400 * SECOND, false), "2025");
        assert_eq!((duration(90_061), elapsed(61)), ("1-01:01:01".to_owned(), "01:01".to_owned()));
    }
}

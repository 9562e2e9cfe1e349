//! The table of processes as `ps` shows it.

use std::collections::HashMap;

use supervisor::protocol::Process;

use crate::error::OperationError;
use crate::types::Top;

/// Columns of `ps -ef`. **Source:** ps(1), "STANDARD FORMAT SPECIFIERS".
const FULL: &[&str] = &["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
/// Columns of `ps aux`.
const USER: &[&str] = &["user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time", "command"];

/// Makes the table of these processes; empty arguments are `-ef`.
///
/// # Errors
/// Arguments that we do not know, or columns without the process id.
pub(crate) fn table(processes: Vec<Process>, arguments: &str) -> Result<Top, OperationError> {
    let columns = columns(arguments)?;
    if !columns.iter().any(|c| c == "pid") {
        let text = "Couldn't find PID field in ps output".to_owned();
        return Err(OperationError::Invalid(text));
    }
    let users = users();
    let host = Host { now: crate::now(), users };
    let titles = columns.iter().map(|c| title(c)).collect();
    let row = |process: &Process| columns.iter().map(|c| host.cell(process, c)).collect();
    Ok(Top { titles, processes: processes.iter().map(row).collect() })
}

fn columns(arguments: &str) -> Result<Vec<String>, OperationError> {
    let owned = |list: &[&str]| list.iter().map(|c| (*c).to_owned()).collect();
    let words: Vec<&str> = arguments.split_whitespace().collect();
    match words.as_slice() {
        [] => return Ok(owned(FULL)),
        ["aux" | "-aux" | "axu" | "u"] => return Ok(owned(USER)),
        ["-ef" | "ef" | "-eF" | "-f" | "-e" | "f" | "-eaf" | "-elf"] => return Ok(owned(FULL)),
        _ => {}
    }
    let unknown = || OperationError::Invalid(format!("ps: unknown arguments `{arguments}`"));
    let list = words.iter().skip_while(|w| !matches!(**w, "-o" | "o" | "-eo" | "-axo" | "axo" | "-Ao"));
    let list: Vec<String> = list
        .skip(1)
        .flat_map(|w| w.split(','))
        .filter(|c| !c.is_empty())
        .map(|c| c.split('=').next().unwrap_or(c).to_ascii_lowercase())
        .collect();
    if list.is_empty() || list.iter().any(|c| title(c).is_empty()) {
        return Err(unknown());
    }
    Ok(list)
}

fn title(column: &str) -> String {
    match column {
        "uid" => "UID",
        "user" | "euser" | "ruser" => "USER",
        "pid" => "PID",
        "ppid" => "PPID",
        "c" => "C",
        "stime" => "STIME",
        "start" | "lstart" => "START",
        "tty" | "tt" => "TTY",
        "time" | "cputime" => "TIME",
        "etime" => "ELAPSED",
        "cmd" => "CMD",
        "command" | "args" => "COMMAND",
        "comm" | "ucmd" => "COMMAND",
        "rss" | "rssize" => "RSS",
        "vsz" => "VSZ",
        "stat" | "s" | "state" => "STAT",
        "%cpu" | "pcpu" => "%CPU",
        "%mem" | "pmem" => "%MEM",
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
}

const SECOND: u64 = 1_000_000_000;

impl Host {
    fn cell(&self, process: &Process, column: &str) -> String {
        let age = self.now.saturating_sub(process.started_at).max(1);
        let percent = process.cpu_ns.saturating_mul(100) / age;
        match column {
            "uid" | "user" | "euser" | "ruser" => {
                let name = self.users.get(&process.uid);
                name.cloned().unwrap_or_else(|| process.uid.to_string())
            }
            "pid" => process.pid.to_string(),
            "ppid" => process.ppid.to_string(),
            "c" => percent.min(99).to_string(),
            "stime" | "start" | "lstart" => clock(process.started_at),
            "tty" | "tt" => terminal(process.tty),
            "time" | "cputime" => duration(process.cpu_ns / SECOND),
            "etime" => duration(age / SECOND),
            "rss" | "rssize" => (process.memory / 1024).to_string(),
            "%cpu" | "pcpu" => format!("{percent}.0"),
            "comm" | "ucmd" => {
                let program = process.command.split(' ').next().unwrap_or_default();
                program.rsplit('/').next().unwrap_or_default().to_owned()
            }
            "cmd" | "command" | "args" => process.command.clone(),
            "stat" | "s" | "state" => "S".to_owned(),
            _ => "0".to_owned(),
        }
    }
}

/// Hours and minutes of the day, universal time.
fn clock(nanoseconds: u64) -> String {
    let minutes = nanoseconds / SECOND / 60;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

fn duration(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// **Source:** Linux, `Documentation/admin-guide/devices.txt`: 136 to 143 are `pts`.
fn terminal(device: i32) -> String {
    let device = u32::try_from(device).unwrap_or_default();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_columns() {
        let process = Process { pid: 7, ppid: 1, tty: 0x8801, command: "/bin/sleep 9".to_owned(), ..Process::default() };
        let top = table(vec![process.clone()], "").unwrap();
        assert_eq!(top.titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(top.processes[0][1], "7");
        assert_eq!(top.processes[0][5], "pts/1");
        let top = table(vec![process], "-o pid,comm").unwrap();
        assert_eq!(top.processes, [["7", "sleep"]]);
        assert!(table(Vec::new(), "-o comm").is_err());
        assert!(table(Vec::new(), "--nosuch").is_err());
    }
}

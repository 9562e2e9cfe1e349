//! `state`, `list`, `ps` and `events`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use serde_json::json;

use super::arguments::Syntax;
use super::error::During as _;
use super::record::{Record, Status};
use super::{CliError, Global, output};
use crate::cgroup::OomWatch;

/// Prints the state document, with what runc adds to it.
pub(super) fn state(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    let record = Record::load(global, &Syntax::WORDS.parse(arguments)?.only_id()?)?;
    output::json(&full_state(&record))
}

fn full_state(record: &Record) -> serde_json::Value {
    let status = record.status();
    let mut state = json!(record.state(status));
    if let Some(fields) = state.as_object_mut() {
        let root = record.spec.root.as_ref().map(|root| record.bundle.join(&root.path));
        fields.insert("rootfs".into(), json!(root));
        fields.insert("created".into(), json!(record.created));
        fields.insert("owner".into(), json!(record.owner()));
    }
    state
}

/// Prints all containers.
pub(super) fn list(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    const SYNTAX: Syntax =
        Syntax { flags: &["quiet"], values: &["format"], repeated: &[], short: &[('q', "quiet"), ('f', "format")], stop_at_word: false };
    let parsed = SYNTAX.parse(arguments)?;
    let records = Record::all(global)?;
    if parsed.has("quiet") {
        return output::text(&records.iter().fold(String::new(), |all, record| all + &record.id + "\n"));
    }
    match parsed.text("format").as_deref() {
        None | Some("table") => {
            let rows = records.iter().map(|record| {
                let status = record.status();
                let pid = if status == Status::Stopped { 0 } else { record.pid };
                [
                    record.id.clone(),
                    pid.to_string(),
                    status.name().into(),
                    record.bundle.display().to_string(),
                    record.created.clone(),
                    record.owner(),
                ]
            });
            output::text(&table(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], rows.collect()))
        }
        Some("json") => output::json_line(&records.iter().map(full_state).collect::<Vec<_>>()),
        Some(_) => Err(CliError::Usage("invalid format option".into())),
    }
}

/// Columns as wide as their widest cell, with three spaces between, as Go's tabwriter sets them for runc.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(Into::into)).chain(rows).collect();
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if index + 1 == N {
                text.push_str(cell);
            } else {
                let _infallible = write!(text, "{cell:<width$}   ", width = *width.max(&8));
            }
        }
        text.push('\n');
    }
    text
}

/// Prints a container's processes.
pub(super) fn ps(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    const SYNTAX: Syntax = Syntax { flags: &[], values: &["format"], repeated: &[], short: &[('f', "format")], stop_at_word: true };
    let parsed = SYNTAX.parse(arguments)?;
    let record = Record::load(global, &parsed.id()?)?;
    let pids = record.cgroup().processes().during(|| "cannot list the processes".into())?;
    let pids: Vec<i32> = pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    match parsed.text("format").as_deref() {
        Some("json") => output::json_line(&pids),
        None | Some("table") => {
            let rows = pids.iter().filter_map(|pid| row(*pid)).collect();
            output::text(&table(["UID", "PID", "PPID", "CMD"], rows))
        }
        Some(_) => Err(CliError::Usage("invalid format option".into())),
    }
}

/// User, process, parent and command; none if it has ended.
fn row(pid: i32) -> Option<[String; 4]> {
    let folder = format!("/proc/{pid}");
    let status = fs::read_to_string(format!("{folder}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next().map(str::to_owned));
    let command = fs::read(format!("{folder}/cmdline")).ok()?;
    let mut command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
    if command.is_empty() {
        command = format!("[{}]", field("Name:")?);
    }
    Some([field("Uid:")?, pid.to_string(), field("PPid:")?, command])
}

/// Prints statistics, once with `--stats` or at each interval, and kills by the out-of-memory killer, until the container ends.
pub(super) fn events(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    const SYNTAX: Syntax = Syntax { flags: &["stats"], values: &["interval"], repeated: &[], short: &[], stop_at_word: false };
    let parsed = SYNTAX.parse(arguments)?;
    let record = Record::load(global, &parsed.only_id()?)?;
    let interval = interval(parsed.text("interval").as_deref().unwrap_or("5s"))?;
    let process = record.process().ok_or_else(|| CliError::State(format!("container with id {} is not running", record.id)))?;
    let cgroup = record.cgroup();
    let stats = || json!({ "type": "stats", "id": record.id, "data": super::resources::stats(&cgroup.stats()) });
    if parsed.has("stats") {
        return output::json_line(&stats());
    }
    let pidfd = pidfd_open(process, PidfdFlags::empty()).during(|| "cannot open the process".into())?;
    let watch = OomWatch::new(&cgroup).ok();
    let mut killed = cgroup.oom_kills();
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        let mut waits = vec![PollFd::new(&pidfd, PollFlags::IN)];
        waits.extend(watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
        rustix::io::retry_on_intr(|| poll(&mut waits, Some(&limit))).during(|| "cannot wait".into())?;
        let ready: Vec<bool> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
        drop(waits);
        if let Some(watch) = watch.as_ref().filter(|_| ready.get(1) == Some(&true)) {
            watch.clear().during(|| "cannot read the memory events".into())?;
        }
        // Read after the end too: the last one killed may be the first process.
        let now = cgroup.oom_kills();
        if now > killed {
            output::json_line(&json!({ "type": "oom", "id": record.id }))?;
            killed = now;
        }
        if ready.first() == Some(&true) {
            return Ok(());
        }
        if Instant::now() >= next {
            output::json_line(&stats())?;
            next += interval;
        }
    }
}

/// A duration such as `5s`, `500ms` or `1m`.
fn interval(text: &str) -> Result<Duration, CliError> {
    let wrong = || CliError::Usage(format!("invalid duration {text}"));
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let duration = match text.get(digits.len()..) {
        Some("ms") => Duration::from_millis(number),
        Some("s") => Duration::from_secs(number),
        Some("m") => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(wrong()),
    };
    if duration.is_zero() {
        return Err(CliError::Usage("duration interval must be greater than 0".into()));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let text = table(["ID", "PID"], vec![["a-long-name".into(), "1".into()], ["b".into(), "22".into()]]);
        assert_eq!(text, "ID            PID\na-long-name   1\nb             22\n");
    }

    #[test]
    fn intervals() {
        assert_eq!(interval("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(interval("2m").unwrap(), Duration::from_secs(120));
        assert!(interval("0s").is_err());
        assert!(interval("5").is_err());
    }
}

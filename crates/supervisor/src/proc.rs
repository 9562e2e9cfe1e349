//! What `/proc` tells about the container's processes and interfaces.

use std::collections::BTreeMap;

use rustix::process::Pid;

use crate::protocol::{BiggestProcess, InterfaceStats, Process};

/// Reads a small file; empty if it is gone, since processes come and go.
fn read(path: &str) -> String {
    fs_err::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Describes processes; those that have ended meanwhile are left out.
pub(crate) fn processes(pids: &[Pid]) -> Vec<Process> {
    let boot_time = read("/proc/stat").lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok()).unwrap_or(0);
    pids.iter().filter_map(|pid| process(*pid, boot_time)).collect()
}

fn process(pid: Pid, boot_time: u64) -> Option<Process> {
    let pid = pid.as_raw_nonzero().get();
    let stat = read(&format!("/proc/{pid}/stat"));
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let parsed = Stat::parse(&stat)?;
    let arguments = read(&format!("/proc/{pid}/cmdline"));
    let command = if arguments.is_empty() { format!("[{}]", parsed.name) } else { arguments.trim_end_matches('\0').replace('\0', " ") };
    let status = read(&format!("/proc/{pid}/status"));
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
    Some(Process {
        pid,
        ppid: parsed.number(3)?,
        uid,
        tty: parsed.number(6)?,
        cpu_ns: (parsed.number::<u64>(13)? + parsed.number::<u64>(14)?).saturating_mul(tick),
        started_at: boot_time.saturating_mul(1_000_000_000).saturating_add(parsed.number::<u64>(21)?.saturating_mul(tick)),
        memory: parsed.number::<u64>(23)?.saturating_mul(page),
        command,
        name: parsed.name.to_owned(),
        state: parsed.fields.first().map(|state| (*state).to_owned()).unwrap_or_default(),
        group: parsed.number(4)?,
        session: parsed.number(5)?,
        foreground: parsed.number::<i32>(7)? == parsed.number::<i32>(4)?,
        priority: parsed.number(17)?,
        nice: parsed.number(18)?,
        threads: parsed.number(19)?,
        virtual_memory: parsed.number(22)?,
    })
}

/// A line of `/proc/pid/stat`. **Source:** proc_pid_stat(5).
struct Stat<'a> {
    name: &'a str,
    /// From the third field on.
    fields: Vec<&'a str>,
}

impl<'a> Stat<'a> {
    /// The name may hold blanks and parentheses, so it ends at the last parenthesis.
    fn parse(text: &'a str) -> Option<Self> {
        let (head, fields) = text.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        Some(Self { name, fields: fields.split_whitespace().collect() })
    }

    /// A field, counted from 0 as in the manual's list less one.
    fn number<T: std::str::FromStr>(&self, field: usize) -> Option<T> {
        self.fields.get(field.checked_sub(2)?)?.parse().ok()
    }
}

/// Finds the process with most resident memory.
pub(crate) fn biggest(pids: &[Pid]) -> Option<BiggestProcess> {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let memory = |pid: &Pid| {
        let pid = pid.as_raw_nonzero().get();
        let stat = read(&format!("/proc/{pid}/stat"));
        let parsed = Stat::parse(&stat)?;
        let memory = parsed.number::<u64>(23)?.saturating_mul(page);
        Some(BiggestProcess { pid, command: parsed.name.to_owned(), memory })
    };
    pids.iter().filter_map(memory).max_by_key(|process| process.memory)
}

/// Counters of the interfaces in a process's network namespace, without the loopback.
pub(crate) fn interfaces(pid: Pid) -> BTreeMap<String, InterfaceStats> {
    parse_interfaces(&read(&format!("/proc/{}/net/dev", pid.as_raw_nonzero())))
}

/// **Source:** proc_pid_net(5), `/proc/net/dev`: two lines of titles, then the name and sixteen counters.
fn parse_interfaces(text: &str) -> BTreeMap<String, InterfaceStats> {
    let interface = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, sent @ ..] = &counters[..] else {
            return None;
        };
        let [tx_bytes, tx_packets, tx_errors, tx_dropped, ..] = sent else {
            return None;
        };
        let stats = InterfaceStats {
            rx_bytes: *rx_bytes,
            rx_packets: *rx_packets,
            rx_errors: *rx_errors,
            rx_dropped: *rx_dropped,
            tx_bytes: *tx_bytes,
            tx_packets: *tx_packets,
            tx_errors: *tx_errors,
            tx_dropped: *tx_dropped,
        };
        Some((name.trim().to_owned(), stats)).filter(|(name, _)| name != "lo")
    };
    text.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::{Stat, parse_interfaces};

    #[test]
    fn names_with_parentheses_are_taken_whole() {
        let stat = Stat::parse("7 (a) b (c)) S 1 7 7 34816 7").unwrap();
        assert_eq!(stat.name, "a) b (c)");
        assert_eq!((stat.number(3), stat.number(6)), (Some(1), Some(34816)));
        assert_eq!(stat.number::<u64>(21), None);
    }

    #[test]
    fn counters_of_interfaces() {
        let text = "Inter-| Receive | Transmit\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n bad: 1\n";
        let interfaces = parse_interfaces(text);
        assert_eq!(interfaces.len(), 1);
        assert_eq!((interfaces["eth0"].rx_bytes, interfaces["eth0"].tx_dropped), (10, 8));
    }
}

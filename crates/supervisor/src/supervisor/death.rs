//! Why the container died: what is found out at the time.

use std::io;

use runtime::cgroup::Cgroup;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{PidfdFlags, Signal};

use super::Supervisor;
use crate::logs::{Logs, Next, Query};
use crate::proc;
use crate::protocol::{Event, Exit, LogDriver, OutOfMemory, Sender};
use crate::time;

/// Lines of the log in an exit record.
const LAST_LINES: u64 = 10;
/// Bytes of each of them.
const LAST_LINE_BYTES_MAX: usize = 256;
/// How long each killed process may take to end.
const LAST_KILL_MAX: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// Number of SIGKILL.
const KILL: i32 = 9;

impl Supervisor {
    /// Notes a kill and the circumstances, which are gone soon.
    pub(super) fn on_out_of_memory(&mut self) -> io::Result<()> {
        if let Some((watch, _)) = &self.memory.watch {
            watch.clear()?;
        }
        let biggest = self.container.cgroup().processes().ok().and_then(|pids| proc::biggest(&pids));
        // A dying process has given its memory back already.
        if let Some(biggest) = biggest.filter(|process| process.memory > 0) {
            self.memory.biggest_process = Some(biggest);
        }
        self.count_kills();
        Ok(())
    }

    /// Announces kills that have not been counted yet.
    fn count_kills(&mut self) {
        let cgroup = self.container.cgroup();
        let kills = cgroup.oom_kills();
        if kills <= self.memory.kills {
            return;
        }
        self.memory.kills = kills;
        let (most, had) = cgroup.memory_bounds();
        self.announce(Event::OutOfMemory(OutOfMemory {
            limit: limit(most),
            peak: peak(had),
            biggest_process: self.memory.biggest_process.clone(),
        }));
    }

    /// Composes the exit record; the cgroup must still be there.
    pub(super) fn exit_record(&mut self, (code, signal): (i32, Option<i32>)) -> Exit {
        self.count_kills();
        let (most, had) = self.container.cgroup().memory_bounds();
        let oom_killed = self.memory.kills > 0;
        let by_engine = self.last_signal.filter(|(sent, _)| Some(*sent) == signal);
        let sender = match by_engine {
            Some((_, sender)) => Some(sender),
            None if oom_killed && signal == Some(KILL) => Some(Sender::OutOfMemory),
            None => None,
        };
        Exit {
            code,
            signal,
            sender,
            oom_killed,
            memory_limit: limit(most),
            memory_peak: peak(had),
            biggest_process: self.memory.biggest_process.take(),
            last_log_lines: if code == 0 { Vec::new() } else { self.last_log_lines() },
            started_at: self.started_at,
            finished_at: time::now(),
        }
    }

    fn last_log_lines(&self) -> Vec<String> {
        let log = &self.settings.log;
        let query = Query { tail: Some(LAST_LINES), ..Query::default() };
        let mut lines = Vec::new();
        if log.driver == LogDriver::None {
            return lines;
        }
        let Ok(mut logs) = Logs::open(log.driver, log.path.clone(), query) else {
            return lines;
        };
        while let Ok(Next::Entry(entry)) = logs.next() {
            let line = entry.line.strip_suffix(b"\n").unwrap_or(&entry.line);
            let line = &line[..line.len().min(LAST_LINE_BYTES_MAX)];
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
        lines
    }
}

/// Bytes or tasks of a limit; the runtime says that there is none by the greatest number.
pub(super) fn limit(value: u64) -> Option<u64> {
    Some(value).filter(|value| *value != u64::MAX)
}

/// Highest use; 0 is not counted.
pub(super) fn peak(value: u64) -> Option<u64> {
    Some(value).filter(|value| *value > 0)
}

/// Kills what is left, waits for its end, and removes the cgroup. With a pid namespace of its own
/// nothing is left, as the kernel kills all that is inside with the first process.
pub(super) fn remove_cgroup(cgroup: &Cgroup) {
    let left = cgroup.processes().unwrap_or_default();
    if !left.is_empty() {
        let pidfds: Vec<_> = left.iter().filter_map(|pid| rustix::process::pidfd_open(*pid, PidfdFlags::empty()).ok()).collect();
        let _ = cgroup.signal_all(Signal::KILL);
        let _ = cgroup.thaw();
        for pidfd in pidfds {
            let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
            let _ = rustix::event::poll(&mut ended, Some(&LAST_KILL_MAX));
        }
    }
    // What the kernel refuses now, the engine removes when it next starts.
    let _ = cgroup.remove();
}

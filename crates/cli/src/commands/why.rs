//! `why`: why a container ended or does not run, and what to do.

use docker_api::client::{Client, escape};
use docker_api::types::{Death, Why};
use serde_json::Value;

use super::Entry;
use crate::context::Context;
use crate::error::Outcome;
use crate::flags::{Command, Given, described};
use crate::json::{number, text as field};
use crate::{human, output, printer};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("why"), act: why }];

/// Columns of a paragraph.
const WIDTH: usize = 100;

fn why(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let facts = facts(&mut client, &given.args[0])?;
    if given.has("format") {
        output::object(given.get("format"), &serde_json::to_value(&facts)?)?;
        return Ok(0);
    }
    printer::raw(Story { facts: &facts, now: jiff::Timestamp::now().as_second() }.tell().as_bytes());
    Ok(0)
}

/// Asks for all that is known; an engine that is not ours knows what `inspect` says.
fn facts(client: &mut Client, name: &str) -> Outcome<Why> {
    match client.call::<Why>("GET", &format!("/teu/why/{}", escape(name)), None) {
        Err(error) if error.status() == Some(404) => {}
        result => return Ok(result?),
    }
    let container: Value = client.call("GET", &format!("/containers/{}/json", escape(name)), None)?;
    let at = |path: &str| container.pointer(path).cloned().unwrap_or_default();
    let state = at("/State");
    let time = |name: &str| human::parse_time(field(&state, name)).filter(|seconds| *seconds > 0).unwrap_or(0);
    let code = i32::try_from(number(&state, "ExitCode")).unwrap_or(0);
    let unsigned = |value: &Value| u32::try_from(value.as_i64().unwrap_or(0)).unwrap_or(0);
    let oom_killed = state.get("OOMKilled").and_then(Value::as_bool).unwrap_or_default();
    let finished_at = time("FinishedAt");
    let probes = at("/State/Health/Log");
    let failed = probes.as_array().into_iter().flatten().rev().find(|probe| number(probe, "ExitCode") != 0);
    Ok(Why {
        name: field(&container, "Name").trim_start_matches('/').to_owned(),
        id: field(&container, "Id").to_owned(),
        image: at("/Config/Image").as_str().unwrap_or_default().to_owned(),
        status: field(&state, "Status").to_owned(),
        error: field(&state, "Error").to_owned(),
        started_at: time("StartedAt"),
        finished_at,
        death: (finished_at > 0).then(|| Death {
            exit_code: code,
            signal: if code > 128 && code < 193 { code - 128 } else { 0 },
            oom_killed,
            memory_limit: u64::try_from(at("/HostConfig/Memory").as_i64().unwrap_or(0)).unwrap_or(0),
            started_at: time("StartedAt"),
            finished_at,
            ..Death::default()
        }),
        restart_count: unsigned(&at("/RestartCount")),
        restart_policy: at("/HostConfig/RestartPolicy/Name").as_str().unwrap_or_default().to_owned(),
        restarts_max: unsigned(&at("/HostConfig/RestartPolicy/MaximumRetryCount")),
        memory_limit: at("/HostConfig/Memory").as_i64().unwrap_or(0),
        health: at("/State/Health/Status").as_str().unwrap_or_default().to_owned(),
        failing_streak: unsigned(&at("/State/Health/FailingStreak")),
        probe_output: failed.map(|probe| field(probe, "Output").trim().to_owned()).unwrap_or_default(),
    })
}

struct Story<'a> {
    facts: &'a Why,
    now: i64,
}

impl Story<'_> {
    fn tell(&self) -> String {
        let facts = self.facts;
        let mut sentences = vec![self.opening()];
        sentences.extend(self.cause());
        sentences.extend(self.health());
        sentences.extend(self.restarts());
        let mut text = wrap(&sentences.join(" "));
        let lines = facts.death.as_ref().map(|death| death.last_log_lines.as_slice()).unwrap_or_default();
        if !lines.is_empty() {
            text.push_str("\nLast lines of its log:\n");
            for line in lines {
                text.push_str(&format!("    {}\n", line.trim_end()));
            }
        }
        if let Some(advice) = self.advice() {
            text.push('\n');
            text.push_str(&wrap(&format!("What to do: {advice}")));
        }
        text
    }

    fn opening(&self) -> String {
        let facts = self.facts;
        let named = format!("{} ({})", facts.name, facts.image);
        let since = |seconds: i64| human::duration(self.now - seconds).to_lowercase();
        let clock = |seconds: i64| {
            let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
            time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
        };
        let before = match (&facts.death, facts.status.as_str()) {
            (Some(death), "running" | "paused") => format!(" Before that it ended {} ago.", since(death.finished_at)),
            _ => String::new(),
        };
        match (facts.status.as_str(), &facts.death) {
            ("running", _) => format!("{named} runs since {} ({} ago).{before}", clock(facts.started_at), since(facts.started_at)),
            ("paused", _) => format!("{named} is paused; it was started {} ago.{before}", since(facts.started_at)),
            (_, Some(death)) if facts.started_at > 0 => {
                let lasted = if death.started_at > 0 {
                    human::duration(death.finished_at - death.started_at).to_lowercase()
                } else {
                    "no time".to_owned()
                };
                format!("{named} ended {} ago ({}) after it had run for {lasted}.", since(death.finished_at), clock(death.finished_at))
            }
            _ if facts.error.is_empty() => format!("{named} was created and never started."),
            _ => format!("{named} could not be started: {}.", facts.error.trim_end_matches('.')),
        }
    }

    /// What ended it last.
    fn cause(&self) -> Option<String> {
        let death = self.facts.death.as_ref().filter(|_| self.facts.started_at > 0)?;
        let bytes = |bytes: u64| {
            #[allow(clippy::cast_precision_loss, reason = "four figures are shown")]
            human::binary_size(bytes as f64)
        };
        if death.oom_killed {
            let mut text = match death.signal {
                9 => "The kernel killed it, for it ran out of memory".to_owned(),
                _ => format!(
                    "Memory ran out and the kernel killed one of its processes; the program then ended with code {}",
                    death.exit_code
                ),
            };
            match (death.memory_limit, death.memory_peak) {
                (0, _) => text.push_str(": the host itself had no more, for the container has no limit"),
                (limit, 0) => text.push_str(&format!(": its limit is {}", bytes(limit))),
                (limit, peak) => text.push_str(&format!(": its limit is {} and it used up to {}", bytes(limit), bytes(peak))),
            }
            if !death.biggest_process.is_empty() {
                let (name, pid) = (&death.biggest_process, death.biggest_pid);
                text.push_str(&format!("; the biggest process was {name} (pid {pid}, {})", bytes(death.biggest_memory)));
            }
            text.push('.');
            return Some(text);
        }
        if death.signal != 0 {
            let name = signal_name(death.signal);
            return Some(match death.sender.as_str() {
                "engine" => format!(
                    "{name} ended it (exit code {}), sent by this engine: somebody stopped, killed, restarted or removed it, or its stop took too long.",
                    death.exit_code
                ),
                _ => format!("{name} ended it (exit code {}): {}.", death.exit_code, signal_meaning(death.signal)),
            });
        }
        Some(format!("Its program ended by itself with exit code {}: {}.", death.exit_code, code_meaning(death.exit_code)))
    }

    fn health(&self) -> Option<String> {
        let facts = self.facts;
        if facts.health != "unhealthy" && facts.failing_streak == 0 {
            return None;
        }
        let output = if facts.probe_output.is_empty() {
            "without output".to_owned()
        } else {
            format!("with: {}", facts.probe_output.replace('\n', " / "))
        };
        Some(format!(
            "Its health check says {} and has failed {} times in a row, the last time {output}.",
            facts.health, facts.failing_streak
        ))
    }

    fn restarts(&self) -> Option<String> {
        let facts = self.facts;
        let times = match facts.restart_count {
            0 => "has not been restarted".to_owned(),
            1 => "has been restarted once".to_owned(),
            count => format!("has been restarted {count} times"),
        };
        match facts.restart_policy.as_str() {
            "" | "no" => None,
            policy if facts.status == "restarting" => {
                Some(format!("It {times} by its policy {policy} and will be started again within a minute."))
            }
            policy if facts.restarts_max > 0 && facts.restart_count >= facts.restarts_max => {
                Some(format!("It {times} by its policy {policy}:{}, which now has given up.", facts.restarts_max))
            }
            policy => Some(format!("It {times} by its policy {policy}.")),
        }
    }

    fn advice(&self) -> Option<String> {
        let facts = self.facts;
        let name = &facts.name;
        if facts.started_at == 0 {
            return Some(start_advice(facts));
        }
        if facts.status == "running" && facts.health == "unhealthy" {
            return Some(format!(
                "run the check by hand with `teu exec {name} ...`, read `teu logs --tail 50 {name}`, or restart it with `teu restart {name}`."
            ));
        }
        let death = facts.death.as_ref()?;
        if facts.status == "running" || facts.status == "paused" {
            return None;
        }
        if death.oom_killed {
            let limit = death.memory_limit.max(u64::try_from(facts.memory_limit).unwrap_or(0));
            let more = (limit / (1 << 20)).saturating_mul(2).max(64);
            return Some(if limit == 0 {
                format!("find what uses the host's memory with `teu stats`, and give {name} a limit (`teu update -m`).")
            } else {
                format!(
                    "give it more with `teu update -m {more}m --memory-swap {more}m {name}` and `teu start {name}`, or find what grows with `teu stats {name}`."
                )
            });
        }
        match (death.exit_code, death.signal, death.sender.as_str()) {
            (0, ..) => Some(format!(
                "nothing, if it was to end. Else look whether its program stays in the foreground; `teu start {name}` starts it again."
            )),
            (_, 9, "engine") => Some(format!(
                "nothing, if that was wanted. If it was a stop that took too long, let the program end at {}, or wait longer with `teu stop -t 60 {name}`.",
                signal_name(15)
            )),
            (_, 1.., "engine") => Some(format!("nothing, if that was wanted; `teu start {name}` starts it again.")),
            (126, ..) => Some("make the program executable (chmod +x), and look whether it is built for this machine.".to_owned()),
            (127, ..) => {
                Some("look at the command and at PATH: the program, or the interpreter in its first line, is not in the image.".to_owned())
            }
            (_, 4 | 6 | 7 | 8 | 11, _) => Some(format!(
                "this is a fault of the program: read `teu logs {name}` before the end, and try the version of the image before."
            )),
            (_, 1.., _) => Some(format!(
                "look who sends {} in the container or, as root, on the host: it was not this engine.",
                signal_name(death.signal)
            )),
            _ => Some(format!(
                "read all of `teu logs --tail 100 {name}`; start it by hand with `teu start -a {name}`, or look inside with `teu debug {name}`."
            )),
        }
    }
}

fn start_advice(facts: &Why) -> String {
    let has = |text: &str| facts.error.contains(text);
    let name = &facts.name;
    if facts.error.is_empty() {
        format!("`teu start {name}` starts it.")
    } else if has("executable file not found") || has("no such file or directory") {
        "look at the command and at PATH: this program is not in the image.".to_owned()
    } else if has("permission denied") {
        "make the program executable (chmod +x), or look at the user it runs as.".to_owned()
    } else if has("port is already allocated") || has("address already in use") {
        "another container or program has this port: find it with `teu ps` or `ss -ltnp`, or publish another one.".to_owned()
    } else if has("bind source path does not exist") || has("mount") {
        "look at the paths of its mounts (`teu inspect`): one of them is missing or of another kind.".to_owned()
    } else {
        format!("mend what the message names, then `teu start {name}`.")
    }
}

/// **Source:** signal(7), numbers of x86 and ARM.
fn signal_name(signal: i32) -> String {
    let known = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    known.iter().find(|(number, _)| *number == signal).map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

fn signal_meaning(signal: i32) -> &'static str {
    match signal {
        4 => "the processor met an instruction it does not know; perhaps the image is for another machine",
        6 => "the program gave up by itself, as after a failed check or an uncaught exception",
        7 => "it touched memory that is not there, such as a file that was cut short",
        8 => "it divided by zero or the like",
        9 => "somebody killed it, a process in the container or root of the host, or the host ran out of memory",
        11 => "it touched memory that is not its own",
        13 => "it wrote to one who had gone",
        15 => "somebody asked it to end, and it was not this engine",
        24 => "it used up its time of the processor",
        25 => "a file grew beyond its limit",
        31 => "it made a system call that is forbidden here",
        _ => "a process sent it, and it was not this engine",
    }
}

/// **Source:** bash(1), "EXIT STATUS"; sysexits(3).
fn code_meaning(code: i32) -> &'static str {
    match code {
        0 => "it was done",
        1 => "a failure that only its own words explain",
        2 => "it was called in a wrong way, or a shell met an error",
        64 => "it was called in a wrong way",
        65 => "its input was wrong",
        66 => "its input was missing",
        69 => "a service it needs is not there",
        70 => "a fault inside of it",
        71 => "the system refused something",
        73 => "it could not create a file",
        74 => "reading or writing failed",
        75 => "something failed that may work later",
        77 => "it may not do what it tried",
        78 => "its configuration is wrong",
        126 => "a command was found but could not be executed",
        127 => "a command was not found",
        129..=192 => "one of its processes was ended by a signal, and it said so by this code",
        255 => "a failure beyond the range of codes, such as exit(-1)",
        _ => "a failure that only its own words explain",
    }
}

/// Breaks a paragraph into lines.
fn wrap(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            lines.push('\n');
            width = 0;
        }
        if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(facts: &Why) -> String {
        Story { facts, now: 10_000 }.tell().replace('\n', " ")
    }

    fn ended(death: Death) -> Why {
        let death = Some(Death { started_at: 1000, finished_at: 4600, ..death });
        Why {
            name: "web".to_owned(),
            image: "nginx".to_owned(),
            status: "exited".to_owned(),
            started_at: 1000,
            finished_at: 4600,
            death,
            ..Why::default()
        }
    }

    #[test]
    fn a_death_by_memory_names_limit_peak_and_process() {
        let death = Death {
            exit_code: 137,
            signal: 9,
            sender: "kernel".to_owned(),
            oom_killed: true,
            memory_limit: 256 << 20,
            memory_peak: 255 << 20,
            biggest_process: "java".to_owned(),
            biggest_pid: 77,
            biggest_memory: 240 << 20,
            ..Death::default()
        };
        let text = told(&Why { restart_policy: "on-failure".to_owned(), restarts_max: 3, restart_count: 3, ..ended(death) });
        for part in [
            "after it had run for about an hour",
            "limit is 256MiB",
            "up to 255MiB",
            "java (pid 77, 240MiB)",
            "on-failure:3, which now has given up",
            "-m 512m",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn codes_and_senders_have_a_meaning() {
        let text = told(&ended(Death { exit_code: 127, last_log_lines: vec!["sh: x: not found".to_owned()], ..Death::default() }));
        assert!(text.contains("a command was not found") && text.contains("sh: x: not found") && text.contains("PATH"), "{text}");
        let text = told(&ended(Death { exit_code: 143, signal: 15, sender: "engine".to_owned(), ..Death::default() }));
        assert!(text.contains("SIGTERM ended it") && text.contains("sent by this engine"), "{text}");
        let text = told(&ended(Death { exit_code: 139, signal: 11, ..Death::default() }));
        assert!(text.contains("memory that is not its own") && text.contains("fault of the program"), "{text}");
    }

    #[test]
    fn a_failed_start_and_a_failed_check_are_told() {
        let facts =
            Why { name: "web".to_owned(), status: "created".to_owned(), error: "port is already allocated".to_owned(), ..Why::default() };
        assert!(told(&facts).contains("could not be started") && told(&facts).contains("ss -ltnp"));
        let facts = Why {
            status: "running".to_owned(),
            started_at: 5,
            health: "unhealthy".to_owned(),
            failing_streak: 4,
            probe_output: "refused".to_owned(),
            ..Why::default()
        };
        assert!(told(&facts).contains("failed 4 times in a row, the last time with: refused"));
    }
}

//! `__complete`: the words that may follow, with what they mean; asked by the completion scripts.
//!
//! The answer is one candidate a line, a tab and its description, and at last `:` with a sum: 2 for no blank
//! after the word, 4 for no names of files. **Source:** spf13/cobra, `completions.go`, so that scripts made for
//! Docker's own program work with this one.

use docker_api::client::Client;
use serde_json::Value;

use super::{find, global, lists, members};
use crate::context::Context;
use crate::flags::{Command, Flag, Kind};
use crate::json::{items, text as field};
use crate::{config, printer};

/// A candidate and its description.
type Candidate = (String, String);

/// Words, and whether file names fit too and whether no blank follows.
#[derive(Debug, Default)]
struct Answer {
    words: Vec<Candidate>,
    files: bool,
    open: bool,
}

/// Prints what may stand in the place of the last word.
pub(super) fn run(context: &mut Context, words: &[String]) {
    let (current, before) = words.split_last().map_or(("", [].as_slice()), |(last, before)| (last.as_str(), before));
    let answer = answer(context, before, current);
    let mut text = String::new();
    for (word, about) in answer.words.iter().filter(|(word, _)| word.starts_with(current)) {
        text.push_str(&format!("{word}\t{}\n", about.lines().next().unwrap_or_default()));
    }
    let directive = u8::from(answer.open) * 2 + u8::from(!answer.files) * 4;
    printer::raw(format!("{text}:{directive}\n").as_bytes());
}

fn answer(context: &mut Context, before: &[String], current: &str) -> Answer {
    let mut globals = global::section().command("global", crate::flags::described(""));
    globals.strict = true;
    let (rest, pending) = skip(&globals, before);
    if let Some(flag) = pending {
        return value(context, "", flag);
    }
    if rest.is_empty() {
        let (groups, commands) = lists();
        return if current.starts_with('-') {
            flags(context, &globals, current)
        } else {
            Answer { words: groups.into_iter().chain(commands).collect(), ..Answer::default() }
        };
    }
    for length in [2, 1] {
        if let Some(found) = rest.get(..length).and_then(|head| find(&head.join(" "))) {
            return inside(context, &found.command, &rest[length..], current);
        }
    }
    if rest.len() == 1 { Answer { words: members(&rest[0]), ..Answer::default() } } else { Answer::default() }
}

/// The positional words, and the flag whose value is still missing.
fn skip(command: &Command, words: &[String]) -> (Vec<String>, Option<Flag>) {
    let (mut positional, mut pending) = (Vec::new(), None);
    for word in words {
        if pending.take().is_some() {
            continue;
        }
        if !positional.is_empty() && command.strict || !word.starts_with('-') || word.len() == 1 {
            positional.push(word.clone());
            continue;
        }
        let flag = match word.strip_prefix("--") {
            Some(long) => command.flags.iter().find(|flag| flag.long == long),
            None => command.flags.iter().find(|flag| word.ends_with(flag.short) && flag.short != '\0'),
        };
        pending = flag.filter(|flag| flag.kind != Kind::Bool).copied();
    }
    (positional, pending)
}

fn inside(context: &mut Context, command: &Command, words: &[String], current: &str) -> Answer {
    let (positional, pending) = skip(command, words);
    if let Some(flag) = pending {
        return value(context, command.words, flag);
    }
    if current.starts_with('-') && (positional.is_empty() || !command.strict) {
        return flags(context, command, current);
    }
    let usage = command.usage.lines().next().and_then(|usage| usage.split("[OPTIONS]").last()).unwrap_or_default();
    let usage = usage.strip_prefix(command.words).unwrap_or(usage).replace(" | ", "|");
    let places: Vec<&str> = usage.split_whitespace().collect();
    let place = places.get(positional.len()).or(places.last().filter(|place| place.contains("..."))).copied().unwrap_or_default();
    let place = place.trim_matches(['[', ']', '.']);
    let mut answer = objects(context, command.words, place, current);
    answer.words.retain(|(word, _)| !positional.contains(word));
    answer
}

fn flags(context: &mut Context, command: &Command, current: &str) -> Answer {
    if let Some((name, _)) = current.split_once('=') {
        let flag = command.flags.iter().find(|flag| name.strip_prefix("--") == Some(flag.long));
        let mut answer = flag.map(|flag| value(context, command.words, *flag)).unwrap_or_default();
        for (word, _) in &mut answer.words {
            *word = format!("{name}={word}");
        }
        return answer;
    }
    let mut words: Vec<Candidate> = Vec::new();
    for flag in command.flags.iter().filter(|flag| !flag.hidden && flag.refused.is_none()) {
        words.push((format!("--{}", flag.long), flag.help.to_owned()));
        if flag.short != '\0' && current == "-" {
            words.push((format!("-{}", flag.short), flag.help.to_owned()));
        }
    }
    words.push(("--help".to_owned(), "Print usage".to_owned()));
    Answer { words, ..Answer::default() }
}

/// Words that a flag takes.
fn value(context: &mut Context, command: &str, flag: Flag) -> Answer {
    let fixed: &[&str] = match flag.long {
        "restart" => &["no", "always", "unless-stopped", "on-failure", "on-failure:3"],
        "pull" if command != "build" => &["always", "missing", "never"],
        "signal" | "stop-signal" => &["SIGTERM", "SIGKILL", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGSTOP", "SIGCONT"],
        "cap-add" | "cap-drop" => &CAPABILITIES,
        "log-driver" => &["json-file", "local", "none"],
        "log-level" => &["debug", "info", "warn", "error", "fatal"],
        "type" => &["container", "image", "network", "volume"],
        "format" => &["json", "table"],
        "attach" => &["stdin", "stdout", "stderr"],
        "cgroupns" => &["host", "private"],
        "ipc" => &["none", "private", "shareable", "host", "container:"],
        "pid" | "uts" => &["host", "container:"],
        "platform" => &["linux/amd64", "linux/arm64"],
        "mount" => &["type=bind,source=", "type=volume,source=", "type=tmpfs,target=", "type=image,source="],
        "security-opt" => &["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined", "label=disable"],
        "driver" if command == "network create" => &["bridge", "macvlan", "ipvlan", "null", "host"],
        "filter" => filters(command),
        "sysctl" => &["net.ipv4.ip_unprivileged_port_start=0", "net.core.somaxconn=1024"],
        _ => &[],
    };
    if !fixed.is_empty() {
        let open = fixed.iter().any(|word| word.ends_with(['=', ':']));
        return Answer { words: fixed.iter().map(|word| ((*word).to_owned(), String::new())).collect(), open, files: false };
    }
    match flag.long {
        "network" | "net" => objects(context, command, "NETWORK", ""),
        "volumes-from" | "link" => objects(context, command, "CONTAINER", ""),
        "context" => objects(context, command, "CONTEXT", ""),
        "volume" => Answer { files: true, open: true, ..objects(context, command, "VOLUME", "") },
        "env-file" | "label-file" | "cidfile" | "file" | "input" | "output" | "config" | "tlscacert" | "tlscert" | "tlskey" | "iidfile"
        | "device" => Answer { files: true, ..Answer::default() },
        _ => Answer::default(),
    }
}

const CAPABILITIES: [&str; 16] = [
    "ALL",
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_TIME",
];

/// Keys of `--filter`.
fn filters(command: &str) -> &'static [&'static str] {
    match command {
        "images" | "image ls" => &["before=", "dangling=", "label=", "reference=", "since=", "until="],
        "network ls" => &["dangling=", "driver=", "id=", "label=", "name=", "scope=", "type="],
        "volume ls" => &["dangling=", "driver=", "label=", "name="],
        "events" | "system events" => &["container=", "daemon=", "event=", "image=", "label=", "network=", "type=", "volume="],
        "search" => &["is-official=", "stars="],
        "ps" | "container ls" => &[
            "ancestor=",
            "before=",
            "exited=",
            "expose=",
            "health=",
            "id=",
            "label=",
            "name=",
            "network=",
            "publish=",
            "since=",
            "status=",
            "volume=",
        ],
        _ => &["label=", "label!=", "until="],
    }
}

/// Names of what the word in the usage stands for.
fn objects(context: &mut Context, command: &str, place: &str, current: &str) -> Answer {
    let mut answer = Answer::default();
    let Some(kind) = place.split(['|', ':', '[', '=']).next() else {
        return answer;
    };
    match kind {
        "CONTAINER" => {
            answer.words = containers(context, command);
            // `cp` takes a path behind the name, or a path of this machine alone.
            answer.open = place.contains(':');
            answer.files = answer.open;
            if answer.open {
                answer.words.iter_mut().for_each(|(word, _)| word.push(':'));
            }
        }
        "IMAGE" | "SOURCE_IMAGE" | "REPOSITORY" | "TARGET_IMAGE" => answer.words = images(context, current),
        "NAME" if matches!(command, "push" | "pull" | "image push" | "image pull") => answer.words = images(context, current),
        "NETWORK" => answer.words = networks(context),
        "VOLUME" => answer.words = volumes(context),
        "CONTEXT" => answer.words = config::contexts().into_iter().map(|name| (name, String::new())).collect(),
        "NAME" => {
            answer.words = containers(context, command);
            answer.words.extend(images(context, current));
            answer.words.extend(networks(context));
            answer.words.extend(volumes(context));
        }
        "bash" => answer.words = ["bash", "zsh", "fish"].map(|shell| (shell.to_owned(), String::new())).to_vec(),
        "file" | "PATH" | "DEST_PATH" | "DIRECTORY" | "FILE" | "SRC_PATH" => answer.files = true,
        _ => {}
    }
    answer
}

/// A client of an engine that runs already: completion starts nothing and says nothing.
fn client(context: &Context) -> Option<Client> {
    let mut client = context.silent_client().ok()?;
    client.negotiate().ok()?;
    Some(client)
}

fn get(context: &Context, path: &str) -> Value {
    client(context).and_then(|mut client| client.call("GET", path, None).ok()).unwrap_or_default()
}

fn containers(context: &Context, command: &str) -> Vec<Candidate> {
    let verb = command.rsplit(' ').next().unwrap_or_default();
    let wanted: &[&str] = match verb {
        "exec" | "attach" | "top" | "pause" | "stats" | "port" => &["running"],
        "stop" | "kill" => &["running", "paused", "restarting"],
        "unpause" => &["paused"],
        "start" => &["created", "exited"],
        _ => &[],
    };
    let list = get(context, "/containers/json?all=1");
    let fits = |container: &&Value| wanted.is_empty() || wanted.contains(&field(container, "State"));
    let name = |container: &Value| {
        let name = items(container, "Names").filter_map(Value::as_str).next()?.trim_start_matches('/').to_owned();
        Some((name, format!("{}, {}", field(container, "Image"), field(container, "Status"))))
    };
    list.as_array().into_iter().flatten().filter(fits).filter_map(name).collect()
}

/// Repositories and tags; the tags only when a colon is typed, as there are many.
fn images(context: &Context, current: &str) -> Vec<Candidate> {
    let list = get(context, "/images/json");
    let mut words: Vec<Candidate> = Vec::new();
    for image in list.as_array().into_iter().flatten() {
        for tag in items(image, "RepoTags").filter_map(Value::as_str) {
            let short = tag.strip_suffix(":latest").filter(|_| !current.contains(':'));
            words.push((short.unwrap_or(tag).to_owned(), crate::json::short(field(image, "Id"))));
        }
    }
    words.sort_unstable();
    words
}

fn networks(context: &Context) -> Vec<Candidate> {
    let list = get(context, "/networks");
    let candidate = |network: &Value| (field(network, "Name").to_owned(), field(network, "Driver").to_owned());
    list.as_array().into_iter().flatten().map(candidate).collect()
}

fn volumes(context: &Context) -> Vec<Candidate> {
    items(&get(context, "/volumes"), "Volumes")
        .map(|volume| (field(volume, "Name").to_owned(), field(volume, "Driver").to_owned()))
        .collect()
}

/// Whether the words ask for completions.
pub(super) fn asked(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "__complete" || word == "__completeNoDesc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let current = words.pop().unwrap_or_default();
        let mut context = Context::new("teu".to_owned(), crate::Environment::default());
        context.host = Some("unix:///nonexistent/teu.sock".to_owned());
        let answer = answer(&mut context, &words, &current);
        answer.words.into_iter().map(|(word, _)| word).filter(|word| word.starts_with(&current)).collect()
    }

    #[test]
    fn commands_flags_and_values_are_offered() {
        assert_eq!(complete("unp"), ["unpause"]);
        assert!(complete("").contains(&"container".to_owned()));
        assert_eq!(complete("container unp"), ["unpause"]);
        assert_eq!(complete("run --restar"), ["--restart"]);
        assert_eq!(complete("run --rm --restart unl"), ["unless-stopped"]);
        assert_eq!(complete("run --restart=unl"), ["--restart=unless-stopped"]);
        assert_eq!(complete("-H unix:///x volume pru"), ["prune"]);
        assert!(complete("run busybox --rest").is_empty());
        assert_eq!(complete("completion z"), ["zsh"]);
        assert_eq!(complete("ps --filter stat"), ["status="]);
    }
}

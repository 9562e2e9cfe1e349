//! One file per command or family: its table of words and what it does.

mod attach;
mod completion;
mod create_body;
mod create_flags;
mod events;
mod exec;
mod image;
mod inspect;
mod life;
mod list;
mod logs;
mod mount;
mod network;
mod port;
mod run;
mod stats;
mod system;
mod update;
mod volume;

use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given};
use crate::{help, printer};

/// A command and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    pub(crate) act: fn(&mut Context, &Command, &Given) -> Outcome<u8>,
}

/// Every command by its words; those of a group are found by both words.
fn entries() -> Vec<Entry> {
    [
        run::ENTRIES,
        life::ENTRIES,
        list::ENTRIES,
        logs::ENTRIES,
        exec::ENTRIES,
        attach::ENTRIES,
        inspect::ENTRIES,
        events::ENTRIES,
        image::ENTRIES,
        network::ENTRIES,
        volume::ENTRIES,
        system::ENTRIES,
        update::ENTRIES,
        stats::ENTRIES,
        port::ENTRIES,
        completion::ENTRIES,
    ]
    .concat()
}

/// Docker's second names: what stands in a group, and what it is called without.
const ALIASES: [(&str, &str); 44] = [
    ("container attach", "attach"),
    ("container create", "create"),
    ("container exec", "exec"),
    ("container kill", "kill"),
    ("container logs", "logs"),
    ("container ls", "ps"),
    ("container list", "ps"),
    ("container ps", "ps"),
    ("container pause", "pause"),
    ("container port", "port"),
    ("container rename", "rename"),
    ("container restart", "restart"),
    ("container rm", "rm"),
    ("container remove", "rm"),
    ("container run", "run"),
    ("container start", "start"),
    ("container stats", "stats"),
    ("container stop", "stop"),
    ("container top", "top"),
    ("container unpause", "unpause"),
    ("container update", "update"),
    ("container wait", "wait"),
    ("image history", "history"),
    ("image import", "import"),
    ("image load", "load"),
    ("image ls", "images"),
    ("image list", "images"),
    ("image pull", "pull"),
    ("image rm", "rmi"),
    ("image remove", "rmi"),
    ("image save", "save"),
    ("image tag", "tag"),
    ("network list", "network ls"),
    ("network remove", "network rm"),
    ("volume list", "volume ls"),
    ("volume remove", "volume rm"),
    ("system events", "events"),
    ("system info", "info"),
    ("container inspect", "container inspect"),
    ("image inspect", "image inspect"),
    ("network inspect", "network inspect"),
    ("volume inspect", "volume inspect"),
    ("container prune", "container prune"),
    ("image prune", "image prune"),
];

/// Finds the command in the words and runs it.
pub(crate) fn run(context: &mut Context, words: &[String]) -> Outcome<u8> {
    let mut rest = words;
    while let Some(word) = rest.first().filter(|word| word.starts_with('-')) {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        match name {
            "-H" | "--host" | "-c" | "--context" | "--config" | "-l" | "--log-level" | "--tlscacert" | "--tlscert" | "--tlskey" => {
                let separate = value.is_none();
                let value =
                    value.or_else(|| rest.get(1).cloned()).ok_or_else(|| Failure::new(format!("flag needs an argument: {name}")))?;
                if matches!(name, "-H" | "--host") {
                    context.host = Some(value);
                }
                rest = rest.get(1 + usize::from(separate)..).unwrap_or_default();
            }
            "-D" | "--debug" | "--tls" | "--tlsverify" => rest = &rest[1..],
            "-v" | "--version" => {
                printer::line(&format!("Docker version 28.5.2, build teu {}", env!("CARGO_PKG_VERSION")));
                return Ok(0);
            }
            "-h" | "--help" => {
                overview(context);
                return Ok(0);
            }
            _ => {
                return Err(Failure::Message {
                    message: format!("unknown flag: {name}\nSee '{} --help'.", context.name),
                    code: 125,
                    run: false,
                });
            }
        }
    }
    let Some(first) = rest.first() else {
        overview(context);
        return Ok(0);
    };
    if first == "help" {
        return run(context, &[rest.get(1..).unwrap_or_default(), &["--help".to_owned()]].concat());
    }
    let entries = entries();
    for length in [2, 1] {
        let Some(head) = rest.get(..length) else {
            continue;
        };
        let words = head.join(" ");
        let words = ALIASES.iter().find(|(alias, _)| *alias == words).map_or(words.as_str(), |(_, words)| words);
        if let Some(entry) = entries.iter().find(|entry| entry.command.words == words) {
            let given = entry.command.parse(&rest[length..])?;
            if given.help {
                help::command(&context.name, &entry.command);
                return Ok(0);
            }
            return (entry.act)(context, &entry.command, &given);
        }
    }
    let name = &context.name;
    if let Some((group, about)) = GROUPS.iter().find(|(group, _)| group == first) {
        return match rest.get(1) {
            Some(word) if word != "--help" && word != "-h" => Err(Failure::new(format!(
                "{name}: unknown command: {name} {group} {word}\n\nUsage:  {name} {group}\n\nRun '{name} {group} --help' for more information"
            ))),
            _ => {
                help::group(name, group, about, &members(group, &entries));
                Ok(0)
            }
        };
    }
    Err(Failure::new(format!("{name}: unknown command: {name} {first}\n\nRun '{name} --help' for more information")))
}

/// Words that only introduce other commands.
const GROUPS: &[(&str, &str)] = &[
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage Docker"),
    ("volume", "Manage volumes"),
];

/// The commands of a group, by the word behind it.
fn members(group: &str, entries: &[Entry]) -> Vec<(String, &'static str)> {
    let about = |words: &str| {
        let entry = entries.iter().find(|entry| entry.command.words == words);
        entry.map_or("", |entry| entry.command.about)
    };
    let own = entries.iter().map(|entry| (entry.command.words, entry.command.about));
    let aliases = ALIASES.iter().map(|(alias, words)| (*alias, about(words)));
    let mut members: Vec<(String, &str)> = own
        .chain(aliases)
        .filter_map(|(words, about)| {
            let (before, word) = words.split_once(' ')?;
            (before == group).then(|| (word.to_owned(), about))
        })
        .collect();
    members.sort_unstable();
    members.dedup();
    members
}

fn overview(context: &Context) {
    let entries = entries();
    help::overview(&context.name, &entries.iter().map(|entry| &entry.command).collect::<Vec<_>>());
}

/// Does the same for each name; prints a line for each success and the errors at the end, as Docker does.
fn each(names: &[String], mut act: impl FnMut(&str) -> Outcome<Option<String>>) -> Outcome<u8> {
    let mut failures = Vec::new();
    for name in names {
        match act(name) {
            Ok(Some(line)) => printer::line(&line),
            Ok(None) => {}
            Err(failure) => failures.extend(failure.text("")),
        }
    }
    if failures.is_empty() {
        return Ok(0);
    }
    Err(Failure::new(failures.join("\n")))
}

/// Asks a person before something is removed; without a terminal the answer is what comes on standard input.
fn confirm(question: &str) -> Outcome<bool> {
    printer::raw(format!("{question} [y/N] ").as_bytes());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `--filter a=b` in the form the API takes.
fn filters(given: &Given) -> Outcome<Option<String>> {
    let mut map = serde_json::Map::new();
    for filter in given.all("filter") {
        let (name, value) = filter.split_once('=').ok_or_else(|| {
            Failure::new("invalid argument \"".to_owned() + filter + "\" for \"-f, --filter\" flag: invalid filter '" + filter + "'")
        })?;
        let values = map.entry(name.trim().to_lowercase()).or_insert_with(|| serde_json::json!({}));
        values[value.trim()] = true.into();
    }
    Ok((!map.is_empty()).then(|| serde_json::Value::Object(map).to_string()))
}

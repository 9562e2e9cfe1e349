//! One file per command or family: its table of words and what it does.

mod archives;
mod attach;
mod build;
mod changes;
mod checks;
mod complete;
mod completion;
mod compose;
mod contexts;
mod cp;
mod create_body;
mod create_network;
mod debug;
mod disk;
mod events;
mod exec;
mod explore;
mod global;
mod image;
mod info;
mod inspect;
mod life;
mod list;
mod logs;
mod man;
mod manifest;
pub(crate) mod mount;
mod network;
mod network_map;
mod network_policy;
mod port;
mod registry;
mod run;
mod stats;
mod system;
mod transfer;
mod update;
mod volume;
mod volume_files;
mod why;

use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{self, Command, Given};
use crate::words::{self, Section};
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
        build::ENTRIES,
        changes::ENTRIES,
        inspect::ENTRIES,
        events::ENTRIES,
        image::ENTRIES,
        archives::ENTRIES,
        registry::ENTRIES,
        manifest::ENTRIES,
        network::ENTRIES,
        network_policy::ENTRIES,
        volume::ENTRIES,
        volume_files::ENTRIES,
        system::ENTRIES,
        update::ENTRIES,
        stats::ENTRIES,
        port::ENTRIES,
        contexts::ENTRIES,
        cp::ENTRIES,
        debug::ENTRIES,
        disk::ENTRIES,
        info::ENTRIES,
        explore::ENTRIES,
        why::ENTRIES,
        completion::ENTRIES,
        man::ENTRIES,
        &compose::entries(),
    ]
    .concat()
}

/// A command found by its words.
pub(crate) struct Found {
    pub(crate) command: Command,
    pub(crate) section: Option<Section>,
    pub(crate) act: fn(&mut Context, &Command, &Given) -> Outcome<u8>,
}

/// Finds the command of exactly these words.
pub(crate) fn find(called: &str) -> Option<Found> {
    let section = words::find(called);
    let known = |entry: &Entry| {
        let own = entry.command.words;
        own == called || section.as_ref().is_some_and(|section| section.names.contains(&own))
    };
    let entry = entries().into_iter().find(known)?;
    let command = section.as_ref().map_or(entry.command, |section| section.command(called, entry.command));
    Some(Found { command, section, act: entry.act })
}

/// The words of the program `docker-compose`, as those of this one: called by a person, or as a plugin of Docker's client,
/// which puts its own flags and `compose` before. `None` if it was only asked what it is; then that is told.
///
/// **Source:** docker/cli, `cli-plugins/metadata`.
pub(crate) fn as_compose(words: Vec<String>) -> Option<Vec<String>> {
    if words.first().is_some_and(|word| word == "docker-cli-plugin-metadata") {
        printer::line(&compose::metadata());
        return None;
    }
    let by_docker =
        std::env::var_os("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND").is_some() || words.first().is_some_and(|word| word == "compose");
    Some(if by_docker { words } else { std::iter::once("compose".to_owned()).chain(words).collect() })
}

/// Finds the command in the words and runs it.
pub(crate) fn run(context: &mut Context, words: &[String]) -> Outcome<u8> {
    if complete::asked(words) {
        complete::run(context, &words[1..]);
        return Ok(0);
    }
    let given = match global::read(context, words)? {
        Ok(given) => given,
        Err(code) => return Ok(code),
    };
    let rest = given.args;
    let Some(first) = rest.first().filter(|_| !given.help) else {
        overview(context);
        return Ok(0);
    };
    if first == "help" {
        return about(context, &rest[1..]);
    }
    if first == "compose" {
        return compose::run(context, &rest[1..]);
    }
    for length in [3, 2, 1] {
        let Some(head) = rest.get(..length) else {
            continue;
        };
        let called = head.join(" ");
        if let Some(found) = find(&called) {
            let given = found.command.parse(&rest[length..])?;
            if given.help {
                printer::raw(help::command(&context.name, &called, found.section.as_ref(), &found.command).as_bytes());
                return Ok(0);
            }
            return (found.act)(context, &found.command, &given);
        }
    }
    // A group within a group.
    if let Some(inner) = rest.get(..2).map(|words| words.join(" ")).filter(|words| !members(words).is_empty()) {
        return unknown(context, &inner, rest.get(2));
    }
    unknown(context, first, rest.get(1))
}

/// `help WORDS`.
fn about(context: &mut Context, words: &[String]) -> Outcome<u8> {
    if let Some(first) = words.first() {
        let length = [3, 2, 1].into_iter().find(|length| words.get(..*length).is_some_and(|head| find(&head.join(" ")).is_some()));
        let is_group = |length: &usize| words.get(..*length).is_some_and(|head| !members(&head.join(" ")).is_empty());
        let length = length.or_else(|| [2].into_iter().find(is_group));
        let length = length.or_else(|| words::find(first).map(|_| 1)).unwrap_or_default();
        if let Some(topic) = words.get(length) {
            return Err(Failure::new(format!("unknown help topic: {topic}")));
        }
    }
    run(context, &[words, &["--help".to_owned()]].concat())
}

/// A group by itself, a command of Docker that is not served, or a word that nobody knows.
fn unknown(context: &Context, first: &str, second: Option<&String>) -> Outcome<u8> {
    let name = &context.name;
    let section = words::find(first);
    if let Some(why) = section.as_ref().and_then(|section| section.refused) {
        return Err(Failure::new(format!("{name} {first}: {why}")));
    }
    let members = members(first);
    if members.is_empty() {
        if section.is_some() {
            return Err(Failure::new(format!("{name} {first}: not implemented yet")));
        }
        return Err(Failure::new(format!(
            "{name}: unknown command: {name} {first}\n\nRun '{name} --help' for more information{}",
            guess(first, &heads())
        )));
    }
    match second {
        Some(word) if word.starts_with('-') && !matches!(word.as_str(), "--help" | "-h") => Err(Failure::Message {
            message: format!("unknown flag: {word}\n\nUsage:  {name} {first}\n\nRun '{name} {first} --help' for more information"),
            code: 125,
            run: false,
        }),
        Some(word) if !word.starts_with('-') => {
            if words::find(&format!("{first} {word}")).is_some() {
                return Err(Failure::new(format!("{name} {first} {word}: not implemented yet")));
            }
            let words: Vec<String> = members.into_iter().map(|(word, _)| word).collect();
            Err(Failure::new(format!(
                "{name}: unknown command: {name} {first} {word}\n\nUsage:  {name} {first}\n\nRun '{name} {first} --help' for more information{}",
                guess(word, &words)
            )))
        }
        _ => {
            let about = section.and_then(|section| section.about.first().copied()).unwrap_or_default();
            printer::raw(help::group(name, first, about, &members).as_bytes());
            Ok(0)
        }
    }
}

/// A line with the word that was perhaps meant; only for a person, so that scripts see Docker's text.
fn guess(word: &str, known: &[String]) -> String {
    if !printer::stderr_is_terminal() {
        return String::new();
    }
    flags::nearest(word, known.iter().map(String::as_str)).map_or_else(String::new, |near| format!("\n\nDid you mean `{near}`?"))
}

/// First words of all commands that are served.
pub(crate) fn heads() -> Vec<String> {
    let (groups, commands) = lists();
    let mut heads: Vec<String> = groups.into_iter().chain(commands).map(|(word, _)| word).collect();
    heads.sort_unstable();
    heads
}

/// Words and what they do.
type Listing = Vec<(String, String)>;

/// The groups and the commands without a group.
pub(crate) fn lists() -> (Listing, Listing) {
    let (mut groups, mut commands) = (Listing::new(), Listing::new());
    for entry in entries() {
        let section = words::find(entry.command.words);
        let names = section.as_ref().map_or_else(|| vec![entry.command.words], |section| section.names.clone());
        let about = section.as_ref().and_then(|section| section.about.first().copied()).unwrap_or(entry.command.about);
        for name in names {
            match name.split_once(' ') {
                None if !about.is_empty() && !name.starts_with('_') => commands.push((name.to_owned(), about.to_owned())),
                None => {}
                Some((group, _)) => {
                    let about = words::find(group).and_then(|section| section.about.first().copied()).unwrap_or_default();
                    groups.push((group.to_owned(), about.to_owned()));
                }
            }
        }
    }
    for list in [&mut groups, &mut commands] {
        list.sort_unstable();
        list.dedup();
    }
    // A word that is both, as `builder`, leads the others.
    commands.retain(|(word, _)| !groups.iter().any(|(group, _)| group == word));
    (groups, commands)
}

/// The commands of a group that are served, by the word behind it.
pub(crate) fn members(group: &str) -> Listing {
    let mut members = Listing::new();
    for entry in entries() {
        let section = words::find(entry.command.words);
        let names = section.as_ref().map_or_else(|| vec![entry.command.words], |section| section.names.clone());
        let about = section.as_ref().and_then(|section| section.about.first().copied()).unwrap_or(entry.command.about);
        let shown = names.iter().find_map(|name| name.rsplit_once(' ').filter(|(before, _)| *before == group));
        let inner = names.iter().filter_map(|name| name.rsplit_once(' ')?.0.rsplit_once(' ')).find(|(before, _)| *before == group);
        if let Some((_, word)) = inner {
            let about = words::find(&format!("{group} {word}")).and_then(|section| section.about.first().copied()).unwrap_or_default();
            members.push((word.to_owned(), about.to_owned()));
        }
        members.extend(shown.filter(|_| !about.is_empty()).map(|(_, word)| (word.to_owned(), about.to_owned())));
    }
    // One sentence is enough for a list.
    members.iter_mut().for_each(|(_, about)| about.truncate(about.find(". ").unwrap_or(about.len())));
    members.sort_unstable();
    members.dedup();
    members
}

/// Help of a group by itself.
fn overview_of(context: &Context, group: &str) {
    let section = words::find(group);
    let about = section.and_then(|section| section.about.first().copied()).unwrap_or_default();
    printer::raw(help::group(&context.name, group, about, &members(group)).as_bytes());
}

fn overview(context: &Context) {
    let (groups, commands) = lists();
    printer::raw(help::overview(&context.name, &groups, &commands, &global::section()).as_bytes());
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
        let (name, value) = filter.split_once('=').unwrap_or((filter, ""));
        let values = map.entry(name.trim().to_lowercase()).or_insert_with(|| serde_json::json!({}));
        values[value.trim()] = true.into();
    }
    Ok((!map.is_empty()).then(|| serde_json::Value::Object(map).to_string()))
}

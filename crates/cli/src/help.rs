//! Help texts in Docker's layout, from the table that parses. **Source:** docker/cli, `cli/cobra.go`; spf13/pflag.

use crate::flags::{Command, Flag};
use crate::words::Section;

/// Columns of a help text where there is no terminal.
const WIDTH: usize = 80;

/// What `run` and its neighbours are called first in the overview.
const COMMON: [&str; 13] = ["run", "exec", "ps", "build", "bake", "pull", "push", "images", "login", "logout", "search", "version", "info"];

/// Columns a help text may take.
fn width() -> usize {
    crate::terminal::columns().unwrap_or(WIDTH).saturating_sub(1)
}

/// A command's help; `name` is the program's name and `called` the command's words as they were given.
#[must_use]
pub fn command(name: &str, called: &str, section: Option<&Section>, command: &Command) -> String {
    let usages = section.map_or_else(|| vec![command.usage.to_owned()], |section| section.usages(called));
    let about =
        section.filter(|section| !section.about.is_empty()).map_or_else(|| command.about.to_owned(), |section| section.about.join("\n"));
    let usages: Vec<String> = usages.iter().map(|usage| format!("{name} {usage}")).collect();
    let mut text = format!("Usage:  {}\n\n{about}\n", usages.join("\n\t"));
    if let Some(section) = section.filter(|section| section.names.len() > 1) {
        let names: Vec<String> = section.names.iter().map(|words| format!("{name} {words}")).collect();
        text.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    if let Some(section) = section.filter(|section| !section.examples.is_empty()) {
        text.push_str("\nExamples:\n");
        for (index, (why, words)) in section.examples.iter().enumerate() {
            let between = if index == 0 { "" } else { "\n" };
            text.push_str(&format!("{between}  # {why}\n  $ {name} {words}\n"));
        }
    }
    text + &options("Options", command.flags)
}

/// The flags under their title; nothing without flags.
fn options(title: &str, flags: &[Flag]) -> String {
    let shown: Vec<&Flag> = flags.iter().filter(|flag| !flag.hidden).collect();
    if shown.is_empty() {
        return String::new();
    }
    let left = |flag: &Flag| {
        let short = if flag.short == '\0' { "    ".to_owned() } else { format!("-{}, ", flag.short) };
        let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
        format!("  {short}--{}{value}", flag.long)
    };
    let column = shown.iter().map(|flag| left(flag).len()).max().unwrap_or_default() + 3;
    let mut text = format!("\n{title}:\n");
    for flag in shown {
        text.push_str(&format!("{:<column$}{}\n", left(flag), wrap(column, width(), flag.help).trim_end_matches('\n')));
    }
    text
}

/// Breaks a text into lines that begin at column `indent`, as pflag does: a last word that nearly fits stays.
fn wrap(indent: usize, width: usize, text: &str) -> String {
    let (mut indent, mut room, mut result) = (indent, width.saturating_sub(indent), String::new());
    if room < 24 {
        indent = 16;
        room = width.saturating_sub(indent);
        result.push_str(&format!("\n{}", " ".repeat(indent)));
    }
    if room < 24 {
        return text.replace('\n', &result);
    }
    let room = room - 5;
    let mut rest = text;
    let mut first = true;
    while first || !rest.is_empty() {
        let (line, after) = cut(room, rest);
        if !std::mem::take(&mut first) {
            result.push_str(&format!("\n{}", " ".repeat(indent)));
        }
        result.push_str(&line.replace('\n', &format!("\n{}", " ".repeat(indent))));
        rest = after;
    }
    result
}

/// Cuts one line off a text at its last blank, or at a line's end before it.
fn cut(room: usize, text: &str) -> (&str, &str) {
    if room + 5 > text.len() {
        return (text, "");
    }
    let head = &text[..text.floor_char_boundary(room)];
    let Some(at) = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    match head.rfind('\n').filter(|line| *line > 0 && *line < at) {
        Some(line) => (&text[..line], &text[line + 1..]),
        None => (&text[..at], &text[at + 1..]),
    }
}

/// Words with what they do, in two columns.
fn listing(title: &str, members: &[(String, String)]) -> String {
    let width = members.iter().map(|(word, _)| word.len()).max().unwrap_or_default().max(11) + 1;
    let lines = members.iter().map(|(word, about)| format!("  {word:<width$}{}\n", about.trim_end_matches('.')));
    if members.is_empty() { String::new() } else { format!("\n{title}:\n{}", lines.collect::<String>()) }
}

/// The commands of a group.
#[must_use]
pub fn group(name: &str, group: &str, about: &str, members: &[(String, String)]) -> String {
    let list = listing("Commands", members);
    format!("Usage:  {name} {group} COMMAND\n\n{about}\n{list}\nRun '{name} {group} COMMAND --help' for more information on a command.\n")
}

/// The list of commands: groups are those that stand before others, the rest is sorted.
#[must_use]
pub fn overview(name: &str, groups: &[(String, String)], commands: &[(String, String)], global: &Section) -> String {
    let common: Vec<(String, String)> =
        COMMON.iter().filter_map(|word| commands.iter().find(|(command, _)| command == word)).cloned().collect();
    let rest: Vec<(String, String)> = commands.iter().filter(|(word, _)| !COMMON.contains(&word.as_str())).cloned().collect();
    let own = [("daemon", "Run the engine in the foreground"), ("oci", "Run one bundle, with the words of runc")]
        .map(|(word, about)| (word.to_owned(), about.to_owned()));
    format!(
        "Usage:  {name} [OPTIONS] COMMAND\n\nContainers, images, networks and volumes in one binary\n{}{}{}{}{}\nRun '{name} COMMAND --help' for more information on a command.\n",
        listing("Common Commands", &common),
        listing("Management Commands", groups),
        listing("Commands", &rest),
        listing("Roles of this program", &own),
        options("Global Options", &global.flags),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_as_docker_breaks_them() {
        let text = "Filter output based on conditions provided, and on nothing else in the whole wide world";
        let lines = wrap(26, 79, text);
        assert_eq!(lines.lines().next(), Some("Filter output based on conditions provided, and"));
        assert!(lines.lines().skip(1).all(|line| line.starts_with(&" ".repeat(26))), "{lines}");
        assert_eq!(wrap(10, 79, "short"), "short");
        assert_eq!(wrap(79, 60, "a b"), "\n                a b");
    }
}

//! Help texts from the same tables that parse.

use crate::flags::{Command, Kind};
use crate::printer;

/// Prints a command's help.
pub fn command(name: &str, command: &Command) {
    let mut text = format!("Usage:  {name} {}\n\n{}\n", command.usage, command.about);
    if !command.flags.is_empty() {
        text.push_str("\nOptions:\n");
        let left: Vec<String> = command
            .flags
            .iter()
            .map(|flag| {
                let short = if flag.short == '\0' { "    ".to_owned() } else { format!("-{}, ", flag.short) };
                let value = match flag.kind {
                    Kind::Bool => "",
                    Kind::Text => " string",
                    Kind::List => " list",
                };
                format!("  {short}--{}{value}", flag.long)
            })
            .collect();
        let width = left.iter().map(String::len).max().unwrap_or_default() + 3;
        for (left, flag) in left.iter().zip(command.flags) {
            text.push_str(&format!("{left:width$}{}\n", flag.help));
        }
    }
    printer::raw(text.as_bytes());
}

/// Prints the commands of a group.
pub fn group(name: &str, group: &str, about: &str, members: &[(String, &str)]) {
    let mut text = format!("Usage:  {name} {group} COMMAND\n\n{about}\n\nCommands:\n");
    for (word, about) in members {
        text.push_str(&format!("  {word:<11} {about}\n"));
    }
    text.push_str(&format!("\nRun '{name} {group} COMMAND --help' for more information on a command.\n"));
    printer::raw(text.as_bytes());
}

/// Prints the list of commands.
pub fn overview(name: &str, commands: &[&Command]) {
    let mut text = format!("Usage:  {name} [OPTIONS] COMMAND\n\nContainers, images and networks in one binary\n\nCommands:\n");
    let mut sorted: Vec<&&Command> = commands.iter().collect();
    sorted.sort_by_key(|command| command.words);
    for command in sorted {
        text.push_str(&format!("  {:<22}{}\n", command.words, command.about));
    }
    text.push_str(&format!("\nGlobal Options:\n  -H, --host string     Engine to speak to\n  -v, --version         Print the version\n\nRun '{name} COMMAND --help' for more information on a command.\n"));
    printer::raw(text.as_bytes());
}

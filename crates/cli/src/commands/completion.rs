//! Completions for shells, from the same tables that parse.

use super::{Entry, entries};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, Kind};
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[Entry {
    command: Command {
        words: "completion",
        usage: "completion bash|zsh|fish",
        about: "Generate the autocompletion script for the specified shell",
        least: 1,
        most: 1,
        strict: false,
        flags: &[],
    },
    act: completion,
}];

fn completion(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = context.name.clone();
    let text = match given.args[0].as_str() {
        "bash" => bash(&name),
        "zsh" => format!("#compdef {name}\nautoload -U bashcompinit\nbashcompinit\n{}", bash(&name)),
        "fish" => fish(&name),
        other => {
            return Err(Failure::new(format!("unknown shell `{other}`: bash, zsh or fish")));
        }
    };
    printer::raw(text.as_bytes());
    Ok(0)
}

/// The first words of all commands.
fn heads() -> String {
    let mut heads: Vec<&str> = entries().iter().map(|entry| entry.command.words.split(' ').next().unwrap_or_default()).collect();
    heads.sort_unstable();
    heads.dedup();
    heads.join(" ")
}

fn bash(name: &str) -> String {
    let mut cases = String::new();
    for entry in entries() {
        let flags: Vec<String> = entry.command.flags.iter().map(|flag| format!("--{}", flag.long)).collect();
        cases.push_str(&format!("    \"{}\") words=\"{}\" ;;\n", entry.command.words, flags.join(" ")));
    }
    format!(
        "_{name}() {{\n  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" words=\"\"\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"{}\" -- \"$current\"))\n    return\n  fi\n  case \"$current\" in -*) ;; *)\n    COMPREPLY=($(compgen -W \"$({name} ps -a --format '{{{{.Names}}}}' 2>/dev/null)\" -- \"$current\"))\n    return ;;\n  esac\n  case \"${{COMP_WORDS[1]}}\" in\n{cases}  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}}\ncomplete -F _{name} {name}\n",
        heads()
    )
}

fn fish(name: &str) -> String {
    let mut text = format!("complete -c {name} -f\ncomplete -c {name} -n __fish_use_subcommand -a \"{}\"\n", heads());
    for entry in entries().iter().filter(|entry| !entry.command.words.contains(' ')) {
        for flag in entry.command.flags {
            let value = if flag.kind == Kind::Bool { "" } else { " -r" };
            text.push_str(&format!(
                "complete -c {name} -n \"__fish_seen_subcommand_from {}\" -l {}{value} -d '{}'\n",
                entry.command.words,
                flag.long,
                flag.help.replace('\'', "")
            ));
        }
    }
    text
}

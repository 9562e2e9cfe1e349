//! The one table of commands and flags, `words.txt`: parsing, help, man pages and completions are made from it.
//!
//! A section begins with `=` and how the command is used. Then come its names (`~`, the first in its group and
//! the short one), what it does (`|`), examples (`#` what for, `$` the command), flags in the form
//! `-s --long type  help`, each with further lines of help behind six blanks. `&` takes the flags of another
//! command, `hidden` before a flag leaves it out of the help, and `!` says why a flag or command is refused here.

use crate::flags::{Command, Flag, Kind};

/// The table.
const TABLE: &str = include_str!("words.txt");

/// What `@table` and `@json` stand for: the same help wherever an output takes a template.
const FORMAT: &str = "Format output using a custom template:";
const FORMAT_TABLE: &str = "\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template";
const FORMAT_REST: &str = "\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// An example: what for, and the words behind the program's name.
pub type Example = (&'static str, &'static str);

/// What the table says of one command.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// How it is used, without the program's name; most commands have one way.
    pub usages: Vec<&'static str>,
    /// All its names.
    pub names: Vec<&'static str>,
    /// What it does: a sentence, then more for those who ask.
    pub about: Vec<&'static str>,
    /// Examples.
    pub examples: Vec<Example>,
    /// Its flags, by name.
    pub flags: Vec<Flag>,
    /// Why there is no such command here.
    pub refused: Option<&'static str>,
}

/// The command's words at the start of how it is used: those in small letters.
fn words_of(usage: &str) -> &str {
    let own = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let end: usize = usage.split(' ').take_while(own).map(|word| word.len() + 1).sum();
    usage.get(..end.saturating_sub(1)).unwrap_or(usage)
}

/// The sections' texts, each with its first line. Each command looks for its own at each start, so the search is a quick one.
fn sections() -> impl Iterator<Item = &'static str> {
    let starts = memchr::memmem::find_iter(TABLE.as_bytes(), "\n\n= ").map(|before| before + 2);
    std::iter::once(0).chain(starts).map(|start| {
        let text = &TABLE[start..];
        text[..memchr::memmem::find(text.as_bytes(), b"\n\n").unwrap_or(text.len())].trim_end()
    })
}

/// All names of the command whose section begins so.
fn names(section: &'static str) -> Vec<&'static str> {
    let mut lines = section.lines().skip_while(|line| line.starts_with("= "));
    match lines.next().and_then(|line| line.strip_prefix("~ ")) {
        Some(names) => names.split(", ").collect(),
        None => vec![words_of(&section[2..section.find('\n').unwrap_or(section.len())])],
    }
}

/// Finds a command by one of its names.
#[must_use]
pub fn find(words: &str) -> Option<Section> {
    sections().find(|section| names(section).contains(&words)).map(read)
}

/// Every command's section.
#[must_use]
pub fn all() -> Vec<Section> {
    sections().map(read).collect()
}

fn read(text: &'static str) -> Section {
    let mut section = Section { names: names(text), ..Section::default() };
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(2));
        match mark.trim_end() {
            "=" => section.usages.push(rest),
            "~" => {}
            "|" => section.about.push(rest),
            "#" => section.examples.push((rest, "")),
            "$" => match section.examples.last_mut() {
                Some((_, command)) if command.is_empty() => *command = rest,
                _ => section.examples.push(("", rest)),
            },
            "&" => section.flags.extend(find(rest).into_iter().flat_map(|other| other.flags)),
            "!" => match section.flags.last_mut() {
                Some(flag) => flag.refused = Some(rest),
                None => section.refused = Some(rest),
            },
            "" if line.starts_with("      ") => {
                if let Some(flag) = section.flags.last_mut() {
                    flag.help = leak(format!("{}\n{}", flag.help, &line[6..]));
                }
            }
            _ => {
                let flag = flag(line);
                section.flags.retain(|known| known.long != flag.long);
                section.flags.push(flag);
            }
        }
    }
    section.flags.sort_by_key(|flag| flag.long);
    section
}

/// One flag: `[hidden ][-s ]--long[ type][  help]`.
fn flag(line: &'static str) -> Flag {
    let line = line.trim_start();
    let (left, help) = line.split_once("  ").unwrap_or((line, ""));
    let (hidden, left) = left.strip_prefix("hidden ").map_or((false, left), |left| (true, left));
    let mut words = left.split(' ').peekable();
    let short = words.next_if(|word| !word.starts_with("--")).and_then(|word| word.chars().nth(1)).unwrap_or('\0');
    let long = words.next().map_or("", |word| word.trim_start_matches('-'));
    let value = words.next().unwrap_or_default();
    let help = match help {
        "@table" => leak([FORMAT, FORMAT_TABLE, FORMAT_REST].concat()),
        "@json" => leak([FORMAT, FORMAT_REST].concat()),
        help => help,
    };
    Flag { long, short, kind: Kind::of(value), value, help, hidden, refused: None }
}

/// Text that lives as long as the program: there is little of it, and the program ends soon.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Section {
    /// The name to show for the one that was called: the short one, or the first in the same group.
    #[must_use]
    pub fn shown(&self, called: &str) -> &'static str {
        let group = called.rsplit_once(' ').map(|(group, _)| group);
        let same = |name: &&&'static str| name.rsplit_once(' ').map(|(group, _)| group) == group;
        self.names.iter().find(same).or(self.names.first()).copied().unwrap_or_default()
    }

    /// The ways to use it under the name it was called by.
    #[must_use]
    pub fn usages(&self, called: &str) -> Vec<String> {
        let shown = self.shown(called);
        // Only the first way is told with the group, as Docker does.
        let way = |(index, usage): (usize, &&str)| {
            if index == 0 { format!("{shown}{}", &usage[words_of(usage).len()..]) } else { (*usage).to_owned() }
        };
        self.usages.iter().enumerate().map(way).collect()
    }

    /// Fewest and most words it takes, from how it is used.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let usage = self.usages.first().copied().unwrap_or_default();
        let rest = usage[words_of(usage).len()..].trim_start().trim_start_matches("[OPTIONS]").trim_start().replace(" | ", "|");
        let (mut least, mut most, mut depth) = (0usize, 0usize, 0usize);
        let mut word = String::new();
        for letter in rest.chars().chain([' ']) {
            match letter {
                '[' => depth = depth.saturating_add(1),
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if letter != ' ' || depth > 0 {
                word.push(letter);
                continue;
            }
            if word.is_empty() {
                continue;
            }
            let optional = word.starts_with('[');
            least = least.saturating_add(usize::from(!optional));
            most = if word.contains("...") || word.contains(" OPTIONS]") { usize::MAX } else { most.saturating_add(1) };
            word.clear();
        }
        (least, most)
    }

    /// The command of this section, with the flags of `own` that the table lacks.
    #[must_use]
    pub fn command(&self, called: &str, own: Command) -> Command {
        let mut flags = self.flags.clone();
        flags.extend(own.flags.iter().filter(|flag| !self.flags.iter().any(|known| known.long == flag.long)).copied());
        flags.sort_by_key(|flag| flag.long);
        let usage = self.usages(called).join("\n\t");
        let (least, most) = self.counts();
        let strict = usage.ends_with("[ARG...]") || usage.ends_with("[ARGS...]") || usage.ends_with(" OPTIONS]");
        Command {
            words: self.shown(called),
            usage: leak(usage),
            about: self.about.first().copied().unwrap_or(own.about),
            least,
            most,
            strict,
            flags: Box::leak(flags.into_boxed_slice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_makes_sense() {
        let mut seen = std::collections::BTreeSet::new();
        for section in all() {
            let name = section.names.last().copied().unwrap_or_default();
            assert!(!section.about.is_empty() || section.refused.is_some(), "{name} says nothing of itself");
            assert!(section.names.iter().all(|name| seen.insert(*name)), "{name} stands twice");
            let mut shorts = std::collections::BTreeSet::new();
            for flag in &section.flags {
                assert!(!flag.long.is_empty() && !flag.help.is_empty(), "{name}: {flag:?}");
                assert!(flag.short == '\0' || shorts.insert(flag.short), "{name}: -{} stands twice", flag.short);
            }
            assert!(section.examples.iter().all(|(why, command)| !why.is_empty() && !command.is_empty()), "{name}: a half example");
        }
        assert!(seen.len() > 120, "{}", seen.len());
    }

    #[test]
    fn words_are_counted_from_how_a_command_is_used() {
        for (name, counts) in [
            ("run", (1, usize::MAX)),
            ("ps", (0, 0)),
            ("stop", (1, usize::MAX)),
            ("cp", (2, 2)),
            ("top", (1, usize::MAX)),
            ("port", (1, 2)),
            ("import", (1, 2)),
            ("build", (1, 1)),
            ("images", (0, 1)),
            ("context inspect", (0, usize::MAX)),
            ("manifest inspect", (1, 2)),
            ("volume create", (0, 1)),
            ("exec", (2, usize::MAX)),
        ] {
            assert_eq!(find(name).unwrap().counts(), counts, "{name}");
        }
    }

    #[test]
    fn a_command_is_shown_under_the_name_of_its_group() {
        let section = find("container list").unwrap();
        assert_eq!(section.shown("container list"), "container ls");
        assert_eq!(section.usages("ps"), ["ps [OPTIONS]"]);
        assert!(find("run").unwrap().flags.iter().any(|flag| flag.long == "env" && flag.short == 'e'));
    }
}

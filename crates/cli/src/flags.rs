//! Flags as Docker's clients read them (pflag): one table a command gives parsing and help.

mod check;

use std::collections::BTreeMap;

pub(crate) use check::cpus;

use crate::error::{Failure, Outcome};

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true`/`=false`.
    Bool,
    /// One text; the last one counts.
    Text,
    /// Any number of texts.
    List,
}

impl Kind {
    /// The kind of a flag with such a value, by the word that stands for it in the help.
    #[must_use]
    pub fn of(value: &str) -> Self {
        match value {
            "" => Self::Bool,
            "list" | "strings" | "stringArray" | "stringToString" | "map" | "mount" | "network" | "ulimit" | "filter" | "gpu-request" => {
                Self::List
            }
            _ => Self::Text,
        }
    }
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name after `--`.
    pub long: &'static str,
    /// Letter after `-`, or `\0`.
    pub short: char,
    /// What it takes.
    pub kind: Kind,
    /// The word for its value in the help, such as `bytes`: it says how the value is checked. Empty for none.
    pub value: &'static str,
    /// What it does; mostly one line.
    pub help: &'static str,
    /// Whether the help leaves it out, as an old name or one that is for programs.
    pub hidden: bool,
    /// Why it cannot be used here.
    pub refused: Option<&'static str>,
}

impl Flag {
    /// A flag without a short form; more is set with `..`.
    const fn new(long: &'static str, short: char, kind: Kind, value: &'static str, help: &'static str) -> Self {
        Self { long, short, kind, value, help, hidden: false, refused: None }
    }

    /// As errors name it: `-t, --timeout`.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.short == '\0' { format!("--{}", self.long) } else { format!("-{}, --{}", self.short, self.long) }
    }
}

/// A flag without a value.
#[must_use]
pub const fn yes(long: &'static str, short: char, help: &'static str) -> Flag {
    Flag::new(long, short, Kind::Bool, "", help)
}

/// A flag with one value.
#[must_use]
pub const fn text(long: &'static str, short: char, help: &'static str) -> Flag {
    Flag::new(long, short, Kind::Text, "string", help)
}

/// A flag that may be given several times.
#[must_use]
pub const fn list(long: &'static str, short: char, help: &'static str) -> Flag {
    Flag::new(long, short, Kind::List, "list", help)
}

/// A command that `words.txt` describes.
#[must_use]
pub const fn described(words: &'static str) -> Command {
    Command { words, usage: "", about: "", least: 0, most: 0, strict: false, flags: &[] }
}

/// One command's words.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its words, such as `container ls` or `run`.
    pub words: &'static str,
    /// How it is used, without the program's name.
    pub usage: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Fewest positional words.
    pub least: usize,
    /// Most positional words.
    pub most: usize,
    /// Whether flags end at the first positional word, because the rest belongs to a program in a container.
    pub strict: bool,
    /// Its flags.
    pub flags: &'static [Flag],
}

/// What was given.
#[derive(Debug, Default)]
pub struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Positional words.
    pub args: Vec<String>,
    /// Whether help was asked for.
    pub help: bool,
}

impl Given {
    /// Whether a flag without a value is on.
    #[must_use]
    pub fn on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "true")
    }

    /// Whether no flag was given.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.values.is_empty()
    }

    /// The last value of a flag.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|values| values.last()).map(String::as_str)
    }

    /// All values of a flag.
    #[must_use]
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a flag was given at all.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A flag's number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, name: &str) -> Outcome<Option<i64>> {
        self.get(name)
            .map(|value| {
                check::int(value).map_err(|_| {
                    Failure::new(format!(
                        "invalid argument \"{value}\" for \"--{name}\" flag: strconv.ParseInt: parsing \"{value}\": invalid syntax"
                    ))
                })
            })
            .transpose()
    }
}

impl Command {
    /// Sorts the words after the command's own.
    ///
    /// # Errors
    /// Docker's texts for unknown flags, missing values and numbers of words.
    pub fn parse(&self, words: &[String]) -> Outcome<Given> {
        let mut given = Given::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                given.args.extend(words.cloned());
                break;
            }
            if let Some(long) = word.strip_prefix("--") {
                self.long(long, &mut words, &mut given)?;
            } else if word.len() > 1 && word.starts_with('-') {
                self.short(&word[1..], &mut words, &mut given)?;
            } else {
                given.args.push(word.clone());
                if self.strict {
                    given.args.extend(words.cloned());
                    break;
                }
            }
        }
        if !given.help {
            self.count(&given)?;
        }
        Ok(given)
    }

    fn long(&self, word: &str, words: &mut std::slice::Iter<'_, String>, given: &mut Given) -> Outcome<()> {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value.to_owned())));
        if name == "help" {
            given.help = true;
            return Ok(());
        }
        let flag = self.flags.iter().find(|flag| flag.long == name).ok_or_else(|| self.unknown(name))?;
        let value = match (flag.kind, value) {
            (_, Some(value)) => value,
            (Kind::Bool, None) => "true".to_owned(),
            (Kind::Text | Kind::List, None) => {
                words.next().cloned().ok_or_else(|| self.wrong(format!("flag needs an argument: --{name}")))?
            }
        };
        self.store(flag, value, given)
    }

    fn short(&self, cluster: &str, words: &mut std::slice::Iter<'_, String>, given: &mut Given) -> Outcome<()> {
        for (at, letter) in cluster.char_indices() {
            let Some(flag) = self.flags.iter().find(|flag| flag.short == letter && letter != '\0') else {
                if letter == 'h' {
                    given.help = true;
                    return Ok(());
                }
                return Err(self.wrong(format!("unknown shorthand flag: '{letter}' in -{cluster}")));
            };
            let rest = &cluster[at + letter.len_utf8()..];
            if flag.kind == Kind::Bool && !rest.starts_with('=') {
                self.store(flag, "true".to_owned(), given)?;
                continue;
            }
            let value = match rest.strip_prefix('=').unwrap_or(rest) {
                "" => words.next().cloned().ok_or_else(|| self.wrong(format!("flag needs an argument: '{letter}' in -{cluster}")))?,
                value => value.to_owned(),
            };
            return self.store(flag, value, given);
        }
        Ok(())
    }

    fn store(&self, flag: &'static Flag, value: String, given: &mut Given) -> Outcome<()> {
        if let Some(why) = flag.refused {
            return Err(Failure::Message { message: format!("--{}: {why}", flag.long), code: 125, run: false });
        }
        let checked = check::value(flag.value, &value)
            .map_err(|why| self.wrong(format!("invalid argument \"{value}\" for \"{}\" flag: {why}", flag.shown())))?;
        given.values.entry(flag.long).or_default().push(checked);
        Ok(())
    }

    fn count(&self, given: &Given) -> Outcome<()> {
        let found = given.args.len();
        if (self.least..=self.most).contains(&found) {
            return Ok(());
        }
        let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
        let text = match (self.least, self.most) {
            (0, 0) => "accepts no arguments".to_owned(),
            (least, most) if least == most => format!("requires {least} {}", plural(least)),
            (least, usize::MAX) => format!("requires at least {least} {}", plural(least)),
            (0, most) => format!("requires at most {most} {}", plural(most)),
            (least, most) => format!("requires at least {least} and at most {most} arguments"),
        };
        Err(Failure::Usage { message: format!("'docker {}' {text}", self.words), command: self.words, usage: self.usage, code: 1 })
    }

    fn unknown(&self, name: &str) -> Failure {
        let near = nearest(name, self.flags.iter().map(|flag| flag.long)).filter(|_| crate::printer::stderr_is_terminal());
        self.wrong(format!("unknown flag: --{name}{}", near.map_or_else(String::new, |near| format!("\nDid you mean `--{near}`?"))))
    }

    /// A failure that shows how the command is used.
    pub fn wrong(&self, message: String) -> Failure {
        let code = 125;
        Failure::Usage { message, command: self.words, usage: self.usage, code }
    }
}

/// The known word that was perhaps meant: at most two letters away, or one that begins so.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.filter_map(|other| {
        let distance = if word.len() > 2 && other.starts_with(word) { 1 } else { distance(word, other) };
        (distance <= 2 && distance < other.len()).then_some((distance, other))
    });
    scored.min().map(|(_, other)| other)
}

/// Letters to change, add or take away between two words.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in right.chars().enumerate() {
            let above = row[column + 1];
            row[column + 1] = (corner + usize::from(a != b)).min(above + 1).min(row[column] + 1);
            corner = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Command = Command {
        words: "run",
        usage: "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "",
        least: 1,
        most: usize::MAX,
        strict: true,
        flags: &[yes("interactive", 'i', ""), yes("tty", 't', ""), yes("rm", '\0', ""), list("env", 'e', ""), text("name", '\0', "")],
    };

    fn parse(words: &[&str]) -> Outcome<Given> {
        RUN.parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn clusters_values_and_the_first_positional_word() {
        let given = parse(&["-it", "--rm=false", "-eA=1", "-e", "B=2", "--name", "x", "image", "-t", "--rm"]).unwrap();
        assert!(given.on("interactive") && given.on("tty") && !given.on("rm"));
        assert_eq!(given.all("env"), ["A=1", "B=2"]);
        assert_eq!(given.get("name"), Some("x"));
        assert_eq!(given.args, ["image", "-t", "--rm"]);
    }

    #[test]
    fn wrong_words_are_named_as_docker_names_them() {
        let text = |words: &[&str]| parse(words).unwrap_err().text("docker").unwrap();
        assert!(text(&["--nosuch"]).starts_with("unknown flag: --nosuch\n\nUsage:  docker run [OPTIONS]"));
        assert!(text(&["-ix"]).starts_with("unknown shorthand flag: 'x' in -ix"));
        assert!(text(&["--name"]).starts_with("flag needs an argument: --name"));
        assert!(text(&[]).starts_with("docker: 'docker run' requires at least 1 argument\n"));
        assert_eq!(parse(&["--nosuch"]).unwrap_err().code(), 125);
    }
}

//! Flags as Docker's clients read them (pflag): one table a command gives parsing and help.

use std::collections::BTreeMap;

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

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name after `--`.
    pub long: &'static str,
    /// Letter after `-`, or `\0`.
    pub short: char,
    /// What it takes.
    pub kind: Kind,
    /// One line of help.
    pub help: &'static str,
}

/// A flag without a value.
#[must_use]
pub const fn yes(long: &'static str, short: char, help: &'static str) -> Flag {
    Flag { long, short, kind: Kind::Bool, help }
}

/// A flag with one value.
#[must_use]
pub const fn text(long: &'static str, short: char, help: &'static str) -> Flag {
    Flag { long, short, kind: Kind::Text, help }
}

/// A flag that may be given several times.
#[must_use]
pub const fn list(long: &'static str, short: char, help: &'static str) -> Flag {
    Flag { long, short, kind: Kind::List, help }
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
                value.parse().map_err(|_| {
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
        let flag = self.flags.iter().find(|flag| flag.long == name).ok_or_else(|| self.wrong(format!("unknown flag: --{name}")))?;
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

    fn store(&self, flag: &'static Flag, mut value: String, given: &mut Given) -> Outcome<()> {
        if flag.kind == Kind::Bool {
            value = match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".to_owned(),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".to_owned(),
                _ => {
                    return Err(self.wrong(format!(
                        "invalid argument \"{value}\" for \"--{}\" flag: strconv.ParseBool: parsing \"{value}\": invalid syntax",
                        flag.long
                    )));
                }
            };
        }
        given.values.entry(flag.long).or_default().push(value);
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

    /// A failure that shows how the command is used.
    pub fn wrong(&self, message: String) -> Failure {
        let code = 125;
        Failure::Usage { message, command: self.words, usage: self.usage, code }
    }
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

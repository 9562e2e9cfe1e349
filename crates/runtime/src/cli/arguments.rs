//! Command lines as Go's runtimes read them: `--name value`, `--name=value`, `-n value`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg;

use super::CliError;

/// What a command takes.
#[derive(Debug)]
pub(super) struct Syntax {
    /// Options without a value.
    pub(super) flags: &'static [&'static str],
    /// Options with a value.
    pub(super) values: &'static [&'static str],
    /// Options with a value that may be given many times.
    pub(super) repeated: &'static [&'static str],
    /// Short forms.
    pub(super) short: &'static [(char, &'static str)],
    /// Whether options end at the first word that follows the leading ones.
    pub(super) stop_at_word: bool,
}

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    options: BTreeMap<String, Vec<OsString>>,
    /// Words that are no options.
    pub(super) words: Vec<OsString>,
}

impl Syntax {
    /// A command whose only arguments are words.
    pub(super) const WORDS: Self = Self { flags: &[], values: &[], repeated: &[], short: &[], stop_at_word: false };

    pub(super) fn parse(&self, arguments: Vec<OsString>) -> Result<Parsed, CliError> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut parsed = Parsed::default();
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Arg::Value(word) => {
                    parsed.words.push(word);
                    if self.stop_at_word {
                        parsed.words.extend(parser.raw_args()?);
                        break;
                    }
                    continue;
                }
                Arg::Long(name) => name.to_owned(),
                Arg::Short(letter) => {
                    self.short.iter().find(|(short, _)| *short == letter).map_or_else(|| letter.to_string(), |(_, name)| (*name).to_owned())
                }
            };
            if self.flags.contains(&name.as_str()) {
                // Go's flags may carry a value: `--detach=true`.
                match parser.optional_value() {
                    Some(value) if value == "false" => {}
                    _ => {
                        parsed.options.entry(name).or_default();
                    }
                }
            } else if self.repeated.contains(&name.as_str()) {
                let value = parser.value()?;
                parsed.options.entry(name).or_default().push(value);
            } else if self.values.contains(&name.as_str()) {
                let value = parser.value()?;
                parsed.options.insert(name, vec![value]);
            } else {
                return Err(CliError::Usage(format!("flag provided but not defined: -{name}")));
            }
        }
        Ok(parsed)
    }
}

impl Parsed {
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&OsString> {
        self.options.get(name)?.last()
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.to_string_lossy().into_owned())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.options.get(name).into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect()
    }

    /// A number, with the option's name in the error.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, CliError> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| CliError::Usage(format!("invalid value \"{text}\" for flag -{name}"))))
            .transpose()
    }

    /// The container's id: the first word, which must be there.
    pub(super) fn id(&self) -> Result<String, CliError> {
        let id = self.words.first().ok_or_else(|| CliError::Usage("container id cannot be empty".into()))?;
        super::record::parse_id(&id.to_string_lossy())
    }

    /// The id, and nothing behind it.
    pub(super) fn only_id(&self) -> Result<String, CliError> {
        match self.words.get(1) {
            Some(word) => Err(CliError::Usage(format!("unexpected argument `{}`", word.to_string_lossy()))),
            None => self.id(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNTAX: Syntax = Syntax {
        flags: &["detach"],
        values: &["bundle"],
        repeated: &["env"],
        short: &[('d', "detach"), ('b', "bundle"), ('e', "env")],
        stop_at_word: true,
    };

    fn parse(text: &str) -> Result<Parsed, CliError> {
        SYNTAX.parse(text.split_ascii_whitespace().map(Into::into).collect())
    }

    #[test]
    fn both_spellings_of_values_and_the_end_of_options() {
        let parsed = parse("-d --bundle=/b -e A=1 --env B=2 box sh -c x").unwrap();
        assert!(parsed.has("detach"));
        assert_eq!(parsed.text("bundle").unwrap(), "/b");
        assert_eq!(parsed.all("env"), ["A=1", "B=2"]);
        assert_eq!(parsed.id().unwrap(), "box");
        assert_eq!(parsed.words.len(), 4);
    }

    #[test]
    fn unknown_options_and_bad_ids_are_refused() {
        assert!(parse("--nosuch box").is_err());
        assert!(parse("../box").unwrap().id().is_err());
        assert!(parse("-d").unwrap().id().is_err());
    }
}

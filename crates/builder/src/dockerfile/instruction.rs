//! What single instructions say.

use std::collections::BTreeMap;

use super::flags::Flags;
use super::lines::Logical;
use super::words;
use super::{Heredoc, ParseError};

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// For the stage's shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// An instruction; values hold their variables still.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the instruction of that name")]
pub enum Instruction {
    From { base: String, platform: Option<String>, name: Option<String> },
    Add(Copy),
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(Vec<String>),
    Healthcheck { flags: BTreeMap<String, String>, test: Option<Command> },
    Label(Vec<(String, String)>),
    Maintainer(String),
    OnBuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// `COPY` or `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Stage, image or context; none is the main context.
    pub from: Option<String>,
    /// `user[:group]`.
    pub chown: Option<String>,
    /// Octal or symbolic mode.
    pub chmod: Option<String>,
    /// `sha256:…` of what `ADD` fetches.
    pub checksum: Option<String>,
    /// Whether the layer does not depend on those below.
    pub link: bool,
    /// Whether the folders above a source are kept.
    pub parents: bool,
    /// Whether a fetched or local archive is unpacked; none is the instruction's default.
    pub unpack: Option<bool>,
    /// Whether `.git` of a repository comes with it.
    pub keep_git_dir: bool,
    /// Patterns that are left out.
    pub exclude: Vec<String>,
    /// Sources.
    pub sources: Vec<String>,
    /// Where they go.
    pub destination: String,
    /// Files given in the Dockerfile.
    pub inline: Vec<Heredoc>,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: Command,
    /// Here-documents; the command of a shell has them behind it.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`.
    pub mounts: Vec<RunMount>,
    /// `default`, `none` or `host`.
    pub network: Option<String>,
    /// `sandbox` or `insecure`.
    pub security: Option<String>,
}

/// One `--mount` of `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMount {
    /// What is mounted.
    pub kind: RunMountKind,
    /// All options as written.
    pub options: BTreeMap<String, String>,
}

/// Kinds of mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the type of that name")]
pub enum RunMountKind {
    Bind,
    Cache,
    Secret,
    Ssh,
    Tmpfs,
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after another.
    Locked,
}

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Parses one logical line.
pub(super) fn parse(logical: Logical, escape: char) -> Result<Instruction, ParseError> {
    let Logical { line, text, heredocs, .. } = logical;
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    let name = word.to_ascii_uppercase();
    let fail = |message: String| Err(ParseError::new(line, message));
    if !NAMES.contains(&name.as_str()) {
        let hint = nearest(&name, &NAMES).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        return Err(ParseError::new(line, format!("unknown instruction: {word}{hint}")).near(word));
    }
    // A trigger's flags belong to the instruction in it.
    let (flags, rest) = if name == "ONBUILD" { (Flags::take("", line, escape).0, rest) } else { Flags::take(rest, line, escape) };
    if !matches!(name.as_str(), "ADD" | "COPY" | "FROM" | "HEALTHCHECK" | "RUN") {
        flags.only(&[])?;
    }
    let rest = rest.trim();
    let at_least_one = |what: &str| ParseError::new(line, format!("{what} requires at least one argument"));
    if rest.is_empty()
        && heredocs.is_empty()
        && !matches!(name.as_str(), "CMD" | "ENTRYPOINT" | "FROM" | "COPY" | "ADD" | "HEALTHCHECK" | "SHELL")
    {
        return Err(if matches!(name.as_str(), "USER" | "WORKDIR" | "STOPSIGNAL" | "MAINTAINER") {
            ParseError::new(line, format!("{name} requires exactly one argument"))
        } else {
            at_least_one(&name)
        });
    }
    match name.as_str() {
        "FROM" => from(&flags, rest, line),
        "RUN" => run(&flags, rest, heredocs, line),
        "COPY" => {
            flags.only(&["from", "chown", "chmod", "link", "parents", "exclude"])?;
            copy(&name, &flags, rest, heredocs, line, escape).map(Instruction::Copy)
        }
        "ADD" => {
            flags.only(&["chown", "chmod", "link", "keep-git-dir", "checksum", "exclude", "unpack"])?;
            copy(&name, &flags, rest, heredocs, line, escape).map(Instruction::Add)
        }
        "ENV" => pairs(&name, rest, line, escape).map(Instruction::Env),
        "LABEL" => pairs(&name, rest, line, escape).map(Instruction::Label),
        "ARG" => arguments(rest, line, escape).map(Instruction::Arg),
        "CMD" => Ok(Instruction::Cmd(command(rest, line)?)),
        "ENTRYPOINT" => Ok(Instruction::Entrypoint(command(rest, line)?)),
        "SHELL" => match json_list(rest, line)? {
            Some(list) if !list.is_empty() => Ok(Instruction::Shell(list)),
            Some(_) => Err(at_least_one("SHELL")),
            None => fail("SHELL requires the arguments to be in JSON form".to_owned()),
        },
        "EXPOSE" => Ok(Instruction::Expose(blanks(rest))),
        "VOLUME" => match json_list(rest, line)? {
            Some(list) => Ok(Instruction::Volume(list)),
            None => Ok(Instruction::Volume(blanks(rest))),
        },
        "USER" => Ok(Instruction::User(rest.to_owned())),
        "WORKDIR" => Ok(Instruction::Workdir(rest.to_owned())),
        "STOPSIGNAL" => Ok(Instruction::StopSignal(rest.to_owned())),
        "MAINTAINER" => Ok(Instruction::Maintainer(rest.to_owned())),
        "HEALTHCHECK" => healthcheck(&flags, rest, line),
        _ => {
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match trigger.as_str() {
                "ONBUILD" => fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
                "FROM" | "MAINTAINER" => fail(format!("{trigger} isn't allowed as an ONBUILD trigger")),
                _ => Ok(Instruction::OnBuild(rest.to_owned())),
            }
        }
    }
}

fn from(flags: &Flags, rest: &str, line: usize) -> Result<Instruction, ParseError> {
    flags.only(&["platform"])?;
    let platform = flags.one("platform")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words[..] {
        [base] => Ok(Instruction::From { base: base.to_owned(), platform, name: None }),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("AS") => {
            let name = name.to_ascii_lowercase();
            let sound =
                name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if !sound {
                let text = format!("invalid name for build stage: \"{name}\", name can't start with a number or contain symbols");
                return Err(ParseError::new(line, text));
            }
            Ok(Instruction::From { base: base.to_owned(), platform, name: Some(name) })
        }
        _ => Err(ParseError::new(line, "FROM requires either one or three arguments")),
    }
}

fn run(flags: &Flags, rest: &str, heredocs: Vec<Heredoc>, line: usize) -> Result<Instruction, ParseError> {
    flags.only(&["mount", "network", "security"])?;
    let network = flags.one("network")?;
    if let Some(network) = network.as_deref().filter(|it| !matches!(*it, "default" | "none" | "host")) {
        return Err(ParseError::new(line, format!("invalid network mode: \"{network}\"; use default, none or host")));
    }
    let security = flags.one("security")?;
    if let Some(security) = security.as_deref().filter(|it| !matches!(*it, "sandbox" | "insecure")) {
        return Err(ParseError::new(line, format!("invalid security mode: \"{security}\"; use sandbox or insecure")));
    }
    let mounts = flags.all("mount").iter().map(|text| mount(text, line)).collect::<Result<_, _>>()?;
    Ok(Instruction::Run(Run { command: command(rest, line)?, heredocs, mounts, network, security }))
}

fn mount(text: &str, line: usize) -> Result<RunMount, ParseError> {
    let fail = |message: String| ParseError::new(line, message);
    let mut options = BTreeMap::new();
    for field in text.split(',').filter(|field| !field.is_empty()) {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        let key = match key.to_ascii_lowercase().as_str() {
            "dst" | "destination" => "target".to_owned(),
            "src" => "source".to_owned(),
            "ro" => "readonly".to_owned(),
            "rw" => "readwrite".to_owned(),
            other => other.to_owned(),
        };
        options.insert(key, value.to_owned());
    }
    let kind = match options.remove("type").as_deref() {
        None | Some("bind") => RunMountKind::Bind,
        Some("cache") => RunMountKind::Cache,
        Some("secret") => RunMountKind::Secret,
        Some("ssh") => RunMountKind::Ssh,
        Some("tmpfs") => RunMountKind::Tmpfs,
        Some(other) => {
            let all = ["bind", "cache", "secret", "ssh", "tmpfs"];
            let hint = nearest(other, &all).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            return Err(fail(format!("unsupported mount type \"{other}\"{hint}")));
        }
    };
    let known: &[&str] = match kind {
        RunMountKind::Bind => &["target", "source", "from", "readwrite", "readonly"],
        RunMountKind::Cache => &["id", "target", "sharing", "from", "source", "mode", "uid", "gid", "readonly", "readwrite"],
        RunMountKind::Secret => &["id", "source", "target", "env", "required", "mode", "uid", "gid"],
        RunMountKind::Ssh => &["id", "target", "required", "mode", "uid", "gid"],
        RunMountKind::Tmpfs => &["target", "size"],
    };
    if let Some(key) = options.keys().find(|key| !known.contains(&key.as_str())) {
        let hint = nearest(key, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        return Err(fail(format!("unexpected key '{key}' in '{text}'{hint}")));
    }
    let needs_target = matches!(kind, RunMountKind::Bind | RunMountKind::Cache | RunMountKind::Tmpfs);
    if needs_target && !options.contains_key("target") {
        return Err(fail(format!("a mount needs a target: '{text}'")));
    }
    if let Some(sharing) = options.get("sharing").filter(|it| !matches!(it.as_str(), "shared" | "private" | "locked")) {
        return Err(fail(format!("unsupported sharing value \"{sharing}\"; use shared, private or locked")));
    }
    Ok(RunMount { kind, options })
}

#[expect(clippy::too_many_arguments, reason = "the parts of one line")]
fn copy(name: &str, flags: &Flags, rest: &str, heredocs: Vec<Heredoc>, line: usize, escape: char) -> Result<Copy, ParseError> {
    let words = match json_list(rest, line)? {
        Some(list) => list,
        // Quotes do not hold blanks together here: that takes the form of a list.
        None if heredocs.is_empty() => blanks(rest),
        None => words::split(rest, escape),
    };
    let mut docs = heredocs.iter().peekable();
    let mut plain = words.into_iter().peekable();
    let mut words = Vec::new();
    while let Some(word) = plain.next() {
        let is_last = plain.peek().is_none();
        let sign = matches!(word.trim_start_matches(|c: char| c.is_ascii_digit()), "<<" | "<<-");
        let mark = super::lines::mark(&word, sign.then(|| plain.peek().map(String::as_str)).flatten());
        if docs.next_if(|doc| mark.is_some_and(|mark| mark.name == doc.name)).is_none() {
            words.push(word);
        } else if is_last {
            return Err(ParseError::new(line, format!("{name} cannot accept a heredoc as a destination")).near("<<"));
        } else if sign {
            plain.next();
        }
    }
    if words.is_empty() || (words.len() == 1 && heredocs.is_empty()) {
        let text = match words.len() {
            0 => format!("{name} requires at least two arguments"),
            _ => format!("{name} requires at least two arguments, but only one was provided. Destination could not be determined"),
        };
        return Err(ParseError::new(line, text));
    }
    let destination = words.pop().unwrap_or_default();
    let unpack = match flags.one("unpack") {
        Ok(None) => None,
        Ok(Some(_)) | Err(_) => Some(flags.on("unpack")?),
    };
    Ok(Copy {
        from: flags.one("from")?,
        chown: flags.one("chown")?,
        chmod: flags.one("chmod")?,
        checksum: flags.one("checksum")?,
        link: flags.on("link")?,
        parents: flags.on("parents")?,
        unpack,
        keep_git_dir: flags.on("keep-git-dir")?,
        exclude: flags.all("exclude"),
        sources: words,
        destination,
        inline: heredocs,
    })
}

/// Words between blanks.
fn blanks(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn pairs(name: &str, rest: &str, line: usize, escape: char) -> Result<Vec<(String, String)>, ParseError> {
    let words = words::split(rest, escape);
    if !words.first().is_some_and(|word| word.contains('=')) {
        // The old form: one name, and all that follows is its value.
        let (key, value) = rest.split_once(char::is_whitespace).map_or((rest, None), |(key, value)| (key, Some(value.trim_start())));
        let value =
            value.filter(|value| !value.is_empty()).ok_or_else(|| ParseError::new(line, format!("{name} must have two arguments")))?;
        return Ok(vec![(key.to_owned(), value.to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(ParseError::new(line, format!("{name} names can not be blank"))),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(ParseError::new(line, format!("Syntax error - can't find = in \"{word}\". Must be of the form: name=value"))),
        })
        .collect()
}

fn arguments(rest: &str, line: usize, escape: char) -> Result<Vec<(String, Option<String>)>, ParseError> {
    words::split(rest, escape)
        .into_iter()
        .map(|word| {
            let (key, value) = word.split_once('=').map_or((word.as_str(), None), |(key, value)| (key, Some(value.to_owned())));
            if key.is_empty() {
                return Err(ParseError::new(line, "ARG names can not be blank"));
            }
            Ok((key.to_owned(), value))
        })
        .collect()
}

fn healthcheck(flags: &Flags, rest: &str, line: usize) -> Result<Instruction, ParseError> {
    const KNOWN: [&str; 5] = ["interval", "timeout", "start-period", "start-interval", "retries"];
    flags.only(&KNOWN)?;
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.trim().is_empty() => Ok(Instruction::Healthcheck { flags: BTreeMap::new(), test: None }),
        "NONE" => Err(ParseError::new(line, "HEALTHCHECK NONE takes no arguments")),
        "CMD" if rest.trim().is_empty() => Err(ParseError::new(line, "Missing command after HEALTHCHECK CMD")),
        "CMD" => {
            let mut given = BTreeMap::new();
            for name in KNOWN {
                if let Some(value) = flags.one(name)? {
                    given.insert(name.to_owned(), value);
                }
            }
            Ok(Instruction::Healthcheck { flags: given, test: Some(command(rest.trim(), line)?) })
        }
        "" => Err(ParseError::new(line, "HEALTHCHECK requires at least one argument")),
        other => Err(ParseError::new(line, format!("Unknown type \"{other}\" in HEALTHCHECK (try CMD)"))),
    }
}

fn command(rest: &str, line: usize) -> Result<Command, ParseError> {
    Ok(json_list(rest, line)?.map_or_else(|| Command::Shell(rest.to_owned()), Command::Exec))
}

/// A JSON list of strings; none where the text is no JSON list, which then is meant for a shell.
pub(super) fn json_list(text: &str, line: usize) -> Result<Option<Vec<String>>, ParseError> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Err(_) => Ok(None),
        Ok(list) => list
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Ok(text),
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::Array(_)
                | serde_json::Value::Object(_) => Err(ParseError::new(line, "only string type is allowed in JSON arrays")),
            })
            .collect::<Result<_, _>>()
            .map(Some),
    }
}

/// The known word that differs least, if it differs little.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distances = known.iter().map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), *candidate));
    distances.min().filter(|(distance, _)| *distance <= 2 && *distance < word.chars().count()).map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, c) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, o) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(c != o)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *o && other[j - 1] == *c {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or_default()
}

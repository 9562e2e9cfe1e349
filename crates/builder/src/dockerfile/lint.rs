//! `--check`: what is allowed in a Dockerfile and better done otherwise.

#![expect(clippy::wildcard_enum_match_arm, reason = "each rule is about some instructions")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use docker_api::ignore::Ignore;
use oci::Platform;

use super::instruction::{self, nearest};
use super::lines::{self, Logical};
use super::rules::{Finding, Rule, Wanted};
use super::{Command, Copy, Instruction, ParseError, expand, expand_words, words};
use stages::{Parsed, Stages};

mod stages;

/// What is known of a base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseFacts {
    /// Its environment, each `NAME=value`.
    pub env: Vec<String>,
    /// Its platform.
    pub platform: Option<Platform>,
}

/// What a file is checked with.
pub struct Checks<'a> {
    /// Build arguments.
    pub arguments: &'a BTreeMap<String, Option<String>>,
    /// Arguments that are there by themselves.
    pub automatic: BTreeMap<String, String>,
    /// The stage that is built; none is the last.
    pub target: Option<&'a str>,
    /// Whether stages that nobody needs are checked, too.
    pub all: bool,
    /// What of the context stays at home.
    pub ignore: &'a Ignore,
    /// What is known of a base image; none is nothing, and then no variable counts as undefined.
    pub base: &'a dyn Fn(&str) -> Option<BaseFacts>,
}

impl std::fmt::Debug for Checks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("arguments", self.arguments).field("target", &self.target).finish_non_exhaustive()
    }
}

/// What the rules found, by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Why the file is no Dockerfile, or that it asks to fail on findings.
    pub error: Option<ParseError>,
}

/// Checks a file.
#[must_use]
pub fn check(bytes: &[u8], checks: &Checks<'_>) -> Report {
    let mut report = Report::default();
    let text = String::from_utf8_lossy(bytes);
    let (directives, all) = match lines::split(&text) {
        Ok(split) => split,
        Err(error) => return Report { error: Some(error), ..report },
    };
    let wish = checks.arguments.get("BUILDKIT_DOCKERFILE_CHECK").cloned().flatten().or_else(|| directives.check.clone());
    let wanted = match Wanted::parse(&wish.unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(message) => return Report { error: Some(ParseError::new(1, message)), ..report },
    };
    let mut parsed = Vec::new();
    for logical in &all {
        match instruction::parse(logical.clone(), directives.escape) {
            Ok(instruction) => parsed.push((logical, instruction)),
            Err(error) => {
                report.error = Some(ParseError { end: logical.end, ..error });
                break;
            }
        }
    }
    let mut linter = Linter { checks, wanted: &wanted, escape: directives.escape, findings: Vec::new() };
    let file = Stages::of(&parsed);
    let broken = report.error.is_some();
    linter.written(&file, broken);
    if !broken {
        linter.meant(&file);
    }
    report.findings = linter.findings;
    report.findings.sort_by_key(|finding| (finding.line, finding.rule));
    if wanted.error
        && report.error.is_none()
        && let Some(first) = report.findings.first()
    {
        let names: BTreeSet<String> = report.findings.iter().map(|finding| finding.rule.name()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let message = format!("lint violation found for rules: {}", names.join(", "));
        report.error = Some(ParseError { line: first.line, end: first.end, near: String::new(), message });
    }
    report
}

/// What is known at one place of a stage.
#[derive(Clone, Default)]
struct Known {
    env: BTreeMap<String, String>,
    /// Declared arguments, with their values.
    arguments: BTreeMap<String, Option<String>>,
    /// Whether the whole environment is known.
    complete: bool,
    shell: bool,
    workdir: bool,
}

struct Linter<'a> {
    checks: &'a Checks<'a>,
    wanted: &'a Wanted,
    escape: char,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn found(&mut self, rule: Rule, logical: &Logical, detail: String) {
        if self.wanted.wants(rule, &logical.comments) {
            self.findings.push(Finding { rule, detail, line: logical.line, end: logical.end });
        }
    }

    fn reachable(&self, file: &Stages<'_>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let Some(last) = file.stages.len().checked_sub(1) else { return found };
        if self.checks.all && self.checks.target.is_none() {
            return (0..=last).collect();
        }
        let target = self.checks.target.and_then(|name| file.find(name, file.stages.len())).unwrap_or(last);
        file.needed(target, &mut found);
        found
    }

    /// What is seen on each line alone.
    fn written(&mut self, file: &Stages<'_>, broken: bool) {
        let reachable = if broken { (0..file.stages.len()).collect() } else { self.reachable(file) };
        let mut names = BTreeSet::new();
        for (index, stage) in file.stages.iter().enumerate() {
            for (logical, instruction) in stage {
                if let Instruction::From { name, .. } = instruction {
                    self.from(logical, name.as_deref(), &mut names, broken);
                } else if reachable.contains(&index) {
                    self.alone(logical, instruction);
                }
            }
        }
        for (logical, instruction) in file.global.iter().chain(file.stages.iter().flatten()) {
            if let Some(gap) = logical.gap {
                let place = Logical { line: gap, end: gap, ..(*logical).clone() };
                self.found(Rule::NoEmptyContinuation, &place, "Empty continuation line".to_owned());
            }
            self.described(logical, instruction);
        }
        if !broken {
            self.casing(file);
        }
    }

    fn from(&mut self, logical: &Logical, name: Option<&str>, names: &mut BTreeSet<String>, broken: bool) {
        let words: Vec<&str> = logical.text.split_whitespace().collect();
        let (Some(command), Some(name)) = (words.first(), name) else { return };
        let (keyword, written) = (words[words.len() - 2], words[words.len() - 1]);
        if written != name {
            self.found(Rule::StageNameCasing, logical, format!("Stage name '{written}' should be lowercase"));
        }
        let upper = command.chars().all(|c| c.is_ascii_uppercase());
        let lower = command.chars().all(|c| c.is_ascii_lowercase());
        if (upper && keyword != "AS") || (lower && keyword != "as") {
            self.found(Rule::FromAsCasing, logical, format!("'{keyword}' and '{command}' keywords' casing do not match"));
        }
        if broken {
            return;
        }
        if !names.insert(name.to_owned()) {
            self.found(Rule::DuplicateStageName, logical, format!("Duplicate stage name \"{name}\", stage names should be unique"));
        }
        if matches!(name, "scratch" | "context") {
            let detail = format!("Stage name should not use the same name as reserved stage \"{name}\"");
            self.found(Rule::ReservedStageName, logical, detail);
        }
    }

    fn alone(&mut self, logical: &Logical, instruction: &Instruction) {
        let name = name(logical).to_ascii_uppercase();
        match instruction {
            Instruction::Maintainer(_) => {
                let detail = "Maintainer instruction is deprecated in favor of using label".to_owned();
                self.found(Rule::MaintainerDeprecated, logical, detail);
            }
            Instruction::Env(_) | Instruction::Label(_) => {
                let rest = logical.text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
                if !words::split(rest, self.escape).first().is_some_and(|word| word.contains('=')) {
                    let detail = format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
                    self.found(Rule::LegacyKeyValueFormat, logical, detail);
                }
            }
            _ => {}
        }
    }

    /// Comments that look like descriptions and name something else.
    fn described(&mut self, logical: &Logical, instruction: &Instruction) {
        let names: Vec<&str> = match instruction {
            Instruction::From { name: Some(name), .. } => vec![name],
            Instruction::Arg(arguments) => arguments.iter().map(|(name, _)| name.as_str()).collect(),
            _ => return,
        };
        let comments: Vec<&String> = logical.comments.iter().rev().take_while(|comment| !comment.is_empty()).collect();
        let comments: Vec<&&String> = comments.iter().filter(|comment| !comment.starts_with("check=")).collect();
        let fits = |name: &&str| comments.iter().any(|comment| comment.strip_prefix(*name).is_some_and(|rest| rest.starts_with(' ')));
        if comments.is_empty() || logical.line == 1 || names.iter().any(fits) {
            return;
        }
        let of = if names.len() == 1 { names[0] } else { "<arg_key>" };
        let detail = format!("Comment for {} should follow the format: `# {of} <description>`", name(logical).to_ascii_uppercase());
        self.found(Rule::InvalidDefinitionDescription, logical, detail);
    }

    fn casing(&mut self, file: &Stages<'_>) {
        let all: Vec<&Logical> = file.stages.iter().flatten().map(|(logical, _)| *logical).collect();
        let is = |logical: &Logical, upper: bool| {
            name(logical).chars().all(|c| if upper { c.is_ascii_uppercase() } else { c.is_ascii_lowercase() })
        };
        let count = |upper| all.iter().filter(|logical| is(logical, upper)).count();
        let upper = count(false) <= count(true);
        for logical in all.iter().filter(|logical| !is(logical, upper)) {
            let kind = if upper { "uppercase" } else { "lowercase" };
            let detail = format!("Command '{}' should match the case of the command majority ({kind})", name(logical));
            self.found(Rule::ConsistentInstructionCasing, logical, detail);
        }
    }

    /// What is seen when the values of variables are known.
    fn meant(&mut self, file: &Stages<'_>) {
        let (mut globals, mut defaults) = (self.checks.automatic.clone(), self.checks.automatic.clone());
        for (logical, instruction) in &file.global {
            let Instruction::Arg(arguments) = instruction else { continue };
            self.secrets(logical, "ARG", arguments.iter().map(|(name, _)| name));
            for (name, default) in arguments {
                let default = default.as_deref().and_then(|text| expand(text, self.escape, &|name| globals.get(name).cloned()).ok());
                defaults.insert(name.clone(), default.clone().unwrap_or_default());
                let value = self.checks.arguments.get(name).cloned().unwrap_or(default);
                globals.insert(name.clone(), value.unwrap_or_default());
            }
        }
        let reachable = self.reachable(file);
        let mut ends: BTreeMap<usize, Known> = BTreeMap::new();
        for (index, stage) in file.stages.iter().enumerate() {
            let known = self.base(file, index, (&globals, &defaults), &ends);
            let known = if reachable.contains(&index) { self.stage(stage, known, &globals) } else { known };
            ends.insert(index, known);
        }
    }

    fn base(
        &mut self,
        file: &Stages<'_>,
        index: usize,
        (globals, defaults): (&BTreeMap<String, String>, &BTreeMap<String, String>),
        ends: &BTreeMap<usize, Known>,
    ) -> Known {
        let (logical, instruction) = file.stages[index][0];
        let Instruction::From { base, platform, name } = instruction else { return Known::default() };
        let (image, missed) = self.expanded(base, globals);
        self.undeclared(logical, &missed, globals);
        let (default, _) = self.expanded(base, defaults);
        let number = default.parse::<usize>().is_ok();
        if missed.is_empty() && !number && default.parse::<oci::ImageRef>().is_err() {
            let detail = format!("Default value for ARG {base} results in empty or invalid base image name");
            self.found(Rule::InvalidDefaultArgInFrom, logical, detail);
        }
        if let Some(platform) = platform {
            let (text, missed) = self.expanded(platform, globals);
            self.undeclared(logical, &missed, globals);
            if matches!(platform.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
                let detail = format!("Setting platform to predefined {platform} in FROM is redundant as this is the default behavior");
                self.found(Rule::RedundantTargetPlatform, logical, detail);
            }
            let stage = name.as_deref().unwrap_or_default();
            let meant = |platform: Platform| !stage.contains(&platform.os) && !stage.contains(&platform.architecture);
            if !platform.contains('$') && text.parse::<Platform>().is_ok_and(meant) {
                let detail = format!("FROM --platform flag should not use constant value \"{platform}\"");
                self.found(Rule::FromPlatformFlagConstDisallowed, logical, detail);
            }
        }
        if let Some(other) = file.find(&image, index).filter(|_| image.parse::<usize>().is_err()) {
            let known = ends.get(&other).cloned().unwrap_or_default();
            return Known { arguments: BTreeMap::new(), ..known };
        }
        if image == "scratch" {
            return Known { env: [("PATH".to_owned(), String::new())].into(), complete: true, ..Known::default() };
        }
        let Some(facts) = (self.checks.base)(&image) else { return Known::default() };
        let expected = self.checks.automatic.get("TARGETPLATFORM").and_then(|text| text.parse::<Platform>().ok());
        if let (Some(real), Some(expected), None) = (&facts.platform, expected, platform)
            && (real.os != expected.os || real.architecture != expected.architecture)
        {
            let detail = format!("Base image {image} was pulled with platform \"{real}\", expected \"{expected}\" for current build");
            self.found(Rule::InvalidBaseImagePlatform, logical, detail);
        }
        let env = facts.env.iter().filter_map(|entry| entry.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Known { env: env.collect(), complete: true, ..Known::default() }
    }

    /// A text with its variables replaced, and the names that have no value.
    fn expanded(&self, text: &str, values: &BTreeMap<String, String>) -> (String, Vec<String>) {
        let missed = RefCell::new(Vec::new());
        let value = |name: &str| {
            let value = values.get(name).cloned();
            if value.is_none() && !missed.borrow().iter().any(|known| known == name) {
                missed.borrow_mut().push(name.to_owned());
            }
            value
        };
        let text = expand(text, self.escape, &value).unwrap_or_default();
        (text, missed.into_inner())
    }

    fn undeclared(&mut self, logical: &Logical, missed: &[String], globals: &BTreeMap<String, String>) {
        let known: Vec<&str> = globals.keys().map(String::as_str).collect();
        for name in missed {
            let hint = nearest(name, &known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            self.found(Rule::UndefinedArgInFrom, logical, format!("FROM argument '{name}' is not declared{hint}"));
        }
    }

    fn stage(&mut self, stage: &[&Parsed<'_>], mut known: Known, globals: &BTreeMap<String, String>) -> Known {
        let mut once: BTreeMap<String, &Logical> = BTreeMap::new();
        for (logical, instruction) in stage.iter().skip(1) {
            self.variables(logical, instruction, &known);
            match instruction {
                Instruction::Env(pairs) => {
                    self.secrets(logical, "ENV", pairs.iter().map(|(name, _)| name));
                    let (env, _) = self.values(&known);
                    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.clone(), self.expanded(value, &env).0)).collect();
                    known.env.extend(pairs);
                }
                Instruction::Arg(arguments) => {
                    self.secrets(logical, "ARG", arguments.iter().map(|(name, _)| name));
                    for (name, default) in arguments {
                        let given = self.checks.arguments.get(name).cloned().flatten();
                        let value = given.or_else(|| default.clone()).or_else(|| globals.get(name).cloned());
                        known.arguments.insert(name.clone(), value);
                    }
                }
                Instruction::Shell(_) => known.shell = true,
                Instruction::Cmd(command) | Instruction::Entrypoint(command) => {
                    let name = name(logical).to_ascii_uppercase();
                    if matches!(command, Command::Shell(line) if !line.is_empty()) && !known.shell {
                        let detail = format!("JSON arguments recommended for {name} to prevent unintended behavior related to OS signals");
                        self.found(Rule::JSONArgsRecommended, logical, detail);
                    }
                    self.once(&mut once, &name, logical);
                }
                Instruction::Healthcheck { .. } => self.once(&mut once, "HEALTHCHECK", logical),
                Instruction::Workdir(path) => {
                    if !known.workdir && !path.starts_with(['/', '$']) {
                        let detail = format!("Relative workdir \"{path}\" can have unexpected results if the base image changes");
                        self.found(Rule::WorkdirRelativePath, logical, detail);
                    }
                    known.workdir = true;
                }
                Instruction::Copy(copy) if copy.from.is_none() => self.ignored(logical, "Copy", copy, &known),
                Instruction::Add(copy) => self.ignored(logical, "Add", copy, &known),
                Instruction::Expose(ports) => self.expose(logical, ports, &known),
                _ => {}
            }
        }
        known
    }

    fn once<'l>(&mut self, seen: &mut BTreeMap<String, &'l Logical>, name: &str, logical: &'l Logical) {
        if let Some(before) = seen.insert(name.to_owned(), logical) {
            let detail =
                format!("Multiple {name} instructions should not be used in the same stage because only the last one will be used");
            self.found(Rule::MultipleInstructionsDisallowed, before, detail);
        }
    }

    fn values(&self, known: &Known) -> (BTreeMap<String, String>, BTreeSet<String>) {
        let mut values: BTreeMap<String, String> =
            known.arguments.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        values.extend(known.env.clone());
        (values, known.arguments.keys().cloned().collect())
    }

    fn variables(&mut self, logical: &Logical, instruction: &Instruction, known: &Known) {
        if !known.complete {
            return;
        }
        let mut texts: Vec<&str> = Vec::new();
        match instruction {
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                texts.extend(pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
            }
            Instruction::Copy(copy) | Instruction::Add(copy) => {
                texts.extend(copy.sources.iter().map(String::as_str));
                texts.push(&copy.destination);
                texts.extend([&copy.chown, &copy.chmod, &copy.checksum].into_iter().flatten().map(String::as_str));
            }
            Instruction::Arg(arguments) => texts.extend(arguments.iter().filter_map(|(_, value)| value.as_deref())),
            Instruction::Workdir(text) | Instruction::User(text) | Instruction::StopSignal(text) => texts.push(text),
            Instruction::Volume(texts_) | Instruction::Expose(texts_) => texts.extend(texts_.iter().map(String::as_str)),
            Instruction::Run(run) => {
                let options = run.mounts.iter().flat_map(|mount| &mount.options).filter(|(key, _)| *key != "from");
                texts.extend(options.map(|(_, value)| value.as_str()));
            }
            _ => {}
        }
        let (values, declared) = self.values(known);
        let mut all = BTreeSet::new();
        for text in texts {
            all.extend(self.expanded(text, &values).1);
        }
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        for name in all.iter().filter(|name| !declared.contains(*name)) {
            let hint = nearest(name, &names).map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
            self.found(Rule::UndefinedVar, logical, format!("Usage of undefined variable '${name}'{hint}"));
        }
    }

    /// **Source:** BuildKit, `frontend/dockerfile/dockerfile2llb`, `isSecretKey`.
    fn secrets<'n>(&mut self, logical: &Logical, instruction: &str, names: impl Iterator<Item = &'n String>) {
        const SECRET: [&str; 10] = ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
        for name in names {
            let lower = name.to_ascii_lowercase();
            let parts: Vec<&str> = lower.split('_').collect();
            let secret = parts.iter().any(|part| SECRET.contains(part));
            if secret && !parts.contains(&"public") && parts.last() != Some(&"file") && !lower.ends_with("_version") {
                let detail = format!("Do not use ARG or ENV instructions for sensitive data ({instruction} \"{name}\")");
                self.found(Rule::SecretsUsedInArgOrEnv, logical, detail);
            }
        }
    }

    fn ignored(&mut self, logical: &Logical, instruction: &str, copy: &Copy, known: &Known) {
        let (values, _) = self.values(known);
        for source in &copy.sources {
            let source = self.expanded(source, &values).0;
            let path = crate::tree::clean(&source);
            if source.contains("://") || source.starts_with("git@") {
                continue;
            }
            // Of the context as a whole nothing is left if any name in it is left out and none comes back in.
            let out = if path.is_empty() { self.checks.ignore.prunes("any name") } else { self.checks.ignore.excludes(&path) };
            if out {
                let path = if path.is_empty() { "." } else { &path };
                let detail = format!("Attempting to {instruction} file \"{path}\" that is excluded by .dockerignore");
                self.found(Rule::CopyIgnoredFile, logical, detail);
            }
        }
    }

    fn expose(&mut self, logical: &Logical, ports: &[String], known: &Known) {
        let (values, _) = self.values(known);
        for port in ports {
            for port in expand_words(port, self.escape, &|name| values.get(name).cloned()).unwrap_or_default() {
                let (numbers, protocol) = port.split_once('/').unwrap_or((&port, ""));
                if numbers.contains(':') {
                    let detail = format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
                    self.found(Rule::ExposeInvalidFormat, logical, detail);
                }
                if protocol.chars().any(|c| c.is_ascii_uppercase()) {
                    let detail = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                    self.found(Rule::ExposeProtoCasing, logical, detail);
                }
            }
        }
    }
}

/// The instruction's name as it is written.
fn name(logical: &Logical) -> &str {
    logical.text.split_whitespace().next().unwrap_or_default()
}

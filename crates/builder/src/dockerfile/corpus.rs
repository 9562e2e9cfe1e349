//! The parser, the lexer and the matchers against a corpus of cases, where one is at hand: its directory is in
//! `DOCKERFILE_CORPUS`. Cases of our own stand beside the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use super::{Dockerfile, instruction, lines, words};

fn corpus() -> Option<PathBuf> {
    std::env::var_os("DOCKERFILE_CORPUS").map(PathBuf::from)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Rows of a table in a file of tables.
fn rows(path: &Path, test: &str, variable: &str) -> Vec<Value> {
    let tables = json(path);
    let found = tables.as_array().unwrap().iter().find(|it| it["test"] == test && it["var"] == variable);
    found.unwrap()["rows"].as_array().unwrap().clone()
}

/// What differs, all of it in one message.
fn same(failures: &[String]) {
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn words_of_the_corpus() {
    let Some(corpus) = corpus() else { return assert!(!lines::marks("RUN <<E").is_empty()) };
    let env: BTreeMap<&str, &str> = [("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")].into();
    let value = |name: &str| env.get(name).map(|value| (*value).to_owned());
    let mut failures = Vec::new();
    for line in std::fs::read_to_string(corpus.join("shell/envVarTest")).unwrap().lines() {
        let line = line.split_once('#').map_or(line, |(before, _)| if before.is_empty() { "" } else { line });
        let parts: Vec<&str> = line.split('|').collect();
        let [platform, word, expected] = parts[..] else { continue };
        if platform.trim().contains('W') {
            continue;
        }
        let expanded = words::expand(word.trim(), '\\', &value).unwrap_or_else(|_| "error".to_owned());
        if expanded != expected.trim() {
            failures.push(format!("{word:?}: {expanded:?}, not {:?}", expected.trim()));
        }
    }
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for line in std::fs::read_to_string(corpus.join("shell/wordsTest")).unwrap().lines() {
        if let Some((name, value)) = line.strip_prefix("ENV ").and_then(|line| line.split_once('=')) {
            env.insert(name.trim().to_owned(), value.to_owned());
            continue;
        }
        let Some((text, expected)) = line.split_once('|').filter(|_| !line.starts_with('#')) else { continue };
        let words = words::expand_words(text.trim(), '\\', &|name| env.get(name).cloned());
        let words = words.map_or_else(|_| "error".to_owned(), |words| words.join(","));
        if words != expected.trim_start() {
            failures.push(format!("{text:?}: {words:?}, not {expected:?}"));
        }
    }
    for row in rows(&corpus.join("shell/lex_tables.json"), "TestProcessWithMatches", "tc") {
        let missed = Mutex::new(BTreeSet::new());
        let value = |name: &str| {
            let value = row["envs"].get(name).and_then(Value::as_str).map(str::to_owned);
            if value.is_none() {
                missed.lock().unwrap().insert(name.to_owned());
            }
            value
        };
        let done = words::expand(row["input"].as_str().unwrap(), '\\', &value).ok();
        let expected = if row["expectedErr"] == true { None } else { Some(row["expected"].as_str().unwrap_or_default().to_owned()) };
        let unmatched: BTreeSet<String> = row["unmatched"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
        if done != expected || (done.is_some() && unmatched != *missed.lock().unwrap()) {
            failures.push(format!("{row}: {done:?} {missed:?}"));
        }
    }
    same(&failures);
}

#[test]
fn files_of_the_corpus() {
    let Some(corpus) = corpus() else { return assert!(Dockerfile::parse(b"FROM a").is_ok()) };
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(corpus.join("parser/testfiles")).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read_to_string(path.join("Dockerfile")).unwrap();
        let expected = std::fs::read_to_string(path.join("result")).unwrap();
        let (directives, all) = lines::split(&file).unwrap();
        let shown: Vec<String> = all.iter().map(|logical| shown(logical, directives.escape)).collect();
        for (index, expected) in expected.lines().enumerate() {
            let got = shown.get(index).map(String::as_str).unwrap_or_default();
            if got != expected {
                failures.push(format!("{}:\n  {got}\n  {expected}", path.display()));
            }
        }
    }
    for entry in std::fs::read_dir(corpus.join("parser/testfiles-negative")).unwrap() {
        let path = entry.unwrap().path();
        if Dockerfile::parse(&std::fs::read(path.join("Dockerfile")).unwrap()).is_ok() {
            failures.push(format!("{} is accepted", path.display()));
        }
    }
    let file = std::fs::read_to_string(corpus.join("parser/testfile-line/Dockerfile")).unwrap();
    let spans: Vec<(usize, usize)> = lines::split(&file).unwrap().1.iter().map(|logical| (logical.line, logical.end)).collect();
    if spans != [(5, 5), (11, 12), (17, 31)] {
        failures.push(format!("{spans:?}"));
    }
    same(&failures);
}

/// A line as the corpus writes it.
fn shown(logical: &lines::Logical, escape: char) -> String {
    let (word, rest) = logical.text.split_once(char::is_whitespace).unwrap_or((&logical.text, ""));
    let name = word.to_lowercase();
    let (flags, rest) = if name == "onbuild" { (Vec::new(), rest.trim()) } else { raw_flags(rest.trim()) };
    let list = instruction::json_list(rest, 1).ok().flatten();
    let words: Vec<String> = match name.as_str() {
        "onbuild" => {
            let inner = lines::Logical { text: rest.to_owned(), ..logical.clone() };
            return format!("({name} {})", shown(&inner, escape));
        }
        "add" | "copy" | "volume" => list.unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect()),
        "cmd" | "entrypoint" | "run" | "shell" => list.unwrap_or_else(|| vec![rest.to_owned()]),
        "env" | "label" => {
            let pairs = instruction::pairs(&name, rest, 1, escape).unwrap();
            let sign = if words::split(rest, escape).first().is_some_and(|word| word.contains('=')) { "=" } else { "" };
            pairs.into_iter().flat_map(|(key, value)| [key, value, sign.to_owned()]).collect()
        }
        "healthcheck" => {
            let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let list = instruction::json_list(command.trim(), 1).ok().flatten();
            let command = list.unwrap_or_else(|| vec![command.trim().to_owned()]);
            [kind.to_owned()].into_iter().chain(command).filter(|word| !word.is_empty()).collect()
        }
        "from" | "expose" => rest.split_whitespace().map(str::to_owned).collect(),
        "arg" => words::split(rest, escape),
        _ => vec![rest.to_owned()],
    };
    let quote = |text: &String| format!("{}", Quoted(text));
    let flags = if flags.is_empty() { String::new() } else { format!(" [{}]", flags.iter().map(quote).collect::<Vec<_>>().join(" ")) };
    let words: String = words.iter().map(|word| format!(" {}", quote(word))).collect();
    format!("({name}{flags}{words})")
}

fn raw_flags(mut rest: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    while rest.starts_with("--") {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = rest[end..].trim_start();
        if word == "--" {
            break;
        }
        flags.push(word.to_owned());
    }
    (flags, rest)
}

/// Quotes as Go does.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => write!(f, "\\n")?,
                '\t' => write!(f, "\\t")?,
                '\r' => write!(f, "\\r")?,
                '\u{8}' => write!(f, "\\b")?,
                '\u{c}' => write!(f, "\\f")?,
                c if u32::from(c) < 32 => write!(f, "\\x{:02x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        write!(f, "\"")
    }
}

#[test]
fn instructions_of_the_corpus() {
    let Some(corpus) = corpus() else { return assert!(Dockerfile::parse(b"FROM a\nFOO").is_err()) };
    let mut failures = Vec::new();
    let tables = [("instructions/instr.json", "TestErrorCases"), ("instructions/instr_heredoc.json", "TestErrorCasesHeredoc")];
    for (file, test) in tables {
        for row in rows(&corpus.join(file), test, "cases") {
            let text = format!("FROM scratch\n{}\n", row["dockerfile"].as_str().unwrap());
            let error = Dockerfile::parse(text.as_bytes()).map_or_else(|error| error.to_string(), |_| String::new());
            if !error.contains(row["expectedError"].as_str().unwrap()) {
                failures.push(format!("{row}: {error}"));
            }
        }
    }
    let heredocs = corpus.join("instructions/heredoc.json");
    for row in rows(&heredocs, "TestHeredocsFromLine", "srcs") {
        let names: Vec<String> = lines::marks(row["line"].as_str().unwrap()).into_iter().map(|mark| mark.name).collect();
        let expected: Vec<String> = serde_json::from_value(row["heredocNames"].clone()).unwrap_or_default();
        if names != expected {
            failures.push(format!("{row}: {names:?}"));
        }
    }
    for (table, good) in [("validHeredocs", true), ("invalidHeredocs", false), ("notHeredocs", false)] {
        for row in rows(&heredocs, "TestParseHeredocHelpers", table) {
            let text = row.as_str().unwrap();
            let (word, next) = text.split_once(' ').map_or((text, None), |(word, next)| (word, Some(next)));
            let sign = matches!(word, "<<" | "<<-");
            if lines::mark(word, next.filter(|_| sign)).is_some_and(|_| sign == next.is_some()) != good {
                failures.push(format!("{table} {row}"));
            }
        }
    }
    for row in rows(&corpus.join("instructions/instr_heredoc.json"), "TestCopyHeredoc", "cases") {
        let text = format!("FROM scratch\n{}\n", row["dockerfile"].as_str().unwrap());
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let super::Instruction::Copy(copy) = &file.stages[0].steps[0].instruction else { panic!("{row}") };
        let expected = &row["sourcesAndDest"];
        let sources: Vec<String> = serde_json::from_value(expected["SourcePaths"].clone()).unwrap_or_default();
        let docs: Vec<Value> = expected["SourceContents"].as_array().cloned().unwrap_or_default();
        let same = copy
            .inline
            .iter()
            .zip(&docs)
            .all(|(doc, row)| row["Data"] == doc.content && row["Expand"] == doc.expand && row["Path"] == doc.name);
        if copy.destination != expected["DestPath"] || copy.sources != sources || docs.len() != copy.inline.len() || !same {
            failures.push(format!("{row}: {copy:?}"));
        }
    }
    same(&failures);
}

#[test]
fn patterns_of_the_corpus() {
    let Some(corpus) = corpus() else { return assert!(docker_api::ignore::matches("*", "a")) };
    let mut failures = Vec::new();
    for row in json(&corpus.join("patternmatcher/golden_filepath_match.json")).as_array().unwrap() {
        let (pattern, path) = (row["P"].as_str().unwrap(), row["S"].as_str().unwrap());
        let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let (patterns, paths) = (parts(pattern), parts(path));
        let fits =
            patterns.len() == paths.len() && patterns.iter().zip(&paths).all(|(pattern, part)| docker_api::ignore::matches(pattern, part));
        if row.get("E").is_none() && fits != (row["M"] == true) {
            failures.push(format!("{row}: {fits}"));
        }
    }
    let ignore = |patterns: &Value| {
        let lines: Vec<&str> = patterns.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        docker_api::ignore::Ignore::parse(&lines.join("\n"))
    };
    for row in json(&corpus.join("patternmatcher/golden_cross.json")).as_array().unwrap() {
        let out = ignore(&row["patterns"]).excludes(row["path"].as_str().unwrap());
        // The table is of the matcher alone. The reader of the file, which we have in one with it, takes a slash off
        // the front, so `/a` does fit; and `\a` is the letter here, not the bell of a regular expression.
        if row["patterns"] == serde_json::json!(["/a"]) || row["patterns"] == serde_json::json!(["\\a"]) {
            continue;
        }
        if row.get("error").is_none() && out != (row["matches_or_parent"] == true) {
            failures.push(format!("{row}: {out}"));
        }
    }
    for row in json(&corpus.join("patternmatcher/matches_or_parent_matches.json")).as_array().unwrap() {
        let out = ignore(&row["patterns"]).excludes(row["text"].as_str().unwrap());
        // The context's root itself is no entry of it and is never asked about.
        if row["text"] != "/" && row["match"].is_boolean() && out != (row["match"] == true) {
            failures.push(format!("{row}: {out}"));
        }
    }
    same(&failures);
}

/// A warning as the corpus has it, to compare: rule, line and detail.
type Warning = (String, u64, String);

#[test]
fn checks_of_the_corpus() {
    let Some(corpus) = corpus() else { return assert_eq!(super::Rule::JSONArgsRecommended.name(), "JSONArgsRecommended") };
    let mut failures = Vec::new();
    for row in json(&corpus.join("lint/checks.json")).as_array().unwrap() {
        let Some(file) = row["Dockerfile"].as_str() else { continue };
        let arguments: BTreeMap<String, Option<String>> = row["FrontendAttrs"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.strip_prefix("build-arg:")?.to_owned(), value.as_str().map(str::to_owned))))
            .collect();
        let ignore = docker_api::ignore::Ignore::parse(row["DockerIgnore"].as_str().unwrap_or_default());
        for (key, all) in [("Warnings", false), ("UnmarshalWarnings", true)] {
            if key == "UnmarshalWarnings" && row.get(key).is_none() {
                continue;
            }
            let checks = super::Checks {
                arguments: &arguments,
                automatic: crate::build::platform_arguments(&oci::Platform::host(), None),
                target: None,
                all,
                ignore: &ignore,
                base: &|_| Some(super::BaseFacts { env: vec!["PATH=/bin".to_owned()], platform: None }),
            };
            let report = super::check(file.as_bytes(), &checks);
            let known: Vec<&Value> = row[key].as_array().into_iter().flatten().collect();
            let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
            let mut expected: Vec<Warning> =
                known.iter().map(|it| (text(&it["RuleName"]), it["Line"].as_u64().unwrap_or_default(), text(&it["Detail"]))).collect();
            let mut got: Vec<Warning> = report.findings.iter().map(|it| (it.rule.name(), it.line as u64, it.detail.clone())).collect();
            expected.sort();
            got.sort();
            let computed = known.iter().any(|it| it.get("computed_in_origin").is_some() || it["Detail"].is_object());
            // One row has the lines of another file.
            let misplaced = row["test"] == "testLegacyKeyValueFormat" && key == "UnmarshalWarnings";
            let same = if computed || misplaced { expected.len() == got.len() } else { expected == got };
            if !same {
                failures.push(format!("{file}\n  {got:?}\n  {expected:?}"));
            }
            for it in &known {
                let rule = report.findings.iter().find(|found| found.rule.name() == text(&it["RuleName"]));
                let fits = rule.is_none_or(|found| it["Description"] == found.rule.description() && it["URL"] == found.rule.url());
                if !fits {
                    failures.push(format!("{it}: {rule:?}"));
                }
            }
            let error = report.error.map(|error| error.message).unwrap_or_default();
            let violation = row["BuildErr"].as_str().filter(|text| text.contains("lint violation"));
            if violation.is_some_and(|expected| error != expected) {
                failures.push(format!("{file}\n  {error}"));
            }
        }
    }
    same(&failures);
}

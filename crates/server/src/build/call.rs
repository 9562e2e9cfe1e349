//! `--call`: what a Dockerfile offers, asks for and could do better, without a build.
//!
//! **Source:** BuildKit, `frontend/subrequests` (the forms of the answers).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use builder::Request;
use builder::dockerfile::{BaseFacts, Checks, Parameter, ParseError, Place, Report, check as check_file, excerpt, outline, targets};
use docker_api::ignore::Ignore;
use serde_json::{Value, json};

use crate::ApiError;
use crate::app::App;

/// What of a request the checks need.
pub(super) struct Facts {
    arguments: BTreeMap<String, Option<String>>,
    target: Option<String>,
    platform: oci::Platform,
    ignore: Arc<Ignore>,
}

impl Facts {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            arguments: request.arguments.clone(),
            target: request.target.clone(),
            platform: request.platform.clone().unwrap_or_else(oci::Platform::host),
            ignore: request.ignore.clone().unwrap_or_default(),
        }
    }
}

/// Checks a Dockerfile with what is known of images that are here.
pub(super) fn check(app: &App, file: &[u8], facts: &Facts, all: bool) -> Report {
    let base = |name: &str| {
        let image = app.images.resolve(name).ok()?;
        Some(BaseFacts { env: image.config.config.env.clone(), platform: Some(image.config.platform()) })
    };
    let checks = Checks {
        arguments: &facts.arguments,
        automatic: builder::platform_arguments(&facts.platform, facts.target.as_deref()),
        target: facts.target.as_deref(),
        all,
        ignore: &facts.ignore,
        base: &base,
    };
    check_file(file, &checks)
}

/// Answers a call: the object, and how people read it.
pub(super) fn answer(app: &App, request: &Request, what: &str, title: &str) -> Result<Value, ApiError> {
    let (file, facts) = (&request.dockerfile, Facts::of(request));
    let wrong = |error: ParseError| {
        let text = excerpt(file, title, &Place::from(&error));
        ApiError::invalid(format!("{text}{error}"))
    };
    let source = json!([{"filename": title, "language": "Dockerfile", "data": base64::engine::general_purpose::STANDARD.encode(file)}]);
    let (object, text, failed) = match what {
        "check" | "lint" => {
            let report = check(app, file, &facts, true);
            if let Some(error) = report.error.clone().filter(|error| !error.message.starts_with("lint violation")) {
                return Err(wrong(error));
            }
            let text = findings(&report, file, title);
            let warnings: Vec<Value> = report.findings.iter().map(warning).collect();
            (json!({"warnings": warnings, "sources": source}), text, !report.findings.is_empty())
        }
        "outline" => {
            let found = outline(file, facts.target.as_deref(), &facts.arguments).map_err(wrong)?;
            let list = |all: &[Parameter]| all.iter().map(parameter).collect::<Vec<_>>();
            let mut object =
                json!({"name": found.name, "description": found.description, "args": list(&found.arguments), "sources": source});
            let mut text = format!("TARGET:       {}\n", if found.name.is_empty() { "default" } else { &found.name });
            if !found.description.is_empty() {
                let _ = writeln!(text, "DESCRIPTION:  {}", found.description);
            }
            table(&mut text, ["BUILD ARG", "VALUE", "DESCRIPTION"], &found.arguments, |it| {
                [it.name.clone(), it.value.clone(), it.description.clone()]
            });
            for (key, title, all) in
                [("secrets", "SECRET", &found.secrets), ("ssh", "SSH", &found.agents), ("cache", "CACHE", &found.caches)]
            {
                if !all.is_empty() {
                    object[key] = json!(list(all));
                    table(&mut text, [title, "REQUIRED", ""], all, |it| {
                        [it.name.clone(), if it.required { "true".to_owned() } else { String::new() }, String::new()]
                    });
                }
            }
            (object, text, false)
        }
        "targets" => {
            let all = targets(file).map_err(wrong)?;
            let object: Vec<Value> = all
                .iter()
                .map(|it| {
                    json!({"name": it.name, "default": it.default, "description": it.description, "base": it.base, "platform": it.platform,
                        "location": location(it.line, it.line)})
                })
                .collect();
            let shown: Vec<Parameter> = all
                .iter()
                .filter(|it| !it.name.is_empty() || it.default)
                .map(|it| {
                    let mark = if it.default { " (default)" } else { "" };
                    Parameter {
                        name: format!("{}{mark}", it.name).trim().to_owned(),
                        description: it.description.clone(),
                        ..Parameter::default()
                    }
                })
                .collect();
            let mut text = String::new();
            table(&mut text, ["TARGET", "DESCRIPTION", ""], &shown, |it| [it.name.clone(), it.description.clone(), String::new()]);
            (json!({"targets": object, "sources": source}), text.trim_start().to_owned(), false)
        }
        other => return Err(ApiError::invalid(format!("invalid call \"{other}\"; use check, outline or targets"))),
    };
    Ok(json!({"result": object, "text": text, "failed": failed}))
}

fn location(line: usize, end: usize) -> Value {
    json!({"sourceIndex": 0, "ranges": [{"start": {"line": line}, "end": {"line": end}}]})
}

fn warning(finding: &builder::dockerfile::Finding) -> Value {
    json!({"ruleName": finding.rule.name(), "description": finding.rule.description(), "url": finding.rule.url(), "detail": finding.detail,
        "location": location(finding.line, finding.end)})
}

fn parameter(it: &Parameter) -> Value {
    let mut object = json!({"name": it.name, "location": location(it.line, it.line)});
    for (key, text) in [("description", &it.description), ("value", &it.value)] {
        if !text.is_empty() {
            object[key] = json!(text);
        }
    }
    if it.required {
        object["required"] = json!(true);
    }
    object
}

fn findings(report: &Report, file: &[u8], title: &str) -> String {
    let count = report.findings.len();
    let mut text = match count {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        _ => format!("Check complete, {count} warnings have been found!\n"),
    };
    for finding in &report.findings {
        let place = Place { line: finding.line, end: finding.end, near: String::new() };
        let (rule, url) = (finding.rule.name(), finding.rule.url());
        let _ = write!(text, "\nWARNING: {rule} - {url}\n{}\n{}", finding.detail, excerpt(file, title, &place));
    }
    text
}

/// A table with as many columns as have a title.
fn table(text: &mut String, titles: [&str; 3], rows: &[Parameter], cells: impl Fn(&Parameter) -> [String; 3]) {
    if rows.is_empty() {
        return;
    }
    let mut all = vec![titles.map(str::to_owned)];
    all.extend(rows.iter().map(cells));
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default() + 3;
    let (first, second) = (width(0), width(1));
    text.push('\n');
    for row in &all {
        let line = format!("{:<first$}{:<second$}{}", row[0], row[1], row[2]);
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

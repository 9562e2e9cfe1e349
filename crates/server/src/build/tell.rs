//! What a build tells, as lines of JSON: Docker's texts, or objects for our own client.

use builder::dockerfile::{Finding, Place};
use builder::{Event, Update};
use bytes::Bytes;
use docker_api::types::{ErrorDetail, Progress};
use serde_json::{Value, json};

use crate::reply;

/// How lines end.
pub(super) const LINE_END: &str = "\r\n";

pub(super) fn failure(message: &str) -> Value {
    let progress = Progress {
        error: message.to_owned(),
        error_detail: Some(ErrorDetail { code: 1, message: message.to_owned() }),
        ..Progress::default()
    };
    serde_json::to_value(progress).unwrap_or_default()
}

pub(super) fn line(update: &Update, objects: bool, quiet: bool) -> Bytes {
    let value = if objects { object(update) } else { json!({"stream": text(update, quiet)}) };
    reply::line(&value, LINE_END)
}

/// What a rule found, for the end of a build.
pub(super) fn finding(finding: &Finding) -> Value {
    json!({"teu": {"event": "finding", "rule": finding.rule.name(), "text": finding.detail, "line": finding.line}})
}

/// The lines of the Dockerfile that an error is about.
pub(super) fn excerpt(file: &[u8], title: &str, place: &Place) -> Value {
    json!({"teu": {"event": "excerpt", "text": builder::dockerfile::excerpt(file, title, place)}})
}

fn object(update: &Update) -> Value {
    let (event, text) = match &update.event {
        Event::Started(name) => ("started", name.clone()),
        Event::Log(bytes) => ("log", String::from_utf8_lossy(bytes).into_owned()),
        Event::Cached => ("cached", String::new()),
        Event::Done => ("done", String::new()),
        Event::Failed(reason) => ("failed", reason.clone()),
        Event::Warning(text) => ("warning", text.clone()),
    };
    json!({"teu": {"vertex": update.vertex, "event": event, "text": text}})
}

fn text(update: &Update, quiet: bool) -> String {
    match &update.event {
        _ if quiet => String::new(),
        Event::Started(name) => format!("Step {} : {name}\n", update.vertex),
        Event::Log(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Event::Cached => " ---> Using cache\n".to_owned(),
        Event::Done | Event::Failed(_) => String::new(),
        Event::Warning(text) => format!("[Warning] {text}\n"),
    }
}

//! `events`.

use std::io::{BufRead as _, BufReader};

use docker_api::client::query;
use serde_json::Value;

use super::{Entry, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{number, text as field};
use crate::template::{Mode, Template, Value as Shown};
use crate::{human, printer};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("events"), act: events }];

fn events(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let template = given
        .get("format")
        .filter(|format| *format != "json")
        .map(Template::parse)
        .transpose()
        .map_err(|error| Failure::Message { message: format!("Error parsing format: {}", error.plain()), code: 64, run: false })?;
    let mut client = context.client()?;
    let filters = filters(given)?;
    let time = |flag: &str| given.get(flag).map(human::moment).transpose().map_err(Failure::new);
    let (since, until) = (time("since")?, time("until")?);
    let path = format!("/events{}", query(&[("since", since.as_deref()), ("until", until.as_deref()), ("filters", filters.as_deref())]));
    let body = client.stream("GET", &path, None)?;
    for line in BufReader::new(body).lines() {
        let line = line?;
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        match &template {
            Some(template) => {
                let event = Shown::structure("*events.Message", &serde_json::from_str(&line)?);
                printer::line(&template.on(&event, Mode::Lenient).map_err(|error| Failure::new(error.plain()))?);
            }
            None if given.has("format") => printer::line(&line),
            None => printer::line(&show(&event)),
        }
    }
    Ok(0)
}

/// `time type action id (attributes)`.
fn show(event: &Value) -> String {
    let nanos = i128::from(number(event, "timeNano"));
    let time = jiff::Timestamp::from_nanosecond(nanos).map(|time| time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()).unwrap_or_default();
    let mut text = format!(
        "{time} {} {} {}",
        field(event, "Type"),
        field(event, "Action"),
        event.pointer("/Actor/ID").and_then(Value::as_str).unwrap_or_default()
    );
    if let Some(attributes) = event.pointer("/Actor/Attributes").and_then(Value::as_object).filter(|attributes| !attributes.is_empty()) {
        let list: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        text.push_str(&format!(" ({})", list.join(", ")));
    }
    text
}

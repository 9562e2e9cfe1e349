//! `network policy`: who may connect to whom.

use std::io::Read;

use docker_api::client::{escape, query};
use docker_api::types::{NetworkPolicy, NetworkPolicyResponse, PolicyRule, PolicySelector, PolicyTestBody, PolicyVerdict};
use serde_json::{Value, json};

use super::{Entry, create_body, each, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::text as field;
use crate::{output, printer, table};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("network policy create"), act: create },
    Entry { command: described("network policy ls"), act: ls },
    Entry { command: described("network policy inspect"), act: inspect },
    Entry { command: described("network policy rm"), act: rm },
    Entry { command: described("network policy test"), act: test },
];

fn path(name: &str) -> String {
    format!("/teu/policies/{}", escape(name))
}

fn create(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let policy = asked(given)?;
    let body = serde_json::to_value(&policy)?;
    let mut client = context.client()?;
    let answer: NetworkPolicyResponse = if given.on("replace") {
        client.call("PUT", &path(&policy.name), Some(&body))?
    } else {
        client.call("POST", "/teu/policies", Some(&body))?
    };
    answer.warnings.iter().for_each(|warning| printer::error(&format!("WARNING: {warning}")));
    printer::line(&policy.name);
    Ok(0)
}

/// The policy of a file, with what flags add to it.
fn asked(given: &Given) -> Outcome<NetworkPolicy> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    let mut policy = match given.get("file") {
        Some(file) => {
            let text = read(file).map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?;
            serde_json::from_str(&text).map_err(|error| Failure::new(format!("{file} is no policy: {error}")))?
        }
        None => NetworkPolicy::default(),
    };
    given.args[0].clone_into(&mut policy.name);
    for text in given.all("for") {
        policy.subjects.push(text.parse::<PolicySelector>().map_err(|error| wrong(&error))?);
    }
    for text in given.all("rule") {
        policy.rules.push(text.parse::<PolicyRule>().map_err(|error| wrong(&error))?);
    }
    for text in given.all("default-deny").iter().flat_map(|text| text.split(',')) {
        policy.default_deny.push(text.parse().map_err(|error| wrong(&error))?);
    }
    if let Some(limit) = given.get("egress-limit") {
        limit.clone_into(&mut policy.egress_limit);
    }
    let labels = create_body::labels(given.all("label"), &[])?;
    for (key, value) in serde_json::to_value(labels)?.as_object().into_iter().flatten() {
        policy.labels.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    Ok(policy)
}

fn read(file: &str) -> std::io::Result<String> {
    if file != "-" {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn ls(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let filters = filters(given)?;
    let found: Vec<NetworkPolicy> =
        context.client()?.call("GET", &format!("/teu/policies{}", query(&[("filters", filters.as_deref())])), None)?;
    let join = |texts: Vec<String>, none: &str| if texts.is_empty() { none.to_owned() } else { texts.join(" ") };
    let rows: Vec<Value> = found
        .iter()
        .map(|policy| {
            json!({
                "Name": policy.name,
                "Subjects": join(policy.subjects.iter().map(ToString::to_string).collect(), "any"),
                "DefaultDeny": join(policy.default_deny.iter().map(ToString::to_string).collect(), "-"),
                "Rules": policy.rules.len().to_string(),
                "EgressLimit": if policy.egress_limit.is_empty() { "-" } else { &policy.egress_limit },
                "Labels": output::pairs(&json!(policy.labels)),
            })
        })
        .collect();
    if given.on("quiet") {
        rows.iter().for_each(|row| printer::line(field(row, "Name")));
        return Ok(0);
    }
    let columns =
        [("Name", "NAME"), ("Subjects", "FOR"), ("DefaultDeny", "DENIES BY DEFAULT"), ("Rules", "RULES"), ("EgressLimit", "EGRESS LIMIT")];
    output::print(given.get("format"), &rows, &columns, &[("Labels", "LABELS")])?;
    Ok(0)
}

fn inspect(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let mut found = Vec::new();
    for name in &given.args {
        found.push(client.call::<Value>("GET", &path(name), None)?);
    }
    match given.get("format").filter(|format| *format != "json") {
        Some(format) => {
            for policy in &found {
                output::object(Some(format), policy)?;
            }
        }
        None => printer::line(&serde_json::to_string_pretty(&found)?),
    }
    Ok(0)
}

fn rm(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    each(&given.args, |name| {
        client.call::<Value>("DELETE", &path(name), None)?;
        Ok(Some(name.to_owned()))
    })
}

/// Exit code 0 if every connection that is meant may be made, else 1.
fn test(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let target = given.args[1].rsplit_once(':').filter(|(to, port)| !to.is_empty() && !port.is_empty());
    let (to, port) = target.ok_or_else(|| Failure::new(format!("invalid target {}: write TO:PORT or TO:PROTOCOL", given.args[1])))?;
    let to = to.trim_start_matches('[').trim_end_matches(']');
    let body = PolicyTestBody { from: given.args[0].clone(), to: to.to_owned(), port: port.to_owned() };
    let verdicts: Vec<PolicyVerdict> = context.client()?.call("POST", "/teu/policies/test", Some(&serde_json::to_value(&body)?))?;
    match given.get("format") {
        Some(format) => {
            for verdict in &verdicts {
                output::object(Some(format), &serde_json::to_value(verdict)?)?;
            }
        }
        None => {
            let row = |verdict: &PolicyVerdict| {
                let word = if verdict.allowed { "allowed" } else { "denied" };
                let rule = if verdict.rule.is_empty() { String::new() } else { format!(": {}", verdict.rule) };
                vec![word.to_owned(), format!("{} -> {}", verdict.from, verdict.to), format!("{}{rule}", verdict.reason)]
            };
            printer::raw(table::layout(&verdicts.iter().map(row).collect::<Vec<_>>()).as_bytes());
        }
    }
    Ok(u8::from(verdicts.iter().any(|verdict| !verdict.allowed)))
}

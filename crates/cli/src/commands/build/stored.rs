//! `builder prune`: what builds have left for later ones.

use docker_api::client::query;
use serde_json::Value;

use crate::commands::{confirm, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given};
use crate::{human, printer};

pub(super) fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    for name in ["keep-storage"] {
        if given.has(name) {
            return Err(Failure::new(format!(
                "--{name} is not served: builder prune forgets all cached results, with --all the cache mounts, too"
            )));
        }
    }
    let all = given.on("all");
    let warning = if all { "WARNING! This will remove all build cache." } else { "WARNING! This will remove all dangling build cache." };
    if !given.on("force") && !confirm(&format!("{warning} Are you sure you want to continue?"))? {
        return Ok(0);
    }
    let mut client = context.client()?;
    let report: Value = client.call(
        "POST",
        &format!("/build/prune{}", query(&[("all", all.then_some("1")), ("filters", filters(given)?.as_deref())])),
        None,
    )?;
    let deleted = report.get("CachesDeleted").and_then(Value::as_array).cloned().unwrap_or_default();
    if !deleted.is_empty() {
        printer::line("Deleted build cache objects:");
        for entry in deleted.iter().filter_map(Value::as_str) {
            printer::line(entry);
        }
        printer::line("");
    }
    let reclaimed = report.get("SpaceReclaimed").and_then(Value::as_i64).unwrap_or_default();
    printer::line(&format!("Total reclaimed space: {}", size(reclaimed)));
    Ok(0)
}

fn size(bytes: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
    human::size(bytes as f64)
}

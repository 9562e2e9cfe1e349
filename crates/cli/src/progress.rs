//! Progress streams of the engine: one JSON object a line.

use std::io::{BufRead as _, BufReader, Read};

use serde_json::Value;

use crate::error::{Failure, Outcome};
use crate::json::text;
use crate::printer;

/// Prints a progress stream; with `quiet` only its failures.
///
/// # Errors
/// The failure that the stream tells of.
pub fn print(stream: impl Read, quiet: bool) -> Outcome<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if let Some(message) = value.pointer("/errorDetail/message").or_else(|| value.get("error")).and_then(Value::as_str) {
            return Err(Failure::new(message));
        }
        if quiet {
            continue;
        }
        if let Some(stream) = value.get("stream").and_then(Value::as_str) {
            printer::raw(stream.as_bytes());
        } else if value.get("progressDetail").and_then(|detail| detail.get("current")).is_none() {
            let (id, status) = (text(&value, "id"), text(&value, "status"));
            if !status.is_empty() {
                printer::line(&if id.is_empty() { status.to_owned() } else { format!("{id}: {status}") });
            }
        }
    }
    Ok(())
}

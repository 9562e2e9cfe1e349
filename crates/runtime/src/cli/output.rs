//! What goes to standard output.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::CliError;
use super::error::During as _;

pub(super) fn text(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).during(|| "cannot write to standard output".into())
}

pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let document = serde_json::to_string_pretty(value).map_err(|source| CliError::Json { what: "cannot print".into(), source })?;
    text(&format!("{document}\n"))
}

pub(super) fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    let document = serde_json::to_string(value).map_err(|source| CliError::Json { what: "cannot print".into(), source })?;
    text(&format!("{document}\n"))
}

pub(super) fn version() -> Result<(), CliError> {
    text(&format!("teu oci version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), oci::runtime::VERSION))
}

pub(super) fn help() -> Result<(), CliError> {
    text(
        "usage: teu oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND\n\n\
         commands:\n  \
         create, run, start, state, kill, delete   the life of a container\n  \
         exec, ps, pause, resume, update, events   a running container\n  \
         list, features, spec                      what there is\n",
    )
}

/// Seconds and nanoseconds as RFC 3339 writes them, in UTC.
pub(super) fn time(time: SystemTime) -> String {
    let age = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (age.as_secs() / 86_400, age.as_secs() % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z", rest / 3600, rest / 60 % 60, rest % 60, age.subsec_nanos())
}

/// Year, month and day of a number of days since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_rfc_3339() {
        let at = |seconds| time(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.000000000Z");
    }
}

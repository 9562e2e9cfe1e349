//! `image explore` and `image verify`: what is in an image, and whether all images are as they were.

use docker_api::client::escape;
use docker_api::types::{ImageExploration, ImageVerification};

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{human, output, printer, table};

pub(super) const ENTRIES: &[Entry] =
    &[Entry { command: described("image explore"), act: explore }, Entry { command: described("image verify"), act: verify }];

/// Files in vain that are shown.
const SHOWN: usize = 20;
/// Characters of a step that are shown.
const STEP: usize = 60;

fn explore(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let least = given.get("min-efficiency").map(share).transpose()?;
    let mut client = context.client()?;
    let found: ImageExploration = client.call("GET", &format!("/teu/images/{}/explore", escape(&given.args[0])), None)?;
    if given.has("format") {
        output::object(given.get("format"), &serde_json::to_value(&found)?)?;
    } else {
        printer::raw(report(&found).as_bytes());
    }
    let least = least.or(given.has("ci").then_some(9000));
    let reached = efficiency(&found);
    match least.filter(|least| reached < *least) {
        Some(least) => Err(Failure::new(format!(
            "efficiency {} is below {}: later layers replace or remove {} of files",
            percent(reached),
            percent(least),
            size(found.wasted_size)
        ))),
        None => Ok(0),
    }
}

/// Reads a share such as `0.95` as ten-thousandths.
fn share(text: &str) -> Outcome<u64> {
    let wrong =
        || Failure::new(format!("invalid argument \"{text}\" for \"--min-efficiency\" flag: it is a number from 0 to 1, such as 0.95"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<4}");
    let fraction: u64 = digits.get(..4).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    match whole {
        "0" | "" => Ok(fraction),
        "1" if fraction == 0 => Ok(10_000),
        _ => Err(wrong()),
    }
}

/// The share of all bytes that can be seen, in ten-thousandths.
fn efficiency(found: &ImageExploration) -> u64 {
    let (all, wasted) = (u128::from(found.size), u128::from(found.wasted_size));
    let share = (all.saturating_sub(wasted) * 10_000).checked_div(all).unwrap_or(10_000);
    u64::try_from(share).unwrap_or(10_000)
}

fn percent(share: u64) -> String {
    format!("{}.{:02} %", share / 100, share % 100)
}

fn report(found: &ImageExploration) -> String {
    let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
    let mut rows = vec![cells(&["LAYER", "SIZE", "FILES", "DIRS", "REMOVED", "HIDES", "CREATED BY"])];
    for layer in &found.layers {
        let digest = layer.diff_id.strip_prefix("sha256:").unwrap_or(&layer.diff_id);
        let step: String = layer.created_by.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = step.chars().take(STEP).collect();
        rows.push(vec![
            digest.chars().take(12).collect(),
            size(layer.size),
            layer.files.to_string(),
            layer.directories.to_string(),
            layer.whiteouts.to_string(),
            size(layer.hidden_size),
            short,
        ]);
    }
    let mut text = table::layout(&rows);
    let summary = format!(
        "\nTotal size:  {}\nWasted:      {}\nEfficiency:  {}\n",
        size(found.size),
        size(found.wasted_size),
        percent(efficiency(found))
    );
    text.push_str(&summary);
    if !found.wasted.is_empty() {
        let mut rows = vec![cells(&["COPIES", "WASTED", "PATH"])];
        rows.extend(
            found
                .wasted
                .iter()
                .take(SHOWN)
                .map(|file| vec![file.copies.to_string(), size(file.size), file.path.escape_debug().to_string()]),
        );
        text.push('\n');
        text.push_str(&table::layout(&rows));
    }
    text
}

fn verify(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let found: ImageVerification = client.call("POST", "/teu/images/verify", None)?;
    if given.has("format") {
        output::object(given.get("format"), &serde_json::to_value(&found)?)?;
    } else {
        for fault in &found.faults {
            printer::line(&format!("{}: {}", fault.what, fault.reason));
        }
        printer::line(&format!("{} images and {} layers verified, {} faults", found.images, found.layers, found.faults.len()));
    }
    Ok(u8::from(!found.faults.is_empty()))
}

fn size(bytes: u64) -> String {
    // Twelve digits are more than a table shows.
    human::size(
        u32::try_from(bytes / 1000).map_or(f64::from(u32::MAX), f64::from) * 1000.0 + u32::try_from(bytes % 1000).map_or(0.0, f64::from),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        assert_eq!(share("0.95").ok(), Some(9500));
        assert_eq!(share("1").ok(), Some(10_000));
        assert_eq!(share(".12345").ok(), Some(1234));
        assert!(["2", "1.5", "x", "-1", "0.x"].iter().all(|text| share(text).is_err()));
        let found = ImageExploration { size: 3, wasted_size: 1, ..ImageExploration::default() };
        assert_eq!(percent(efficiency(&found)), "66.66 %");
        assert_eq!(efficiency(&ImageExploration::default()), 10_000);
        assert_eq!(size(1500), "1.5kB");
    }
}

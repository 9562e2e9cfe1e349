//! Options of the `local` driver: `type`, `device`, `o`, `size`.
//!
//! **Source:** moby, `volume/local/local_unix.go`.

use std::collections::BTreeMap;

/// Checks names and that each option has its partners; the error is Docker's text.
pub(crate) fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    for name in options.keys() {
        if !matches!(name.as_str(), "type" | "device" | "o" | "size") {
            return Err(format!("invalid option: {name:?}"));
        }
    }
    if options.get("type").is_some_and(|kind| kind == "cifs")
        && let Some(host) = options.get("device").and_then(|device| device.trim_start_matches("//").split('/').next())
        && let Some((_, port)) = host.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err("port not allowed in CIFS device URL, include 'port' in 'o='".to_owned());
    }
    if let Some(text) = options.get("size") {
        size(text)?;
    }
    for (name, partners) in [("device", &["type"][..]), ("type", &["device"]), ("o", &["device", "type"])] {
        if !options.contains_key(name) {
            continue;
        }
        if let Some(missing) = partners.iter().find(|partner| !options.contains_key(**partner)) {
            return Err(format!("missing required option: {missing:?}"));
        }
    }
    Ok(())
}

/// Reads a number of bytes such as `10m`, as docker/go-units' `RAMInBytes` does; the error is its text.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim_start().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() && !part.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let unit = 1_u64 << shift;
    let mut bytes = whole.checked_mul(unit).ok_or_else(wrong)?;
    if !part.is_empty() {
        if part.len() > 9 {
            return Err(wrong());
        }
        let fraction: u64 = part.parse().map_err(|_| wrong())?;
        let scale = 10_u64.pow(u32::try_from(part.len()).unwrap_or(0));
        let more = u128::from(fraction) * u128::from(unit) / u128::from(scale);
        bytes = bytes.checked_add(u64::try_from(more).map_err(|_| wrong())?).ok_or_else(wrong)?;
    }
    Ok(bytes)
}

/// Reads a number of bytes such as `10m`, as Docker does.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    size(text).ok()
}

/// Whether a volume's files come from elsewhere than its own directory.
pub(crate) fn needs_mount(options: &BTreeMap<String, String>) -> bool {
    ["device", "type"].iter().any(|name| options.get(*name).is_some_and(|value| !value.is_empty()))
}

/// Most bytes of the volume's files; none is unlimited.
pub(crate) fn quota(options: &BTreeMap<String, String>) -> Option<u64> {
    options.get("size").and_then(|text| size(text).ok()).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [("1", 1), ("10k", 10 << 10), ("1.5m", 3 << 19), ("2GiB", 2 << 30), ("3 mb", 3 << 20), ("0", 0)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "1x", "-1", "1..2m", "99999999p"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

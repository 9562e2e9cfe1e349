//! Options of the `local` driver: `type`, `device`, `o`, `size`.
//!
//! **Source:** moby, `volume/local/local_unix.go`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci::runtime::Mount;

/// Checks names and that each option has its partners; the error is Docker's text.
pub(crate) fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    for name in options.keys() {
        if !matches!(name.as_str(), "type" | "device" | "o" | "size") {
            return Err(format!("invalid option: {name:?}"));
        }
    }
    for (name, partners) in [("device", &["type"][..]), ("type", &["device"]), ("o", &["device", "type"])] {
        if !options.contains_key(name) {
            continue;
        }
        if let Some(missing) = partners.iter().find(|partner| !options.contains_key(**partner)) {
            return Err(format!("missing required option: {missing:?}"));
        }
    }
    if options.contains_key("size") {
        return Err("quota size requested but no quota support".to_owned());
    }
    Ok(())
}

/// Returns the mount of a volume; `destination` is left empty.
pub(crate) fn mount(options: &BTreeMap<String, String>, data: PathBuf) -> Mount {
    let Some(device) = options.get("device") else {
        return Mount { kind: Some("bind".to_owned()), source: Some(data), options: vec!["rbind".to_owned()], ..Mount::default() };
    };
    let words = options.get("o").map(String::as_str).unwrap_or_default();
    let words: Vec<String> = words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let is_bind = words.iter().any(|word| word == "bind" || word == "rbind");
    let kind = if is_bind { "bind" } else { options.get("type").map(String::as_str).unwrap_or("none") };
    Mount { kind: Some(kind.to_owned()), source: Some(PathBuf::from(device)), options: words, ..Mount::default() }
}

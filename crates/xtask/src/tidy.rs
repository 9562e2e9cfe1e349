//! Formatting, lints, file sizes and the arrows between crates.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{call, cargo, workspace};

/// Every arrow of `docs/architecture.md`: a crate and what it may import. Development dependencies may also name `testkit`.
const ARROWS: [(&str, &[&str]); 19] = [
    ("sys", &[]),
    ("oci", &[]),
    ("store", &[]),
    ("docker-api", &[]),
    ("buildkit", &[]),
    ("runtime", &["sys", "oci"]),
    ("supervisor", &["sys", "oci", "runtime"]),
    ("image", &["sys", "oci", "store"]),
    ("network", &["sys", "store"]),
    ("volume", &["sys", "oci", "store"]),
    ("registry", &["oci"]),
    ("engine", &["oci", "store", "image", "network", "volume", "supervisor"]),
    ("builder", &["docker-api", "oci", "store", "image", "engine"]),
    ("server", &["docker-api", "oci", "store", "image", "network", "volume", "registry", "engine", "builder", "buildkit"]),
    ("compose", &["docker-api"]),
    ("cli", &["docker-api", "compose"]),
    (
        "teu",
        &[
            "sys",
            "runtime",
            "supervisor",
            "store",
            "image",
            "network",
            "volume",
            "registry",
            "engine",
            "builder",
            "server",
            "cli",
            "docker-api",
        ],
    ),
    ("testkit", &[]),
    // The bench makes the bare system calls of a container's start itself.
    ("xtask", &["sys", "testkit"]),
];

/// Lines of code, tests apart, that no file may pass.
const LINES_MAX: usize = 500;

/// Files that may be longer, each with its reason.
const LONG: [(&str, &str); 2] = [
    ("crates/oci/src/runtime.rs", "one table: the words of the runtime specification"),
    ("crates/engine/src/error.rs", "one enum per operation, each with its kind beside it"),
];

pub(crate) fn run() -> Result<()> {
    arrows()?;
    sizes()?;
    call(cargo().args(["fmt", "--all", "--check"]))?;
    call(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    println!("tidy: arrows, sizes, formatting and lints are in order");
    Ok(())
}

/// Compares the manifests with [`ARROWS`].
fn arrows() -> Result<()> {
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let mut faults = Vec::new();
    for folder in std::fs::read_dir(workspace().join("crates"))?.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            faults.push(format!("crate `{name}` is not drawn in xtask/src/tidy.rs"));
            continue;
        };
        let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml"))?;
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let Some(import) = line.split(['.', ' ', '=']).next().filter(|import| known.contains(import)) else {
                continue;
            };
            let free = section == "[dev-dependencies]" && import == "testkit";
            if section.contains("dependencies") && !free && !allowed.contains(&import) {
                faults.push(format!("{name} → {import} is not drawn: move the code, or draw the arrow with a reason"));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("arrows between crates:\n{}", faults.join("\n")) }
}

/// Finds files that have grown too long.
fn sizes() -> Result<()> {
    let mut faults = Vec::new();
    for file in sources(&workspace().join("crates"))? {
        let text = std::fs::read_to_string(&file)?;
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        let name = file.strip_prefix(workspace()).unwrap_or(&file).display().to_string();
        if code > LINES_MAX && !LONG.iter().any(|(long, _)| *long == name) {
            faults.push(format!("{name}: {code} lines, at most {LINES_MAX}: split it by jobs"));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("file sizes:\n{}", faults.join("\n")) }
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_arrow_between_crates_is_drawn() {
        super::arrows().expect("only drawn arrows");
    }

    #[test]
    fn drawn_arrows_make_no_circle() {
        for (index, (name, allowed)) in super::ARROWS.iter().enumerate() {
            for import in *allowed {
                let place = super::ARROWS.iter().position(|(known, _)| known == import);
                let drawn_below = place.is_some_and(|place| place < index) || *name == "xtask" || *name == "teu";
                assert!(drawn_below, "{name} imports {import}, which is not drawn below it");
            }
        }
    }

    #[test]
    fn no_file_is_too_long() {
        super::sizes().expect("every file has one job");
    }
}

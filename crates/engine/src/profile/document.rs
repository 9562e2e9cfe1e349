//! Profiles as files: what `--security-opt seccomp=FILE` names.

use std::collections::BTreeMap;

use oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompRule};
use serde::Deserialize;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or not of this shape.
    #[error("decoding seccomp profile failed")]
    Json(#[from] serde_json::Error),
    /// A rule with both spellings.
    #[error("both 'name' and 'names' are specified in the seccomp profile, use one of them")]
    NameAndNames,
    /// The list and the map exclude each other.
    #[error("both 'architectures' and 'archMap' are specified in the seccomp profile, use one of them")]
    ArchitecturesAndMap,
}

/// Docker's document: the specification's filter with conditions on capabilities, architectures and the kernel.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Document {
    default_action: SeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Vec<String>,
    arch_map: Option<Vec<Architecture>>,
    flags: Vec<String>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: SeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<SeccompArg>>,
    includes: Condition,
    excludes: Condition,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
    #[serde(flatten)]
    _more: BTreeMap<String, serde_json::Value>,
}

/// Reads a profile for a container with these capabilities on this machine.
///
/// # Errors
/// [`ParseError`] if it is no profile.
pub fn seccomp_from_json(json: &str, capabilities: &[String]) -> Result<Seccomp, ParseError> {
    let document: Document = serde_json::from_str(json)?;
    let machine = if cfg!(target_arch = "x86_64") { ("SCMP_ARCH_X86_64", "amd64") } else { ("SCMP_ARCH_AARCH64", "arm64") };
    let mut architectures = document.architectures;
    if let Some(map) = document.arch_map.filter(|map| !map.is_empty()) {
        if !architectures.is_empty() {
            return Err(ParseError::ArchitecturesAndMap);
        }
        for entry in map.into_iter().filter(|entry| entry.architecture == machine.0) {
            architectures.push(entry.architecture);
            architectures.extend(entry.sub_architectures.into_iter().flatten());
        }
    }
    let has = |name: &String| capabilities.contains(name);
    let here = |name: &String| name == machine.1;
    let mut syscalls = Vec::new();
    for rule in document.syscalls.into_iter().flatten() {
        let (include, exclude) = (&rule.includes, &rule.excludes);
        let excluded = exclude.caps.iter().any(has)
            || exclude.arches.iter().any(here)
            || exclude.min_kernel.as_deref().is_some_and(kernel_is_at_least);
        let included = (include.arches.is_empty() || include.arches.iter().any(here))
            && include.caps.iter().all(has)
            && include.min_kernel.as_deref().is_none_or(kernel_is_at_least);
        if excluded || !included {
            continue;
        }
        let names = match (rule.name, rule.names.filter(|names| !names.is_empty())) {
            (Some(_), Some(_)) => return Err(ParseError::NameAndNames),
            (Some(name), None) => vec![name],
            (None, names) => names.unwrap_or_default(),
        };
        syscalls.push(SeccompRule { names, action: rule.action, errno_ret: rule.errno_ret, args: rule.args.unwrap_or_default() });
    }
    Ok(Seccomp {
        default_action: document.default_action,
        default_errno_ret: document.default_errno_ret,
        architectures,
        flags: document.flags,
        listener_path: document.listener_path,
        listener_metadata: document.listener_metadata,
        syscalls,
    })
}

/// Compares `major.minor` with the running kernel's; a kernel that hides its version counts as new.
fn kernel_is_at_least(wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> { text.split(['.', '-']).take(2).map_while(|part| part.parse().ok()).collect() };
    let running = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    running.is_empty() || numbers(&running) >= numbers(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_choose_rules() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
            "syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_X"]}},
                {"name":"b","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_X"]}},
                {"names":["c"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"999.0"}}]}"#;
        let names = |capabilities: &[String]| -> Vec<String> {
            seccomp_from_json(json, capabilities).unwrap().syscalls.into_iter().flat_map(|rule| rule.names).collect()
        };
        assert_eq!(names(&["CAP_X".into()]), ["a"]);
        assert_eq!(names(&[]), ["b"]);
        assert!(seccomp_from_json("{", &[]).is_err());
    }
}

//! Devices by name: specifications of the Container Device Interface, `vendor.com/class=name`.
//!
//! **Source:** cncf-tags/container-device-interface, `SPEC.md` 0.8.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oci::runtime::{Device, DeviceRule, Hook, Hooks, Mount, Spec};
use rustix::fs::FileType;
use serde::Deserialize;

/// Where specifications lie; a later directory wins. **Source:** `SPEC.md`, "Overview"; moby, `daemon/config`.
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Largest specification that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    kind: String,
    devices: Vec<Named>,
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Named {
    name: String,
    container_edits: Edits,
}

/// What a device changes in a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<EditMount>,
    hooks: Vec<EditHook>,
    #[serde(rename = "additionalGids")]
    additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    path: String,
    host_path: String,
    #[serde(rename = "type")]
    kind: String,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EditMount {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(rename = "type")]
    kind: Option<String>,
    options: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EditHook {
    hook_name: String,
    path: PathBuf,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<u64>,
}

/// Whether a text names a device of this kind and no path: `vendor/class=name`.
///
/// **Source:** `SPEC.md`, "CDI JSON Specification"; docker/cli, `opts`, `parser.IsQualifiedName`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let word = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    vendor.starts_with(|c: char| c.is_ascii_alphabetic()) && word(vendor, "_-.") && word(class, "_-") && word(name, "_-.:")
}

/// Changes a specification as the named devices ask.
///
/// # Errors
/// The text behind Docker's "CDI device injection failed: ".
pub(crate) fn inject(spec: &mut Spec, names: &[String]) -> Result<(), String> {
    inject_from(spec, names, &DIRECTORIES.map(Path::new))
}

fn inject_from(spec: &mut Spec, names: &[String], directories: &[&Path]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let (files, mut strange) = read_all(directories);
    let mut unresolved = Vec::new();
    let mut general = BTreeSet::new();
    let mut edits = Vec::new();
    for name in names {
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        let found = files.iter().enumerate().rev().filter(|(_, file)| file.kind == kind);
        let found =
            found.flat_map(|(at, file)| file.devices.iter().filter(|known| known.name == device).map(move |known| (at, known))).next();
        match found {
            Some((at, known)) => {
                if general.insert(at) {
                    edits.extend(files.get(at).map(|file| file.container_edits.clone()));
                }
                edits.push(known.container_edits.clone());
            }
            None => unresolved.push(name.as_str()),
        }
    }
    if !unresolved.is_empty() {
        strange.insert(0, format!("unresolvable CDI devices {}", unresolved.join(", ")));
        return Err(strange.join("; "));
    }
    edits.into_iter().try_for_each(|edit| apply(spec, edit))
}

/// All specifications, and what is wrong with those that cannot be read.
fn read_all(directories: &[&Path]) -> (Vec<File>, Vec<String>) {
    let (mut files, mut strange) = (Vec::new(), Vec::new());
    for directory in directories {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => match read(&path) {
                    Ok(file) => files.push(file),
                    Err(why) => strange.push(format!("{}: {why}", path.display())),
                },
                Some("yaml" | "yml") => {
                    strange.push(format!("{} is YAML: write it as JSON (nvidia-ctk cdi generate --format=json)", path.display()))
                }
                _ => {}
            }
        }
    }
    (files, strange)
}

fn read(path: &Path) -> Result<File, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn apply(spec: &mut Spec, edits: Edits) -> Result<(), String> {
    if let Some(process) = &mut spec.process {
        for entry in edits.env {
            let name = format!("{}=", entry.split('=').next().unwrap_or_default());
            process.env.retain(|known| !known.starts_with(&name));
            process.env.push(entry);
        }
        process.user.additional_gids.extend(edits.additional_gids);
    }
    for node in edits.device_nodes {
        add_device(spec, node)?;
    }
    for mount in edits.mounts {
        let options = if mount.options.is_empty() { vec!["rbind".to_owned(), "ro".to_owned()] } else { mount.options };
        spec.mounts.retain(|known| known.destination != mount.container_path);
        spec.mounts.push(Mount {
            destination: mount.container_path,
            kind: Some(mount.kind.unwrap_or_else(|| "bind".to_owned())),
            source: Some(mount.host_path),
            options,
            ..Mount::default()
        });
    }
    for edit in edits.hooks {
        let hooks = spec.hooks.get_or_insert_with(Hooks::default);
        let list = match edit.hook_name.as_str() {
            "prestart" => &mut hooks.prestart,
            "createRuntime" => &mut hooks.create_runtime,
            "createContainer" => &mut hooks.create_container,
            "startContainer" => &mut hooks.start_container,
            "poststart" => &mut hooks.poststart,
            "poststop" => &mut hooks.poststop,
            other => return Err(format!("invalid hook name \"{other}\"")),
        };
        list.push(Hook { path: edit.path, args: edit.args, env: edit.env, timeout: edit.timeout });
    }
    Ok(())
}

fn add_device(spec: &mut Spec, node: Node) -> Result<(), String> {
    let host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let stat = rustix::fs::stat(host.as_str()).ok();
    let kind = match (node.kind.as_str(), stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode))) {
        ("b" | "c" | "u" | "p", _) => node.kind.clone(),
        ("", Some(FileType::BlockDevice)) => "b".to_owned(),
        ("", Some(FileType::CharacterDevice)) => "c".to_owned(),
        _ => return Err(format!("failed to stat CDI host device \"{host}\": no such file or directory")),
    };
    let number = |own: Option<i64>, part: fn(u64) -> u32| own.or_else(|| stat.as_ref().map(|stat| i64::from(part(stat.st_rdev))));
    let (major, minor) = (number(node.major, rustix::fs::major), number(node.minor, rustix::fs::minor));
    let linux = spec.linux.get_or_insert_with(Default::default);
    linux.devices.retain(|known| known.path != Path::new(&node.path));
    linux.devices.push(Device {
        path: PathBuf::from(&node.path),
        kind: kind.clone(),
        major,
        minor,
        file_mode: node.file_mode.or_else(|| stat.as_ref().map(|stat| stat.st_mode & 0o777)),
        uid: node.uid,
        gid: node.gid,
    });
    let access = if node.permissions.is_empty() { "rwm".to_owned() } else { node.permissions };
    let rule = DeviceRule { allow: true, kind: Some(kind), major, minor, access: Some(access) };
    linux.resources.get_or_insert_with(Default::default).devices.push(rule);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.example/null", "containerEdits": {"env": ["A=b"]}, "devices": [
        {"name": "one", "containerEdits": {"deviceNodes": [{"path": "/dev/one", "hostPath": "/dev/null", "permissions": "rw"}],
         "mounts": [{"hostPath": "/etc", "containerPath": "/vendor"}], "additionalGids": [7],
         "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}]}}]}"#;

    #[test]
    fn names_are_told_from_paths() {
        for name in ["vendor.com/class=name", "nvidia.com/gpu=all", "v/c=0:1"] {
            assert!(is_name(name), "{name}");
        }
        for path in ["/dev/x", "/dev/a=b", "vendor/class", "a=b", "1/c=x", "v/c=", "v/c=a b"] {
            assert!(!is_name(path), "{path}");
        }
    }

    #[test]
    fn a_named_device_changes_the_specification() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("vendor.json"), FILE).unwrap();
        std::fs::write(directory.path().join("other.yaml"), "").unwrap();
        let mut spec = Spec { process: Some(oci::runtime::Process::default()), ..Spec::default() };
        let from = [directory.path()];
        inject_from(&mut spec, &["vendor.example/null=one".into()], &from).unwrap();
        let process = spec.process.as_ref().unwrap();
        assert_eq!((process.env.as_slice(), process.user.additional_gids.as_slice()), (&["A=b".to_owned()][..], &[7][..]));
        let linux = spec.linux.as_ref().unwrap();
        assert_eq!((linux.devices[0].major, linux.devices[0].minor, linux.devices[0].kind.as_str()), (Some(1), Some(3), "c"));
        assert_eq!(linux.resources.as_ref().unwrap().devices[0].access.as_deref(), Some("rw"));
        assert_eq!(spec.mounts[0].destination, Path::new("/vendor"));
        assert_eq!(spec.hooks.as_ref().unwrap().create_container.len(), 1);
        let error = inject_from(&mut spec, &["vendor.example/null=two".into(), "x/y=z".into()], &from).unwrap_err();
        assert!(error.starts_with("unresolvable CDI devices vendor.example/null=two, x/y=z; "), "{error}");
        assert!(error.contains("other.yaml is YAML"), "{error}");
    }
}

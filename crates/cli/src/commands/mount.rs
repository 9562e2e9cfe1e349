//! Mounts and devices on the command line.

use serde_json::{Map, Value, json};

use crate::error::{Failure, Outcome};

/// `-v`: a bind, a named volume, or a bare path that gets an anonymous volume.
pub(super) fn volume(text: &str, binds: &mut Vec<String>, volumes: &mut Map<String, Value>) -> Outcome<()> {
    let wrong = || Failure::Message { message: format!("invalid volume specification: '{text}'"), code: 125, run: true };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [""] => return Err(wrong()),
        [path] => drop(volumes.insert((*path).to_owned(), json!({}))),
        [source, target] | [source, target, _] if !source.is_empty() && !target.is_empty() => {
            let source = absolute(source)?;
            binds.push(std::iter::once(source.as_str()).chain(parts[1..].iter().copied()).collect::<Vec<_>>().join(":"));
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

/// A source that begins with a dot or a tilde is a path of the caller.
fn absolute(source: &str) -> Outcome<String> {
    if !source.starts_with('.') {
        return Ok(source.to_owned());
    }
    let path = std::path::absolute(source)?;
    let mut clean = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::Normal(_) => clean.push(part),
        }
    }
    Ok(clean.display().to_string())
}

/// `--mount type=…,source=…,target=…`. **Source:** docker/cli, `opts/mount.go`.
#[allow(clippy::too_many_lines, reason = "one short arm for each key")]
pub(super) fn parse(text: &str) -> Outcome<Value> {
    let wrong = |why: String| Failure::Message {
        message: format!("invalid argument \"{text}\" for \"--mount\" flag: {why}"),
        code: 125,
        run: false,
    };
    let mut mount = Map::new();
    mount.insert("Type".into(), "volume".into());
    let (mut bind, mut volume, mut tmpfs, mut image) = (Map::new(), Map::new(), Map::new(), Map::new());
    for part in text.split(',') {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
        let flag = match value {
            None | Some("true" | "1") => Some(true),
            Some("false" | "0") => Some(false),
            Some(_) => None,
        };
        let needed =
            || value.filter(|value| !value.is_empty()).ok_or_else(|| wrong(format!("invalid field '{part}' must be a key=value pair")));
        let truth = || flag.ok_or_else(|| wrong(format!("invalid value for {key}: {}", value.unwrap_or_default())));
        match key.to_lowercase().as_str() {
            "type" => drop(mount.insert("Type".into(), needed()?.to_lowercase().into())),
            "source" | "src" => {
                let source = needed()?;
                mount.insert("Source".into(), absolute(source)?.into());
            }
            "target" | "dst" | "destination" => drop(mount.insert("Target".into(), needed()?.into())),
            "readonly" | "ro" => drop(mount.insert("ReadOnly".into(), truth()?.into())),
            "consistency" => drop(mount.insert("Consistency".into(), needed()?.into())),
            "bind-propagation" => drop(bind.insert("Propagation".into(), needed()?.into())),
            "bind-nonrecursive" => drop(bind.insert("NonRecursive".into(), truth()?.into())),
            "bind-create-src" => drop(bind.insert("CreateMountpoint".into(), truth()?.into())),
            "bind-recursive" => match needed()? {
                "enabled" => {}
                "disabled" => drop(bind.insert("NonRecursive".into(), true.into())),
                "writable" => drop(bind.insert("ReadOnlyNonRecursive".into(), true.into())),
                "readonly" => drop(bind.insert("ReadOnlyForceRecursive".into(), true.into())),
                other => {
                    return Err(wrong(format!(
                        "invalid value for {key}: {other} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    )));
                }
            },
            "volume-nocopy" => drop(volume.insert("NoCopy".into(), truth()?.into())),
            "volume-subpath" => drop(volume.insert("Subpath".into(), needed()?.into())),
            "volume-label" => pair(&mut volume, "Labels", needed()?),
            "volume-driver" => volume.entry("DriverConfig").or_insert_with(|| json!({}))["Name"] = needed()?.into(),
            "volume-opt" => {
                let (name, value) = needed()?.split_once('=').unwrap_or((value.unwrap_or_default(), ""));
                volume.entry("DriverConfig").or_insert_with(|| json!({}))["Options"][name] = value.into();
            }
            "image-subpath" => drop(image.insert("Subpath".into(), needed()?.into())),
            "tmpfs-size" => {
                let bytes = crate::human::parse_size(needed()?)
                    .ok_or_else(|| wrong(format!("invalid value for {key}: {}", value.unwrap_or_default())))?;
                tmpfs.insert("SizeBytes".into(), bytes.into());
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(needed()?, 8)
                    .map_err(|_| wrong(format!("invalid value for {key}: {}", value.unwrap_or_default())))?;
                tmpfs.insert("Mode".into(), mode.into());
            }
            _ => return Err(wrong(format!("unexpected key '{key}' in '{part}'"))),
        }
    }
    if !mount.contains_key("Target") {
        return Err(wrong("target is required".into()));
    }
    for (field, options) in [("BindOptions", bind), ("VolumeOptions", volume), ("TmpfsOptions", tmpfs), ("ImageOptions", image)] {
        if !options.is_empty() {
            mount.insert(field.into(), Value::Object(options));
        }
    }
    Ok(Value::Object(mount))
}

fn pair(map: &mut Map<String, Value>, field: &str, text: &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    map.entry(field).or_insert_with(|| json!({}))[name] = value.into();
}

/// `--device /dev/x[:/dev/y[:rwm]]`.
pub(super) fn device(text: &str) -> Outcome<Value> {
    let rights = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, access] if rights(access) => (*source, *source, *access),
        [source, target] => (*source, *target, "rwm"),
        [source, target, access] if rights(access) => (*source, *target, *access),
        _ => {
            return Err(Failure::Message { message: format!("invalid device specification: {text}"), code: 125, run: true });
        }
    };
    Ok(json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let value = parse("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!(
            value,
            json!({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true, "BindOptions": {"Propagation": "rslave"}})
        );
        assert!(parse("type=bind,nosuch=1,dst=/b").is_err());
        assert!(parse("type=bind,src=/a").is_err());
        assert_eq!(
            parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap()["TmpfsOptions"],
            json!({"SizeBytes": 1 << 20, "Mode": 0o1770})
        );
    }

    #[test]
    fn volumes_are_read() {
        let (mut binds, mut volumes) = (Vec::new(), Map::new());
        volume("/data", &mut binds, &mut volumes).unwrap();
        volume("name:/x:ro", &mut binds, &mut volumes).unwrap();
        assert!(volume("a:", &mut binds, &mut volumes).is_err());
        assert_eq!(binds, ["name:/x:ro"]);
        assert!(volumes.contains_key("/data"));
    }
}

//! Mounts and devices on the command line.

use serde_json::{Map, Value, json};

use crate::error::{Failure, Outcome};

/// `-v`: a bind, a named volume, or a bare path that gets an anonymous volume.
///
/// **Source:** docker/cli, `internal/volumespec/volumespec.go`.
pub(super) fn volume(text: &str, binds: &mut Vec<String>, volumes: &mut Map<String, Value>) -> Outcome<()> {
    let wrong = |why: &str| Failure::Message { message: format!("invalid spec: {text}: {why}"), code: 125, run: true };
    if text.is_empty() {
        return Err(Failure::Message { message: "invalid empty volume spec".into(), code: 125, run: true });
    }
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    if parts.iter().any(|part| part.is_empty()) && text.len() > 2 {
        return Err(wrong("empty section between colons"));
    }
    let [source, rest @ ..] = parts.as_slice() else { return Ok(()) };
    if rest.is_empty() {
        volumes.insert((*source).to_owned(), json!({}));
        return Ok(());
    }
    let mut words: Vec<String> = Vec::new();
    for word in rest.get(1).into_iter().flat_map(|mode| mode.split(',')) {
        if word.contains(':') && !word.starts_with("idmap=") {
            return Err(wrong("too many colons"));
        }
        // Root's own files need no other owner; who that is is left to the engine.
        let owner = if word == "idmap" { id_map(None) } else { String::new() };
        words.push(if owner.is_empty() { word.to_owned() } else { format!("idmap={owner}") });
    }
    let source = absolute(source)?;
    let mut bind = format!("{source}:{}", rest[0]);
    if !words.is_empty() {
        bind.push(':');
        bind.push_str(&words.join(","));
    }
    if !binds.contains(&bind) {
        binds.push(bind);
    }
    Ok(())
}

/// A source that begins with a dot is a path of the caller.
fn absolute(source: &str) -> std::io::Result<String> {
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

/// Splits a line of comma-separated values, where `"` quotes. **Source:** RFC 4180, section 2.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut characters = quoted.char_indices().peekable();
            let end = loop {
                match characters.next() {
                    Some((_, '"')) if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                        characters.next();
                        field.push('"');
                    }
                    Some((at, '"')) => break at + 1,
                    Some((_, other)) => field.push(other),
                    None => return Err("parse error: extraneous or missing \" in quoted-field".into()),
                }
            };
            rest = &quoted[end..];
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("parse error: extraneous or missing \" in quoted-field".into());
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            if field.contains('"') {
                return Err("parse error: bare \" in non-quoted-field".into());
            }
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// What `--mount` says, gathered by the API's objects.
#[derive(Debug, Default)]
struct Parts {
    mount: Map<String, Value>,
    bind: Map<String, Value>,
    volume: Map<String, Value>,
    tmpfs: Map<String, Value>,
    image: Map<String, Value>,
}

/// `--mount type=…,source=…,target=…`. **Source:** docker/cli, `opts/mount.go`.
pub(super) fn parse(text: &str) -> Outcome<Value> {
    let value = read(text);
    value.map_err(|why| Failure::Message {
        message: format!("invalid argument \"{text}\" for \"--mount\" flag: {why}"),
        code: 125,
        run: false,
    })
}

/// Keys that need no value.
const FLAGS: [&str; 6] = ["readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src", "idmap"];

fn read(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("value is empty".into());
    }
    let mut parts = Parts::default();
    parts.mount.insert("Type".into(), "volume".into());
    for field in fields(text)? {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        if key.trim() != key {
            return Err(format!("invalid option '{}' in '{field}': option should not have whitespace", key.trim()));
        }
        if let Some(value) = value {
            if value.trim().is_empty() {
                return Err(format!("invalid value for '{key}': value is empty"));
            }
            if value.trim() != value {
                return Err(format!("invalid value for '{key}' in '{field}': value should not have whitespace"));
            }
        }
        let key = key.to_lowercase();
        if value.is_none() && !FLAGS.contains(&key.as_str()) {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        }
        parts.option(&key, value, &field)?;
    }
    if !parts.mount.contains_key("Target") {
        return Err("target is required".into());
    }
    parts.finish()
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(value) => Err(format!(
            "invalid value for '{key}': invalid boolean value (\"{value}\"): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")"
        )),
    }
}

impl Parts {
    fn option(&mut self, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
        let text = value.unwrap_or_default();
        let wrong = || format!("invalid value for {key}: {text}");
        let set = |map: &mut Map<String, Value>, name: &str, value: Value| drop(map.insert(name.to_owned(), value));
        match key {
            "type" => set(&mut self.mount, "Type", text.to_lowercase().into()),
            "source" | "src" => {
                let source = absolute(text).map_err(|error| error.to_string())?;
                set(&mut self.mount, "Source", source.into());
            }
            "target" | "dst" | "destination" => set(&mut self.mount, "Target", text.into()),
            "readonly" | "ro" => set(&mut self.mount, "ReadOnly", truth(key, value)?.into()),
            "consistency" => set(&mut self.mount, "Consistency", text.to_lowercase().into()),
            "bind-propagation" => set(&mut self.bind, "Propagation", text.to_lowercase().into()),
            "bind-nonrecursive" => set(&mut self.bind, "NonRecursive", truth(key, value)?.into()),
            "bind-create-src" => set(&mut self.bind, "CreateMountpoint", truth(key, value)?.into()),
            "bind-recursive" => match text {
                "enabled" => {}
                "disabled" => set(&mut self.bind, "NonRecursive", true.into()),
                "writable" => set(&mut self.bind, "ReadOnlyNonRecursive", true.into()),
                "readonly" => set(&mut self.bind, "ReadOnlyForceRecursive", true.into()),
                _ => return Err(format!("{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", wrong())),
            },
            "idmap" => set(&mut self.bind, "IDMap", id_map(value).into()),
            "volume-nocopy" => set(&mut self.volume, "NoCopy", truth(key, value)?.into()),
            "volume-subpath" => set(&mut self.volume, "Subpath", text.into()),
            "volume-label" => pair(&mut self.volume, "Labels", text),
            "volume-driver" => self.volume.entry("DriverConfig").or_insert_with(|| json!({}))["Name"] = text.into(),
            "volume-opt" => {
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                self.volume.entry("DriverConfig").or_insert_with(|| json!({}))["Options"][name] = value.into();
            }
            "image-subpath" => set(&mut self.image, "Subpath", text.into()),
            "tmpfs-size" => set(&mut self.tmpfs, "SizeBytes", crate::human::parse_size(text).ok_or_else(wrong)?.into()),
            "tmpfs-mode" => set(&mut self.tmpfs, "Mode", u32::from_str_radix(text, 8).map_err(|_| wrong())?.into()),
            _ => return Err(format!("unknown option '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Value, String> {
        let kind = self.mount.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = [
            ("bind", !self.bind.is_empty()),
            ("volume", !self.volume.is_empty()),
            ("image", !self.image.is_empty()),
            ("tmpfs", !self.tmpfs.is_empty()),
        ];
        if let Some((other, _)) = own.iter().find(|(own, given)| *given && *own != kind) {
            return Err(format!("cannot mix '{other}-*' options with mount type '{kind}'"));
        }
        let read_only = self.mount.get("ReadOnly") == Some(&Value::Bool(true));
        if self.bind.contains_key("ReadOnlyNonRecursive") && !read_only {
            return Err("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction".into());
        }
        if self.bind.contains_key("ReadOnlyForceRecursive") {
            if !read_only {
                return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".into());
            }
            if self.bind.get("Propagation").and_then(Value::as_str) != Some("rprivate") {
                return Err("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction".into());
            }
        }
        for (field, options) in
            [("BindOptions", self.bind), ("VolumeOptions", self.volume), ("TmpfsOptions", self.tmpfs), ("ImageOptions", self.image)]
        {
            if !options.is_empty() {
                self.mount.insert(field.into(), Value::Object(options));
            }
        }
        Ok(Value::Object(self.mount))
    }
}

/// The owner that a bare `idmap` means: the caller, or for root the owner of the source.
fn id_map(value: Option<&str>) -> String {
    let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    match (value, caller) {
        (Some(owner), _) => owner.to_owned(),
        (None, (0, _)) => String::new(),
        (None, (uid, gid)) => format!("{uid}:{gid}"),
    }
}

fn pair(map: &mut Map<String, Value>, field: &str, text: &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    map.entry(field).or_insert_with(|| json!({}))[name] = value.into();
}

/// `--device /dev/x[:/dev/y[:rwm]]`.
pub(super) fn device(text: &str) -> Outcome<Value> {
    let rights = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let refuse = |message: String| Err(Failure::Message { message, code: 125, run: true });
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, access] if rights(access) => (*source, *source, *access),
        [source, target] => (*source, *target, "rwm"),
        [source, target, access] if rights(access) => (*source, *target, *access),
        [_, _, access] => return refuse(format!("bad mode specified: {access}")),
        _ => return refuse(format!("bad format for path: {text}")),
    };
    if !target.starts_with('/') {
        return refuse(format!("{target} is not an absolute path"));
    }
    Ok(json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}))
}

/// What must hold for any text, as [`crate::fuzz::mount`] says.
pub(crate) fn check(text: &str) {
    if let Ok(mount) = read(text) {
        let given = |name: &str| mount.get(name).and_then(Value::as_str).is_some_and(|word| !word.is_empty());
        assert!(given("Type") && given("Target"), "{text:?} became {mount}");
    }
    let (mut binds, mut volumes) = (Vec::new(), Map::new());
    if volume(text, &mut binds, &mut volumes).is_ok() {
        assert_eq!(binds.len() + volumes.len(), 1, "{text:?}");
    }
    if let Ok(device) = device(text) {
        assert!(device["PathInContainer"].as_str().is_some_and(|path| path.starts_with('/')), "{text:?} became {device}");
    }
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
        let error = |text: &str| read(text).unwrap_err();
        assert_eq!(error("type=bind,src=/a,dst=/b,volume-nocopy"), "cannot mix 'volume-*' options with mount type 'bind'");
        assert_eq!(error("type=bind, src=/a"), "invalid option 'src' in ' src=/a': option should not have whitespace");
        assert_eq!(error("type=bind,src"), "invalid field 'src' must be a key=value pair");
        assert_eq!(error("type=bind,src=,dst=/b"), "invalid value for 'src': value is empty");
        assert_eq!(error("type=bind,src=/a,dst=/b,foo=1"), "unknown option 'foo' in 'foo=1'");
        assert!(error("type=bind,src=/a,dst=/b,ro=maybe").starts_with("invalid value for 'ro': invalid boolean value (\"maybe\")"));
        assert!(
            error("src=/a,dst=/b,type=bind,bind-recursive=readonly,ro")
                .ends_with("'bind-propagation=rprivate' to be specified in conjunction")
        );
        let quoted = read("type=volume,\"volume-opt=o=addr=1,rw\",dst=/b").unwrap();
        assert_eq!(quoted["VolumeOptions"]["DriverConfig"]["Options"]["o"], "addr=1,rw");
        assert_eq!(read("type=bind,src=/a,dst=/b,idmap=5:6").unwrap()["BindOptions"]["IDMap"], "5:6");
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
        volume("name:/x:ro", &mut binds, &mut volumes).unwrap();
        volume("/h:/x:idmap=1:2,ro", &mut binds, &mut volumes).unwrap();
        let error = |text: &str| format!("{:?}", volume(text, &mut Vec::new(), &mut Map::new()).unwrap_err());
        assert!(error(":/b").contains("invalid spec: :/b: empty section between colons"));
        assert!(error("/a:/b:ro:x").contains("invalid spec: /a:/b:ro:x: too many colons"));
        assert_eq!(binds, ["name:/x:ro", "/h:/x:idmap=1:2,ro"]);
        assert!(volumes.contains_key("/data"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_an_object(text in "((type|src|dst|ro|idmap|bind-recursive|tmpfs-size|volume-opt|\"a|[a-z\" ]{0,4})(=[a-z/0-9=\" ]{0,6}|),){0,5}|\\PC{0,60}") {
            check(&text);
        }
    }
}

//! Bind texts: `[SOURCE:]TARGET[:OPTIONS]`.

use crate::ApiError;

/// What a bind text says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bind {
    /// A path of the host, a volume's name, or nothing for an anonymous volume.
    pub source: Option<String>,
    pub target: String,
    pub read_only: bool,
    pub no_copy: bool,
    pub propagation: Option<String>,
    /// The options as they were given.
    pub mode: String,
}

impl Bind {
    /// Tells whether the source is a path of the host.
    pub(crate) fn is_path(&self) -> bool {
        self.source
            .as_deref()
            .is_some_and(|source| source.starts_with('/'))
    }
}

/// Reads a bind text.
///
/// # Errors
/// 400 in Docker's words.
/// **Source:** moby, package `volume/mounts`, `linux_parser.go`, `ParseMountRaw`.
pub(crate) fn bind(text: &str) -> Result<Bind, ApiError> {
    let invalid = || ApiError::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let mut bind = match parts.as_slice() {
        [target] => Bind {
            target: (*target).to_owned(),
            ..Bind::default()
        },
        // `TARGET:MODE` is an anonymous volume with options.
        [target, mode] if is_mode(mode) && target.starts_with('/') => Bind {
            target: (*target).to_owned(),
            mode: (*mode).to_owned(),
            ..Bind::default()
        },
        [source, target] => Bind {
            source: Some((*source).to_owned()),
            target: (*target).to_owned(),
            ..Bind::default()
        },
        [source, target, mode] => Bind {
            source: Some((*source).to_owned()),
            target: (*target).to_owned(),
            mode: (*mode).to_owned(),
            ..Bind::default()
        },
        _ => return Err(invalid()),
    };
    if bind.target.is_empty() || bind.source.as_deref() == Some("") {
        return Err(invalid());
    }
    if !bind.target.starts_with('/') {
        return Err(ApiError::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{}\": \
             invalid mount path: '{}' mount path must be absolute",
            if bind.is_path() { "bind" } else { "volume" },
            bind.target
        )));
    }
    if clean(&bind.target) == "/" {
        return Err(ApiError::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{}\": \
             invalid specification: destination can't be '/'",
            if bind.is_path() { "bind" } else { "volume" }
        )));
    }
    if let Some(source) = &bind.source
        && !source.starts_with('/')
        && !is_volume_name(source)
    {
        return Err(ApiError::invalid(format!(
            "create {source}: \"{source}\" includes invalid characters for a local volume name, \
             only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
             directory, use absolute path"
        )));
    }
    if !is_mode(&bind.mode) {
        return Err(ApiError::invalid(format!("invalid mode: {}", bind.mode)));
    }
    bind.target = clean(&bind.target);
    for option in bind.mode.split(',') {
        match option {
            "ro" => bind.read_only = true,
            "nocopy" => bind.no_copy = true,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                bind.propagation = Some(option.to_owned());
            }
            _ => {}
        }
    }
    Ok(bind)
}

/// Tells whether a text is a list of known options, none twice.
fn is_mode(mode: &str) -> bool {
    /// What an option is about; none of these may be said twice.
    fn about(option: &str) -> Option<u8> {
        match option {
            "ro" | "rw" => Some(0),
            "z" | "Z" => Some(1),
            "nocopy" | "copy" => Some(2),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => Some(3),
            "consistent" | "cached" | "delegated" | "default" => Some(4),
            _ => None,
        }
    }
    if mode.is_empty() {
        return true;
    }
    let mut seen = [false; 5];
    mode.split(',').all(|option| {
        about(option).is_some_and(|group| {
            seen.get_mut(usize::from(group))
                .is_some_and(|seen| !std::mem::replace(seen, true))
        })
    })
}

fn is_volume_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Makes a path as short as it can be, by its text alone.
/// **Source:** Go, package `path`, `Clean`.
pub(crate) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_volumes_and_options() {
        let read = bind("/etc/hosts:/h:ro,rshared").unwrap();
        assert!(read.is_path() && read.read_only);
        assert_eq!(read.propagation.as_deref(), Some("rshared"));
        let read = bind("data:/data/../d/").unwrap();
        assert_eq!(
            (read.source.as_deref(), read.target.as_str()),
            (Some("data"), "/d")
        );
        assert!(!read.is_path() && !read.read_only);
        assert_eq!(bind("/only").unwrap().source, None);
        let read = bind("/only:ro").unwrap();
        assert_eq!((read.source, read.read_only), (None, true));
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for text in [
            "",
            ":",
            "a:b:c:d",
            "data:rel",
            "/a:/",
            ":/x",
            "../x:/y",
            "/a:/b:zz",
            "/a:/b:ro,rw",
        ] {
            assert!(bind(text).is_err(), "{text}");
        }
    }
}

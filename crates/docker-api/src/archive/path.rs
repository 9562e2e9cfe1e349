//! Paths as Go's `path/filepath` and Docker's `archive` treat them; where a copy goes.

/// Removes `.`, `..` and double slashes. **Source:** Go, `filepath.Clean`.
#[must_use]
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                None if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The last part; `.` for nothing and `/` for slashes. **Source:** Go, `filepath.Base`.
#[must_use]
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/" } else { trimmed.rsplit('/').next().unwrap_or(trimmed) }
}

/// All but the last part, cleaned. **Source:** Go, `filepath.Dir`.
#[must_use]
pub fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

/// Joins and cleans. **Source:** Go, `filepath.Join`.
#[must_use]
pub fn join(first: &str, second: &str) -> String {
    match (first, second) {
        ("", "") => String::new(),
        ("", only) | (only, "") => clean(only),
        _ => clean(&format!("{first}/{second}")),
    }
}

/// Whether a path ends in a slash.
#[must_use]
pub fn ends_in_slash(path: &str) -> bool {
    path.ends_with('/')
}

/// Whether the last part of a path is `.`.
#[must_use]
pub fn ends_in_dot(path: &str) -> bool {
    path.rsplit('/').next() == Some(".")
}

/// Whether a path says by itself that it is a directory.
#[must_use]
pub fn asserts_directory(path: &str) -> bool {
    ends_in_slash(path) || ends_in_dot(path)
}

/// Gives a cleaned path back the `/.` or `/` of the original.
/// **Source:** moby, `archive.PreserveTrailingDotOrSeparator`.
#[must_use]
pub fn preserve_ending(mut cleaned: String, original: &str) -> String {
    if !ends_in_dot(&cleaned) && ends_in_dot(original) {
        if !ends_in_slash(&cleaned) {
            cleaned.push('/');
        }
        cleaned.push('.');
    }
    if !ends_in_slash(&cleaned) && ends_in_slash(original) {
        cleaned.push('/');
    }
    cleaned
}

/// Splits into directory and entry; `a/.` is the entry `.` of `a`.
/// **Source:** moby, `archive.SplitPathDirEntry`.
#[must_use]
pub fn split_entry(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if ends_in_dot(path) {
        cleaned.push_str("/.");
    }
    let directory = dir(&cleaned);
    (directory, base(&cleaned).to_owned())
}

/// Keeps the ending of a path whose link was followed, and says by which name it was asked for if that changed.
/// **Source:** moby, `archive.GetRebaseName`.
#[must_use]
pub fn rebase_name(path: &str, mut resolved: String) -> (String, Option<String>) {
    if ends_in_dot(path) && !ends_in_dot(&resolved) {
        resolved.push_str("/.");
    }
    if ends_in_slash(path) && !ends_in_slash(&resolved) {
        resolved.push('/');
    }
    let renamed = (base(path) != base(&resolved)).then(|| base(path).to_owned());
    (resolved, renamed)
}

/// One end of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyEnd {
    /// The path.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The name that was asked for, if following a link changed it.
    pub rebase: Option<String>,
}

/// Where an archive is extracted, and how its first part is renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The directory.
    pub folder: String,
    /// What stands first in every name, and what replaces it.
    pub rename: Option<(String, String)>,
}

/// Decides where a copy goes.
/// **Source:** moby, `archive.PrepareArchiveCopy`.
///
/// # Errors
/// Docker's words for what cannot be copied.
pub fn destination(from: &CopyEnd, to: &CopyEnd) -> Result<Destination, &'static str> {
    let (folder, name) = split_entry(&to.path);
    let source = from.rebase.clone().unwrap_or_else(|| split_entry(&from.path).1);
    let renamed = |source: String| Destination { folder: folder.clone(), rename: Some((source, name.clone())) };
    match (to.exists, from.is_directory) {
        (true, _) if to.is_directory => Ok(Destination { folder: to.path.clone(), rename: None }),
        (true, true) => Err("cannot copy directory"),
        (true, false) | (false, true) => Ok(renamed(source)),
        (false, false) if asserts_directory(&to.path) => Err("no such directory"),
        (false, false) => Ok(renamed(split_entry(&from.path).1)),
    }
}

/// Renames an entry of an archive. **Source:** moby, `archive.RebaseArchiveEntries`.
#[must_use]
pub fn rename(name: &[u8], rename: Option<&(String, String)>) -> Vec<u8> {
    let Some((old, new)) = rename else { return name.to_vec() };
    let old = if old == "/" { "" } else { old };
    match name.windows(old.len().max(1)).position(|window| old.is_empty() || window == old.as_bytes()) {
        Some(at) => [&name[..at], new.as_bytes(), &name[at + old.len()..]].concat(),
        None if old.is_empty() => [new.as_bytes(), name].concat(),
        None => name.to_vec(),
    }
}

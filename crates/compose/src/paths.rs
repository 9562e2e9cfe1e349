//! Relative paths as absolute ones.

use std::path::{Path, PathBuf};

use crate::canonical::items;
use crate::node::{Map, Node, Value};
use crate::short;

/// A folder, a home, and what is done with paths below them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) home: Option<&'a str>,
}

impl Base<'_> {
    /// A path below the folder, cleaned.
    pub(crate) fn join(&self, path: &str) -> String {
        let path = match path.strip_prefix('~').zip(self.home) {
            Some((rest, home)) => short::clean(&format!("{home}/{rest}")),
            None => path.to_owned(),
        };
        if path.is_empty() || path.starts_with('/') {
            return path;
        }
        short::clean(&format!("{}/{path}", self.folder.display()))
    }

    fn change(&self, node: Option<&mut Node>) {
        if let Some(Node { value: Value::Text(text), .. }) = node {
            *text = self.join(text);
        }
    }

    /// A build context: a folder, unless it is a URL or names something else.
    fn context(&self, node: Option<&mut Node>) {
        if let Some(node) = node
            && node.as_str().is_some_and(|text| !is_remote(text))
        {
            self.change(Some(node));
        }
    }

    /// Makes all paths of a project absolute.
    pub(crate) fn resolve(&self, root: &mut Map) {
        for kind in ["services", "jobs"] {
            for node in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
                self.service(node);
            }
        }
        for kind in ["configs", "secrets"] {
            for node in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
                self.unix(node.get_mut("file"));
            }
        }
        for node in root.get_mut("volumes").and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            let local = node.get("driver").and_then(Node::as_str) == Some("local");
            if let Some(options) = node.get_mut("driver_opts").filter(|_| local)
                && options.get("o").and_then(Node::as_str) == Some("bind")
            {
                self.unix(options.get_mut("device"));
            }
        }
    }

    /// A path that may be one of Windows.
    fn unix(&self, node: Option<&mut Node>) {
        if let Some(node) = node
            && node.as_str().is_some_and(|text| !is_windows(text))
        {
            self.change(Some(node));
        }
    }

    /// Makes the paths of a service absolute.
    pub(crate) fn service(&self, node: &mut Node) {
        if let Some(build) = node.get_mut("build") {
            self.context(build.get_mut("context"));
            for node in build.get_mut("additional_contexts").and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
                self.context(Some(node));
            }
            for node in build.get_mut("ssh").and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
                self.unix(Some(node));
            }
        }
        for file in items(node.get_mut("env_file")) {
            self.change(file.get_mut("path"));
        }
        for file in items(node.get_mut("label_file")) {
            self.change(Some(file));
        }
        if let Some(extends) = node.get_mut("extends") {
            self.change(extends.get_mut("file"));
        }
        for trigger in items(node.get_mut("develop").and_then(|node| node.get_mut("watch"))) {
            if let Some(Node { value: Value::Text(text), .. }) = trigger.get_mut("path") {
                *text = without_links(&self.join(text));
            }
        }
        for volume in items(node.get_mut("volumes")) {
            if volume.get("type").and_then(Node::as_str) == Some("bind") {
                self.unix(volume.get_mut("source"));
            }
        }
        for hook in items(node.get_mut("pre_start")) {
            self.service(hook);
        }
    }
}

/// The path behind symbolic links, as far as it exists.
fn without_links(path: &str) -> String {
    let mut missing = Vec::new();
    let mut known = PathBuf::from(path);
    loop {
        if let Ok(real) = fs_err::canonicalize(&known) {
            let full = missing.iter().rev().fold(real, |full: PathBuf, part| full.join(part));
            return full.display().to_string();
        }
        match (known.file_name().map(ToOwned::to_owned), known.parent().map(Path::to_owned)) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                known = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// Whether a build context is no folder of this machine.
fn is_remote(text: &str) -> bool {
    let starts = ["https://", "http://", "git://", "ssh://", "github.com/", "git@", "service:"];
    text.contains("://") || starts.iter().any(|start| text.starts_with(start))
}

/// `C:\…` or `\\server\…`.
fn is_windows(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.starts_with("\\\\") || (bytes.len() > 2 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic() && matches!(bytes[2], b'\\' | b'/'))
}

//! Files that a file includes: each with a folder and variables of its own.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::path::{Path, PathBuf};

use crate::error::{Error, Span, Trail};
use crate::extends::relative;
use crate::files::{Loader, Scope};
use crate::load::read_env_files;
use crate::merge;
use crate::node::{Map, Node, Value};
use crate::short;
use crate::yaml;

/// One entry of `include`.
struct Entry {
    paths: Vec<String>,
    directory: Option<String>,
    env_files: Vec<String>,
    span: Span,
}

/// What an included file may bring.
const SECTIONS: [&str; 7] = ["services", "jobs", "volumes", "networks", "secrets", "configs", "models"];

impl Loader<'_> {
    /// Brings in what `include` names.
    pub(crate) fn include(&mut self, tree: &mut Map, scope: &Scope<'_>, resets: &[Vec<String>]) -> Result<(), Error> {
        let Some(node) = tree.shift_remove("include") else {
            return Ok(());
        };
        for entry in entries(&node)? {
            let imported = self.included(&entry, scope)?;
            import(imported, tree, resets)?;
        }
        Ok(())
    }

    fn included(&mut self, entry: &Entry, scope: &Scope<'_>) -> Result<Map, Error> {
        let path = Trail::ROOT;
        let path = path.then("include");
        let absolute = |name: &str, folder: &Path| PathBuf::from(short::clean(&folder.join(name).display().to_string()));
        let files: Vec<PathBuf> = entry.paths.iter().map(|name| absolute(name, scope.folder)).collect();
        let Some(main) = files.first() else {
            return Ok(Map::new());
        };
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            return Err(Error::at(entry.span, path, format!("{}: no such file or directory", missing.display())));
        }
        if scope.included.contains(main) {
            let names: Vec<String> = scope.included.iter().chain([main]).map(|file| file.display().to_string()).collect();
            let cycle = format!("include cycle detected:\n{}\n include {}", names[0], names[1..].join("\n include "));
            return Err(Error::at(entry.span, path, cycle));
        }
        let folder = match &entry.directory {
            None => main.parent().unwrap_or(Path::new("/")).to_owned(),
            Some(directory) => absolute(directory, scope.folder),
        };
        let prefix = match &entry.directory {
            Some(directory) if directory.starts_with('/') => PathBuf::from(directory),
            _ => relative(&folder, scope.folder),
        };
        let mut env_files = Vec::new();
        if entry.env_files.is_empty() {
            env_files.extend(Some(folder.join(".env")).filter(|file| file.is_file()));
        }
        for name in entry.env_files.iter().filter(|name| *name != "/dev/null") {
            let file = absolute(name, scope.folder);
            if !file.is_file() {
                return Err(Error::at(entry.span, path.then("env_file"), format!("{} is not a file", file.display())));
            }
            env_files.push(file);
        }
        let mut environment = scope.environment.clone();
        for (key, value) in read_env_files(&env_files, scope.environment)? {
            environment.entry(key).or_insert(value);
        }
        let inner = Scope { folder: &folder, prefix: &prefix, environment: &environment, included: scope.included, base_only: false };
        self.group(&files, &inner, true)
    }
}

fn entries(node: &Node) -> Result<Vec<Entry>, Error> {
    let root = Trail::ROOT;
    let path = root.then("include");
    let Some(list) = node.as_list() else {
        return if node.is_null() { Ok(Vec::new()) } else { Err(Error::at(node.span, path, "`include` must be a list")) };
    };
    list.iter()
        .map(|node| {
            let texts = |node: Option<&Node>| -> Vec<String> {
                match node.map(|node| (&node.value, node)) {
                    Some((Value::List(list), _)) => list.iter().map(Node::sprint).collect(),
                    Some((Value::Text(text), _)) => vec![text.clone()],
                    _ => Vec::new(),
                }
            };
            match &node.value {
                Value::Text(file) => Ok(Entry { paths: vec![file.clone()], directory: None, env_files: Vec::new(), span: node.span }),
                Value::Map(map) => Ok(Entry {
                    paths: texts(map.get("path")),
                    directory: map.get("project_directory").and_then(Node::as_str).filter(|text| !text.is_empty()).map(str::to_owned),
                    env_files: texts(map.get("env_file")),
                    span: node.span,
                }),
                _ => Err(Error::at(node.span, path, "must be a file's name or a mapping with a `path`")),
            }
        })
        .collect()
}

/// What is included lies below what the file says itself.
fn import(imported: Map, tree: &mut Map, resets: &[Vec<String>]) -> Result<(), Error> {
    let root = Trail::ROOT;
    for (section, from) in imported {
        let span = from.span;
        if !SECTIONS.contains(&section.as_str()) {
            continue;
        }
        let Value::Map(from) = from.value else {
            continue;
        };
        let mut base = Map::new();
        base.insert(section.clone(), Node::new(span, Value::Map(from)));
        yaml::apply_resets(&mut base, resets);
        let mut over = Map::new();
        if let Some(own) = tree.shift_remove(&section).filter(|node| !node.is_null()) {
            if own.as_map().is_none() {
                return Err(Error::at(own.span, root.then(&section), "must be a mapping"));
            }
            over.insert(section.clone(), own);
        }
        if let Some(merged) = merge::files(base, over)?.swap_remove(&section) {
            tree.insert(section, merged);
        }
    }
    Ok(())
}

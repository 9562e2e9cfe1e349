//! Files → one merged tree in its long form.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::canonical;
use crate::cast;
use crate::error::{Error, Span, Trail};
use crate::interpolate::Variables;
use crate::load::Options;
use crate::merge;
use crate::model::Mapping;
use crate::node::{Map, Node, Value};
use crate::paths::Base;
use crate::schema;
use crate::unique;
use crate::yaml::{self, Document};

/// Reads files, and remembers which ones and what to tell of them.
pub(crate) struct Loader<'o> {
    pub(crate) options: &'o Options,
    names: Vec<PathBuf>,
    warnings: Vec<String>,
    missing: BTreeSet<String>,
}

impl std::fmt::Debug for Loader<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Loader").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Where a group of files stands, and what it may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// Where files that it names begin: an absolute folder.
    pub(crate) folder: &'a Path,
    /// What its relative paths get in front: relative to the file that includes it, or absolute.
    pub(crate) prefix: &'a Path,
    /// Variables.
    pub(crate) environment: &'a Mapping,
    /// Files that include each other down to here.
    pub(crate) included: &'a [PathBuf],
    /// The base of another service: only that service counts.
    pub(crate) base_only: bool,
}

impl<'o> Loader<'o> {
    pub(crate) fn new(options: &'o Options) -> Self {
        Self { options, names: Vec::new(), warnings: Vec::new(), missing: BTreeSet::new() }
    }

    /// The files that were read, by the number in their spans.
    pub(crate) fn names(&self) -> &[PathBuf] {
        &self.names
    }

    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Tells of variables without a value.
    pub(crate) fn warn_missing(&mut self) {
        for name in std::mem::take(&mut self.missing) {
            self.warn(format!("The \"{name}\" variable is not set. Defaulting to a blank string."));
        }
    }

    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The name that the files give the project; the last one counts.
    pub(crate) fn name(&mut self, files: &[PathBuf], environment: &Mapping) -> Result<String, Error> {
        let mut name = String::new();
        for file in files {
            for document in self.documents(file)? {
                if let Some(text) = document.root.get("name").and_then(Node::as_str).filter(|text| !text.is_empty()) {
                    text.clone_into(&mut name);
                }
            }
        }
        if self.options.skip.interpolation {
            return Ok(name);
        }
        let lookup = |key: &str| environment.get(key).cloned();
        Variables::new(&lookup).substitute(&name).map_err(|fault| Error::file(&files[0], format!("name: {fault}")))
    }

    /// The merged tree of a whole project.
    pub(crate) fn project(&mut self, files: &[PathBuf], working_dir: &Path, environment: &Mapping) -> Result<Map, Error> {
        let scope = Scope { folder: working_dir, prefix: working_dir, environment, included: &[], base_only: false };
        self.group(files, &scope, !self.options.skip.path_resolution)
    }

    /// Files merged over each other.
    pub(crate) fn group(&mut self, files: &[PathBuf], scope: &Scope<'_>, resolve: bool) -> Result<Map, Error> {
        let mut root = Map::new();
        for file in files {
            root = self.file(file, scope, root)?.0;
        }
        canonical::defaults(&mut root);
        if !self.options.skip.validation {
            schema::exclusive(&root)?;
        }
        if resolve {
            let home = scope.environment.get("HOME").map(String::as_str);
            Base { folder: scope.prefix, home }.resolve(&mut root);
        }
        from_environment(&mut root, scope.environment);
        Ok(root)
    }

    /// One file over what came before; also what its last document resets.
    pub(crate) fn file(&mut self, file: &Path, scope: &Scope<'_>, mut root: Map) -> Result<(Map, Vec<Vec<String>>), Error> {
        let mut resets = Vec::new();
        for document in self.documents(file)? {
            resets.clone_from(&document.resets);
            root = self.document(file, document, scope, root)?;
        }
        Ok((root, resets))
    }

    fn document(&mut self, file: &Path, document: Document, scope: &Scope<'_>, mut root: Map) -> Result<Map, Error> {
        let span = document.root.span;
        let Value::Map(mut tree) = document.root.value else {
            if document.root.is_null() {
                return Ok(root);
            }
            return Err(Error::at(span, "", "top-level object must be a mapping"));
        };
        if !self.options.skip.interpolation {
            self.interpolate(&mut tree, scope.environment)?;
        }
        if !scope.base_only {
            let mut included = scope.included.to_vec();
            included.push(file.to_owned());
            let inner = Scope { included: &included, ..*scope };
            self.include(&mut tree, &inner, &document.resets)?;
        }
        yaml::apply_resets(&mut root, &document.resets);
        if !scope.base_only {
            self.extend_all(&mut tree, file, scope, &document.resets)?;
        }
        let mut root = merge::files(root, tree)?;
        unique::enforce(&mut root)?;
        if !self.options.skip.validation && !scope.base_only {
            schema::check(&root)?;
            if root.shift_remove("version").is_some() {
                self.warn(format!(
                    "{}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion",
                    file.display()
                ));
            }
        }
        canonical::long_form(&mut root, self.options.skip.interpolation)?;
        // The long form shows doubles that the short one hides, such as ports of a range.
        unique::enforce(&mut root)?;
        Ok(root)
    }

    fn interpolate(&mut self, tree: &mut Map, environment: &Mapping) -> Result<(), Error> {
        let lookup = |name: &str| environment.get(name).cloned();
        let variables = Variables::new(&lookup);
        let root = Trail::ROOT;
        for (key, node) in tree.iter_mut() {
            cast::interpolate(node, &variables, &root.then(key), cast::Place::of_section(key))?;
        }
        self.missing.append(&mut variables.missing.borrow_mut());
        Ok(())
    }

    /// The documents of a file.
    pub(crate) fn documents(&mut self, file: &Path) -> Result<Vec<Document>, Error> {
        let number = self.names.iter().position(|name| name == file).unwrap_or_else(|| {
            self.names.push(file.to_owned());
            self.names.len() - 1
        });
        let bytes = if file.as_os_str() == "-" {
            self.options.stdin.clone().into_bytes()
        } else {
            fs_err::read(file).map_err(|error| {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                    std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
                    _ => error.to_string(),
                };
                Error::new(format!("open {}: {reason}", file.display()))
            })?
        };
        let text = yaml::decode(&bytes).map_err(|at| Error::file(file, format!("is no UTF-8 text (byte {at})")))?;
        yaml::read(&text, u32::try_from(number).unwrap_or(u32::MAX))
    }
}

/// Takes values over from the environment: `environment: [KEY]`, and what secrets and configs name.
fn from_environment(root: &mut Map, environment: &Mapping) {
    for kind in ["services", "jobs"] {
        for service in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            for entry in canonical::items(service.get_mut("environment")) {
                if let Value::Text(text) = &mut entry.value
                    && let Some(value) = environment.get(text)
                {
                    *text = format!("{text}={value}");
                }
            }
        }
    }
    for (kind, key) in [("secrets", "x-#value"), ("configs", "content")] {
        for node in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            let value = node.get("environment").and_then(Node::as_str).and_then(|name| environment.get(name)).cloned();
            let span: Span = node.span;
            if let (Some(value), Some(map)) = (value, node.as_map_mut()) {
                map.insert(key.to_owned(), Node::text(span, value));
            }
        }
    }
}

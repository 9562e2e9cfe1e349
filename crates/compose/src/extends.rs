//! Services that extend others, in the same file or in another one.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::path::{Path, PathBuf};

use crate::error::{Error, Trail, nearest};
use crate::files::{Loader, Scope};
use crate::merge;
use crate::node::{Map, Node, Value};
use crate::paths::Base;
use crate::short;
use crate::yaml;

/// Services on the way to the present one, each with its file.
type Chain = Vec<(PathBuf, String)>;

impl Loader<'_> {
    /// Replaces every service that extends another one by what both give together.
    pub(crate) fn extend_all(&mut self, tree: &mut Map, file: &Path, scope: &Scope<'_>, resets: &[Vec<String>]) -> Result<(), Error> {
        let Some(services) = tree.get_mut("services").and_then(Node::as_map_mut) else {
            return Ok(());
        };
        let names: Vec<String> = services.iter().filter(|(_, node)| node.get("extends").is_some()).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.extend(&name, services, file, scope, resets, &Chain::new())?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one step of a recursion over two files")]
    fn extend(
        &mut self,
        name: &str,
        services: &mut Map,
        file: &Path,
        scope: &Scope<'_>,
        resets: &[Vec<String>],
        chain: &Chain,
    ) -> Result<(), Error> {
        let root = Trail::ROOT;
        let section = root.then("services");
        let path = section.then(name);
        let Some(service) = services.get(name) else {
            return Ok(());
        };
        let Some(extends) = service.get("extends") else {
            return Ok(());
        };
        let span = extends.span;
        let path = path.then("extends");
        let text = |key: &str| extends.get(key).and_then(Node::as_str).map(str::to_owned);
        let base = extends.as_str().map(str::to_owned).or_else(|| text("service"));
        let base = base.ok_or_else(|| Error::at(span, path, "`service` is required"))?;
        let other = text("file");
        let chain = link(chain, file, name).map_err(|problem| Error::at(span, path, problem))?;
        let (source, base_resets) = match &other {
            None => {
                if !services.contains_key(&base) {
                    return Err(unknown(services, &base, name, file, span));
                }
                self.extend(&base, services, file, scope, resets, &chain)?;
                (services.get(&base).cloned(), Vec::new())
            }
            Some(other) => {
                let (mut found, base_file, base_resets) = self.base_file(other, &base, name, span, scope)?;
                self.extend(&base, &mut found, &base_file, scope, &base_resets, &chain)?;
                (found.swap_remove(&base), base_resets)
            }
        };
        drop(base_resets);
        let Some(service) = services.get_mut(name) else {
            return Ok(());
        };
        let mut over = std::mem::replace(service, Node::new(span, Value::Null));
        let Some(source) = source.filter(|source| source.as_map().is_some()) else {
            *service = over;
            return Ok(());
        };
        let mut wrapped = Map::new();
        let inner: Map = [(name.to_owned(), source)].into_iter().collect();
        wrapped.insert("services".to_owned(), Node::new(span, Value::Map(inner)));
        yaml::apply_resets(&mut wrapped, resets);
        let source = wrapped.get_mut("services").and_then(Node::as_map_mut).and_then(|map| map.swap_remove(name));
        if let Some(map) = over.as_map_mut() {
            map.shift_remove("extends");
        }
        let source = source.unwrap_or_else(|| Node::new(span, Value::Map(Map::new())));
        let mut merged = merge::service(source, over, &section.then(name))?;
        if let Some(map) = merged.as_map_mut() {
            map.shift_remove("extends");
        }
        *service = merged;
        Ok(())
    }

    /// The services of another file, with their paths as seen from here.
    #[allow(clippy::too_many_arguments, reason = "one step of a recursion over two files")]
    fn base_file(
        &mut self,
        other: &str,
        base: &str,
        name: &str,
        span: crate::error::Span,
        scope: &Scope<'_>,
    ) -> Result<(Map, PathBuf, Vec<Vec<String>>), Error> {
        let file = PathBuf::from(short::clean(&scope.folder.join(other).display().to_string()));
        let root = Trail::ROOT;
        let path = root.then("services");
        let path = path.then(name);
        let path = path.then("extends");
        if !file.is_file() {
            return Err(Error::at(span, path.then("file"), format!("{}: no such file or directory", file.display())));
        }
        let inner = Scope { base_only: true, ..*scope };
        let (mut tree, resets) = self.file(&file, &inner, Map::new())?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let relative = relative(folder, scope.folder);
        let home = scope.environment.get("HOME").map(String::as_str);
        Base { folder: &relative, home }.resolve(&mut tree);
        let Some(Value::Map(services)) = tree.swap_remove("services").map(|node| node.value) else {
            return Err(Error::at(span, path, format!("cannot extend service \"{base}\": {} has no services", file.display())));
        };
        if !services.contains_key(base) {
            return Err(unknown(&services, base, name, &file, span));
        }
        Ok((services, PathBuf::from(other), resets))
    }
}

fn unknown(services: &Map, base: &str, name: &str, file: &Path, span: crate::error::Span) -> Error {
    let root = Trail::ROOT;
    let path = root.then("services");
    let path = path.then(name);
    let error = Error::at(
        span,
        path.then("extends"),
        format!("cannot extend service \"{name}\" in {}: service \"{base}\" not found", file.display()),
    );
    match nearest(base, services.keys().map(String::as_str).filter(|known| *known != name)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// The chain with one more service, unless it is there already.
fn link(chain: &Chain, file: &Path, name: &str) -> Result<Chain, String> {
    let next = (file.to_owned(), name.to_owned());
    if chain.contains(&next) {
        let mut lines = vec!["Circular reference:".to_owned(), format!("  {} in {}", chain[0].1, chain[0].0.display())];
        lines.extend(chain[1..].iter().chain([&next]).map(|(file, name)| format!("  extends {name} in {}", file.display())));
        return Err(lines.join("\n"));
    }
    Ok(chain.iter().cloned().chain([next]).collect())
}

/// A folder as seen from another one.
pub(crate) fn relative(folder: &Path, from: &Path) -> PathBuf {
    let (to, from): (Vec<_>, Vec<_>) = (folder.components().collect(), from.components().collect());
    let common = to.iter().zip(&from).take_while(|(left, right)| left == right).count();
    let mut path = PathBuf::new();
    for _ in common..from.len() {
        path.push("..");
    }
    path.extend(&to[common..]);
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

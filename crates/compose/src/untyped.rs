//! A project as a tree, where variables may still stand in the place of numbers and truths.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::collections::BTreeMap;

use crate::emit::{json, yaml};
use crate::error::Error;
use crate::interpolate::{self, Variable};
use crate::load::{Options, tree};
use crate::node::{Map, Node, Value};
use crate::print::Shown;

/// A project that is merged and in its long form, but not typed.
#[derive(Debug)]
pub struct Untyped {
    root: Map,
    /// What is told to a person.
    pub warnings: Vec<String>,
}

/// Loads a project without typing it; for what still has its variables.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load_untyped(options: &Options) -> Result<Untyped, Error> {
    let loaded = tree(options)?;
    let mut root = loaded.root;
    for node in root.get_mut("secrets").and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
        if let Some(map) = node.as_map_mut() {
            map.shift_remove("x-#value");
        }
    }
    Ok(Untyped { root, warnings: loaded.warnings })
}

impl Untyped {
    /// In YAML, keys sorted.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        yaml(&Shown::of_tree(&self.root, true))
    }

    /// In JSON, keys sorted.
    #[must_use]
    pub fn to_json(&self) -> String {
        json(&Shown::of_tree(&self.root, false))
    }

    /// The services' names.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.root.get("services").and_then(Node::as_map).into_iter().flat_map(|map| map.keys().cloned()).collect();
        names.sort();
        names
    }

    /// The variables that the project names, and what it says of each.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, Variable> {
        let mut found = BTreeMap::new();
        self.root.values().for_each(|node| variables(node, &mut found));
        found
    }

    /// Leaves the images of the services and of their mounts, and nothing else.
    pub fn keep_images(&mut self) {
        self.root.retain(|key, _| key == "services");
        for service in self.root.get_mut("services").and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            let Some(map) = service.as_map_mut() else {
                continue;
            };
            map.retain(|key, _| key == "image" || key == "volumes");
            if let Some(list) = map.get_mut("volumes").and_then(Node::as_list_mut) {
                list.retain(|volume| volume.get("type").and_then(Node::as_str) == Some("image"));
                if list.is_empty() {
                    map.shift_remove("volumes");
                }
            }
        }
    }

    /// Changes the images of services, of their hooks and of their mounts.
    ///
    /// # Errors
    /// The first that `change` has.
    pub fn change_images<E>(&mut self, change: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<(), E> {
        let names = self.services();
        let mut text = |node: Option<&mut Node>| -> Result<(), E> {
            match node {
                Some(Node { value: Value::Text(text), .. }) if !text.is_empty() => {
                    *text = change(text)?;
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        for service in self.root.get_mut("services").and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            text(service.get_mut("image"))?;
            for hook in crate::canonical::items(service.get_mut("pre_start")) {
                text(hook.get_mut("image"))?;
            }
            for volume in crate::canonical::items(service.get_mut("volumes")) {
                let image = volume.get("type").and_then(Node::as_str) == Some("image");
                let named = volume.get("source").and_then(Node::as_str).is_some_and(|source| names.iter().any(|name| name == source));
                if image && !named {
                    text(volume.get_mut("source"))?;
                }
            }
        }
        Ok(())
    }
}

fn variables(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) => interpolate::names(text, found),
        Value::List(list) => list.iter().for_each(|node| variables(node, found)),
        Value::Map(map) => map.values().for_each(|node| variables(node, found)),
        _ => {}
    }
}

//! What must hold for any bytes; property tests and the fuzz targets call these.

use crate::model::Mapping;
use crate::node::{Node, Value};
use crate::{dotenv, interpolate, yaml};

/// Depth of a tree.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Map(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 1,
    }
}

/// YAML ends, within its budget of depth.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = yaml::decode(bytes) else {
        return;
    };
    for document in yaml::read(&text, 0).into_iter().flatten() {
        assert!(depth(&document.root) < 5_000, "the tree can be walked");
    }
}

/// A whole file ends: loaded or refused, and what is loaded can be printed.
pub fn project(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // Files outside are not the matter here.
    if ["include", "extends", "env_file", "label_file", "develop"].iter().any(|word| text.contains(word)) {
        return;
    }
    let mut options = crate::Options::new("/nowhere".into(), Mapping::from([("A".to_owned(), "b".to_owned())]));
    options.files = vec!["-".to_owned()];
    options.stdin = text.to_owned();
    if let Ok(project) = crate::load(&options) {
        assert!(project.to_yaml().is_ok() && project.to_json().is_ok(), "a project can be printed");
    }
}

/// Interpolation ends, and an escaped text gives itself.
pub fn interpolation(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lookup = |name: &str| (name.len() < 3).then(|| "$value".to_owned());
    let variables = interpolate::Variables::new(&lookup);
    drop(variables.substitute(text));
    assert_eq!(variables.substitute(&text.replace('$', "$$")).as_deref(), Ok(text), "what is escaped stays");
    interpolate::names(text, &mut std::collections::BTreeMap::new());
}

/// A file of variables ends, in both dialects; no name of a variable holds a blank.
pub fn dotenv(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut known = Mapping::new();
    if dotenv::read(&text, &mut known, &|_| None).is_ok() {
        assert!(known.keys().all(|key| !key.contains(' ')), "names are names");
    }
    drop(dotenv::read_raw(&text, &mut known, &|_| None));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            super::yaml(&bytes);
            super::interpolation(&bytes);
            super::dotenv(&bytes);
            super::project(&bytes);
        }

        #[test]
        fn what_looks_like_a_project_ends(lines in proptest::collection::vec(
            "(  ){0,3}(services|web|image|ports|environment|networks|volumes|deploy|build|x-a|<<|command|a)?(: ?|- )?[\\[\\]{}*&!a-z0-9$:\"' ,]{0,12}", 0..12,
        )) {
            super::project(lines.join("\n").as_bytes());
        }
    }
}

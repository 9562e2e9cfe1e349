//! YAML → trees, one for each document: anchors, merge keys and tags are resolved, within a budget.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use libyaml_safer::{Event, EventData, Parser, ScalarStyle};

use crate::error::{Error, Span};
use crate::node::{Map, Mark, Node, Value};
use crate::scalar;

/// Values that one file may have once its aliases are resolved: a file of a megabyte has some 50,000, and a
/// bomb of aliases grows without bound.
const NODES_MAX: usize = 500_000;
/// How deep values may be nested; real files stay below 20.
const DEPTH_MAX: usize = 200;

/// A document: its tree, and the paths that it resets in earlier files.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    pub(crate) resets: Vec<Vec<String>>,
}

/// Reads all documents of a file.
pub(crate) fn read(text: &str, file: u32) -> Result<Vec<Document>, Error> {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut reader = Reader { parser, file, anchors: BTreeMap::new(), open: BTreeSet::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let event = reader.next()?;
        match event.data {
            EventData::StreamEnd => return Ok(documents),
            EventData::DocumentStart { .. } => {
                reader.anchors.clear();
                let event = reader.next()?;
                let mut root = reader.node(event, 0)?;
                let mut resets = Vec::new();
                marks(&mut root, &mut Vec::new(), &mut resets);
                documents.push(Document { root, resets });
            }
            _ => {}
        }
    }
}

struct Reader<'r, 'b> {
    parser: Parser<&'r mut &'b [u8]>,
    file: u32,
    anchors: BTreeMap<String, (Node, usize)>,
    /// Anchors whose value is being read.
    open: BTreeSet<String>,
    nodes: usize,
}

impl Reader<'_, '_> {
    fn next(&mut self) -> Result<Event, Error> {
        self.parser.parse().map_err(|error| {
            let mark = error.problem_mark().or(error.context_mark()).unwrap_or_default();
            let span = self.span(mark.line, mark.column);
            Error::at(
                span,
                "",
                format!("yaml: {}{}", error.context().map_or(String::new(), |context| format!("{context}: ")), error.problem()),
            )
        })
    }

    fn span(&self, line: u64, column: u64) -> Span {
        let count = |value: u64| u32::try_from(value.saturating_add(1)).unwrap_or(u32::MAX);
        Span { file: self.file, line: count(line), column: count(column) }
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<Node, Error> {
        let span = self.span(event.start_mark.line, event.start_mark.column);
        self.spend(1, span)?;
        if depth > DEPTH_MAX {
            return Err(Error::at(span, "", format!("values are nested deeper than {DEPTH_MAX}")));
        }
        match event.data {
            EventData::Alias { anchor } => self.alias(&anchor, span),
            EventData::Scalar { anchor, tag, value, style, plain_implicit, .. } => {
                let plain = matches!(style, ScalarStyle::Plain) && (plain_implicit || tag.is_some());
                let node = self.scalar(tag.as_deref(), value, plain, span)?;
                self.keep(anchor, &node, 1);
                Ok(node)
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                let before = self.begin(anchor.as_ref());
                let mut list = Vec::new();
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::SequenceEnd) {
                        break;
                    }
                    list.push(self.node(event, depth + 1)?);
                }
                let node = Node { span, mark: mark(tag.as_deref()), value: Value::List(list) };
                self.keep(anchor, &node, self.nodes - before + 1);
                Ok(node)
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let before = self.begin(anchor.as_ref());
                let map = self.mapping(depth)?;
                let node = Node { span, mark: mark(tag.as_deref()), value: Value::Map(map) };
                self.keep(anchor, &node, self.nodes - before + 1);
                Ok(node)
            }
            _ => Err(Error::at(span, "", "yaml: unexpected end")),
        }
    }

    fn begin(&mut self, anchor: Option<&String>) -> usize {
        if let Some(anchor) = anchor {
            self.open.insert(anchor.clone());
        }
        self.nodes
    }

    fn keep(&mut self, anchor: Option<String>, node: &Node, size: usize) {
        if let Some(anchor) = anchor {
            self.open.remove(&anchor);
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    fn alias(&mut self, anchor: &str, span: Span) -> Result<Node, Error> {
        if self.open.contains(anchor) {
            return Err(Error::at(span, "", format!("anchor `{anchor}` contains itself")));
        }
        let Some((node, size)) = self.anchors.get(anchor) else {
            let near = crate::error::nearest(anchor, self.anchors.keys().map(String::as_str));
            let error = Error::at(span, "", format!("unknown anchor `{anchor}`"));
            return Err(match near {
                Some(near) => error.hint(format!("did you mean `*{near}`?")),
                None => error,
            });
        };
        let (node, size) = (node.clone(), *size);
        self.spend(size, span)?;
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, span: Span) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(Error::at(span, "", format!("the file has more than {NODES_MAX} values once its aliases are resolved")));
        }
        Ok(())
    }

    fn scalar(&self, tag: Option<&str>, text: String, plain: bool, span: Span) -> Result<Node, Error> {
        let mark = mark(tag);
        let value = match tag {
            None | Some("!reset" | "!override") if plain => scalar::resolve(&text),
            Some("tag:yaml.org,2002:null") => Value::Null,
            Some("tag:yaml.org,2002:bool" | "tag:yaml.org,2002:int") => scalar::resolve(&text),
            Some("tag:yaml.org,2002:float") => match scalar::resolve(&text) {
                #[allow(clippy::cast_precision_loss, reason = "asked for by the tag")]
                Value::Int(number) => Value::Float(number as f64),
                value => value,
            },
            Some("tag:yaml.org,2002:binary") => return Err(Error::at(span, "", "binary values are not allowed in a Compose file")),
            _ => Value::Text(text),
        };
        Ok(Node { span, mark, value })
    }

    fn mapping(&mut self, depth: usize) -> Result<Map, Error> {
        let mut map = Map::new();
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        let mut merges = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event.data, EventData::MappingEnd) {
                break;
            }
            let merge = matches!(&event.data, EventData::Scalar { value, style: ScalarStyle::Plain, .. } if value == "<<");
            let key = self.node(event, depth + 1)?;
            let span = key.span;
            let key = key_text(&key)?;
            let event = self.next()?;
            let mut node = self.node(event, depth + 1)?;
            if let Some(first) = places.insert(key.clone(), span) {
                return Err(Error::at(span, "", format!("mapping key \"{key}\" already defined at line {}", first.line)));
            }
            if merge {
                merges.push(node);
                continue;
            }
            // A scalar is told at its key, so that an error points to the attribute's name.
            if !matches!(node.value, Value::List(_)) || node.span.line == 0 {
                node.span = span;
            }
            map.insert(key, node);
        }
        for node in merges {
            merge_into(&mut map, node)?;
        }
        Ok(map)
    }
}

/// Takes over what a merge key gives and the map does not have.
fn merge_into(map: &mut Map, node: Node) -> Result<(), Error> {
    match node.value {
        Value::Map(other) => {
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::List(list) => list.into_iter().try_for_each(|node| match node.value {
            Value::Map(_) => merge_into(map, node),
            _ => Err(Error::at(node.span, "", "map merge requires map or sequence of maps as the value")),
        }),
        _ => Err(Error::at(node.span, "", "map merge requires map or sequence of maps as the value")),
    }
}

/// A key as text: numbers and truths are written out.
fn key_text(key: &Node) -> Result<String, Error> {
    match &key.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            Err(Error::at(key.span, "", format!("non-string key: {}", key.sprint())).hint("put it in quotes"))
        }
        Value::Null => Err(Error::at(key.span, "", "non-string key: null").hint("put it in quotes")),
        Value::List(_) | Value::Map(_) => Err(Error::at(key.span, "", "a key must be a text")),
    }
}

fn mark(tag: Option<&str>) -> Mark {
    match tag {
        Some("!reset") => Mark::Reset,
        Some("!override") => Mark::Override,
        _ => Mark::None,
    }
}

/// Takes out what is reset, and notes its path and the path of what overrides.
fn marks(node: &mut Node, path: &mut Vec<String>, resets: &mut Vec<Vec<String>>) {
    match &mut node.value {
        Value::Map(map) => map.retain(|key, child| {
            path.push(key.clone());
            let keep = visit(child, path, resets);
            path.pop();
            keep
        }),
        Value::List(list) => {
            let mut index = 0;
            list.retain_mut(|child| {
                path.push(index.to_string());
                let keep = visit(child, path, resets);
                path.pop();
                index += 1;
                keep
            });
        }
        _ => {}
    }
}

/// Notes a mark; says whether the node stays.
fn visit(node: &mut Node, path: &mut Vec<String>, resets: &mut Vec<Vec<String>>) -> bool {
    match node.mark {
        Mark::Reset => {
            resets.push(path.clone());
            false
        }
        Mark::Override => {
            resets.push(path.clone());
            true
        }
        Mark::None => {
            marks(node, path, resets);
            true
        }
    }
}

/// Drops from earlier files what a later one resets.
pub(crate) fn apply_resets(root: &mut Map, resets: &[Vec<String>]) {
    for path in resets {
        let Some((last, way)) = path.split_last() else {
            continue;
        };
        let mut map = Some(&mut *root);
        for key in way {
            map = map.and_then(|map| map.get_mut(key)).and_then(Node::as_map_mut);
        }
        if let Some(map) = map {
            map.shift_remove(last);
        }
    }
}

/// The text without a byte order mark; a file that is no UTF-8 is told by its place.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| error.valid_up_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Result<Node, String> {
        read(text, 0).map(|mut documents| documents.remove(0).root).map_err(|error| error.problem)
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let node = root("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 5}, *a]}\n").expect("well formed");
        assert_eq!(node.get("b").and_then(|b| b.get("y")).map(Node::sprint).as_deref(), Some("3"));
        assert_eq!(node.get("c").and_then(|c| c.get("x")).map(Node::sprint).as_deref(), Some("5"));
        assert_eq!(node.get("c").and_then(|c| c.get("y")).map(Node::sprint).as_deref(), Some("2"));
    }

    #[test]
    fn bombs_circles_and_doubles_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = level - 1;
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 9].join(", "));
        }
        assert!(root(&bomb).expect_err("too large").contains("more than"));
        assert!(root("a: &a [*a]").expect_err("circle").contains("contains itself"));
        assert!(root("a: 1\na: 2").expect_err("double").contains("already defined"));
        assert!(root("a: *b").expect_err("unknown").contains("unknown anchor"));
        assert!(root(&"[".repeat(500)).is_err());
        assert!(root("5: a").expect_err("key").contains("non-string key"));
    }

    #[test]
    fn resets_are_taken_out_and_noted() {
        let document = read("a: {b: !reset null, c: !override [x]}", 0).expect("well formed").remove(0);
        assert_eq!(document.resets, [["a", "b"], ["a", "c"]]);
        assert!(document.root.get("a").is_some_and(|a| a.get("b").is_none() && a.get("c").is_some()));
    }
}

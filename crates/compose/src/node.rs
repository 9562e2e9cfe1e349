//! A tree of values that knows where each stands in its file.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use indexmap::IndexMap;

use crate::error::Span;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

/// What a tag says about merging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing.
    #[default]
    None,
    /// `!reset`: the attribute of earlier files is dropped.
    Reset,
    /// `!override`: the value replaces that of earlier files.
    Override,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A `float32` of Go: printed with its own digits.
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Values by key, in the order in which they were written.
pub(crate) type Map = IndexMap<String, Node>;

impl Node {
    /// A value at a place.
    pub(crate) fn new(span: Span, value: Value) -> Self {
        Self { span, mark: Mark::None, value }
    }

    /// A text at a place.
    pub(crate) fn text(span: Span, text: impl Into<String>) -> Self {
        Self::new(span, Value::Text(text.into()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_list_mut(&mut self) -> Option<&mut Vec<Self>> {
        match &mut self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// A member of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// A member of a map.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_map_mut()?.get_mut(key)
    }

    /// What JSON Schema calls the value's type.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "integer",
            Value::Float(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "array",
            Value::Map(_) => "mapping",
        }
    }

    /// The value as Go's `fmt.Sprint` writes it; a null is `<nil>`.
    pub(crate) fn sprint(&self) -> String {
        match &self.value {
            Value::Null => "<nil>".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => crate::number::general(*value),
            Value::Text(text) => text.clone(),
            Value::List(list) => format!("[{}]", list.iter().map(Self::sprint).collect::<Vec<_>>().join(" ")),
            Value::Map(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                format!("map[{}]", entries.into_iter().map(|(key, node)| format!("{key}:{}", node.sprint())).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

//! The `filters` parameter of lists, prunes and events.

use serde_json::Value;
use std::collections::BTreeMap;

/// Terms by name; a term without values does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

/// A `filters` parameter that is not understood.
#[derive(Debug, thiserror::Error)]
pub enum FiltersError {
    /// It is neither `{"a":{"b":true}}` nor `{"a":["b"]}`.
    #[error("invalid filter")]
    Syntax,
    /// A term that the route does not know.
    #[error("invalid filter '{name}'")]
    Unknown {
        /// The term's name.
        name: String,
    },
    /// A boolean term that is neither true nor false.
    #[error("invalid filter '{name}={value}'")]
    Value {
        /// The term's name.
        name: String,
        /// What was given.
        value: String,
    },
}

impl Filters {
    /// Reads the parameter, in today's form or in the one before API 1.22.
    ///
    /// # Errors
    /// [`FiltersError::Syntax`] for any other form.
    /// **Source:** moby, package `filters`, `FromJSON`.
    pub fn parse(text: &str) -> Result<Self, FiltersError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| FiltersError::Syntax)?;
        let mut terms = Self::default();
        for (name, values) in value {
            match values {
                Value::Object(map) => {
                    for (key, on) in map {
                        match on {
                            Value::Bool(true) => terms.add(&name, &key),
                            Value::Bool(false) => {}
                            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                                return Err(FiltersError::Syntax);
                            }
                        }
                    }
                }
                Value::Array(list) => {
                    for item in list {
                        let item = item.as_str().ok_or(FiltersError::Syntax)?;
                        terms.add(&name, item);
                    }
                }
                Value::Null => {}
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    return Err(FiltersError::Syntax);
                }
            }
        }
        Ok(terms)
    }

    /// Adds one value to a term.
    pub fn add(&mut self, name: &str, value: &str) {
        let values = self.0.entry(name.to_owned()).or_default();
        if !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
    }

    /// Writes today's form.
    pub fn to_json(&self) -> String {
        let map: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(name, values)| {
                let values = values.iter().map(|value| (value.as_str(), true)).collect();
                (name.as_str(), values)
            })
            .collect();
        serde_json::to_string(&map).unwrap_or_default()
    }

    /// Tells whether there are no terms.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether the term was given.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Gives the values of a term.
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Tells whether the term is absent or `test` holds for one of its values.
    pub fn matches(&self, name: &str, test: impl FnMut(&str) -> bool) -> bool {
        let values = self.get(name);
        values.is_empty() || values.iter().map(String::as_str).any(test)
    }

    /// Refuses terms that are not in `known`.
    ///
    /// # Errors
    /// [`FiltersError::Unknown`] with the first of them.
    pub fn only(&self, known: &[&str]) -> Result<(), FiltersError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(FiltersError::Unknown { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Reads a boolean term.
    ///
    /// # Errors
    /// [`FiltersError::Value`] unless each value says the same one of true and false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, FiltersError> {
        let mut found = None;
        for value in self.get(name) {
            let flag = match value.as_str() {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => {
                    return Err(FiltersError::Value { name: name.to_owned(), value: value.clone() });
                }
            };
            if found.is_some_and(|before| before != flag) {
                return Err(FiltersError::Value { name: name.to_owned(), value: value.clone() });
            }
            found = Some(flag);
        }
        Ok(found)
    }

    /// Tells whether labels satisfy the terms `label` (all of them) and `label!` (none of them).
    pub fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |term: &String| match term.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
            None => labels.contains_key(term),
        };
        self.get("label").iter().all(holds) && !self.get("label!").iter().any(holds)
    }

    /// Gives all terms.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }
}

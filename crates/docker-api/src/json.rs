//! Decoding JSON as Go's `encoding/json` does.
//!
//! Field names match in any case, `null` leaves a field at its zero value and
//! unknown fields are ignored. Keys of maps keep their case.
//! **Source:** Go, package `encoding/json`, `Unmarshal`.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Error, Map, Value};

/// Decodes one JSON text.
///
/// # Errors
/// The text is not JSON, has something behind its end, or has a value of another type.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_slice(text)?)
}

/// Decodes a JSON value that was parsed before.
///
/// # Errors
/// A value has another type than its field.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Go(value))
}

/// A value that is read by Go's rules.
#[derive(Debug)]
struct Go(Value);

impl<'de> IntoDeserializer<'de, Error> for Go {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// Gives each key the spelling of the field that it matches, and drops nulls.
fn fields_of(map: Map<String, Value>, fields: &'static [&'static str]) -> Map<String, Value> {
    let mut renamed = Map::new();
    for (key, value) in map {
        if value.is_null() {
            continue;
        }
        let name = fields.iter().find(|field| **field == key).or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(&key)));
        if let Some(name) = name {
            renamed.insert((*name).to_owned(), value);
        }
    }
    renamed
}

fn visit_map<'de, V: Visitor<'de>>(map: Map<String, Value>, visitor: V) -> Result<V::Value, Error> {
    let mut access = MapDeserializer::new(map.into_iter().map(|(key, value)| (key, Go(value))));
    let value = visitor.visit_map(&mut access)?;
    access.end()?;
    Ok(value)
}

impl<'de> Deserializer<'de> for Go {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut access = SeqDeserializer::new(items.into_iter().map(Go));
                let value = visitor.visit_seq(&mut access)?;
                access.end()?;
                Ok(value)
            }
            Value::Object(map) => visit_map(map, visitor),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(map) => visit_map(fields_of(map, fields), visitor),
            Value::Null => visit_map(Map::new(), visitor),
            // Serde would read an array as the fields in their order; Go does not.
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => Go(other).deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            return visitor.visit_str("");
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, rename_all = "PascalCase")]
    struct Sample {
        attach_stdin: bool,
        labels: BTreeMap<String, String>,
        cmd: Option<Vec<String>>,
    }

    #[test]
    fn reads_fields_in_any_case_and_keeps_map_keys() {
        let sample: Sample = super::from_slice(br#"{"attachstdin":true,"LABELS":{"A":"b","a":"c"},"cmd":null,"Nope":3}"#).unwrap();
        assert!(sample.attach_stdin);
        assert_eq!(sample.labels.len(), 2);
        assert_eq!(sample.cmd, None);
    }

    #[test]
    fn refuses_what_follows_the_end() {
        assert!(super::from_slice::<Sample>(b"{} x").is_err());
        assert!(super::from_slice::<Sample>(b"").is_err());
        assert!(super::from_slice::<Sample>(b"[]").is_err());
        assert!(super::from_slice::<Sample>(br#"{"AttachStdin":"yes"}"#).is_err());
    }
}

//! JSON with the order of its fields kept, so that it is shown as the engine tells it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Ordered {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// Values.
    List(Vec<Ordered>),
    /// Fields.
    Map(Vec<(String, Ordered)>),
}

/// How JSON is written.
#[derive(Clone, Copy)]
struct Form {
    indent: Option<&'static str>,
    html: bool,
}

impl Ordered {
    /// JSON in one line, with Go's escapes for what HTML would take for a tag.
    pub fn json(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, Form { indent: None, html: true }, 0);
        text
    }

    /// JSON in one line as Docker's template function `json` writes it: letters of HTML stand for themselves.
    pub fn json_plain(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, Form { indent: None, html: false }, 0);
        text
    }

    /// JSON in lines with an indentation of four blanks.
    pub fn pretty(&self, depth: usize) -> String {
        let mut text = String::new();
        self.write(&mut text, Form { indent: Some("    "), html: false }, depth);
        text
    }

    fn write(&self, text: &mut String, form: Form, depth: usize) {
        let open = |text: &mut String, depth: usize| {
            if let Some(indent) = form.indent {
                text.push('\n');
                text.push_str(&indent.repeat(depth));
            }
        };
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(on) => text.push_str(if *on { "true" } else { "false" }),
            Self::Int(number) => text.push_str(&number.to_string()),
            Self::Float(number) => text.push_str(&number.to_string()),
            Self::Text(plain) => quote(plain, text, form.html),
            Self::List(items) if items.is_empty() => text.push_str("[]"),
            Self::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    open(text, depth.saturating_add(1));
                    item.write(text, form, depth.saturating_add(1));
                }
                open(text, depth);
                text.push(']');
            }
            Self::Map(fields) => {
                let mut first = true;
                text.push('{');
                for (key, value) in fields {
                    if !std::mem::take(&mut first) {
                        text.push(',');
                    }
                    open(text, depth.saturating_add(1));
                    quote(key, text, form.html);
                    text.push_str(if form.indent.is_some() { ": " } else { ":" });
                    value.write(text, form, depth.saturating_add(1));
                }
                if !first {
                    open(text, depth);
                }
                text.push('}');
            }
        }
    }
}

/// Writes a JSON text as Go does, which escapes what HTML would take for a tag, but not
/// where it only indents what the engine sent.
fn quote(plain: &str, text: &mut String, html: bool) {
    text.push('"');
    for letter in plain.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' if !html => text.push(letter),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            _ => text.push(letter),
        }
    }
    text.push('"');
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Ordered;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Null)
            }
            fn visit_bool<E>(self, on: bool) -> Result<Ordered, E> {
                Ok(Ordered::Bool(on))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Ordered, E> {
                Ok(Ordered::Int(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Ordered, E> {
                Ok(i64::try_from(number).map_or_else(|_| Ordered::Text(number.to_string()), Ordered::Int))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Ordered, E> {
                Ok(Ordered::Float(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Ordered, E> {
                Ok(Ordered::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ordered, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Ordered::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Ordered::Map(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_is_kept() {
        let text = r#"{"b":1,"a":[true,null,"x<y"],"c":{},"d":1.5}"#;
        let value: Ordered = serde_json::from_str(text).unwrap();
        assert_eq!(value.json(), r#"{"b":1,"a":[true,null,"x\u003cy"],"c":{},"d":1.5}"#);
        assert_eq!(Ordered::List(vec![value]).pretty(0).lines().nth(2), Some("        \"b\": 1,"));
    }
}

//! The query of a request and its decoding.

use crate::ApiError;
use docker_api::filters::Filters;

/// Names and values in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// Decodes `%XX`; with `plus`, `+` is a space. What is no escape stays as it is.
pub fn percent_decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = (byte == b'%')
            .then(|| bytes.get(index + 1..index + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(value) => {
                decoded.push(value);
                index += 3;
            }
            None => {
                decoded.push(if plus && byte == b'+' { b' ' } else { byte });
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl Query {
    /// Splits a query.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        });
        Self(pairs.collect())
    }

    /// Gives the first value of a name, or the empty text.
    pub fn text(&self, name: &str) -> &str {
        self.find(name).unwrap_or("")
    }

    /// Gives the first value of a name.
    pub fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Gives all values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a boolean: everything but empty, `0`, `no`, `false` and `none` is true.
    /// **Source:** moby, `httputils.BoolValue`.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// Reads a boolean with a value for its absence.
    pub fn flag_or(&self, name: &str, absent: bool) -> bool {
        self.find(name).map_or(absent, |value| {
            let value = value.trim().to_ascii_lowercase();
            !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
        })
    }

    /// Reads a whole number.
    ///
    /// # Errors
    /// 400 if there is a value and it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        match self.find(name) {
            None | Some("") => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| ApiError::invalid(format!("strconv.Atoi: parsing \"{text}\": invalid syntax")))
            }
        }
    }

    /// Reads the `filters` parameter.
    ///
    /// # Errors
    /// 400 if it is neither of the two forms.
    pub fn filters(&self) -> Result<Filters, ApiError> {
        Ok(Filters::parse(self.text("filters"))?)
    }
}

//! Where output is logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A log driver and its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// `json-file`, `local` or `none`.
    pub driver: String,
    /// `max-size`, `max-file` and others.
    pub options: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { driver: "json-file".to_owned(), options: BTreeMap::new() }
    }
}

/// A log configuration that cannot be used; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLogConfigError {
    /// No such driver.
    #[error("error looking up logging plugin {0}: plugin \"{0}\" not found")]
    UnknownDriver(String),
    /// The driver has no such option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    UnknownOption {
        /// Option.
        option: String,
        /// Driver.
        driver: String,
    },
    /// Not a size or number.
    #[error("invalid value for {option}: '{value}'")]
    InvalidValue {
        /// Option.
        option: String,
        /// Value.
        value: String,
    },
}

impl LogConfig {
    /// Checks a driver's name (empty is the default one) and its options.
    ///
    /// # Errors
    /// [`ParseLogConfigError`].
    pub fn parse(driver: &str, options: BTreeMap<String, String>) -> Result<Self, ParseLogConfigError> {
        let driver = if driver.is_empty() { "json-file" } else { driver };
        let known: &[&str] = match driver {
            "json-file" => {
                &["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"]
            }
            "local" => &["max-size", "max-file", "compress", "mode", "max-buffer-size"],
            "none" => &["mode", "max-buffer-size"],
            other => return Err(ParseLogConfigError::UnknownDriver(other.to_owned())),
        };
        let config = Self { driver: driver.to_owned(), options };
        if let Some(option) = config.options.keys().find(|o| !known.contains(&o.as_str())) {
            return Err(ParseLogConfigError::UnknownOption { option: option.clone(), driver: config.driver.clone() });
        }
        config.bytes_max()?;
        config.files_max()?;
        Ok(config)
    }

    fn invalid(&self, option: &str) -> ParseLogConfigError {
        ParseLogConfigError::InvalidValue { option: option.to_owned(), value: self.options.get(option).cloned().unwrap_or_default() }
    }

    /// Bytes after which a file is rotated; 20 MiB where nothing is said, none is unlimited.
    ///
    /// # Errors
    /// `max-size` is not a size.
    pub fn bytes_max(&self) -> Result<Option<u64>, ParseLogConfigError> {
        match self.options.get("max-size").map(String::as_str) {
            None => Ok(Some(20 << 20)),
            Some("-1") => Ok(None),
            Some(text) => match parse_bytes(text) {
                Some(0) | None => Err(self.invalid("max-size")),
                Some(bytes) => Ok(Some(bytes)),
            },
        }
    }

    /// Files that are kept; 5 where nothing is said, but 1 where only `max-size` is.
    ///
    /// # Errors
    /// `max-file` is not a positive number.
    pub fn files_max(&self) -> Result<u32, ParseLogConfigError> {
        match self.options.get("max-file") {
            None if self.options.contains_key("max-size") && self.driver == "json-file" => Ok(1),
            None => Ok(5),
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => Err(self.invalid("max-file")),
                Ok(files) => Ok(files),
            },
        }
    }
}

/// Parses `10m` and the like, with factors of 1024. **Source:** docker/go-units, `RAMInBytes`.
fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower.get(digits.len()..)? {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_by_driver() {
        let with = |driver: &str, option: &str, value: &str| LogConfig::parse(driver, [(option.to_owned(), value.to_owned())].into());
        let config = with("", "max-size", "10m").unwrap();
        assert_eq!(config.driver, "json-file");
        assert_eq!(config.bytes_max(), Ok(Some(10 << 20)));
        assert_eq!(config.files_max(), Ok(1));
        assert!(with("json-file", "max-file", "0").is_err());
        assert_eq!(with("local", "tag", "x").unwrap_err().to_string(), "unknown log opt 'tag' for local log driver");
        assert!(with("syslog", "tag", "x").is_err());
    }
}

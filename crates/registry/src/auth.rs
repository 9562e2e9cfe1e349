//! Credentials, challenges and tokens.
//!
//! **Source:** RFC 9110, section 11; distribution, `docs/spec/auth/token.md` and `oauth.md`.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::endpoint::Origin;

/// What `X-Registry-Auth` carries.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// Name of the account.
    pub username: String,
    /// Its password.
    pub password: String,
    /// The registry they are for.
    pub serveraddress: String,
    /// A token that is changed for others.
    pub identitytoken: String,
    /// A token that is sent as it is.
    pub registrytoken: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets never reach a log.
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the header: base64 of either alphabet, padded or not; an empty one means none.
    ///
    /// # Errors
    /// What is wrong.
    pub fn from_header(text: &str) -> Result<Self, String> {
        let text: String = text
            .trim()
            .trim_end_matches('=')
            .chars()
            .map(|c| {
                if c == '+' {
                    '-'
                } else if c == '/' {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())?;
        if bytes.is_empty() { Ok(Self::default()) } else { serde_json::from_slice(&bytes).map_err(|error| error.to_string()) }
    }

    /// Whether there is an account.
    pub(crate) fn has_account(&self) -> bool {
        !self.username.is_empty() || !self.password.is_empty()
    }

    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let pair = format!("{}:{}", self.username, self.password);
        let mut value = HeaderValue::from_str(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One challenge of `WWW-Authenticate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In small letters.
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads one header's challenges.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let behind = behind.trim_start();
        if let Some(value) = behind.strip_prefix('=') {
            let (value, behind) = value_of(value.trim_start());
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.push((word.to_lowercase(), value));
            }
            rest = behind;
        } else {
            if !word.is_empty() {
                found.push(Challenge { scheme: word.to_lowercase(), parameters: Vec::new() });
            }
            rest = behind;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    found
}

/// A quoted text or a word, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in quoted.char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[index + 1..]),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// Tells why a token may not be fetched from `realm`, if it may not: secrets go only where the registry itself could be.
pub(crate) fn refuse_realm(registry: &Origin, realm: &Origin) -> Option<String> {
    if registry.secure && !realm.secure {
        return Some("the registry uses TLS, but its token server does not".to_owned());
    }
    if is_inside(&realm.host) && !is_inside(&registry.host) {
        return Some("a public registry names a token server inside this network".to_owned());
    }
    None
}

/// Whether a host is, by its name or address, this machine or in a private network.
fn is_inside(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || matches!(address.segments()[0] & 0xffc0, 0xfe80)
                || address.segments()[0] & 0xfe00 == 0xfc00
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// What a token server answers.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    /// What becomes an identity token.
    #[serde(default)]
    pub(crate) refresh_token: String,
}

impl TokenAnswer {
    pub(crate) fn token(&self) -> Option<&str> {
        [&self.token, &self.access_token].into_iter().map(String::as_str).find(|token| !token.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_commas_in_their_values() {
        let found = challenges(r#"Bearer realm="https://a.example/token",service="a b",scope="repository:x:pull,push", Basic realm=z"#);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].get("realm"), Some("https://a.example/token"));
        assert_eq!(found[0].get("scope"), Some("repository:x:pull,push"));
        assert_eq!((found[1].scheme.as_str(), found[1].get("realm")), ("basic", Some("z")));
        for odd in ["", ",", "=", "Bearer", "Bearer realm=", "Bearer realm=\"", "a=b", "Basic realm=\"\\\"", "\u{e4} \u{e4}=\u{e4}"] {
            challenges(odd);
        }
    }

    #[test]
    fn headers_of_docker_are_read() {
        let text = base64::engine::general_purpose::URL_SAFE.encode(r#"{"username":"u","password":"p??>","serveraddress":"r"}"#);
        assert_eq!(Credentials::from_header(&text).unwrap().password, "p??>");
        for empty in ["", "e30=", "e30"] {
            assert_eq!(Credentials::from_header(empty).unwrap(), Credentials::default());
        }
        assert!(Credentials::from_header("!").is_err());
        let shown = format!("{:?}", Credentials { password: "secret".to_owned(), ..Credentials::default() });
        assert!(!shown.contains("secret"));
    }

    #[test]
    fn tokens_are_not_fetched_where_secrets_may_not_go() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        let refused = |registry: &str, realm: &str| refuse_realm(&origin(registry), &origin(realm)).is_some();
        assert!(!refused("https://registry-1.docker.io", "https://auth.docker.io"));
        assert!(!refused("http://127.0.0.1:5000", "http://127.0.0.1:5001"));
        assert!(refused("https://r.example", "http://r.example"));
        for inside in ["https://169.254.169.254", "https://10.0.0.1", "https://localhost", "https://[::1]", "https://[fd00::1]"] {
            assert!(refused("https://r.example", inside), "{inside}");
        }
    }
}

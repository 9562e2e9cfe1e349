//! Proxies by the usual variables.
//!
//! **Source:** Go, `golang.org/x/net/http/httpproxy`, whose rules Docker follows.

use std::net::IpAddr;

use base64::Engine as _;

/// Which hosts are reached through which proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For `http://`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// Hosts that are reached without one: names, `.suffixes`, addresses, ranges, `*`; each with a port if wanted.
    pub none: Vec<String>,
}

/// A proxy to go through.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    /// `host:port`.
    pub(crate) authority: String,
    /// Value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

impl Proxy {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in capitals or not, through `variable`.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let read = |name: &str| variable(name).or_else(|| variable(&name.to_lowercase())).filter(|value| !value.is_empty());
        let none = read("NO_PROXY").unwrap_or_default();
        Self {
            http: read("HTTP_PROXY"),
            https: read("HTTPS_PROXY"),
            none: none.split(',').map(|host| host.trim().to_lowercase()).filter(|host| !host.is_empty()).collect(),
        }
    }

    /// Finds the proxy for a host; `None` is the direct way.
    pub(crate) fn hop(&self, secure: bool, host: &str, port: u16) -> Result<Option<Hop>, String> {
        let Some(proxy) = self.of_scheme(secure) else {
            return Ok(None);
        };
        let host = host.trim_matches(['[', ']']).to_lowercase();
        if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) || self.excepts(&host, port) {
            return Ok(None);
        }
        let rest = match proxy.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(format!("proxies by {scheme} are not supported, only by http")),
            None => proxy.as_str(),
        };
        let rest = rest.split('/').next().unwrap_or(rest);
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, authority)| (Some(user), authority));
        let authorization = user.map(|user| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decode(user))));
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Some(Hop { authority, authorization }))
    }

    fn of_scheme(&self, secure: bool) -> Option<&String> {
        if secure { self.https.as_ref() } else { self.http.as_ref() }
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        self.none.iter().any(|rule| {
            if rule == "*" {
                return true;
            }
            let address: Option<IpAddr> = host.parse().ok();
            if let Some(address) = address
                && (in_range(rule, address) || rule.parse() == Ok(address))
            {
                return true;
            }
            let (name, wanted) = match rule.rsplit_once(':') {
                Some((name, wanted)) => (name, wanted.parse::<u16>().ok()),
                None => (rule.as_str(), None),
            };
            if wanted.is_some_and(|wanted| wanted != port) {
                return false;
            }
            let name = name.strip_prefix('*').unwrap_or(name);
            match name.strip_prefix('.') {
                Some(_) => host.ends_with(name),
                None => host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')),
            }
        })
    }
}

/// Tells whether an address lies in a range such as `10.0.0.0/8`.
pub(crate) fn in_range(range: &str, address: IpAddr) -> bool {
    let Some((base, length)) = range.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            u32::from(base) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            u128::from(base) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

/// Decodes `%40` and the like.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = bytes.get(index + 1..index + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                index += 3;
            }
            None => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy::from_variables(|name| match name {
            "http_proxy" => Some("http://u%40x:p@10.1.1.1:3128/".to_owned()),
            "HTTPS_PROXY" => Some("cache.example".to_owned()),
            "NO_PROXY" => Some("in.example, .sub.example,10.0.0.0/8,plain.example:5000".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn hosts_go_through_the_proxy_of_their_scheme() {
        let hop = proxy().hop(false, "a.example", 80).unwrap().unwrap();
        assert_eq!(hop.authority, "10.1.1.1:3128");
        assert_eq!(hop.authorization.as_deref(), Some("Basic dUB4OnA="));
        assert_eq!(proxy().hop(true, "a.example", 443).unwrap().unwrap().authority, "cache.example:80");
    }

    #[test]
    fn excepted_hosts_and_this_machine_are_reached_directly() {
        let direct = |host: &str, port| proxy().hop(true, host, port).unwrap().is_none();
        for (host, port) in [("in.example", 1), ("a.in.example", 1), ("b.sub.example", 1), ("10.2.3.4", 1), ("plain.example", 5000)] {
            assert!(direct(host, port), "{host}:{port}");
        }
        assert!(direct("localhost", 5000) && direct("127.0.0.1", 5000) && direct("[::1]", 5000));
        assert!(!direct("sub.example", 1) && !direct("plain.example", 443) && !direct("11.2.3.4", 1) && !direct("win.example", 1));
    }
}

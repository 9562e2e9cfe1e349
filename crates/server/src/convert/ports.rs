//! Port texts: `80`, `80/udp`, `8000-8010/tcp`.

use crate::ApiError;

/// A range of ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRange {
    pub first: u16,
    pub last: u16,
    pub protocol: String,
}

/// Reads the key of a port binding.
///
/// # Errors
/// 400 in Docker's words.
/// **Source:** github.com/docker/go-connections/nat, `ParsePortRange`.
pub(crate) fn port(text: &str) -> Result<PortRange, ApiError> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(ApiError::invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range_of(range)
        .filter(|_| !range.is_empty())
        .ok_or_else(|| ApiError::invalid(format!("invalid port specification: \"{text}\"")))?;
    Ok(PortRange {
        first,
        last,
        protocol,
    })
}

/// Reads the host's side of a binding; empty lets the engine choose.
///
/// # Errors
/// 400 in Docker's words.
pub(crate) fn host_ports(text: &str) -> Result<Option<(u16, u16)>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    match range_of(text) {
        Some((0, 0)) => Ok(None),
        Some(range) => Ok(Some(range)),
        None => Err(ApiError::invalid(format!(
            "invalid port specification: \"{text}\""
        ))),
    }
}

fn range_of(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
        None => number(text).map(|port| (port, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports_and_ranges() {
        let range = port("8000-8010/UDP").unwrap();
        assert_eq!((range.first, range.last), (8000, 8010));
        assert_eq!(range.protocol, "udp");
        assert_eq!(port("80").unwrap().protocol, "tcp");
        for text in ["", "/tcp", "x", "90-80", "70000", "80/ipx", "-", "+1"] {
            assert!(port(text).is_err(), "{text}");
        }
        assert_eq!(host_ports("").unwrap(), None);
        assert_eq!(host_ports("0").unwrap(), None);
        assert_eq!(host_ports("1-2").unwrap(), Some((1, 2)));
        assert!(host_ports("a").is_err());
    }
}

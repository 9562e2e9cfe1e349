//! Whether a text can name an image. **Source:** distribution/reference, `normalize.go`, `regexp.go`.

/// Longest name of a repository.
const NAME_MAX: usize = 255;

/// Longest tag.
const TAG_MAX: usize = 128;

/// Checks a reference before anything is sent.
///
/// # Errors
/// Docker's words.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"));
    }
    let wrong = || "invalid reference format".to_owned();
    let (domain, rest) = match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase() => {
            (Some(first), rest.to_owned())
        }
        Some(_) => (None, text.to_owned()),
        None => (None, format!("library/{text}")),
    };
    let path = rest.split([':', '@']).next().unwrap_or_default();
    if path != path.to_lowercase() {
        return Err(format!("invalid reference format: repository name ({path}) must be lowercase"));
    }
    let (name, digest) = rest.split_once('@').map_or((rest.as_str(), None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = name.split_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
    let fits = name.split('/').all(component) && domain.is_none_or(is_domain) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    if !fits {
        return Err(wrong());
    }
    if domain.map_or(0, |domain| domain.len() + 1) + name.len() > NAME_MAX {
        return Err(format!("repository name must not be more than {NAME_MAX} characters"));
    }
    Ok(())
}

/// Small letters and digits, with `.`, `_`, `__` or dashes between them.
fn component(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    ends && text
        .split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let alphanumeric = |byte: &u8| byte.is_ascii_alphanumeric();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
    };
    let ipv6 =
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    port && (ipv6 || host.split('.').all(label))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(word) && text.len() <= TAG_MAX && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn references_are_checked_as_docker_checks_them() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for good in
            ["busybox", "a/b/c:1.2-x", "localhost/x", "127.0.0.1:5000/a:v", "a__b", "a--b", "[::1]:5000/x", "ghcr.io/o/n", &digest, "A/b"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("Bad:tag", "invalid reference format: repository name (library/Bad) must be lowercase"),
            ("x:-bad", "invalid reference format"),
            ("", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a@sha256:12", "invalid reference format"),
        ] {
            assert_eq!(check(bad), Err(why.to_owned()), "{bad}");
        }
        assert!(check(&"0".repeat(64)).is_err());
    }
}

//! Shell patterns as Go's `path.Match` knows them.

/// Tells whether all of `text` matches; `*` and `?` stop at slashes. A broken pattern matches nothing.
/// **Source:** Go, package `path`, `Match`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut in_text) = (0, 0);
    // Where to go on when the last star takes one character more.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() || at < pattern.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, in_text));
                at += 1;
                continue;
            }
            Some(_) => text.get(in_text).and_then(|&character| one(pattern.get(at..)?, character)),
            None => None,
        };
        if let Some(length) = step {
            at += length;
            in_text += 1;
            continue;
        }
        match star {
            Some((after, from)) if text.get(from).is_some_and(|&character| character != '/') => {
                star = Some((after, from + 1));
                at = after;
                in_text = from + 1;
            }
            _ => return false,
        }
    }
    true
}

/// Matches one character; gives how long its part of the pattern is.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (character != '/').then_some(1),
        '\\' => (*pattern.get(1)? == character).then_some(2),
        '[' => class(pattern, character),
        plain => (*plain == character).then_some(1),
    }
}

fn class(pattern: &[char], character: char) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    let first = at;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && at > first {
            break;
        }
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|end| *end != ']') {
            found |= (low..=*pattern.get(at + 2)?).contains(&character);
            at += 3;
        } else {
            found |= low == character;
            at += 1;
        }
    }
    (found != negated && character != '/').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn matches_as_a_shell_does() {
        assert!(matches("busybox*", "busybox:latest"));
        assert!(matches("*/app:?", "shop/app:1"));
        assert!(!matches("*", "shop/app"));
        assert!(matches("a[b-d]e", "ace"));
        assert!(!matches("a[^b-d]e", "ace"));
        assert!(!matches("a[", "a["));
        assert!(matches("", ""));
        assert!(!matches("", "a"));
        assert!(matches("*a*b", "xaaxb"));
    }
}

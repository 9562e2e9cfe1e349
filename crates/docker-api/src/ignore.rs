//! `.dockerignore`: which files of a context stay at home.
//!
//! **Source:** Docker documentation, "Build context", ".dockerignore files"; moby/patternmatcher (which pattern decides).

/// The rules of one file; the last that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    parts: Vec<String>,
    /// Whether it takes back in.
    negated: bool,
}

impl Ignore {
    /// Reads the rules of a file's text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rule = |line: &str| {
            // A comment begins in the first column only.
            if line.starts_with('#') {
                return None;
            }
            let line = line.trim();
            let (negated, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let parts = clean(pattern);
            (!parts.is_empty()).then_some(Rule { parts, negated })
        };
        Self { rules: text.lines().filter_map(rule).collect() }
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a path of the context, without a slash at its start, stays out.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut excluded = false;
        for rule in &self.rules {
            // What fits a folder fits all in it.
            if rule.negated == excluded && (1..=parts.len()).any(|count| fits(&rule.parts, &parts[..count])) {
                excluded = !rule.negated;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded folder can be taken back in, so that it need not be walked.
    #[must_use]
    pub fn prunes(&self, path: &str) -> bool {
        self.excludes(path) && !self.rules.iter().any(|rule| rule.negated)
    }
}

/// The parts of a pattern, cleaned as Go does: what leads out of the context fits nothing in it.
fn clean(pattern: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| last != "..") => drop(parts.pop()),
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

fn fits(pattern: &[String], path: &[&str]) -> bool {
    // Whether the pattern's rest fits the path's rest, from their ends on: several `**` cost a product, not a power.
    let mut rows = vec![vec![false; path.len() + 1]; pattern.len() + 1];
    rows[pattern.len()][path.len()] = true;
    for (p, part) in pattern.iter().enumerate().rev() {
        for n in (0..=path.len()).rev() {
            rows[p][n] = if part == "**" {
                // At the end it needs something to stand for, elsewhere it may stand for nothing.
                if p + 1 == pattern.len() { n < path.len() } else { rows[p + 1][n..].contains(&true) }
            } else if part.contains("**") {
                // Two stars inside a part also cross slashes.
                (n + 1..=path.len()).any(|end| rows[p + 1][end] && part_fits(part, &path[n..end].join("/"), true))
            } else {
                path.get(n).is_some_and(|name| rows[p + 1][n + 1] && part_fits(part, name, false))
            };
        }
    }
    rows[0][0]
}

/// Whether a name of one path component fits a pattern with `*`, `?`, `[…]` and `\`.
///
/// **Source:** Go, `path/filepath.Match`.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    part_fits(pattern, name, false)
}

fn part_fits(pattern: &str, name: &str, crossing: bool) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Only the last star can be given more, so the work is bounded by the product of both lengths.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            None if n == name.len() => return true,
            None => None,
            Some('*') => {
                retry = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => name.get(n).and_then(|c| one_fits(&pattern[p..], *c)),
        };
        if let Some(width) = step {
            p += width;
            n += 1;
            continue;
        }
        match retry {
            Some((star, from)) if name.get(from).is_some_and(|c| crossing || *c != '/') => {
                retry = Some((star, from + 1));
                p = star + 1;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

/// Whether a character fits the beginning of a pattern, and how much of the pattern that takes.
fn one_fits(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        '[' => set_fits(pattern, c),
        first => (*first == c).then_some(1),
    }
}

fn set_fits(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = 1 + usize::from(negated);
    let mut inside = false;
    let mut first = true;
    let one = |at: &mut usize| {
        *at += usize::from(pattern.get(*at) == Some(&'\\'));
        let c = *pattern.get(*at)?;
        *at += 1;
        Some(c)
    };
    while first || pattern.get(at) != Some(&']') {
        first = false;
        let low = one(&mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') && pattern.get(at + 1).is_some_and(|c| *c != ']') {
            at += 1;
            high = one(&mut at)?;
        }
        inside |= (low..=high).contains(&c);
    }
    (inside != negated && c != '/').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_decides() {
        let ignore =
            Ignore::parse("# a comment\n*.log\n!keep.log\n/build\n**/target\ndocs/**/*.md\n!docs/README.md\nvendor\n!vendor/own\n");
        for (path, out) in [
            ("a.log", true),
            ("keep.log", false),
            ("sub/a.log", false),
            ("build/x/y", true),
            ("x/build", false),
            ("target", true),
            ("a/b/target/c", true),
            ("docs/a/b.md", true),
            ("docs/b.md", true),
            ("docs/README.md", false),
            ("vendor/x", true),
            ("vendor/own/y", false),
        ] {
            assert_eq!(ignore.excludes(path), out, "{path}");
        }
        assert!(!ignore.prunes("vendor") && Ignore::parse("vendor").prunes("vendor"));
    }

    #[test]
    fn patterns_fit_as_in_go() {
        for (pattern, name, fits) in [
            ("*.c", "a.c", true),
            ("?", "ab", false),
            ("[a-c]x", "bx", true),
            ("[^a]x", "ax", false),
            (r"\*", "*", true),
            (r"[\]a]", "a", true),
            (r"[\]a]", "]", true),
            ("a[", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}

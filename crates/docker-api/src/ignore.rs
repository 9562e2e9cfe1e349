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

/// The parts of a pattern, cleaned as Go does.
fn clean(pattern: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

fn fits(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => {
            // At the end it needs something to stand for, elsewhere it may stand for nothing.
            if rest.is_empty() { !path.is_empty() } else { (0..=path.len()).any(|skip| fits(rest, &path[skip..])) }
        }
        Some((first, rest)) => match path.split_first() {
            None => false,
            // Two stars inside a part also cross slashes.
            Some(_) if first.contains("**") => {
                (1..=path.len()).any(|count| part_fits(first, &path[..count].join("/"), true) && fits(rest, &path[count..]))
            }
            Some((name, below)) => part_fits(first, name, false) && fits(rest, below),
        },
    }
}

fn part_fits(pattern: &str, name: &str, crossing: bool) -> bool {
    fn go(pattern: &[char], name: &[char], crossing: bool) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some('*'), _) => {
                go(&pattern[1..], name, crossing)
                    || name.first().is_some_and(|c| (crossing || *c != '/') && go(pattern, &name[1..], crossing))
            }
            (Some('?'), Some(c)) => *c != '/' && go(&pattern[1..], &name[1..], crossing),
            (Some('['), Some(c)) => {
                let Some(end) = pattern.iter().skip(2).position(|p| *p == ']').map(|at| at + 2) else { return false };
                let (negated, set) = if matches!(pattern[1], '^' | '!') { (true, &pattern[2..end]) } else { (false, &pattern[1..end]) };
                let mut inside = false;
                let mut at = 0;
                while at < set.len() {
                    if at + 2 < set.len() && set[at + 1] == '-' {
                        inside |= (set[at]..=set[at + 2]).contains(c);
                        at += 3;
                    } else {
                        inside |= set[at] == *c;
                        at += 1;
                    }
                }
                inside != negated && go(&pattern[end + 1..], &name[1..], crossing)
            }
            (Some('\\'), Some(c)) => pattern.get(1) == Some(c) && go(&pattern[2..], &name[1..], crossing),
            (Some(p), Some(c)) => p == c && go(&pattern[1..], &name[1..], crossing),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    go(&pattern, &name, crossing)
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
}

//! Values of filters that are regular expressions.

use regex::Regex;

/// Patterns of which one has to match; one that makes no sense matches only itself.
/// **Source:** moby, package `filters`, `Match`.
#[derive(Debug, Default)]
pub(crate) struct Patterns(Vec<(String, Option<Regex>)>);

impl Patterns {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| (pattern.clone(), Regex::new(pattern).ok())).collect())
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|(own, regex)| own == text || regex.as_ref().is_some_and(|regex| regex.is_match(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::Patterns;

    #[test]
    fn values_are_regular_expressions() {
        let patterns = |value: &str| Patterns::new(&[value.to_owned()]);
        assert!(patterns("^we.$").matches("web") && patterns("e").matches("web") && !patterns("^eb").matches("web"));
        assert!(patterns("web(").matches("web(") && !patterns("web(").matches("web"));
    }
}

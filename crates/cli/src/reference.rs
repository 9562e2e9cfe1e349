//! Names of images as far as a client needs them: which registry is meant, and the whole name.
//!
//! **Source:** distribution/reference, `normalize.go`.

mod check;

pub use check::check;

/// A name in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Such as `docker.io`.
    pub domain: String,
    /// Such as `library/debian`.
    pub path: String,
    /// Where the name has one.
    pub tag: Option<String>,
    /// Where the name has one, with its algorithm.
    pub digest: Option<String>,
}

impl Reference {
    /// Splits a name; what is wrong with it is for the engine to say.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest.to_owned())));
        let (domain, rest) = match rest.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) => {
                (if first == "index.docker.io" { "docker.io" } else { first }, rest)
            }
            _ => ("docker.io", rest),
        };
        let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag.to_owned())));
        let path = if domain == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        Self { domain: domain.to_owned(), path, tag, digest }
    }

    /// Whether it names a repository only.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// With `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.is_bare() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The repository with its registry.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole() {
        for (text, whole) in [
            ("debian", "docker.io/library/debian:latest"),
            ("me/app:1", "docker.io/me/app:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("index.docker.io/debian@sha256:1", "docker.io/library/debian@sha256:1"),
        ] {
            assert_eq!(Reference::new(text).or_latest().to_string(), whole);
        }
    }
}

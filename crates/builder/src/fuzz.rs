//! What must hold for Dockerfiles of strangers; the fuzzer and the test below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use docker_api::ignore::Ignore;

use crate::dockerfile::{Dockerfile, Place, excerpt, expand, expand_words, outline, targets};

/// A file is parsed or refused with a place in it; what is parsed can be outlined.
pub fn dockerfile(bytes: &[u8]) {
    match Dockerfile::parse(bytes) {
        Ok(file) => {
            assert_eq!(targets(bytes).map(|all| all.len()), Ok(file.stages.len()));
            assert!(outline(bytes, None, &std::collections::BTreeMap::new()).is_ok());
        }
        Err(error) => {
            assert!(error.line <= bytes.split(|byte| *byte == b'\n').count());
            let _ = excerpt(bytes, "Dockerfile", &Place::from(&error));
        }
    }
}

/// Expansion ends; words are what the text is without its free blanks.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let value = |name: &str| (name.len() % 2 == 1).then(|| format!("{name} *"));
    let (whole, words) = (expand(text, '\\', &value), expand_words(text, '\\', &value));
    assert_eq!(whole.is_ok(), words.is_ok());
    if let (Ok(whole), Ok(words)) = (whole, words) {
        let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        assert_eq!(bare(&whole), bare(&words.concat()));
    }
}

/// What is pruned is excluded, and all below it. The first line is the path, the others are the patterns.
pub fn ignore(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (path, patterns) = text.split_once('\n').unwrap_or((&text, ""));
    let ignore = Ignore::parse(patterns);
    if ignore.prunes(path) {
        assert!(ignore.excludes(path) && ignore.excludes(&format!("{path}/below")));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_of_all_kinds_keep_the_promises() {
        let parts = [
            "FROM a\n",
            "RUN ",
            "COPY ",
            "--mount=type=",
            "cache,",
            "\\\n",
            "<<E ",
            "\"",
            "$",
            "{",
            "}",
            "[\"",
            "\n",
            "= ",
            "*",
            "**",
            "/",
            "!",
            "[a-",
            "]",
            "#",
            "%",
            ":-",
            "x",
            "'",
            "E\n",
            "ONBUILD ",
            "ARG x",
            "?",
        ];
        let mut seed = 7_u64;
        for _ in 0..5000 {
            let mut text = String::new();
            while !seed.is_multiple_of(17) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(parts[usize::try_from((seed >> 33) % parts.len() as u64).unwrap()]);
            }
            seed = seed.wrapping_add(1);
            super::dockerfile(text.as_bytes());
            super::words(text.as_bytes());
            super::ignore(text.as_bytes());
        }
    }

    #[test]
    fn many_stars_cost_a_product() {
        let patterns = "**/a/".repeat(40) + "b";
        super::ignore(format!("{}c\n{patterns}", "a/".repeat(80)).as_bytes());
    }
}

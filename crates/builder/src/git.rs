//! Repositories of git: their addresses, and a checkout of one commit by the program `git`.
//!
//! `git` is a program beside the engine, as in BuildKit: transports, submodules and large files are as its user knows
//! them. It runs for `ADD` and contexts that name a repository, never on another way.
//! **Source:** Docker documentation, "Build context", "Git repositories"; BuildKit, `util/gitutil`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A repository and what of it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRef {
    /// Address, as `git` takes it.
    pub remote: String,
    /// Branch, tag or commit; empty is the default branch.
    pub reference: String,
    /// Folder of the repository; empty is all.
    pub subdir: String,
    /// Beginning of the commit that it must be; empty is any.
    pub checksum: String,
}

impl GitRef {
    /// Parses an address; none where it names no repository.
    ///
    /// # Errors
    /// What is wrong with an address of a repository.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let (before, fragment) = text.split_once('#').map_or((text, None), |(before, fragment)| (before, Some(fragment)));
        let (remote, query) = before.split_once('?').map_or((before, ""), |(remote, query)| (remote, query));
        let web = remote.starts_with("https://") || remote.starts_with("http://");
        let scheme = ["git://", "ssh://", "git+ssh://"].iter().any(|scheme| remote.starts_with(scheme));
        let github = remote.strip_prefix("github.com/").is_some_and(|path| path.contains('/'));
        let user_at =
            |(user, rest): (&str, &str)| !user.contains(['/', ':']) && rest.split('/').next().is_some_and(|host| host.contains(':'));
        let repository = (web && remote.ends_with(".git")) || scheme || github || (!web && remote.split_once('@').is_some_and(user_at));
        if !repository {
            return Ok(None);
        }
        let remote = if github { format!("https://{remote}") } else { remote.to_owned() };
        if remote.contains(char::is_whitespace) || remote.contains(char::is_control) {
            return Err(format!("\"{text}\" is no address of a repository"));
        }
        let mut parsed = Self { remote, ..Self::default() };
        if let Some(fragment) = fragment {
            let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
            if subdir.contains('#') {
                return Err(format!("\"{text}\": a fragment has the form ref:subdir"));
            }
            reference.clone_into(&mut parsed.reference);
            subdir.clone_into(&mut parsed.subdir);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parsed.option(pair)?;
        }
        if parsed.reference.starts_with('-') || parsed.subdir.split('/').any(|part| part == "..") {
            return Err(format!("\"{text}\": \"{}\" and \"{}\" are no reference and no folder", parsed.reference, parsed.subdir));
        }
        Ok(Some(parsed))
    }

    fn option(&mut self, pair: &str) -> Result<(), String> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let reference = match key {
            "ref" => value.to_owned(),
            "tag" if !value.starts_with("refs/") => format!("refs/tags/{value}"),
            "branch" if !value.starts_with("refs/") => format!("refs/heads/{value}"),
            "tag" | "branch" => value.to_owned(),
            "subdir" if self.subdir.is_empty() || self.subdir == value => {
                value.clone_into(&mut self.subdir);
                return Ok(());
            }
            "checksum" | "commit" => {
                value.clone_into(&mut self.checksum);
                return Ok(());
            }
            // The checkout is of one commit in any case.
            "fetch-by-commit" if matches!(value, "" | "true" | "false" | "1" | "0") => return Ok(()),
            "mtime" if matches!(value, "checkout" | "commit") => return Ok(()),
            "subdir" => return Err("subdir conflicts with the one of the fragment".to_owned()),
            "fetch-by-commit" | "mtime" => return Err(format!("invalid {key} value: \"{value}\"")),
            other => return Err(format!("unexpected query \"{other}\"")),
        };
        if !self.reference.is_empty() && self.reference != reference {
            return Err(format!("{key} conflicts with the reference {}", self.reference));
        }
        self.reference = reference;
        Ok(())
    }

    /// Checks out into an empty directory; answers the commit and the folder that is meant.
    ///
    /// The folder `.git` goes unless `keep` is set. Dropping the future ends `git`.
    ///
    /// # Errors
    /// What `git` says.
    pub async fn checkout(&self, directory: &Path, keep: bool) -> Result<(String, PathBuf), String> {
        let git = async |arguments: &[&str]| git(directory, arguments).await;
        git(&["init", "--quiet", "--initial-branch=main"]).await?;
        git(&["remote", "add", "origin", &self.remote]).await?;
        let wanted = if self.reference.is_empty() { "HEAD" } else { &self.reference };
        let hexadecimal = wanted.len() >= 7 && wanted.bytes().all(|b| b.is_ascii_hexdigit());
        let shallow = ["fetch", "--quiet", "--depth=1", "--no-tags", "--update-shallow", "origin", wanted];
        let mut commit = "FETCH_HEAD".to_owned();
        // A server of mere files cannot give a part of the history.
        let whole = ["fetch", "--quiet", "--no-tags", "origin", wanted];
        let fetched = git(&shallow).await.is_ok();
        if !fetched && let Err(reason) = git(&whole).await {
            // Not every server gives a commit by its name, and none by a part of it.
            if !hexadecimal {
                return Err(format!("cannot fetch {wanted} of {}: {reason}", self.shown()));
            }
            let all = git(&["fetch", "--quiet", "--tags", "origin"]).await;
            all.map_err(|reason| format!("cannot fetch {}: {reason}", self.shown()))?;
            wanted.clone_into(&mut commit);
        }
        let commit = git(&["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")]).await;
        let commit = commit.map_err(|_| format!("{} has no {wanted}", self.shown()))?.trim().to_owned();
        if !self.checksum.is_empty() && !commit.starts_with(&self.checksum.to_ascii_lowercase()) {
            return Err(format!("expected checksum to match {}, got {commit}", self.checksum));
        }
        git(&["-c", "advice.detachedHead=false", "checkout", "--quiet", &commit]).await?;
        if directory.join(".gitmodules").exists() {
            git(&["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"]).await?;
        }
        if !keep {
            let gone = directory.join(".git");
            std::fs::remove_dir_all(&gone).map_err(|error| format!("cannot remove {}: {error}", gone.display()))?;
        }
        let folder = directory.join(self.subdir.trim_matches('/'));
        let inside = folder.canonicalize().is_ok_and(|real| directory.canonicalize().is_ok_and(|top| real.starts_with(top)));
        if !inside || !folder.is_dir() {
            return Err(format!("{} has no folder {}", self.shown(), self.subdir));
        }
        Ok((commit, folder))
    }

    /// The address without a password.
    fn shown(&self) -> String {
        match (self.remote.split_once("://"), self.remote.split_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
            _ => self.remote.clone(),
        }
    }
}

/// Runs `git` without anything of the user's own, and without questions.
async fn git(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    #[allow(clippy::disallowed_methods, reason = "git speaks its own protocols; it is no part of a container's way")]
    let mut command = std::process::Command::new("git");
    command
        .current_dir(directory)
        .args(["-c", "protocol.file.allow=user", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", directory)
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new")
        .env("LC_ALL", "C");
    let mut command = tokio::process::Command::from(command);
    let running = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = running.await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return "the program git is not installed on the engine's host".to_owned();
        }
        format!("cannot run git: {error}")
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.trim().lines().last().unwrap_or("git failed without a word").trim_start_matches("fatal: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories_are_told_from_others() {
        let parse = |text: &str| GitRef::parse(text).unwrap();
        assert_eq!(parse("https://example.com/foo"), None);
        assert_eq!(parse("https://example.com/foo.git.bar"), None);
        assert_eq!(parse("./.git"), None);
        let parsed = parse("https://example.com/foo.git#release/1.2:a/b").unwrap();
        assert_eq!((parsed.reference.as_str(), parsed.subdir.as_str()), ("release/1.2", "a/b"));
        assert_eq!(parse("git@example.com:a/b").unwrap().remote, "git@example.com:a/b");
        assert_eq!(parse("github.com/a/b").unwrap().remote, "https://github.com/a/b");
        assert_eq!(parse("https://example.com/a.git?tag=v1&checksum=ab").unwrap().reference, "refs/tags/v1");
        for bad in
            ["https://a/b.git?ref=1#2", "https://a/b.git?x=1", "https://a/b.git?mtime=x", "https://a/b.git#-x", "https://a/b.git#m:../x"]
        {
            assert!(GitRef::parse(bad).is_err(), "{bad}");
        }
        let corpus = std::env::var_os("DOCKERFILE_CORPUS").map(|corpus| PathBuf::from(corpus).join("git-url/git_ref.json"));
        let Some(corpus) = corpus else { return };
        let tables: serde_json::Value = serde_json::from_slice(&std::fs::read(corpus).unwrap()).unwrap();
        for row in tables[0]["rows"].as_array().unwrap() {
            let text = row["ref"].as_str().unwrap();
            let parsed = GitRef::parse(text).ok().flatten();
            let expected = row["expected"].as_object();
            assert_eq!(parsed.is_some(), expected.is_some(), "{row}");
            let (Some(parsed), Some(expected)) = (parsed, expected) else { continue };
            let get = |key: &str| expected.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
            assert_eq!(
                (parsed.reference.as_str(), parsed.subdir.as_str(), parsed.checksum.as_str()),
                (get("Ref"), get("SubDir"), get("Checksum"))
            );
            assert_eq!(parsed.remote.trim_start_matches("https://"), get("Remote").trim_start_matches("https://"));
        }
    }
}

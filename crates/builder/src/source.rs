//! What a build asks its client and its engine for while it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use image::ImageId;
use oci::Platform;
use tokio::sync::OnceCell;

use crate::dockerfile::{Dockerfile, Instruction, RunMountKind};

/// An answer that takes time.
pub type Fetch<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// Serves one connection of a command to an agent of ssh keys, until either side ends.
pub type Agent = Arc<dyn Fn(tokio::net::UnixStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Where a build gets what is not in its request. Each is asked for when a step needs it, and not before.
pub trait Sources: Send + Sync {
    /// Finds an image by name, and pulls it where it is missing or `pull` is set.
    fn image(&self, name: &str, platform: Option<&Platform>, pull: bool) -> Fetch<ImageId>;
    /// Fetches what is at a URL into a file of `directory`; answers its name there and its time in Unix seconds.
    fn url(&self, url: &str, directory: &Path) -> Fetch<(String, Option<i64>)>;
    /// Opens the directory of the context, or of the context with a name.
    ///
    /// `paths` are the patterns of all that is read of it; none is everything.
    fn files(&self, context: Option<&str>, paths: Option<Vec<String>>) -> Fetch<OwnedFd>;
    /// A secret; none where the client has none of this name.
    fn secret(&self, id: &str) -> Fetch<Option<Vec<u8>>>;
    /// The client's agent of ssh keys; none where the client forwards none of this name.
    fn agent(&self, id: &str) -> Fetch<Option<Agent>>;
}

/// What the name of a context stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Files, which [`Sources::files`] opens.
    Files,
    /// An image by its name.
    Image(String),
}

/// Contexts by name, and whether all of it is meant.
type Opened = BTreeMap<(Option<String>, bool), Arc<OnceCell<Arc<OwnedFd>>>>;

/// The contexts of one build, each opened once.
#[derive(Debug, Default)]
pub(crate) struct Contexts(Mutex<Opened>);

impl Contexts {
    /// Opens a context at its first use. `paths` is all that is known to be read of it.
    pub(crate) async fn open(&self, sources: &dyn Sources, name: Option<&str>, paths: Option<Vec<String>>) -> Result<Arc<OwnedFd>, String> {
        let key = (name.map(str::to_owned), paths.is_none());
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        cell.get_or_try_init(|| async { sources.files(name, paths).await.map(Arc::new) }).await.cloned()
    }
}

/// The patterns of all that the stages `needed` read of the context; none where only the steps themselves will know.
pub(crate) fn reads(file: &Dockerfile, needed: &BTreeSet<usize>) -> Option<Vec<String>> {
    let mut paths = BTreeSet::new();
    for step in needed.iter().flat_map(|index| &file.stages[*index].steps) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other instruction reads files")]
        match &step.instruction {
            Instruction::Copy(copy) | Instruction::Add(copy) if copy.from.is_none() => {
                paths.extend(copy.sources.iter().map(String::as_str));
            }
            Instruction::Run(run) => {
                let binds = run.mounts.iter().filter(|mount| mount.kind == RunMountKind::Bind && !mount.options.contains_key("from"));
                paths.extend(binds.map(|mount| mount.options.get("source").map_or("", String::as_str)));
            }
            _ => {}
        }
    }
    let mut clean = Vec::new();
    for path in paths {
        let path = path.trim_matches('"');
        // A variable's value is known to its step alone; the root is everything.
        if path.contains('$') || crate::tree::clean(path).is_empty() {
            return None;
        }
        clean.push(crate::tree::clean(path));
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needed_stages_read_is_asked_for() {
        let reads = |text: &str, needed: &[usize]| {
            let file = Dockerfile::parse(text.as_bytes()).unwrap();
            super::reads(&file, &needed.iter().copied().collect())
        };
        let text = "FROM scratch AS a\nCOPY ./src/*.c /lib/../b /x/\nFROM scratch\nCOPY --from=a /x /y\nRUN --mount=source=go.mod,target=/m true\n";
        assert_eq!(reads(text, &[0, 1]), Some(vec!["src/*.c".to_owned(), "b".to_owned(), "go.mod".to_owned()]));
        assert_eq!(reads(text, &[1]), Some(vec!["go.mod".to_owned()]));
        assert_eq!(reads("FROM scratch\nCOPY . /\n", &[0]), None);
        assert_eq!(reads("FROM scratch\nARG a\nCOPY $a /\n", &[0]), None);
    }
}

//! Archives of files as `cp` sends them: a tree becomes a tar, a tar becomes a tree.
//!
//! Every path is resolved by the kernel beneath one descriptor (`openat2`), each time anew, so that
//! no link, not even one that changes meanwhile, leads outside.
//! **Source:** Docker Engine API, `ContainerArchive`, `PutContainerArchive`; moby, package `archive`.

mod extract;
mod mode;
mod pack;
pub mod path;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use extract::{ExtractError, ExtractOptions, Owner, extract};
pub use mode::{MODE_DIRECTORY, MODE_SYMLINK, go_mode, is_directory, is_symlink};
pub use pack::{Choice, Source, pack, pack_some};

/// Links that a path may lead through. **Source:** Go, `filepath.EvalSymlinks`.
const LINKS_MAX: usize = 255;
/// How often a look-up that raced with a rename is tried.
const TRIES_MAX: usize = 10_000;

/// What `X-Docker-Container-Path-Stat` says, as base64 of this JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathStat {
    /// Last part of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link leads in the end.
    pub link_target: String,
}

impl PathStat {
    /// Writes the header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the header's value.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        use base64::Engine as _;
        let json = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// A directory that nothing leads out of.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    resolve: ResolveFlags,
}

impl Tree {
    /// The root of a container: absolute links begin there, and `..` ends there.
    #[must_use]
    pub fn of_container(root: OwnedFd) -> Self {
        Self { root, resolve: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS }
    }

    /// A directory of the caller's: links that lead out of it are refused.
    #[must_use]
    pub fn of_caller(root: OwnedFd) -> Self {
        Self { root, resolve: ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS }
    }

    /// Opens a path; a trailing slash wants a directory and follows a link to one.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let inside = self.resolve.contains(ResolveFlags::BENEATH);
        let mut path = path;
        while inside && path.first() == Some(&b'/') {
            path = &path[1..];
        }
        let path = if path.is_empty() { b"." } else { path };
        for _ in 0..TRIES_MAX {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), self.resolve) {
                // A rename elsewhere raced with the look-up of `..`: the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Says what a path is, without following its last part.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn stat(&self, path: &str) -> Result<Stat, Errno> {
        rustix::fs::fstat(self.open(path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    /// Follows all links of an absolute path as far as they lead; what is missing stays as it is.
    /// **Source:** moby/sys, `symlink.FollowSymlinkInScope`.
    ///
    /// # Errors
    /// `ELOOP` after 255 links.
    pub fn follow(&self, path: &str) -> Result<String, Errno> {
        let mut pending: VecDeque<Vec<u8>> = path.split('/').map(|part| part.as_bytes().to_vec()).collect();
        let mut resolved: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = pending.pop_front() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    resolved.pop();
                    continue;
                }
                _ => resolved.push(part),
            }
            let here = [b"/".as_slice(), &resolved.join(&b'/')].concat();
            let Some(target) = self.read_link(&here) else { continue };
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP);
            }
            resolved.pop();
            if target.first() == Some(&b'/') {
                resolved.clear();
            }
            for part in target.split(|byte| *byte == b'/').rev() {
                pending.push_front(part.to_vec());
            }
        }
        Ok(format!("/{}", String::from_utf8_lossy(&resolved.join(&b'/'))))
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        let fd = self.open(path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        rustix::fs::readlinkat(fd, "", Vec::new()).ok().map(std::ffi::CString::into_bytes)
    }
}

/// Says what an entry of an open directory is.
fn stat_at(folder: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The cause of an error as Go writes it: lower-case and without its number.
#[must_use]
pub fn go_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

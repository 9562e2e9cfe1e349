//! All that can be seen of the files of a tree.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::Digest;

/// What can be seen of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) device: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) target: Option<PathBuf>,
    pub(crate) content: Option<Digest>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same file.
    pub(crate) same: PathBuf,
}

/// Walks all below `root`.
pub(crate) fn walk(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = root.join(&path);
        let metadata = match if path.as_os_str().is_empty() { fs_err::metadata(root) } else { fs_err::symlink_metadata(&full) } {
            // Overlay lists whiteouts that there is nothing to hide for, and then knows nothing of them.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            result => result.unwrap(),
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            let mut children: Vec<PathBuf> = fs_err::read_dir(&full).unwrap().map(|e| path.join(e.unwrap().file_name())).collect();
            children.sort();
            waiting.extend(children.into_iter().rev());
        }
        let same = inodes.entry(metadata.ino()).or_insert_with(|| path.clone()).clone();
        let whiteout = metadata.rdev() == 0 && metadata.mode() & 0o170_000 == 0o20_000;
        let entry = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            // Overlay and file systems count those of directories as they like.
            links: if kind.is_dir() { 0 } else { metadata.nlink() },
            size: if kind.is_dir() { 0 } else { metadata.size() },
            device: metadata.rdev(),
            mtime: if whiteout { (0, 0) } else { (metadata.mtime(), metadata.mtime_nsec()) },
            target: kind.is_symlink().then(|| fs_err::read_link(&full).unwrap()),
            content: kind.is_file().then(|| digest(&full)),
            xattrs: xattrs(&full),
            same,
        };
        seen.insert(path, entry);
    }
    seen
}

/// Digests a file; of a large one only the data and where it is, by reading around the holes.
pub(crate) fn digest(path: &Path) -> Digest {
    let mut file = fs_err::File::open(path).unwrap();
    if file.metadata().unwrap().len() < 64 << 20 {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        return Digest::of(&bytes);
    }
    let mut parts = Vec::new();
    let mut block = vec![0; 4096];
    for at in SPOTS {
        file.seek(std::io::SeekFrom::Start(at)).unwrap();
        let count = file.read(&mut block).unwrap();
        parts.extend_from_slice(&block[..count]);
    }
    Digest::of(&parts)
}

/// Where large files are looked at.
const SPOTS: [u64; 5] = [0, 4096, 1 << 30, 5 << 30, (5 << 30) + 4096];

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        value.truncate(length);
        found.insert(name.to_vec(), value);
    }
    found
}

//! Whether this kernel can use such layers here.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::index;
use super::{Head, create, mount};
use crate::overlay::{Lower, merged};
use crate::tar::{Entry, Kind};
use crate::tree::{Limits, Tree, UnpackError};

/// Attributes that images have and that a kernel may be built without.
const ATTRIBUTES: [(&str, &[u8]); 3] = [
    ("security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("trusted.probe", b"1"),
    // Owner, group and others may read. **Source:** Linux, `include/uapi/linux/posix_acl_xattr.h`.
    (
        ACL,
        &[
            2, 0, 0, 0, 1, 0, 4, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255,
            255, 32, 0, 4, 0, 255, 255, 255, 255,
        ],
    ),
];
const ACL: &str = "system.posix_acl_access";

/// Makes a layer in the new directory `directory`, mounts it below an overlay as containers do, and reads it.
pub(in crate::layer) fn probe(directory: &Path) -> io::Result<()> {
    fs_err::create_dir(directory)?;
    let (path, empty) = (directory.join("layer"), directory.join("empty"));
    fs_err::create_dir(&empty)?;
    let file = create(&path)?;
    let tree = tree().map_err(io::Error::other)?;
    let index = index::write(&tree, &file, 0, &mut |offset, bytes| file.write_all_at(bytes, offset)).map_err(io::Error::other)?;
    file.write_all_at(&Head { tar_bytes: 0, unpacked_bytes: 0, index }.encode(), 0)?;
    drop(file);
    let lower = Lower::Mount(std::sync::Arc::new(mount(&path)?));
    let root = merged(&[lower, Lower::Directory(empty)])?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let probe = rustix::fs::openat(&root, "probe", flags, Mode::empty())?;
    for (name, value) in ATTRIBUTES {
        let mut buffer = vec![0; value.len() + 1];
        let length = rustix::fs::fgetxattr(&probe, name, &mut buffer)?;
        if buffer[..length] != *value {
            return Err(io::Error::other(format!("{name} is not what it was")));
        }
    }
    Ok(())
}

fn tree() -> Result<Tree, UnpackError> {
    let mut tree = Tree::new(Limits::default());
    let entry = Entry {
        path: b"probe".to_vec(),
        link: Vec::new(),
        kind: Kind::File,
        mode: 0o640,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: (0, 0),
        device: (0, 0),
        xattrs: ATTRIBUTES.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect(),
        sparse: None,
    };
    tree.add(entry, 0)?;
    Ok(tree)
}

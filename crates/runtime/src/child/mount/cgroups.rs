//! The container's view of its cgroups.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use oci::runtime::{Mount, NamespaceType, Spec};
use rustix::fs::{CWD, mkdirat, symlinkat};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{attach, make, place};
use crate::cgroup::{Cgroup, Mode};
use crate::child::path::Kind;
use crate::child::{Outcome, Trying as _, namespace, path};

/// Mounts cgroup v2 as one file system, and v1 as a tmpfs with one mount per hierarchy, as Docker does.
pub(super) fn mount(spec: &Spec, root: &OwnedFd, mount: &Mount, cgroup: &Cgroup) -> Outcome<()> {
    let options = super::Options::parse(mount);
    let new = namespace::is_new(spec, NamespaceType::Cgroup);
    match cgroup.mode() {
        Mode::Unified => {
            let tree = if new {
                make("cgroup2", Some(Path::new("cgroup")), &[])?
            } else {
                bind(&Path::new("/sys/fs/cgroup").join(cgroup.path().strip_prefix("/").unwrap_or(cgroup.path())))?
            };
            attach(spec, root, mount, &options, tree, Kind::Folder)
        }
        Mode::Hybrid => {
            let tmpfs = make("tmpfs", Some(Path::new("tmpfs")), &["mode=755".into()])?;
            let plain = super::Options {
                attributes: sys::mount::Attributes { set: options.attributes.set & !sys::mount::READ_ONLY, ..options.attributes },
                ..Default::default()
            };
            attach(spec, root, mount, &plain, tmpfs, Kind::Folder)?;
            let folder = path::resolve(root, &mount.destination).trying(|| "opening the cgroup folder".into())?;
            for hierarchy in cgroup.joined() {
                // Seen from a new cgroup namespace the container's group is the root, as if the hierarchy were mounted there anew.
                let tree = bind(&hierarchy.mount.join(cgroup.path().strip_prefix("/").unwrap_or(cgroup.path())))?;
                sys::mount::set_attributes(tree.as_fd(), false, options.attributes).trying(|| "setting mount attributes".into())?;
                let name = hierarchy.name.as_str();
                mkdirat(&folder, name, rustix::fs::Mode::from_raw_mode(0o755)).trying(|| format!("making {name}"))?;
                let target = path::resolve_plain(&folder, Path::new(name)).trying(|| format!("opening {name}"))?;
                place(&tree, &target)?;
                for part in name.split(',').filter(|part| *part != name) {
                    symlinkat(name, &folder, part).trying(|| format!("linking {part}"))?;
                }
            }
            // A hierarchy without a controller is systemd's: callers bind it here for containers that run systemd.
            for named in cgroup.hierarchies().iter().filter(|hierarchy| hierarchy.options.iter().any(|option| option.starts_with("name=")))
            {
                path::ensure(root, &mount.destination.join(&named.name), Kind::Folder)?;
            }
            sys::mount::set_attributes(folder.as_fd(), false, options.attributes).trying(|| "making it read-only".into())
        }
    }
}

fn bind(source: &Path) -> Outcome<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, source, flags).trying(|| format!("opening {}", source.display()))
}

//! Mounts: options, propagation, owners.

use std::path::{Path, PathBuf};

use oci::runtime::{IdMapping, Mount};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount as mount_on, mount_change, unmount};

use crate::bundle::{Bundle, mount};

fn bind(destination: &str, source: &Path, options: &[&str]) -> Mount {
    Mount { source: Some(source.into()), ..mount(destination, "bind", options) }
}

#[test]
fn every_attribute_reaches_the_kernel() {
    let shared = tempfile::tempdir().unwrap();
    let options = ["rbind", "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"];
    let mut bundle = Bundle::new("grep ' /a ' /proc/self/mountinfo | cut -d' ' -f6; grep ' /b ' /proc/self/mountinfo | cut -d' ' -f6");
    bundle.spec.mounts.push(bind("/a", shared.path(), &options));
    // What comes later counts, also where it takes something back.
    bundle.spec.mounts.push(bind("/b", shared.path(), &["bind", "ro", "rw", "noexec", "exec", "nosuid"]));
    let text = bundle.run().output;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for word in ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"] {
        assert!(lines[0].split(',').any(|option| option == word), "{word}: {text}");
    }
    assert!(lines[1].starts_with("rw,nosuid") && !lines[1].contains("noexec"), "{text}");
}

#[test]
fn a_recursive_attribute_reaches_what_is_mounted_below() {
    let shared = Disk::mount();
    let below = shared.0.join("below");
    std::fs::create_dir(&below).unwrap();
    let _inner = Disk::over(below);
    let script = "for place in /plain /deep; do touch $place/below/x 2>/dev/null && echo $place written; done; true";
    let mut bundle = Bundle::new(script);
    bundle.spec.mounts.push(bind("/plain", &shared.0, &["rbind", "ro"]));
    bundle.spec.mounts.push(bind("/deep", &shared.0, &["rbind", "rro"]));
    assert_eq!(bundle.run().output, "/plain written\n");
}

#[test]
fn owners_are_mapped_by_the_mount() {
    let shared = tempfile::tempdir().unwrap();
    for (name, owner) in [("one", 1000), ("two", 1001)] {
        let path = shared.path().join(name);
        std::fs::write(&path, "").unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
    let mut bundle = Bundle::new("stat -c '%n %u:%g' /a/*; touch /a/new");
    let map = vec![IdMapping { container_id: 1000, host_id: 0, size: 1 }];
    let mut mapped = bind("/a", shared.path(), &["bind"]);
    (mapped.uid_mappings, mapped.gid_mappings) = (map.clone(), map);
    bundle.spec.mounts.push(mapped);
    let ended = bundle.run();
    // Who is not mapped shows as nobody.
    assert!(ended.output.starts_with("/a/one 0:0\n/a/two 65534:65534\n"), "{}", ended.output);
    let new = std::fs::metadata(shared.path().join("new"));
    if let Ok(new) = new {
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&new), 1000);
    }
}

#[test]
fn a_copied_up_file_system_begins_with_the_images_files() {
    let mut bundle = Bundle::new("ls -l /etc/passwd | cut -c1-10; readlink /etc/link; echo more >>/etc/passwd; wc -l </etc/passwd");
    std::os::unix::fs::symlink("passwd", bundle.root().join("etc/link")).unwrap();
    bundle.spec.mounts.push(mount("/etc", "tmpfs", &["tmpcopyup", "size=1m"]));
    assert_eq!(bundle.run().output, "-rw-r--r--\npasswd\n3\n");
    assert_eq!(std::fs::read_to_string(bundle.root().join("etc/passwd")).unwrap().lines().count(), 2);
}

/// A shared file system of its own, gone with this.
struct Disk(PathBuf, Option<tempfile::TempDir>);

impl Disk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Self::over(folder.path().to_owned());
        disk.1 = Some(folder);
        disk
    }

    fn over(path: PathBuf) -> Self {
        mount_on("tmpfs", &path, "tmpfs", MountFlags::empty(), Some(c"size=1m")).unwrap();
        mount_change(&path, MountPropagationFlags::SHARED).unwrap();
        Self(path, None)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn mounts_of_the_host_arrive_where_they_are_asked_for() {
    let shared = Disk::mount();
    std::fs::create_dir(shared.0.join("sub")).unwrap();
    let mut bundle = Bundle::new("sleep 100000");
    for (destination, propagation) in [("/slave", "rslave"), ("/private", "rprivate"), ("/shared", "rshared")] {
        bundle.spec.mounts.push(bind(destination, &shared.0, &["rbind", propagation]));
    }
    let sets = bundle.process().capabilities.as_mut().unwrap();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.push("CAP_SYS_ADMIN".into());
    }
    assert_eq!(bundle.oci(&["run", "-d", &bundle.id()]).code, 0);
    let later = Disk::over(shared.0.join("sub"));
    std::fs::write(later.0.join("file"), "").unwrap();
    let seen = bundle.oci(&["exec", &bundle.id(), "sh", "-c", "ls -d /*/sub/file"]);
    assert_eq!(seen.output, "/shared/sub/file\n/slave/sub/file\n");
    // And those of the container on the host, by the shared one alone.
    std::fs::create_dir(shared.0.join("other")).unwrap();
    let count = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&*shared.0.join("other").to_string_lossy()).count();
    let mount_in = |place: &str| bundle.oci(&["exec", &bundle.id(), "mount", "-t", "tmpfs", "x", place]);
    assert_eq!(mount_in("/private/other").code, 0);
    assert_eq!(mount_in("/slave/other").code, 0);
    assert_eq!(count(), 0);
    assert_eq!(mount_in("/shared/other").code, 0);
    assert_eq!(count(), 1);
    unmount(shared.0.join("other"), UnmountFlags::DETACH).unwrap();
    drop(later);
    bundle.delete();
}

#[test]
fn all_five_capability_sets_are_as_asked() {
    let mut bundle = Bundle::new("");
    bundle.process().args = ["grep", "Cap", "/proc/self/status"].map(Into::into).into();
    bundle.process().user = oci::runtime::User { uid: 1000, gid: 1000, ..Default::default() };
    let sets = bundle.process().capabilities.as_mut().unwrap();
    // Ambient ones are those that a user who is not root keeps over exec; they must be inheritable too.
    sets.inheritable = vec!["CAP_NET_BIND_SERVICE".into(), "CAP_KILL".into()];
    sets.ambient = vec!["CAP_NET_BIND_SERVICE".into()];
    let text = bundle.run().output;
    let words: Vec<&str> = text.split_whitespace().collect();
    let (ambient, inheritable, bounding) = ("0000000000000400", "0000000000000420", "00000000000004e1");
    assert_eq!(words, ["CapInh:", inheritable, "CapPrm:", ambient, "CapEff:", ambient, "CapBnd:", bounding, "CapAmb:", ambient]);
}

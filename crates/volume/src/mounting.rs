//! Mounts of the `local` driver: what `mount(8)` does for `type`, `device` and `o`, by this process itself.
//!
//! **Source:** moby, `volume/local/local_unix.go`; mount(2); mount(8) for the words that are flags.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// Words that are flags of mount(2): name, flag, whether the word takes the flag away.
const FLAGS: [(&str, MountFlags, bool); 20] = [
    ("ro", MountFlags::RDONLY, false),
    ("rw", MountFlags::RDONLY, true),
    ("nosuid", MountFlags::NOSUID, false),
    ("suid", MountFlags::NOSUID, true),
    ("nodev", MountFlags::NODEV, false),
    ("dev", MountFlags::NODEV, true),
    ("noexec", MountFlags::NOEXEC, false),
    ("exec", MountFlags::NOEXEC, true),
    ("sync", MountFlags::SYNCHRONOUS, false),
    ("async", MountFlags::SYNCHRONOUS, true),
    ("dirsync", MountFlags::DIRSYNC, false),
    ("mand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING, false),
    ("nomand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING, true),
    ("noatime", MountFlags::NOATIME, false),
    ("atime", MountFlags::NOATIME, true),
    ("nodiratime", MountFlags::NODIRATIME, false),
    ("diratime", MountFlags::NODIRATIME, true),
    ("relatime", MountFlags::RELATIME, false),
    ("norelatime", MountFlags::RELATIME, true),
    ("strictatime", MountFlags::STRICTATIME, false),
];

/// What a volume's `o` says, sorted by who takes it.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MountFlags,
    /// A bind, and whether with what is mounted below.
    bind: Option<bool>,
    propagation: MountPropagationFlags,
    data: Vec<String>,
}

fn parse(text: &str) -> Options {
    let mut options = Options { flags: MountFlags::empty(), bind: None, propagation: MountPropagationFlags::empty(), data: Vec::new() };
    for word in text.split(',').filter(|word| !word.is_empty()) {
        if let Some((_, flag, clear)) = FLAGS.iter().find(|(name, ..)| *name == word) {
            options.flags.set(*flag, !clear);
            continue;
        }
        match word {
            "defaults" | "nofail" | "_netdev" | "auto" | "noauto" | "user" | "nouser" => {}
            "bind" => options.bind = Some(false),
            "rbind" => options.bind = Some(true),
            "private" => options.propagation = MountPropagationFlags::PRIVATE,
            "rprivate" => options.propagation = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            "shared" => options.propagation = MountPropagationFlags::SHARED,
            "rshared" => options.propagation = MountPropagationFlags::SHARED | MountPropagationFlags::REC,
            "slave" => options.propagation = MountPropagationFlags::DOWNSTREAM,
            "rslave" => options.propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
            "unbindable" => options.propagation = MountPropagationFlags::UNBINDABLE,
            word => options.data.push(word.to_owned()),
        }
    }
    options
}

/// Mounts what the driver options name on `data`; half of it is undone.
///
/// # Errors
/// As mount(2); a password is not part of the text.
pub(crate) fn mount(options: &BTreeMap<String, String>, data: &Path) -> io::Result<()> {
    let text = |name: &str| options.get(name).map_or("", String::as_str);
    let (kind, device) = (text("type"), text("device"));
    let mut parsed = parse(text("o"));
    let mut device = device.to_owned();
    if matches!(kind, "nfs" | "nfs4" | "cifs" | "smb3") {
        resolve_address(kind, &mut device, &mut parsed.data)?;
    }
    if let Some(recursive) = parsed.bind {
        if recursive {
            rustix::mount::mount_bind_recursive(&device, data)?;
        } else {
            rustix::mount::mount_bind(&device, data)?;
        }
        if !parsed.flags.is_empty() {
            // A bind takes no flags at first. **Source:** mount(2), "Creating a bind mount".
            let flags = MountFlags::BIND | parsed.flags;
            undone(data, rustix::mount::mount_remount(data, flags, c"").map_err(Into::into))?;
        }
    } else {
        let words = CString::new(parsed.data.join(","))?;
        rustix::mount::mount(&device, data, kind, parsed.flags, &*words)?;
    }
    if !parsed.propagation.is_empty() {
        undone(data, rustix::mount::mount_change(data, parsed.propagation).map_err(Into::into))?;
    }
    Ok(())
}

fn undone(data: &Path, result: io::Result<()>) -> io::Result<()> {
    if result.is_err() {
        unmount(data)?;
    }
    result
}

/// The kernel takes addresses, no names: that is what `mount.nfs` and `mount.cifs` are for.
fn resolve_address(kind: &str, device: &mut String, data: &mut [String]) -> io::Result<()> {
    let ip = |name: &str| -> io::Result<IpAddr> {
        if let Ok(ip) = name.parse() {
            return Ok(ip);
        }
        let mut found: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
        found.sort_by_key(IpAddr::is_ipv6);
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("error resolving passed in network volume address: {name}"));
        found.first().copied().ok_or_else(missing)
    };
    if let Some(word) = data.iter_mut().find(|word| word.starts_with("addr=")) {
        *word = format!("addr={}", ip(&word["addr=".len()..])?);
        return Ok(());
    }
    if matches!(kind, "cifs" | "smb3") {
        let rest = device.trim_start_matches('/').to_owned();
        if let Some((host, share)) = rest.split_once('/') {
            *device = format!("//{}/{share}", ip(host)?);
        }
    }
    Ok(())
}

/// Ends the mounts on `data`, all that lie on each other; nothing happens where there is none.
///
/// # Errors
/// As umount2(2), `EBUSY` when a process of the host uses it.
pub(crate) fn unmount(data: &Path) -> io::Result<()> {
    loop {
        match rustix::mount::unmount(data, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INTR) => {}
            // Not a mount point (any more).
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether something is mounted on the directory.
///
/// # Errors
/// As statx(2).
pub(crate) fn is_mounted(data: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(rustix::fs::CWD, data, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_by_who_takes_them() {
        let options = parse("addr=10.0.0.1,ro,nosuid,suid,rbind,rslave,soft,defaults");
        assert_eq!(options.flags, MountFlags::RDONLY);
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.propagation, MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC);
        assert_eq!(options.data, ["addr=10.0.0.1", "soft"]);
    }

    #[test]
    fn names_of_servers_become_addresses() {
        let (mut device, mut data) = ("//localhost/share/a".to_owned(), vec!["user=x".to_owned()]);
        resolve_address("cifs", &mut device, &mut data).unwrap();
        assert_eq!(device, "//127.0.0.1/share/a");
        let (mut device, mut data) = (":/export".to_owned(), vec!["addr=localhost".to_owned(), "soft".to_owned()]);
        resolve_address("nfs", &mut device, &mut data).unwrap();
        assert_eq!((device.as_str(), data[0].as_str()), (":/export", "addr=127.0.0.1"));
    }
}

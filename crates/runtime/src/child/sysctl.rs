//! Kernel parameters, written through a procfs of our own that no path leads to (CVE-2025-52881).

use oci::runtime::Spec;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::{Failure, Outcome, Trying as _, mount};

pub(crate) fn apply(spec: &Spec) -> Outcome<()> {
    let Some(linux) = spec.linux.as_ref().filter(|linux| !linux.sysctl.is_empty()) else {
        return Ok(());
    };
    let proc = mount::make("proc", None, &[])?;
    for (name, value) in &linux.sysctl {
        let what = || format!("setting sysctl {name}");
        // `a.b/c` keeps dots of interface names: sysctl(8). The kernel's folders are separated by `/`.
        let path: String = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Failure(format!("{}: not a name of a kernel parameter", what())));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let file = openat2(&proc, format!("sys/{path}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve).trying(what)?;
        rustix::io::write(&file, value.as_bytes()).trying(what)?;
    }
    Ok(())
}

//! Labels of security modules, which take hold when the program is executed.
//!
//! The kernel's file is opened before anything of the container is near and written at the end through its descriptor, so
//! that no path of the container can send the write elsewhere (CVE-2019-16884, CVE-2025-52881).
//! **Source:** Linux, `Documentation/admin-guide/LSM/`, proc_pid_attr(5); runc, `libcontainer/apparmor`.

use std::path::Path;

use oci::runtime::{Process, Spec};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};

use super::{Failure, Outcome, Trying as _};

/// What is written before the program is executed.
#[derive(Debug, Default)]
pub(crate) struct Labels(Vec<(OwnedFd, String)>);

/// Whether the kernel enforces AppArmor profiles.
pub(crate) fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// Whether the kernel enforces SELinux labels.
pub(crate) fn has_selinux() -> bool {
    // SELINUX_MAGIC, linux/magic.h.
    rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == 0xf97c_ff8c))
}

impl Labels {
    /// Prepares the labels of a process; to be called by itself, before it enters any namespace.
    pub(crate) fn open(process: &Process) -> Outcome<Self> {
        let mut labels = Vec::new();
        if let Some(profile) = process.apparmor_profile.as_deref().filter(|profile| !profile.is_empty()) {
            if !has_apparmor() {
                return Err(Failure(format!("apparmor failed to apply profile {profile}: AppArmor is not enabled in this kernel")));
            }
            // Kernels before 5.8 have the shared file only.
            let file = attribute("apparmor/exec").or_else(|_| attribute("exec")).trying(|| "opening the AppArmor attribute".into())?;
            labels.push((file, format!("exec {profile}")));
        }
        if let Some(label) = process.selinux_label.as_deref().filter(|label| !label.is_empty()) {
            if !has_selinux() {
                return Err(Failure(format!("selinux label {label} is specified in config, but selinux is disabled or not supported")));
            }
            labels.push((attribute("exec").trying(|| "opening the SELinux attribute".into())?, label.to_owned()));
        }
        Ok(Self(labels))
    }

    /// Asks the kernel for the labels at the next exec.
    pub(crate) fn write(&self) -> Outcome<()> {
        for (file, text) in &self.0 {
            rustix::io::write(file, text.as_bytes()).trying(|| format!("failed to apply profile: {text}"))?;
        }
        Ok(())
    }
}

fn attribute(name: &str) -> rustix::io::Result<OwnedFd> {
    open(Path::new("/proc/thread-self/attr").join(name), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The mount option that labels a new file system, if the specification asks for one.
pub(crate) fn mount_context(spec: &Spec) -> Outcome<Option<String>> {
    let Some(label) = spec.linux.as_ref().and_then(|linux| linux.mount_label.as_deref()).filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    if !has_selinux() {
        return Err(Failure("selinux label is specified in config, but selinux is disabled or not supported".into()));
    }
    Ok(Some(format!("context={label}")))
}

//! The AppArmor profile of containers that ask for none.
//!
//! Where the kernel enforces AppArmor, a container without a wish runs under `docker-default`, which is loaded at the first start
//! that finds it missing: others load and unload profiles, too. Only the host's `apparmor_parser` can compile one.
//! **Source:** moby, `daemon/apparmor_default.go`; `profiles/apparmor`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;

use crate::spec::{SecurityOption, Spec};

/// The profile of containers that ask for none. **Source:** moby, `daemon/apparmor_default.go`.
pub(crate) const DEFAULT: &str = "docker-default";
/// The name that stands for no profile. **Source:** apparmor.d(5).
const UNCONFINED: &str = "unconfined";

/// What compiles and loads a profile. **Source:** apparmor_parser(8).
const PARSERS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];
/// The loaded profiles, one in a line. **Source:** Linux, `security/apparmor/apparmorfs.c`.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// What `inspect` shows of a container: the profile it has or will have here, empty if none is applied.
#[must_use]
pub fn shown(spec: &Spec) -> String {
    match support() {
        Support::Absent => String::new(),
        Support::NoParser if asked(spec).is_none() && !spec.host.privileged => String::new(),
        Support::Full | Support::NoParser => chosen(spec),
    }
}

/// Whether containers without a wish get [`DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// They do.
    Full,
    /// The kernel enforces profiles, but no parser is there that could load one.
    NoParser,
    /// The kernel enforces none.
    Absent,
}

/// Finds out what this machine can do.
#[must_use]
pub fn support() -> Support {
    if !is_enforced() {
        Support::Absent
    } else if parser().is_some() || is_loaded() {
        Support::Full
    } else {
        Support::NoParser
    }
}

/// **Source:** Linux, `security/apparmor/lsm.c`, parameter `enabled`.
pub(crate) fn is_enforced() -> bool {
    fs_err::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// The profile of a container's processes, by name; none if the kernel enforces none.
///
/// # Errors
/// If the default profile is missing and cannot be loaded.
pub(crate) fn profile(spec: &Spec) -> io::Result<Option<String>> {
    if !is_enforced() {
        return Ok(None);
    }
    let profile = chosen(spec);
    if profile != DEFAULT || is_loaded() {
        return Ok(Some(profile));
    }
    match parser() {
        Some(parser) => load(parser).map(|()| Some(profile)),
        // As with Docker; `info` warns of it.
        None if asked(spec).is_none() => Ok(None),
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no {} is there to load it", PARSERS[0]))),
    }
}

fn asked(spec: &Spec) -> Option<&str> {
    spec.host.security_options.iter().rev().find_map(|option| match option {
        SecurityOption::AppArmor(profile) if !profile.is_empty() => Some(profile.as_str()),
        SecurityOption::AppArmor(_)
        | SecurityOption::Seccomp(_)
        | SecurityOption::NoNewPrivileges(_)
        | SecurityOption::Label(_)
        | SecurityOption::SystemPathsUnconfined
        | SecurityOption::WritableCgroups(_) => None,
    })
}

/// The name that a specification stands for where profiles are enforced. **Source:** moby, `daemon/daemon_unix.go`, `saveAppArmorConfig`.
fn chosen(spec: &Spec) -> String {
    asked(spec).unwrap_or(if spec.host.privileged { UNCONFINED } else { DEFAULT }).to_owned()
}

fn parser() -> Option<&'static str> {
    PARSERS.into_iter().find(|path| Path::new(path).exists())
}

fn is_loaded() -> bool {
    let is = |line: &str| line.strip_prefix(DEFAULT).is_some_and(|mode| mode.starts_with(" ("));
    fs_err::read_to_string(LOADED).is_ok_and(|text| text.lines().any(is))
}

/// Loads the default profile.
fn load(parser: &str) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "only this program of the host can compile a profile for its kernel, once")]
    let mut command = std::process::Command::new(parser);
    let mut child =
        command.args(["--replace", "--skip-cache"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text(&own_label(), Path::new("/etc/apparmor.d")).as_bytes())?;
    }
    let ended = child.wait_with_output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{parser}: {}", String::from_utf8_lossy(&ended.stderr).trim())))
}

/// The engine's own profile.
fn own_label() -> String {
    let label = fs_err::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let label = label.split(" (").next().unwrap_or_default().trim();
    if label.is_empty() { UNCONFINED.to_owned() } else { label.to_owned() }
}

/// The profile's text. What it allows and denies is what Docker's does, so that what runs there runs here; `policy` is where the
/// host's own pieces are.
fn text(engine: &str, policy: &Path) -> String {
    let tunables = if policy.join("tunables/global").exists() { "#include <tunables/global>" } else { "@{PROC}=/proc/" };
    let base = if policy.join("abstractions/base").exists() { "#include <abstractions/base>" } else { "" };
    // Below /proc only the folders of processes and /proc/sys/kernel/shm* take writes; below /sys only the cgroups'.
    format!(
        "{tunables}

profile {DEFAULT} flags=(attach_disconnected,mediate_deleted) {{
  {base}
  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (receive) peer=\"{engine}\",
  signal (send,receive) peer={DEFAULT},
  ptrace (trace,read,tracedby,readby) peer={DEFAULT},

  deny mount,

  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_the_asked_one_or_the_default() {
        let mut spec = Spec::default();
        assert_eq!(chosen(&spec), "docker-default");
        spec.host.privileged = true;
        assert_eq!(chosen(&spec), "unconfined");
        spec.host.security_options.push(SecurityOption::AppArmor("mine".into()));
        assert_eq!(chosen(&spec), "mine");
    }

    #[test]
    fn the_text_stands_alone_where_the_host_has_no_policy() {
        let text = text("unconfined", Path::new("/nonexistent"));
        assert!(text.starts_with("@{PROC}=/proc/\n"), "{text}");
        assert!(text.contains("profile docker-default flags=(attach_disconnected,mediate_deleted) {"), "{text}");
        assert!(text.contains("deny mount,") && text.contains("deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}

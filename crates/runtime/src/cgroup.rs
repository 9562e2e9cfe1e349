//! Control groups of one container, on v1 hybrid and v2 machines.
//!
//! On v1 only the hierarchies that a limit needs are joined, with those that count and stop processes: pids, freezer,
//! memory, cpuacct and blkio. A process that joins none of the others stays where its parent is.

mod device_filter;
mod devices;
mod oom;
mod stats;
mod unified;
mod v1;

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oci::runtime::{Linux, Resources};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};

pub use oom::OomWatch;
pub use stats::{BlockCount, Stats};

/// Where the hierarchies are.
const ROOT: &str = "/sys/fs/cgroup";

/// What [`look_ahead`] found.
static AHEAD: OnceLock<(Mode, Vec<Hierarchy>)> = OnceLock::new();

/// Finds the machine's hierarchies before a container needs them; for processes that create one container and end.
pub fn look_ahead() {
    let _known_already = AHEAD.set(hierarchies());
}

/// How this machine's cgroups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One hierarchy, cgroup v2.
    Unified,
    /// A folder per controller, cgroup v1, perhaps with an empty v2 beside.
    Hybrid,
}

/// One mounted hierarchy of v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Name of its folder, such as `cpu,cpuacct` or `systemd`.
    pub name: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub kind: &'static str,
    /// Options that mount it once more.
    pub options: Vec<String>,
}

/// A cgroup could not be made or used.
#[derive(Debug, thiserror::Error)]
#[error("cgroup {path}: {what}")]
pub struct CgroupError {
    path: String,
    what: String,
    source: io::Error,
}

impl CgroupError {
    fn new(path: &Path, what: impl Into<String>, source: io::Error) -> Self {
        Self { path: path.display().to_string(), what: format!("{}: {source}", what.into()), source }
    }
}

/// The control groups of one container.
#[derive(Clone, Debug)]
pub struct Cgroup {
    mode: Mode,
    path: PathBuf,
    hierarchies: Vec<Hierarchy>,
    /// Folders this container's processes are in.
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Says which groups a container gets. On v2 they are made at once, as its process is born inside; on v1 by
    /// [`Cgroup::make`], while the process sets itself up.
    ///
    /// # Errors
    /// As [`Cgroup::make`].
    pub(crate) fn plan(id: &str, linux: Option<&Linux>) -> Result<Self, CgroupError> {
        let mut group = Self::place(id, linux);
        let resources = linux.and_then(|linux| linux.resources.as_ref());
        match group.mode {
            Mode::Unified => {
                let result = unified::make(&mut group, resources);
                if result.is_err() {
                    let _what_was_made = group.remove();
                }
                result?;
            }
            Mode::Hybrid => v1::plan(&mut group, resources),
        }
        Ok(group)
    }

    /// Makes the planned groups and sets their limits, where that is not done yet.
    ///
    /// # Errors
    /// If a folder cannot be made or a limit is refused; what was made is the caller's to remove.
    pub(crate) fn make(&self, linux: Option<&Linux>) -> Result<(), CgroupError> {
        match self.mode {
            Mode::Unified => Ok(()),
            Mode::Hybrid => v1::make(self, linux.and_then(|linux| linux.resources.as_ref())),
        }
    }

    /// The groups of a container that exists.
    #[must_use]
    pub fn open(id: &str, linux: Option<&Linux>) -> Self {
        let mut group = Self::place(id, linux);
        let mut folders: Vec<PathBuf> =
            group.hierarchies.iter().map(|hierarchy| group.folder(hierarchy)).filter(|folder| folder.exists()).collect();
        folders.dedup();
        group.folders = folders;
        group
    }

    fn place(id: &str, linux: Option<&Linux>) -> Self {
        let path = linux.and_then(|linux| linux.cgroups_path.clone()).unwrap_or_else(|| Path::new("/teu").join(id));
        // Only names below the root count, whatever the text says.
        let path = crate::child::normal_path(&path);
        let (mode, hierarchies) = AHEAD.get().cloned().unwrap_or_else(hierarchies);
        Self { mode, path, hierarchies, folders: Vec::new() }
    }

    fn folder(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(self.path.strip_prefix("/").unwrap_or(&self.path))
    }

    /// The folder of a v1 controller, if this container has one.
    fn controller(&self, name: &str) -> Option<PathBuf> {
        let hierarchy = match self.mode {
            Mode::Unified => self.hierarchies.first(),
            Mode::Hybrid => self.hierarchies.iter().find(|hierarchy| hierarchy.name.split(',').any(|part| part == name)),
        };
        let folder = self.folder(hierarchy?);
        self.folders.contains(&folder).then_some(folder)
    }

    /// How this machine's cgroups are mounted.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Path below the root of each hierarchy, with a leading `/`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine's hierarchies; on v2 just one.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The hierarchies that this container has a group in.
    pub(crate) fn joined(&self) -> impl Iterator<Item = &Hierarchy> {
        self.hierarchies.iter().filter(|hierarchy| self.folders.contains(&self.folder(hierarchy)))
    }

    /// The v2 folder, for CLONE_INTO_CGROUP.
    pub(crate) fn unified_folder(&self) -> io::Result<Option<OwnedFd>> {
        match (self.mode, self.folders.first()) {
            (Mode::Unified, Some(folder)) => {
                Ok(Some(rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?))
            }
            (Mode::Unified | Mode::Hybrid, _) => Ok(None),
        }
    }

    /// Moves a process in; on v2 it was born inside.
    pub(crate) fn join(&self, pid: Pid) -> io::Result<()> {
        if self.mode == Mode::Unified {
            return Ok(());
        }
        let text = pid.as_raw_nonzero().to_string();
        self.folders.iter().try_for_each(|folder| std::fs::write(folder.join("cgroup.procs"), &text))
    }

    /// Processes inside, those of groups below included.
    ///
    /// # Errors
    /// If the kernel's list cannot be read.
    pub fn processes(&self) -> io::Result<Vec<Pid>> {
        let mut found = Vec::new();
        if let Some(folder) = self.controller("pids").or_else(|| self.folders.first().cloned()) {
            collect(&folder, &mut found)?;
        }
        Ok(found)
    }

    /// Sends a signal to every process inside; KILL is repeated until nobody new appears.
    ///
    /// # Errors
    /// If the list cannot be read.
    pub fn signal_all(&self, signal: Signal) -> io::Result<()> {
        if signal == Signal::KILL
            && self.mode == Mode::Unified
            && let Some(folder) = self.folders.first()
            && std::fs::write(folder.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        let mut sent: Vec<Pid> = Vec::new();
        loop {
            let fresh: Vec<Pid> = self.processes()?.into_iter().filter(|pid| !sent.contains(pid)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for pid in fresh {
                // One that has ended meanwhile needs no signal.
                let _already_gone = rustix::process::kill_process(pid, signal);
                sent.push(pid);
            }
        }
    }

    /// Stops every process inside; returns when all have stopped.
    ///
    /// # Errors
    /// If the freezer is missing.
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If the freezer is missing.
    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match self.mode {
            Mode::Unified => unified::set_frozen(self.folders.first().ok_or(io::ErrorKind::NotFound)?, frozen),
            Mode::Hybrid => v1::set_frozen(&self.controller("freezer").ok_or(io::ErrorKind::NotFound)?, frozen),
        }
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn frozen(&self) -> bool {
        let read = |folder: Option<PathBuf>, file: &str| {
            folder.and_then(|folder| std::fs::read_to_string(folder.join(file)).ok()).unwrap_or_default()
        };
        match self.mode {
            Mode::Unified => read(self.folders.first().cloned(), "cgroup.freeze").trim() == "1",
            Mode::Hybrid => matches!(read(self.controller("freezer"), "freezer.state").trim(), "FROZEN" | "FREEZING"),
        }
    }

    /// Changes limits; those that are absent stay.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn update(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        match self.mode {
            Mode::Unified => unified::limit(self, resources),
            Mode::Hybrid => v1::update(self, resources),
        }
    }

    /// Bytes of memory that it may have at most (`u64::MAX` without a limit) and has had at most (0 if nobody counts).
    #[must_use]
    pub fn memory_bounds(&self) -> (u64, u64) {
        self.controller("memory").map_or((u64::MAX, 0), |folder| stats::memory_bounds(self.mode, &folder))
    }

    /// What it has used.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::read(self)
    }

    /// How many processes the out-of-memory killer has taken inside.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let file = match self.mode {
            Mode::Unified => self.folders.first().map(|folder| folder.join("memory.events")),
            Mode::Hybrid => self.controller("memory").map(|folder| folder.join("memory.oom_control")),
        };
        file.and_then(|file| std::fs::read_to_string(file).ok()).and_then(|text| stats::keyed(&text, "oom_kill")).unwrap_or_default()
    }

    /// The folder in which its memory is counted; none if it is not.
    #[must_use]
    pub fn memory_folder(&self) -> Option<PathBuf> {
        self.controller("memory")
    }

    /// Kills what is left inside and removes the groups.
    ///
    /// # Errors
    /// If a process stays, as one that waits for a device may, or the kernel refuses.
    pub fn remove(&self) -> io::Result<()> {
        self.empty()?;
        let mut result = Ok(());
        for hierarchy in &self.hierarchies {
            let folder = self.folder(hierarchy);
            if let Err(error) = remove_tree(&folder) {
                result = Err(error);
            }
        }
        result
    }

    /// Kills every process and waits for their ends.
    fn empty(&self) -> io::Result<()> {
        let left = self.processes()?;
        if left.is_empty() {
            return Ok(());
        }
        let flags = rustix::process::PidfdFlags::empty();
        let ends: Vec<OwnedFd> = left.into_iter().filter_map(|pid| rustix::process::pidfd_open(pid, flags).ok()).collect();
        self.signal_all(Signal::KILL)?;
        if self.frozen() {
            // A frozen process dies only when it goes on.
            self.thaw()?;
        }
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        for end in &ends {
            let mut wait = [rustix::event::PollFd::new(end, rustix::event::PollFlags::IN)];
            let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut wait, Some(&limit)))?;
            if ready == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

/// Removes a group and those below it.
fn remove_tree(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

fn collect(folder: &Path, found: &mut Vec<Pid>) -> io::Result<()> {
    let text = match std::fs::read_to_string(folder.join("cgroup.procs")) {
        Ok(text) => text,
        // The group is being removed: nobody is inside.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) || error.kind() == io::ErrorKind::NotFound => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    found.extend(text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)));
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// Finds the mounted hierarchies.
fn hierarchies() -> (Mode, Vec<Hierarchy>) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mount = PathBuf::from(left.split(' ').nth(4).unwrap_or_default());
        let mut fields = right.split(' ');
        let (kind, options) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        if kind == "cgroup2" && mount == Path::new(ROOT) {
            return (Mode::Unified, vec![Hierarchy { name: String::new(), mount, kind: "cgroup2", options: Vec::new() }]);
        }
        let name = mount.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if mount.parent() != Some(Path::new(ROOT)) || found.iter().any(|known: &Hierarchy| known.name == name) {
            continue;
        }
        if kind == "cgroup" {
            // A named hierarchy shows `xattr,name=…`, a controller its own name; the rest are flags of the mount.
            let names = options.split(',').filter(|option| {
                !matches!(*option, "rw" | "ro" | "seclabel" | "xattr" | "favordynmods") && !option.starts_with("release_agent=")
            });
            let mut options: Vec<String> = names.map(str::to_owned).collect();
            if options.iter().any(|option| option.starts_with("name=")) {
                options.insert(0, "none".into());
            }
            found.push(Hierarchy { name, mount, kind: "cgroup", options });
        }
    }
    (Mode::Hybrid, found)
}

/// Writes a limit.
fn set(folder: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), CgroupError> {
    let text = value.to_string();
    std::fs::write(folder.join(file), &text).map_err(|error| CgroupError::new(folder, format!("writing \"{text}\" to {file}"), error))
}

/// `major:minor value` lines of block devices.
fn device_line(major: i64, minor: i64, value: impl std::fmt::Display) -> String {
    let mut line = format!("{major}:{minor} ");
    let _infallible = write!(line, "{value}");
    line
}

//! The façade.
//!
//! A volume is a directory `volumes/<name>/_data` and a record in `volumes/.records`. The directory
//! is what counts: one with files but without a record is a volume without labels, and a record
//! without a directory is nothing.
//!
//! Beside `_data` a volume's directory has, while it is filled, `_new-…` (worth nothing after a crash)
//! and `_ready-…` (complete: what a crash left of it is moved into `_data` by the next start).

mod cloning;
mod filling;
mod holding;

pub use cloning::Import;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use store::{Durability, Table};

use crate::error::{CreateError, GetError, OpenError, PruneError, RemoveError};
use crate::model::{ANONYMOUS_LABEL, Name, Pruned, Spec, Usage, Volume};
use crate::{mounting, options, usage};

/// Where the files of a volume are, below its directory. **Source:** moby, `volume/local`, `VolumeDataPathName`.
const DATA: &str = "_data";
/// First project id of volumes with a size. **Source:** ours: far above what `/etc/projid` has.
const PROJECT_FIRST: u32 = 1 << 30;

/// All volumes below one data directory; methods may be called from any thread.
#[derive(Debug)]
pub struct Volumes {
    directory: PathBuf,
    trash: PathBuf,
    records: Table<Record>,
    serial: AtomicU64,
    state: Mutex<State>,
    /// Whether the file system limits the sizes of directories.
    has_quota: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Seconds since 1970.
    created: u64,
    /// Records of old have no label for it.
    #[serde(default)]
    anonymous: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    driver_opts: BTreeMap<String, String>,
    /// Project of the quota, where it has a size.
    #[serde(default)]
    project: Option<u32>,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<Name, Record>,
    holders: BTreeMap<Name, BTreeSet<String>>,
    /// Who uses the mount of a volume that needs one; its lock is held while it is mounted or unmounted.
    users: BTreeMap<Name, Arc<Mutex<BTreeSet<String>>>>,
    /// What was wrong with records, by file name.
    damaged: BTreeMap<String, String>,
}

impl Volumes {
    /// Opens the volumes below `root`, the engine's data directory (they are in `root/volumes/<name>/_data`).
    ///
    /// # Errors
    /// [`OpenError`]; damaged records are set aside, see [`Volumes::damaged`].
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let directory = root.join("volumes");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Directory { path, source }
        };
        make_directory(&directory, 0o710).map_err(failed(&directory))?;
        let trash = directory.join(".trash");
        make_directory(&trash, 0o700).map_err(failed(&trash))?;
        let (records, found, damaged) = Table::open(directory.join(".records")).map_err(OpenError::Table)?;
        let mut found: BTreeMap<String, Record> = found.into_iter().collect();
        let file_name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let damaged = damaged.into_iter().map(|bad| (file_name(&bad.path), bad.reason)).collect();
        let mut state = State { damaged, ..State::default() };
        let has_quota = open_directory(&directory).is_ok_and(|directory| sys::quota::is_enforced(directory.as_fd()));
        let volumes = Self { directory, trash, records, serial: AtomicU64::new(0), state: Mutex::default(), has_quota };
        for entry in fs_err::read_dir(&volumes.directory).map_err(failed(&volumes.directory))? {
            let entry = entry.map_err(failed(&volumes.directory))?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
                continue;
            };
            let record = found.remove(name.as_str());
            if let Some(record) = volumes.adopt(&name, record).map_err(failed(&entry.path()))? {
                state.volumes.insert(name, record);
            }
        }
        for name in found.keys() {
            // The directory was removed, or never made; a record that stays is met here again.
            let _ = volumes.records.remove(name, Durability::Volatile);
        }
        *volumes.state() = state;
        Ok(volumes)
    }

    /// Looks at a directory that may be a volume, and finishes or clears what a crash left in it.
    fn adopt(&self, name: &Name, record: Option<Record>) -> io::Result<Option<Record>> {
        let path = self.directory.join(name.as_str());
        let data = path.join(DATA);
        if record.is_none() && mounting::is_mounted(&data)? {
            mounting::unmount(&data)?;
        }
        filling::recover(&path, &data, &|path| self.discard(path))?;
        let is_empty = match fs_err::read_dir(&data) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        match record {
            Some(record) => {
                make_directory(&data, 0o755)?;
                Ok(Some(record))
            }
            None if is_empty => {
                self.discard(&path)?;
                Ok(None)
            }
            None => {
                let created = fs_err::metadata(&path)?.modified()?;
                let is_anonymous = name.as_str().len() == 64 && name.as_str().bytes().all(|b| b.is_ascii_hexdigit());
                Ok(Some(Record {
                    created: created.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
                    anonymous: is_anonymous,
                    labels: BTreeMap::new(),
                    driver_opts: BTreeMap::new(),
                    project: None,
                }))
            }
        }
    }

    /// Returns one sentence for each record that was damaged and still lies aside.
    #[must_use]
    pub fn damaged(&self) -> Vec<String> {
        let aside = self.aside();
        let Ok(entries) = fs_err::read_dir(&aside) else { return Vec::new() };
        let state = self.state();
        let mut sentences = Vec::new();
        for entry in entries.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let name = damaged_name(&file);
            let reason = state.damaged.get(&file).map(|reason| format!(" ({reason})")).unwrap_or_default();
            let path = aside.join(&file);
            let path = path.display();
            let known = name.parse::<Name>().is_ok_and(|name| state.volumes.contains_key(&name));
            sentences.push(if known {
                format!("the record of volume {name} was damaged{reason} and set aside as {path}: its files are there, its labels and options are lost")
            } else {
                format!("the record of volume {name} was damaged{reason} and set aside as {path}: the volume is not listed")
            });
        }
        sentences.sort();
        sentences
    }

    fn aside(&self) -> PathBuf {
        self.directory.join(".records").join("damaged")
    }

    /// Files of damaged records of a volume.
    fn aside_of(&self, name: &Name) -> Vec<PathBuf> {
        let aside = self.aside();
        let entries = fs_err::read_dir(&aside).into_iter().flatten().flatten();
        let files = entries.filter(|entry| damaged_name(&entry.file_name().to_string_lossy()) == name.as_str());
        files.map(|entry| entry.path()).collect()
    }

    /// Makes a volume, or returns the one of that name, as Docker does whatever its options are.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(&self, spec: Spec) -> Result<Volume, CreateError> {
        self.make(spec).map(|(volume, _)| volume)
    }

    /// As [`Volumes::create`]; also says whether the volume is new.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn make(&self, spec: Spec) -> Result<(Volume, bool), CreateError> {
        if !matches!(spec.driver.as_str(), "" | "local") {
            return Err(CreateError::Driver { driver: spec.driver });
        }
        self.check(&spec.driver_opts)?;
        let mut state = self.state();
        let name = spec.name.clone();
        if let Some(name) = &name
            && let Some(record) = state.volumes.get(name)
        {
            return Ok((self.volume(&state, name, record), false));
        }
        self.make_new(&mut state, spec).map(|volume| (volume, true))
    }

    fn check(&self, driver_opts: &BTreeMap<String, String>) -> Result<(), CreateError> {
        let refused = |reason| CreateError::Option { reason };
        options::check(driver_opts).map_err(refused)?;
        if options::quota(driver_opts).is_some() && !self.has_quota {
            return Err(refused("quota size requested but no quota support".to_owned()));
        }
        Ok(())
    }

    /// Makes a volume that does not exist yet.
    fn make_new(&self, state: &mut State, spec: Spec) -> Result<Volume, CreateError> {
        let mut labels = spec.labels;
        let anonymous = spec.name.is_none();
        let name = spec.name.unwrap_or_else(|| {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            Name::anonymous()
        });
        if let Some(path) = self.aside_of(&name).pop() {
            return Err(CreateError::Damaged { name, path });
        }
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let last = state.volumes.values().filter_map(|record| record.project).max();
        let project = options::quota(&spec.driver_opts).map(|_| last.map_or(PROJECT_FIRST, |last| last.saturating_add(1)));
        let record = Record { created, anonymous, labels, driver_opts: spec.driver_opts, project };
        let path = self.directory.join(name.as_str());
        let made = make_directory(&path, 0o710).and_then(|()| make_directory(&path.join(DATA), 0o755));
        let made = made.and_then(|()| self.limit(&name, &record));
        // An anonymous volume is worth no more than its container, whose record is synced after it.
        let durability = if anonymous { Durability::Volatile } else { Durability::Durable };
        let made = made.map_err(|source| CreateError::Io { name: name.clone(), source });
        let recorded = made.and_then(|()| self.records.put(name.as_str(), &record, durability).map_err(CreateError::Record));
        if let Err(error) = recorded {
            // The next start clears what cannot be moved away now.
            let _ = self.discard(&path);
            return Err(error);
        }
        state.volumes.insert(name.clone(), record.clone());
        Ok(self.volume(state, &name, &record))
    }

    /// Sets the limit that the option `size` asks for.
    fn limit(&self, name: &Name, record: &Record) -> io::Result<()> {
        if let (Some(project), Some(bytes)) = (record.project, options::quota(&record.driver_opts)) {
            let data = open_directory(&self.data(name))?;
            sys::quota::set_limit(data.as_fd(), project, bytes)?;
            sys::quota::set_project(data.as_fd(), project)?;
        }
        Ok(())
    }

    /// Returns a volume.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn get(&self, name: &str) -> Result<Volume, GetError> {
        let state = self.state();
        let (name, record) = find(&state, name)?;
        Ok(self.volume(&state, name, record))
    }

    /// Returns all volumes, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<Volume> {
        let state = self.state();
        state.volumes.iter().map(|(name, record)| self.volume(&state, name, record)).collect()
    }

    /// Removes a volume; with `force` a missing one is no error (one in use still is).
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove(&self, name: &str, force: bool) -> Result<(), RemoveError> {
        let mut state = self.state();
        let aside = name.parse::<Name>().map(|name| self.aside_of(&name)).unwrap_or_default();
        for path in &aside {
            fs_err::remove_file(path).map_err(|source| RemoveError::Io { path: path.clone(), source })?;
        }
        let name = match find(&state, name) {
            Ok((name, _)) => name.clone(),
            Err(_) if force || !aside.is_empty() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.delete(&mut state, &name)
    }

    fn delete(&self, state: &mut State, name: &Name) -> Result<(), RemoveError> {
        let users = state.users.get(name).map(|users| holding::lock(users).clone()).unwrap_or_default();
        let holders: BTreeSet<&String> = state.holders.get(name).into_iter().flatten().chain(&users).collect();
        if !holders.is_empty() {
            return Err(RemoveError::InUse { name: name.clone(), holders: holders.into_iter().cloned().collect() });
        }
        // What is mounted there is not ours to delete.
        mounting::unmount(&self.data(name)).map_err(|source| RemoveError::Mounted { name: name.clone(), source })?;
        let path = self.directory.join(name.as_str());
        self.discard(&path).map_err(|source| RemoveError::Io { path, source })?;
        let record = state.volumes.remove(name);
        state.holders.remove(name);
        state.users.remove(name);
        self.records.remove(name.as_str(), Durability::Volatile).map_err(RemoveError::Record)?;
        if let (Some(project), Ok(directory)) = (record.and_then(|record| record.project), open_directory(&self.directory)) {
            // A limit that stays is replaced when its number is used again.
            let _ = sys::quota::set_limit(directory.as_fd(), project, 0);
        }
        Ok(())
    }

    /// Removes volumes nobody uses: the anonymous ones, or with `all` the named ones too; `keep` excepts some.
    ///
    /// Those with driver options stay, as nothing would be reclaimed. **Source:** moby, `volume/service`, `Prune`.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn prune(&self, all: bool, keep: &dyn Fn(&Volume) -> bool) -> Result<Pruned, PruneError> {
        let mut pruned = Pruned::default();
        for volume in self.list() {
            let special = !volume.driver_opts.is_empty();
            if !volume.holders.is_empty() || special || !(all || volume.anonymous) || keep(&volume) {
                continue;
            }
            // What cannot be counted is removed all the same.
            let bytes = usage::measure(&volume.mountpoint).map_or(0, |usage| usage.bytes);
            match self.delete(&mut self.state(), &volume.name) {
                Ok(()) => pruned.removed.push(volume.name),
                // Someone took it meanwhile.
                Err(RemoveError::InUse { .. } | RemoveError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            }
            pruned.reclaimed = pruned.reclaimed.saturating_add(bytes);
        }
        Ok(pruned)
    }

    /// Returns how much lies in a volume, by walking it.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn usage(&self, name: &str) -> Result<Usage, GetError> {
        let mountpoint = self.get(name)?.mountpoint;
        // A directory that cannot be looked at counts nothing.
        Ok(usage::measure(&mountpoint).unwrap_or_default())
    }

    /// Deletes what lies in the trash; call it where time does not matter.
    ///
    /// # Errors
    /// The first error, after all has been tried.
    pub fn empty_trash(&self) -> io::Result<()> {
        let mut result = Ok(());
        for entry in fs_err::read_dir(&self.trash)? {
            let removed = entry.and_then(|entry| fs_err::remove_dir_all(entry.path()));
            match removed {
                // Another call was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => result = result.and(removed),
            }
        }
        result
    }

    fn data(&self, name: &Name) -> PathBuf {
        self.directory.join(name.as_str()).join(DATA)
    }

    fn volume(&self, state: &State, name: &Name, record: &Record) -> Volume {
        let mut labels = record.labels.clone();
        if record.anonymous {
            labels.entry(ANONYMOUS_LABEL.to_owned()).or_default();
        }
        Volume {
            name: name.clone(),
            anonymous: labels.contains_key(ANONYMOUS_LABEL),
            mountpoint: self.data(name),
            created: UNIX_EPOCH.checked_add(Duration::from_secs(record.created)).unwrap_or(UNIX_EPOCH),
            labels,
            driver_opts: record.driver_opts.clone(),
            holders: state.holders.get(name).into_iter().flatten().cloned().collect(),
        }
    }

    fn discard(&self, path: &Path) -> io::Result<()> {
        match fs_err::rename(path, self.trash.join(self.unique())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Names that no other call and no former run of the engine used.
    fn unique(&self) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        format!("{:x}-{:x}-{serial:x}", time.tv_sec, time.tv_nsec)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic, so a poisoned state is still sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(state: &'a State, text: &str) -> Result<(&'a Name, &'a Record), GetError> {
    let not_found = || GetError { name: text.to_owned() };
    let name: Name = text.parse().map_err(|_| not_found())?;
    state.volumes.get_key_value(&name).ok_or_else(not_found)
}

/// The volume that a file in the directory of damaged records was of: `NAME.json` or `NAME.json.1`.
fn damaged_name(file: &str) -> &str {
    let stem = file.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.');
    stem.strip_suffix(".json").or_else(|| file.strip_suffix(".json")).unwrap_or(file)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

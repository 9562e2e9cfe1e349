//! The façade.
//!
//! A volume is a directory `volumes/<name>/_data` and a record in `volumes/.records`. The directory
//! is what counts: one with files but without a record is a volume without labels, and a record
//! without a directory is nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use store::{Durability, Table};

use crate::copy;
use crate::error::{AttachError, CreateError, GetError, OpenError, PopulateError, PruneError, RemoveError};
use crate::model::{Name, Pruned, Spec, Volume};
use crate::options;

/// Where the files of a volume are, below its directory. **Source:** moby, `volume/local`, `VolumeDataPathName`.
const DATA: &str = "_data";
/// Start of the names of directories that are being filled.
const FILLING: &str = "_new-";

/// All volumes below one data directory; methods may be called from any thread.
#[derive(Debug)]
pub struct Volumes {
    directory: PathBuf,
    trash: PathBuf,
    records: Table<Record>,
    serial: AtomicU64,
    state: Mutex<State>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Seconds since 1970.
    created: u64,
    #[serde(default)]
    anonymous: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    driver_opts: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<Name, Record>,
    holders: BTreeMap<Name, BTreeSet<String>>,
    damaged: Vec<String>,
}

impl Volumes {
    /// Opens the volumes below `root`, the engine's data directory (they are in `root/volumes/<name>/_data`).
    ///
    /// # Errors
    /// [`OpenError`]; damaged records are set aside, see [`Volumes::take_damaged`].
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
        let mut state =
            State { damaged: damaged.into_iter().map(|bad| format!("volume {}: {}", bad.key, bad.reason)).collect(), ..State::default() };
        let volumes = Self { directory, trash, records, serial: AtomicU64::new(0), state: Mutex::default() };
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

    /// Looks at a directory that may be a volume, and clears what a crash left in it.
    fn adopt(&self, name: &Name, record: Option<Record>) -> io::Result<Option<Record>> {
        let path = self.directory.join(name.as_str());
        for entry in fs_err::read_dir(&path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(FILLING)) {
                self.discard(&entry.path())?;
            }
        }
        let data = path.join(DATA);
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
                }))
            }
        }
    }

    /// Returns once what was damaged when the volumes were opened.
    #[must_use]
    pub fn take_damaged(&self) -> Vec<String> {
        std::mem::take(&mut self.state().damaged)
    }

    /// Makes a volume, or returns the one of that name when its driver and options are the same.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(&self, spec: Spec) -> Result<Volume, CreateError> {
        if !matches!(spec.driver.as_str(), "" | "local") {
            return Err(CreateError::Driver { driver: spec.driver });
        }
        options::check(&spec.driver_opts).map_err(|reason| CreateError::Option { reason })?;
        let mut state = self.state();
        let anonymous = spec.name.is_none();
        let name = spec.name.unwrap_or_else(Name::anonymous);
        if let Some(record) = state.volumes.get(&name) {
            if !spec.driver_opts.is_empty() && record.driver_opts != spec.driver_opts {
                return Err(CreateError::Exists { name });
            }
            return Ok(self.volume(&state, &name, record));
        }
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let record = Record { created, anonymous, labels: spec.labels, driver_opts: spec.driver_opts };
        let path = self.directory.join(name.as_str());
        let made = make_directory(&path, 0o710).and_then(|()| make_directory(&path.join(DATA), 0o755));
        made.map_err(|source| CreateError::Io { name: name.clone(), source })?;
        // An anonymous volume is worth no more than its container, whose record is synced after it.
        let durability = if anonymous { Durability::Volatile } else { Durability::Durable };
        self.records.put(name.as_str(), &record, durability).map_err(CreateError::Record)?;
        state.volumes.insert(name.clone(), record.clone());
        Ok(self.volume(&state, &name, &record))
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
        let name = match find(&state, name) {
            Ok((name, _)) => name.clone(),
            Err(_) if force => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.delete(&mut state, &name)
    }

    fn delete(&self, state: &mut State, name: &Name) -> Result<(), RemoveError> {
        if let Some(holders) = state.holders.get(name).filter(|holders| !holders.is_empty()) {
            return Err(RemoveError::InUse { name: name.clone(), holders: holders.iter().cloned().collect() });
        }
        let path = self.directory.join(name.as_str());
        self.discard(&path).map_err(|source| RemoveError::Io { path, source })?;
        state.volumes.remove(name);
        state.holders.remove(name);
        self.records.remove(name.as_str(), Durability::Volatile).map_err(RemoveError::Record)?;
        Ok(())
    }

    /// Removes volumes without holders: the anonymous ones, or with `all` the named ones too; `keep` excepts some.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn prune(&self, all: bool, keep: &dyn Fn(&Volume) -> bool) -> Result<Pruned, PruneError> {
        let mut pruned = Pruned::default();
        for volume in self.list() {
            if !volume.holders.is_empty() || !(all || volume.anonymous) || keep(&volume) {
                continue;
            }
            // What cannot be counted is removed all the same.
            let bytes = copy::size(&volume.mountpoint).unwrap_or(0);
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

    /// Notes that `holder` uses the volume, which is made where it is missing, and returns the mount.
    ///
    /// The mount's `destination` is left empty for the caller. Type and options: `bind` with
    /// `rbind` for plain volumes, what the driver options say for others. Holders are not
    /// recorded on disk: after a restart the engine attaches again for each container it knows.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, name: &Name, holder: &str) -> Result<oci::runtime::Mount, AttachError> {
        loop {
            {
                let mut state = self.state();
                if let Some(record) = state.volumes.get(name) {
                    let mount = options::mount(&record.driver_opts, self.data(name));
                    state.holders.entry(name.clone()).or_default().insert(holder.to_owned());
                    return Ok(mount);
                }
            }
            self.create(Spec { name: Some(name.clone()), ..Spec::default() })?;
        }
    }

    /// Ends the use of all volumes by `holder`.
    pub fn detach(&self, holder: &str) {
        self.state().holders.retain(|_, holders| {
            holders.remove(holder);
            !holders.is_empty()
        });
    }

    /// Copies the files of an image's directory into the volume when the volume is empty; true when it copied.
    ///
    /// The directory's owner, mode and times are given to the volume too. While no second holder
    /// may look, a whole copy takes the place of the empty directory at once.
    ///
    /// # Errors
    /// [`PopulateError`].
    pub fn populate(&self, name: &Name, image_directory: BorrowedFd<'_>) -> Result<bool, PopulateError> {
        let shared = {
            let state = self.state();
            let (_, record) = find(&state, name.as_str())?;
            if !record.driver_opts.is_empty() {
                return Ok(false);
            }
            state.holders.get(name).is_some_and(|holders| holders.len() > 1)
        };
        let failed = |path: PathBuf, source| PopulateError::Copy { name: name.clone(), path, source };
        let data = self.data(name);
        let is_empty = || Ok(fs_err::read_dir(&data)?.next().is_none());
        if !is_empty().map_err(|source| failed(PathBuf::new(), source))? {
            return Ok(false);
        }
        if shared {
            let target = open_directory(&data).map_err(|source| failed(PathBuf::new(), source))?;
            copy::tree(image_directory, &target).map_err(|(path, source)| failed(path, source))?;
            return Ok(true);
        }
        let filling = self.directory.join(name.as_str()).join(format!("{FILLING}{}", self.unique()));
        let result = fill(image_directory, &filling).and_then(|()| match fs_err::rename(&filling, &data) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(source) => Err((PathBuf::new(), source)),
        });
        if !matches!(result, Ok(true)) {
            // The next start clears what cannot be moved away now.
            let _ = self.discard(&filling);
        }
        result.map_err(|(path, source)| failed(path, source))
    }

    /// Returns the bytes a volume's files take, by walking it.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn size(&self, name: &str) -> Result<u64, GetError> {
        let mountpoint = self.get(name)?.mountpoint;
        // A file that cannot be looked at counts nothing.
        Ok(copy::size(&mountpoint).unwrap_or(0))
    }

    /// Deletes what lies in the trash; call it where time does not matter.
    ///
    /// # Errors
    /// The first error, after all has been tried.
    pub fn empty_trash(&self) -> io::Result<()> {
        let mut result = Ok(());
        for entry in fs_err::read_dir(&self.trash)? {
            result = result.and(entry.and_then(|entry| fs_err::remove_dir_all(entry.path())));
        }
        result
    }

    fn data(&self, name: &Name) -> PathBuf {
        self.directory.join(name.as_str()).join(DATA)
    }

    fn volume(&self, state: &State, name: &Name, record: &Record) -> Volume {
        Volume {
            name: name.clone(),
            anonymous: record.anonymous,
            mountpoint: self.data(name),
            created: UNIX_EPOCH.checked_add(Duration::from_secs(record.created)).unwrap_or(UNIX_EPOCH),
            labels: record.labels.clone(),
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

fn fill(source: BorrowedFd<'_>, directory: &Path) -> Result<(), (PathBuf, io::Error)> {
    let here = |source| (PathBuf::new(), source);
    make_directory(directory, 0o755).map_err(here)?;
    copy::tree(source, &open_directory(directory).map_err(here)?)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

//! A table: a directory with one file a record.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checksum::crc32;
use crate::key;

/// First word of each record's header line; the number is the layout's version.
const MAGIC: &str = "teu-record-1";
/// Start of the names of files that are being written.
const TEMPORARY: &str = ".new-";
/// Directory for damaged records.
const DAMAGED: &str = "damaged";
/// Records are small; a larger file is damaged.
const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Fewer records are not worth a second thread.
const PARALLEL_MIN: usize = 64;

/// A directory of records of type `T`, each in a file of its own.
///
/// A file is a header line `teu-record-1 <CRC-32> <bytes>` and the record as JSON. A record is
/// replaced by rename, so a reader sees the old or the new one, never half of one.
/// One process may write a table; its methods may be called from any thread.
pub struct Table<T> {
    directory: PathBuf,
    handle: fs_err::File,
    serial: AtomicU64,
    record: PhantomData<fn() -> T>,
}

/// How soon a record must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before `put` returns: the file and its directory are synced.
    Durable,
    /// When the kernel writes it back; a crash of the process alone loses nothing.
    Volatile,
}

/// A record that could not be read and was moved aside.
#[derive(Debug)]
pub struct Damaged {
    /// The record's key, or its file name where that is no key.
    pub key: String,
    /// Where its file is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Says why a table was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("cannot open the table `{}`", .directory.display())]
    Directory {
        /// The table's directory.
        directory: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Says why a record was not written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The key is empty or longer than a file name.
    #[error("`{key}` is no key of a record")]
    Key {
        /// The key.
        key: String,
    },
    /// The record has no JSON form.
    #[error("cannot encode the record `{key}`")]
    Encode {
        /// The key.
        key: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The file cannot be written; the former record is unchanged.
    #[error("cannot write the record `{key}`")]
    Write {
        /// The key.
        key: String,
        /// The cause.
        source: io::Error,
    },
}

/// Says why a record was not removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove the record `{key}`")]
pub struct RemoveError {
    /// The key.
    pub key: String,
    /// The cause.
    pub source: io::Error,
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send> Table<T> {
    /// Opens the table in `directory`, which is made (mode 0700) where it is missing, and reads all records.
    ///
    /// Half-written files of a crash are deleted. A damaged record is moved to `damaged/` and
    /// reported, now and at each later opening until its file is deleted, and the others are
    /// still read. Records come sorted by key. Many are read by two threads.
    ///
    /// # Errors
    /// [`OpenError`] when the directory itself cannot be used.
    #[expect(clippy::type_complexity, reason = "the three parts are used at once and named at each caller")]
    pub fn open(directory: impl Into<PathBuf>) -> Result<(Self, Vec<(String, T)>, Vec<Damaged>), OpenError> {
        let directory = directory.into();
        Self::read_all(&directory).map_err(|source| OpenError::Directory { directory, source })
    }

    #[expect(clippy::type_complexity, reason = "as `open`")]
    fn read_all(directory: &Path) -> io::Result<(Self, Vec<(String, T)>, Vec<Damaged>)> {
        make_directory(directory)?;
        let mut files = Vec::new();
        let mut damaged = Vec::new();
        for entry in fs_err::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name == DAMAGED {
                damaged = earlier::<T>(&entry.path())?;
            } else if name.starts_with(TEMPORARY) {
                fs_err::remove_file(entry.path())?;
            } else if let Some(key) = key::from_file_name(name) {
                files.push(Found { key, name: name.to_owned(), path: entry.path() });
            }
        }
        files.sort_by(|one, other| one.key.cmp(&other.key));
        let mut records = Vec::with_capacity(files.len());
        for (file, read) in read_records(files) {
            match read {
                Ok(record) => records.push((file.key, record)),
                Err(reason) => damaged.push(set_aside(directory, &file.name, file.key, reason)?),
            }
        }
        let table = Self {
            directory: directory.to_owned(),
            handle: fs_err::File::open(directory)?,
            serial: AtomicU64::new(0),
            record: PhantomData,
        };
        Ok((table, records, damaged))
    }

    /// Writes `record` under `key` and replaces the former one.
    ///
    /// # Errors
    /// [`PutError`]; the former record is then unchanged.
    pub fn put(&self, key: &str, record: &T, durability: Durability) -> Result<(), PutError> {
        let name = key::to_file_name(key).ok_or_else(|| PutError::Key { key: key.to_owned() })?;
        let body = serde_json::to_vec(record).map_err(|source| PutError::Encode { key: key.to_owned(), source })?;
        let mut bytes = format!("{MAGIC} {:08x} {}\n", crc32(&body), body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        bytes.push(b'\n');
        self.write(&name, &bytes, durability).map_err(|source| PutError::Write { key: key.to_owned(), source })
    }

    fn write(&self, name: &str, bytes: &[u8], durability: Durability) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!("{TEMPORARY}{serial}-{name}"));
        let written = self.write_and_rename(&temporary, name, bytes, durability);
        if written.is_err() {
            // The cause is what counts; a file left here is deleted by the next `open`.
            let _ = fs_err::remove_file(&temporary);
        }
        written
    }

    fn write_and_rename(&self, temporary: &Path, name: &str, bytes: &[u8], durability: Durability) -> io::Result<()> {
        let mut file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(bytes)?;
        if durability == Durability::Durable {
            // Before the rename: else the new name could point at an empty file after a power cut.
            file.sync_data()?;
        }
        fs_err::rename(temporary, self.directory.join(name))?;
        if durability == Durability::Durable {
            self.handle.sync_all()?;
        }
        Ok(())
    }

    /// Removes the record under `key` and says whether there was one.
    ///
    /// # Errors
    /// [`RemoveError`] when its file cannot be unlinked.
    pub fn remove(&self, key: &str, durability: Durability) -> Result<bool, RemoveError> {
        let Some(name) = key::to_file_name(key) else {
            return Ok(false);
        };
        let removed = match fs_err::remove_file(self.directory.join(name)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => {
                return Err(RemoveError { key: key.to_owned(), source });
            }
        };
        if removed && durability == Durability::Durable {
            self.handle.sync_all().map_err(|source| RemoveError { key: key.to_owned(), source })?;
        }
        Ok(removed)
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// A record's file.
struct Found {
    key: String,
    name: String,
    path: PathBuf,
}

/// Reads all files, half of them on a second thread where that is worth it.
fn read_records<T: DeserializeOwned + Send>(mut files: Vec<Found>) -> Vec<(Found, Result<T, String>)> {
    let read = |files: Vec<Found>| {
        let mut buffer = Vec::new();
        files.into_iter().map(|file| (read_record(&file.path, &mut buffer), file)).map(|(read, file)| (file, read)).collect::<Vec<_>>()
    };
    if files.len() < PARALLEL_MIN {
        return read(files);
    }
    let second = files.split_off(files.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read(second));
        let mut all = read(files);
        match other.join() {
            Ok(rest) => all.extend(rest),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        all
    })
}

/// Records that were set aside before, with what is wrong with them.
fn earlier<T: DeserializeOwned>(aside: &Path) -> io::Result<Vec<Damaged>> {
    let (mut found, mut buffer) = (Vec::new(), Vec::new());
    for entry in fs_err::read_dir(aside)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // A number stands behind the name where a record of this key was damaged twice.
        let plain = name.find(".json").map_or(name.as_str(), |end| &name[..end + ".json".len()]);
        let key = key::from_file_name(plain).unwrap_or_else(|| name.clone());
        let reason = read_record::<T>(&path, &mut buffer).err().unwrap_or_else(|| "it was set aside by an earlier version".to_owned());
        found.push(Damaged { key, path, reason });
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Reads one record; `buffer` is reused from record to record.
fn read_record<T: DeserializeOwned>(path: &Path, buffer: &mut Vec<u8>) -> Result<T, String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    buffer.clear();
    let file = fs_err::File::open(path).map_err(|error| text(&error))?;
    file.take(RECORD_BYTES_MAX + 1).read_to_end(buffer).map_err(|error| text(&error))?;
    let bytes = buffer.as_slice();
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err(format!("the file is longer than {RECORD_BYTES_MAX} bytes"));
    }
    let end = bytes.iter().position(|&b| b == b'\n').ok_or("the header line is missing")?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| "the header line is not text")?;
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("the header line is of another kind".to_owned());
    }
    let checksum = words.next().and_then(|word| u32::from_str_radix(word, 16).ok()).ok_or("the checksum is missing")?;
    let length: usize = words.next().and_then(|word| word.parse().ok()).ok_or("the length is missing")?;
    let body = bytes.get(end + 1..).and_then(|rest| rest.get(..length)).ok_or("the file is cut short")?;
    if crc32(body) != checksum {
        return Err("the checksum is wrong".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| text(&error))
}

fn set_aside(directory: &Path, name: &str, key: String, reason: String) -> io::Result<Damaged> {
    let aside = directory.join(DAMAGED);
    make_directory(&aside)?;
    let mut path = aside.join(name);
    let mut number = 1_u32;
    while path.symlink_metadata().is_ok() {
        path = aside.join(format!("{name}.{number}"));
        number += 1;
    }
    fs_err::rename(directory.join(name), &path)?;
    Ok(Damaged { key, path, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Record = Vec<u32>;

    fn open(directory: &Path) -> (Table<Record>, Vec<(String, Record)>, Vec<Damaged>) {
        Table::open(directory).unwrap()
    }

    #[test]
    fn records_are_read_back_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (table, records, _) = open(directory.path());
        assert!(records.is_empty());
        table.put("b/../c", &vec![1], Durability::Durable).unwrap();
        table.put("a", &vec![2], Durability::Volatile).unwrap();
        table.put("a", &vec![3], Durability::Durable).unwrap();
        assert!(table.remove("a", Durability::Durable).unwrap() && !table.remove("a", Durability::Durable).unwrap());
        table.put("a", &vec![4], Durability::Volatile).unwrap();
        drop(table);
        let (_, records, damaged) = open(directory.path());
        assert_eq!(records, [("a".to_owned(), vec![4]), ("b/../c".to_owned(), vec![1])]);
        assert!(damaged.is_empty());
    }

    #[test]
    fn wrong_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (table, ..) = open(directory.path());
        assert!(table.put("", &vec![], Durability::Volatile).is_err());
        assert!(table.put(&"x".repeat(300), &vec![], Durability::Volatile).is_err());
        assert!(!table.remove("", Durability::Volatile).unwrap());
    }

    #[test]
    fn each_cut_and_each_flipped_byte_is_found_and_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (table, ..) = open(directory.path());
        table.put("whole", &vec![7], Durability::Durable).unwrap();
        table.put("bad", &vec![1, 2, 3], Durability::Durable).unwrap();
        let file = directory.path().join("bad.json");
        let sound = fs_err::read(&file).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..sound.len() - 1).map(|end| sound[..end].to_vec()).collect();
        for index in 0..sound.len() - 1 {
            let mut flipped = sound.clone();
            flipped[index] ^= 0x10;
            cases.push(flipped);
        }
        for case in cases {
            fs_err::write(&file, &case).unwrap();
            let (_, records, damaged) = open(directory.path());
            assert_eq!(records, [("whole".to_owned(), vec![7])]);
            assert_eq!((damaged.len(), damaged[0].key.as_str()), (1, "bad"));
            assert_eq!(fs_err::read(&damaged[0].path).unwrap(), case);
            // It is told again until someone deletes it.
            let (.., again) = open(directory.path());
            assert_eq!((again.len(), &again[0].path, &again[0].reason), (1, &damaged[0].path, &damaged[0].reason));
            fs_err::remove_file(&damaged[0].path).unwrap();
        }
    }

    #[test]
    fn many_records_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (table, ..) = open(directory.path());
        for number in 0..200_u32 {
            table.put(&format!("{number:03}"), &vec![number], Durability::Volatile).unwrap();
        }
        fs_err::write(directory.path().join("150.json"), "torn").unwrap();
        let (_, records, damaged) = open(directory.path());
        let expected: Vec<_> = (0..200).filter(|number| *number != 150).map(|number| (format!("{number:03}"), vec![number])).collect();
        assert_eq!((records, damaged[0].key.as_str()), (expected, "150"));
    }

    #[test]
    fn half_written_files_are_deleted_and_strangers_left() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()));
        fs_err::write(directory.path().join(".new-0-a.json"), "half").unwrap();
        fs_err::write(directory.path().join("readme"), "mine").unwrap();
        let (_, records, damaged) = open(directory.path());
        assert!(records.is_empty() && damaged.is_empty());
        assert!(!directory.path().join(".new-0-a.json").exists());
        assert!(directory.path().join("readme").exists());
    }

    #[test]
    fn writers_of_one_key_do_not_meet() {
        let directory = tempfile::tempdir().unwrap();
        let (table, ..) = open(directory.path());
        std::thread::scope(|scope| {
            for number in 0..8 {
                let table = &table;
                scope.spawn(move || {
                    for _ in 0..50 {
                        table.put("one", &vec![number; 100], Durability::Volatile).unwrap();
                    }
                });
            }
        });
        let (_, records, damaged) = open(directory.path());
        assert!(damaged.is_empty());
        assert_eq!(records[0].1.len(), 100);
    }
}

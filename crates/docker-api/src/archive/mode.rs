//! Go's `os.FileMode`, which the API uses instead of `st_mode`.

use rustix::fs::{FileType, Stat};

/// A directory. **Source:** Go, package `io/fs`, `ModeDir`.
pub const MODE_DIRECTORY: u32 = 1 << 31;
/// A symbolic link. **Source:** Go, package `io/fs`, `ModeSymlink`.
pub const MODE_SYMLINK: u32 = 1 << 27;

/// Translates what stat(2) says.
#[must_use]
pub fn go_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => MODE_DIRECTORY,
        FileType::Symlink => MODE_SYMLINK,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let special = [(0o4000, 23), (0o2000, 22), (0o1000, 20)];
    let special = special.iter().filter(|(bit, _)| stat.st_mode & bit != 0).map(|(_, place)| 1 << place).sum::<u32>();
    kind | special | stat.st_mode & 0o777
}

/// Whether a mode of Go's is a directory's.
#[must_use]
pub fn is_directory(mode: u32) -> bool {
    mode & MODE_DIRECTORY != 0
}

/// Whether a mode of Go's is a symbolic link's.
#[must_use]
pub fn is_symlink(mode: u32) -> bool {
    mode & MODE_SYMLINK != 0
}

//! `tmpcopyup`: a tmpfs that begins with what the image has at its place.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chownat, mkdirat, openat, readlinkat, statat, symlinkat};

use crate::child::{Outcome, Trying as _};

/// Copies the folder below `from` into the empty file system `to`, with owners and modes, without leaving either.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Outcome<()> {
    let what = || "tmpcopyup".to_owned();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = openat(from, ".", flags, Mode::empty()).trying(what)?;
    let to = openat(to, ".", flags, Mode::empty()).trying(what)?;
    folder(&from, &to).trying(what)
}

fn folder(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let own = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(uid(own.st_uid)), Some(gid(own.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(own.st_mode))?;
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(to, name, mode)?;
                folder(
                    &openat(from, name, flags | OFlags::DIRECTORY, Mode::empty())?,
                    &openat(to, name, flags | OFlags::DIRECTORY, Mode::empty())?,
                )?;
            }
            FileType::RegularFile => {
                let mut source = std::fs::File::from(openat(from, name, flags, Mode::empty())?);
                let copy = openat(to, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, mode)?;
                rustix::fs::fchown(&copy, Some(uid(stat.st_uid)), Some(gid(stat.st_gid)))?;
                rustix::fs::fchmod(&copy, mode)?;
                std::io::copy(&mut source, &mut std::fs::File::from(copy))
                    .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))?;
            }
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                chownat(to, name, Some(uid(stat.st_uid)), Some(gid(stat.st_gid)), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket | FileType::Unknown => {}
        }
    }
    Ok(())
}

fn uid(raw: u32) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(raw)
}

fn gid(raw: u32) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(raw)
}

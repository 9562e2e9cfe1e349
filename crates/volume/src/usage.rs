//! How much lies below a directory.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::model::Usage;

/// Bytes of one block of `st_blocks`. **Source:** stat(3type).
const BLOCK: u64 = 512;

/// Counts everything below a directory, without crossing into other file systems; what goes meanwhile counts nothing.
///
/// # Errors
/// When a directory cannot be read.
pub(crate) fn measure(directory: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut seen = HashSet::new();
    let device = fs_err::metadata(directory)?.dev();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = match fs_err::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                usage.directories += 1;
                usage.disk_bytes = usage.disk_bytes.saturating_add(metadata.blocks() * BLOCK);
                if metadata.dev() == device {
                    waiting.push(entry.path());
                }
                continue;
            }
            usage.files += 1;
            if metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            usage.disk_bytes = usage.disk_bytes.saturating_add(metadata.blocks() * BLOCK);
            if metadata.is_file() {
                usage.bytes = usage.bytes.saturating_add(metadata.len());
            }
        }
    }
    Ok(usage)
}

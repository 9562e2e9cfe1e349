//! The detailed counters of a container's memory.

use std::collections::BTreeMap;

use runtime::cgroup::Cgroup;

/// Lines of `memory.stat`; empty if there are none.
pub(crate) fn counters(cgroup: &Cgroup) -> BTreeMap<String, u64> {
    let text = cgroup.memory_folder().and_then(|folder| fs_err::read_to_string(folder.join("memory.stat")).ok());
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.unwrap_or_default().lines().filter_map(line).collect()
}

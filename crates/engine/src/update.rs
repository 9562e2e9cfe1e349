//! New limits over those that a container has.

use crate::spec::Resources;

/// Takes over what is new; zero and none leave what is.
/// **Source:** moby, `container/container_unix.go`, `UpdateContainer`.
///
/// # Errors
/// Docker's words for what does not go together; nothing is changed then.
pub(crate) fn merge(own: &mut Resources, new: &Resources) -> Result<(), &'static str> {
    let conflicts = [
        (new.nano_cpus > 0 && own.cpu_period > 0, "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"),
        (new.nano_cpus > 0 && own.cpu_quota > 0, "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"),
        (new.cpu_period > 0 && own.nano_cpus > 0, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"),
        (new.cpu_quota > 0 && own.nano_cpus > 0, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        (
            new.memory != 0 && new.memory > own.memory_swap && new.memory_swap == 0,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
    ];
    if let Some((_, text)) = conflicts.into_iter().find(|(conflict, _)| *conflict) {
        return Err(text);
    }
    let change = |own: &mut i64, new: i64| {
        if new != 0 {
            *own = new;
        }
    };
    change(&mut own.memory, new.memory);
    change(&mut own.memory_swap, new.memory_swap);
    change(&mut own.memory_reservation, new.memory_reservation);
    change(&mut own.cpu_shares, new.cpu_shares);
    change(&mut own.cpu_period, new.cpu_period);
    change(&mut own.cpu_quota, new.cpu_quota);
    change(&mut own.cpu_realtime_period, new.cpu_realtime_period);
    change(&mut own.cpu_realtime_runtime, new.cpu_realtime_runtime);
    change(&mut own.nano_cpus, new.nano_cpus);
    if new.blkio_weight != 0 {
        own.blkio_weight = new.blkio_weight;
    }
    own.pids_limit = new.pids_limit.or(own.pids_limit);
    for (own, new) in [(&mut own.cpuset_cpus, &new.cpuset_cpus), (&mut own.cpuset_mems, &new.cpuset_mems)] {
        if !new.is_empty() {
            own.clone_from(new);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_changes_nothing() {
        let mut own = Resources { cpu_quota: 50_000, ..Resources::default() };
        let before = own.clone();
        assert!(merge(&mut own, &Resources { nano_cpus: 1, ..Resources::default() }).unwrap_err().contains("CPU Quota has already"));
        assert!(merge(&mut own, &Resources { memory: 1 << 25, ..Resources::default() }).unwrap_err().starts_with("Memory limit should"));
        assert_eq!(own, before);
        merge(&mut own, &Resources { memory: 1 << 25, memory_swap: 1 << 26, ..Resources::default() }).unwrap();
        merge(&mut own, &Resources { memory: 1 << 26, ..Resources::default() }).unwrap();
        assert_eq!((own.memory, own.memory_swap, own.cpu_quota), (1 << 26, 1 << 26, 50_000));
    }
}

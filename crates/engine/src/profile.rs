//! What a container gets unless asked otherwise: Docker's default capabilities, system call filter, mounts and paths.
//!
//! **Source:** moby, `profiles/seccomp/default.json` (2026), `oci/defaults.go`, `oci/caps/defaults.go`.

mod document;

use oci::runtime::{DeviceRule, Mount, Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule};

pub use document::{ParseError, seccomp_from_json};

/// Capabilities of a container that is not privileged.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Paths hidden from a container.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths a container only reads.
pub const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Masked paths with those of the processors that exist, whose thermal counters leak what neighbours do.
#[must_use]
pub fn masked_paths() -> Vec<std::path::PathBuf> {
    let cpus = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let thermal = cpus.map(|cpu| cpu.path().join("thermal_throttle")).filter(|path| path.exists());
    let mut paths: Vec<_> = MASKED_PATHS.iter().map(Into::into).chain(thermal).collect();
    paths.sort();
    paths
}

/// The mounts of every container, in the order they are made.
#[must_use]
pub fn mounts() -> Vec<Mount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &str| Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: options.split(',').map(Into::into).collect(),
        ..Mount::default()
    };
    vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ]
}

/// Device rules of a container that is not privileged; the runtime adds those for terminals itself.
#[must_use]
pub fn device_rules() -> Vec<DeviceRule> {
    let rule = |allow, kind: Option<&str>, major, minor| DeviceRule {
        allow,
        kind: kind.map(Into::into),
        major,
        minor,
        access: Some("rwm".into()),
    };
    let known = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)];
    let mut rules = vec![rule(false, None, None, None)];
    rules.extend(known.map(|(major, minor)| rule(true, Some("c"), Some(major), Some(minor))));
    rules.push(rule(false, Some("c"), Some(10), Some(229)));
    rules
}

/// The filter of a container with these capabilities, as Docker's default profile gives it on this architecture.
#[must_use]
pub fn seccomp(capabilities: &[String]) -> Seccomp {
    let has = |name: &str| capabilities.iter().any(|granted| granted == name);
    let mut syscalls = vec![allow(ALLOWED), allow("process_vm_readv process_vm_writev ptrace")];
    // Address families 38 (AF_ALG) and 40 (AF_VSOCK) reach kernel code that containers need not.
    for (op, value) in [(SeccompOp::Less, 38), (SeccompOp::Equal, 39), (SeccompOp::Greater, 40)] {
        syscalls.push(allow_if("socket", argument(0, value, 0, op)));
    }
    for domain in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        syscalls.push(allow_if("personality", argument(0, domain, 0, SeccompOp::Equal)));
    }
    syscalls.push(allow(OF_ARCHITECTURE));
    syscalls.extend(WITH_CAPABILITY.iter().filter(|(capability, _)| has(capability)).map(|(_, names)| allow(names)));
    if !has("CAP_SYS_ADMIN") {
        syscalls.push(allow_if("clone", argument(0, NAMESPACE_FLAGS, 0, SeccompOp::MaskedEqual)));
        // The flags of clone3 lie in memory that no filter sees: ENOSYS makes libraries use clone.
        let refused = SeccompRule { names: vec!["clone3".into()], action: SeccompAction::Errno, errno_ret: Some(38), args: Vec::new() };
        syscalls.push(refused);
    }
    Seccomp {
        default_action: SeccompAction::Errno,
        default_errno_ret: Some(1),
        architectures: ARCHITECTURES.iter().map(|&name| name.into()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn allow(names: &str) -> SeccompRule {
    SeccompRule { names: names.split_ascii_whitespace().map(Into::into).collect(), action: SeccompAction::Allow, ..SeccompRule::default() }
}

fn allow_if(name: &str, condition: SeccompArg) -> SeccompRule {
    SeccompRule { args: vec![condition], ..allow(name) }
}

fn argument(index: u32, value: u64, value_two: u64, op: SeccompOp) -> SeccompArg {
    SeccompArg { index, value, value_two, op }
}

/// `CLONE_NEW*` of mount, cgroup, uts, ipc, user, pid and network.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// The machine's architecture and those its kernel also runs.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
/// The machine's architecture and those its kernel also runs.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];

/// Calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const OF_ARCHITECTURE: &str = "arch_prctl modify_ldt";
/// Calls that only this architecture has.
#[cfg(target_arch = "aarch64")]
const OF_ARCHITECTURE: &str = "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";

/// Calls that need no capability.
const ALLOWED: &str = "\
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime \
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 \
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 \
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat \
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait \
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid \
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid \
    getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area \
    gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 \
    inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set \
    io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 \
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat \
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock \
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 \
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap \
    name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 \
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease \
    pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg \
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall \
    riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam \
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop \
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid \
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid \
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area \
    set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd \
    signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink \
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun \
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 \
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe \
    utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Calls that come with a capability.
const WITH_CAPABILITY: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "\
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &Seccomp) -> Vec<&str> {
        filter.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str).collect()
    }

    #[test]
    fn the_default_filter_follows_the_capabilities() {
        let plain = seccomp(&CAPABILITIES.map(Into::into));
        let all = seccomp(&oci::capability::NAMES.map(Into::into));
        assert!(names(&plain).contains(&"chroot"));
        assert!(!names(&plain).contains(&"mount"));
        assert!(names(&all).contains(&"mount"));
        let clone3 = |filter: &Seccomp| {
            filter.syscalls.iter().filter(|rule| rule.names.iter().any(|name| name == "clone3")).map(|rule| rule.action).collect::<Vec<_>>()
        };
        assert_eq!(clone3(&plain), [SeccompAction::Errno]);
        assert_eq!(clone3(&all), [SeccompAction::Allow]);
    }

    #[test]
    fn mounts_begin_with_proc() {
        assert_eq!(mounts()[0].destination.to_str(), Some("/proc"));
        assert!(masked_paths().iter().any(|path| path.ends_with("interrupts")));
        assert!(!device_rules()[0].allow);
    }
}

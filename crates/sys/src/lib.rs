//! Typed Linux: mounts, namespaces, processes, filters. The only crate with `unsafe`.

#[allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]
pub mod bpf;
pub mod cgroup;
#[allow(unsafe_code, reason = "fork has no safe wrapper")]
pub mod fork;
#[allow(unsafe_code, reason = "mount_setattr and open_tree_attr have no safe wrapper")]
pub mod mount;
#[allow(unsafe_code, reason = "unshare(2) has no safe wrapper")]
pub mod netlink;
#[allow(unsafe_code, reason = "clone3, execve, close_range and friends have no safe wrapper")]
pub mod process;
#[allow(unsafe_code, reason = "FS_IOC_FSSETXATTR and quotactl_fd have no safe wrapper")]
pub mod quota;
#[allow(unsafe_code, reason = "SO_ATTACH_FILTER has no safe wrapper")]
pub mod reserve;
#[allow(unsafe_code, reason = "seccomp(2) has no safe wrapper")]
pub mod seccomp;
pub mod seqpacket;
#[allow(unsafe_code, reason = "dispositions, masks and sigwaitinfo have no safe wrapper")]
pub mod signal;
#[allow(unsafe_code, reason = "signalfd, dispositions and masks have no safe wrapper")]
pub mod signalfd;
#[allow(unsafe_code, reason = "SIOCOUTQ has no safe wrapper")]
pub mod socket;

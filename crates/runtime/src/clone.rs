//! The clone that makes the first process, in or with the namespaces that only one in the right place can make.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use oci::runtime::{NamespaceType, Spec};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use sys::process::Side;

use crate::child::{Failure, Joined, Outcome, Trying as _};
use crate::sync::{Message, pair};

/// Whether the container gets a new namespace of this kind.
pub(crate) fn has_new(spec: &Spec, kind: NamespaceType) -> bool {
    spec.linux.as_ref().is_some_and(|linux| linux.namespaces.iter().any(|ns| ns.kind == kind && ns.path.is_none()))
}

/// Clones; what of `joined` has been entered on the way is taken off it, in the child.
pub(crate) fn first_process(spec: &Spec, joined: &mut Vec<Joined>, into: Option<BorrowedFd<'_>>) -> Outcome<Side> {
    let flags = flags(spec);
    let own = join_pid_namespace(spec)?;
    let by_user = joined.iter().any(|namespace| namespace.kind == NamespaceType::User);
    let before_user = has_new(spec, NamespaceType::User) && joined.iter().any(|namespace| namespace.kind != NamespaceType::Mount);
    let side = if by_user || before_user {
        through_another(joined, flags, into)
    } else {
        sys::process::clone3(flags, into).trying(|| "clone".into())
    };
    // Only the parent returns: the child stays in the namespace that it was born in.
    if let Some(own) = own.filter(|_| !matches!(side, Ok(Side::Child))) {
        sys::process::setns(own.as_fd(), sys::process::NEW_PID).trying(|| "returning to the own pid namespace".into())?;
    }
    side
}

/// What clone3 makes; cgroup and time namespaces are made later by the child itself.
fn flags(spec: &Spec) -> u64 {
    use NamespaceType::{Ipc, Mount, Network, Pid, User, Uts};
    let kinds = [
        (Mount, sys::process::NEW_MOUNT),
        (Pid, sys::process::NEW_PID),
        (Network, sys::process::NEW_NETWORK),
        (Ipc, sys::process::NEW_IPC),
        (Uts, sys::process::NEW_UTS),
        (User, sys::process::NEW_USER),
    ];
    kinds.iter().filter(|(kind, _)| has_new(spec, *kind)).fold(0, |flags, (_, flag)| flags | flag)
}

/// Clones by way of a process that enters the given namespaces first and makes the new ones from there.
///
/// New namespaces belong to the user namespace they are made in: made from outside, the container's root would have no say in
/// them. The other way round, one who has entered a new user namespace may not join the host's any more.
/// **Source:** user_namespaces(7), setns(2); runc, `nsexec.c`.
fn through_another(joined: &mut Vec<Joined>, flags: u64, into: Option<BorrowedFd<'_>>) -> Outcome<Side> {
    let (ours, theirs) = pair().trying(|| "socketpair".into())?;
    match sys::process::clone3(0, into).trying(|| "clone".into())? {
        Side::Child => {
            drop(ours);
            let side = enter_all(joined).and_then(|()| sys::process::clone3(flags | sys::process::SIBLING, None).trying(|| "clone".into()));
            let told = match side {
                Ok(Side::Child) => return Ok(Side::Child),
                Ok(Side::Parent { pidfd, .. }) => theirs.send(b'r', "", Some(pidfd.as_fd())),
                Err(failure) => theirs.send(b'e', &failure.0, None),
            };
            sys::process::exit_now(i32::from(told.is_err()))
        }
        Side::Parent { pidfd: between, .. } => {
            drop(theirs);
            let told = ours.receive();
            let _reaped = waitid(WaitId::PidFd(between.as_fd()), WaitIdOptions::EXITED);
            match told.trying(|| "waiting for the clone".into())? {
                Message::Ready(Some(pidfd)) => Ok(Side::Parent { pid: number(&pidfd)?, pidfd }),
                Message::Failed(text) => Err(Failure(text)),
                other @ (Message::Joined
                | Message::Ready(None)
                | Message::Hooks
                | Message::Listener(_)
                | Message::Warning(_)
                | Message::Start
                | Message::Closed) => Err(Failure(format!("clone: unexpected message: {other:?}"))),
            }
        }
    }
}

/// Enters all but mount namespaces: first what the caller may, then the user namespace, then what it grants.
fn enter_all(joined: &mut Vec<Joined>) -> Outcome<()> {
    let kept: Vec<Joined> = joined.extract_if(.., |namespace| namespace.kind == NamespaceType::Mount).collect();
    let is_user = |namespace: &Joined| namespace.kind == NamespaceType::User;
    joined.retain(|namespace| is_user(namespace) || namespace.enter().is_err());
    joined.sort_by_key(|namespace| !is_user(namespace));
    for namespace in joined.iter() {
        namespace.enter().trying(|| format!("joining namespace {}", namespace.path.display()))?;
    }
    *joined = kept;
    Ok(())
}

/// Number of the process of a descriptor in our pid namespace. **Source:** pidfd_open(2), `/proc/self/fdinfo`.
fn number(pidfd: &OwnedFd) -> Outcome<Pid> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).trying(|| "reading fdinfo".into())?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.and_then(Pid::from_raw).ok_or_else(|| Failure("the process died as soon as it was cloned".into()))
}

/// Joins a pid namespace for the next child; returns the way back.
fn join_pid_namespace(spec: &Spec) -> Outcome<Option<OwnedFd>> {
    let namespace = spec.linux.as_ref().and_then(|linux| linux.namespaces.iter().find(|ns| ns.kind == NamespaceType::Pid));
    let Some(path) = namespace.and_then(|namespace| namespace.path.as_ref()) else {
        return Ok(None);
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = open("/proc/self/ns/pid", flags, Mode::empty()).trying(|| "opening the own pid namespace".into())?;
    let fd = open(path, flags, Mode::empty()).trying(|| format!("opening namespace {}", path.display()))?;
    sys::process::setns(fd.as_fd(), sys::process::NEW_PID).trying(|| format!("joining namespace {}", path.display()))?;
    Ok(Some(own))
}

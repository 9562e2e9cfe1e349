//! Seccomp profiles compiled to filters that find a call by binary search.
//!
//! A linear filter costs every call the rules before it; this one splits the numbers into ranges of equal treatment and
//! searches them. Calls of other architectures than the profile's are killed.
//! **Source:** runtime-spec, `config-linux.md`, Seccomp; `linux/seccomp.h`, `linux/filter.h`, `linux/audit.h`.

mod assemble;
mod interpret;
pub(crate) mod listener;
mod syscalls;

use std::collections::BTreeMap;

use oci::runtime::{Seccomp, SeccompAction, SeccompArg};
use sys::seccomp::Instruction;

/// A ready filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    flags: u32,
}

/// A profile that cannot be a filter.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The name is not one of the specification's.
    #[error("seccomp: unknown architecture `{0}`")]
    UnknownArchitecture(String),
    /// The name is not one of the specification's.
    #[error("seccomp: unknown flag `{0}`")]
    UnknownFlag(String),
    /// A call has six arguments.
    #[error("seccomp: rule for {names}: argument {index} is not 0 to 5")]
    ArgumentIndex {
        /// The rule's calls.
        names: String,
        /// The index.
        index: u32,
    },
    /// The kernel takes at most 4096 instructions.
    #[error("seccomp: the profile needs {0} instructions, the kernel takes 4096")]
    TooLong(usize),
    /// The rule needs a listener.
    #[error("seccomp: SCMP_ACT_NOTIFY needs a listenerPath")]
    Notify,
    /// Nothing could be done before somebody listens.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be the default action")]
    NotifyAll,
    /// The call that hands the descriptor over would wait for itself.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be used for sendmsg")]
    NotifySend,
}

/// Bytes that are not a filter of this version.
#[derive(Debug, thiserror::Error)]
#[error("not a compiled seccomp filter")]
pub struct FromBytesError;

/// Version of [`Program::to_bytes`].
const FORMAT: u32 = 0x7465_7531;

impl Program {
    /// Loads the filter for the calling thread.
    ///
    /// One that notifies gives the descriptor to listen at.
    pub(crate) fn load(&self) -> std::io::Result<Option<std::os::fd::OwnedFd>> {
        sys::seccomp::load(&self.instructions, self.flags)
    }

    /// Number of instructions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// Bytes to keep or pass on, for [`Program::from_bytes`] on the same machine.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.instructions.len() * 8);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        for instruction in &self.instructions {
            bytes.extend(instruction.code.to_le_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Program::to_bytes`] wrote.
    ///
    /// # Errors
    /// If the bytes are of another version or cut off.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FromBytesError> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        if word(0) != Some(FORMAT) || !bytes.len().is_multiple_of(8) {
            return Err(FromBytesError);
        }
        let flags = word(4).ok_or(FromBytesError)?;
        let read = |at: usize| {
            let [low, high, jt, jf] = *bytes.get(at..at + 4)?.first_chunk::<4>()?;
            Some(Instruction { code: u16::from_le_bytes([low, high]), jt, jf, k: word(at + 4)? })
        };
        let instructions = (8..bytes.len()).step_by(8).map(read).collect::<Option<_>>().ok_or(FromBytesError)?;
        Ok(Self { instructions, flags })
    }
}

/// What happens to a call: the first matching alternative, else the last action.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Treatment {
    /// Conditions and the action if all of them hold.
    alternatives: Vec<(Vec<SeccompArg>, u32)>,
    last: u32,
}

/// Compiles a profile.
///
/// # Errors
/// As [`CompileError`] says.
pub fn compile(profile: &Seccomp) -> Result<Program, CompileError> {
    let default = action(profile.default_action, profile.default_errno_ret);
    if profile.default_action == SeccompAction::Notify {
        // The calls that hand the descriptor over would already wait for its listener.
        return Err(CompileError::NotifyAll);
    }
    let mut flags = 0;
    for flag in &profile.flags {
        flags |= match flag.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => 1,
            "SECCOMP_FILTER_FLAG_LOG" => 2,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 4,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 1 << 5,
            other => return Err(CompileError::UnknownFlag(other.to_owned())),
        };
    }
    flags = listening(profile, flags)?;
    let mut tables = Vec::new();
    for table in syscalls::tables(&profile.architectures)? {
        tables.push((table, treatments(profile, table, default)?));
    }
    let instructions = assemble::program(&tables, default);
    if instructions.len() > 4096 {
        return Err(CompileError::TooLong(instructions.len()));
    }
    Ok(Program { instructions, flags })
}

/// The flags of a filter, with a listener if a rule notifies. **Source:** seccomp(2): the listener excludes TSYNC, which changes
/// nothing for a process with one thread, and WAIT_KILLABLE_RECV is for listeners only.
fn listening(profile: &Seccomp, flags: u32) -> Result<u32, CompileError> {
    let notifying = || profile.syscalls.iter().filter(|rule| rule.action == SeccompAction::Notify);
    if notifying().next().is_none() {
        return Ok(flags & !(1 << 5));
    }
    if profile.listener_path.is_none() {
        return Err(CompileError::Notify);
    }
    if notifying().any(|rule| rule.names.iter().any(|name| name == "sendmsg")) {
        return Err(CompileError::NotifySend);
    }
    Ok(flags & !1 | 1 << 3)
}

/// Names of the architectures that filters can be made for on this machine.
pub(crate) fn architectures() -> &'static [&'static str] {
    syscalls::NAMES
}

/// The treatment of every call of one architecture that a rule names.
fn treatments(profile: &Seccomp, table: &syscalls::Table, default: u32) -> Result<BTreeMap<u32, Treatment>, CompileError> {
    let mut result: BTreeMap<u32, Treatment> = BTreeMap::new();
    let numbers = table.numbers();
    for rule in &profile.syscalls {
        if let Some(arg) = rule.args.iter().find(|arg| arg.index > 5) {
            return Err(CompileError::ArgumentIndex { names: rule.names.join(", "), index: arg.index });
        }
        let action = action(rule.action, rule.errno_ret);
        for number in rule.names.iter().filter_map(|name| numbers.get(name.as_str()).copied()) {
            let treatment = result.entry(number).or_insert_with(|| Treatment { alternatives: Vec::new(), last: default });
            // Several conditions on one argument are alternatives, as libseccomp (and so runc) reads them.
            let mut indexes: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
            indexes.sort_unstable();
            indexes.dedup();
            if rule.args.is_empty() {
                treatment.last = action;
            } else if indexes.len() < rule.args.len() {
                treatment.alternatives.extend(rule.args.iter().map(|arg| (vec![arg.clone()], action)));
            } else {
                treatment.alternatives.push((rule.args.clone(), action));
            }
        }
    }
    for treatment in result.values_mut() {
        let last = treatment.last;
        treatment.alternatives.retain(|(_, action)| *action != last);
    }
    Ok(result)
}

/// The kernel's return value of an action.
fn action(action: SeccompAction, errno: Option<u32>) -> u32 {
    const EPERM: u32 = 1;
    let data = errno.unwrap_or(EPERM) & 0xffff;
    match action {
        SeccompAction::KillThread => 0x0000_0000,
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::Errno => 0x0005_0000 | data,
        SeccompAction::Notify => 0x7fc0_0000,
        SeccompAction::Trace => 0x7ff0_0000 | data,
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Allow => 0x7fff_0000,
    }
}

//! What must hold for bytes of strangers; the fuzzer and the tests below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule};

use crate::seccomp::{Program, compile};

/// A profile in JSON compiles to a filter that the kernel may take, or is refused.
pub fn seccomp_document(bytes: &[u8]) {
    if let Some(program) = serde_json::from_slice(bytes).ok().and_then(|profile| compile(&profile).ok()) {
        assert_eq!(Program::from_bytes(&program.to_bytes()).ok(), Some(program));
    }
    let _refused = Program::from_bytes(bytes);
}

/// Calls of x86-64 that the profiles below are about, with their numbers.
const CALLS: [(&str, u32); 6] = [("read", 0), ("mmap", 9), ("socket", 41), ("personality", 135), ("openat", 257), ("file_setattr", 469)];

/// A compiled profile answers as its rules read: the bytes are a profile, then calls to try.
pub fn seccomp_meaning(bytes: &[u8]) {
    let (rules, calls) = bytes.split_at(bytes.len() / 2);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    // Values with few bits, so that comparisons of both halves meet.
    let value = |byte: u8| u64::from(byte & 15) << if byte & 16 == 0 { 0 } else { 32 };
    let profile = Seccomp {
        default_action: SeccompAction::Errno,
        default_errno_ret: Some(1),
        syscalls: rules.chunks_exact(6).map(|part| rule(part, value)).collect(),
        ..Seccomp::default()
    };
    let Ok(program) = compile(&profile) else { return };
    for call in calls.chunks_exact(5) {
        let (_, call_number) = CALLS[usize::from(call[0]) % CALLS.len()];
        let arguments = [value(call[1]), value(call[2]), number(&call[3..5]), 0, 0, 0];
        assert_eq!(
            program.answer(call_number, &arguments),
            expected(&profile, call_number, &arguments),
            "{profile:?} {call_number} {arguments:?}"
        );
    }
}

fn rule(part: &[u8], value: impl Fn(u8) -> u64) -> SeccompRule {
    use SeccompOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MaskedEqual, NotEqual};
    const OPS: [SeccompOp; 7] = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, MaskedEqual];
    const ACTIONS: [SeccompAction; 4] = [SeccompAction::Allow, SeccompAction::KillProcess, SeccompAction::Log, SeccompAction::Trap];
    let argument = |index: u32, byte: u8| SeccompArg {
        index,
        value: value(byte),
        value_two: value(byte >> 2),
        op: OPS[usize::from(byte) % OPS.len()],
    };
    let args = match part[2] % 4 {
        0 => Vec::new(),
        1 => vec![argument(0, part[3])],
        2 => vec![argument(0, part[3]), argument(1, part[4])],
        // Two conditions on one argument are alternatives.
        _ => vec![argument(1, part[3]), argument(1, part[4])],
    };
    SeccompRule {
        names: vec![CALLS[usize::from(part[0]) % CALLS.len()].0.into()],
        action: ACTIONS[usize::from(part[1]) % ACTIONS.len()],
        errno_ret: None,
        args,
    }
}

/// What the rules say, read from the first to the last: with conditions the first that holds, else the last without any.
fn expected(profile: &Seccomp, number: u32, arguments: &[u64; 6]) -> u32 {
    let name = CALLS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name).unwrap_or_default();
    let mine: Vec<&SeccompRule> = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|known| known == name)).collect();
    let last = mine.iter().rev().find(|rule| rule.args.is_empty()).map_or(0x0005_0001, |rule| returned(rule.action));
    let holds = |argument: &SeccompArg| {
        let given = arguments[usize::try_from(argument.index).unwrap_or_default()];
        match argument.op {
            SeccompOp::Equal => given == argument.value,
            SeccompOp::NotEqual => given != argument.value,
            SeccompOp::Less => given < argument.value,
            SeccompOp::LessOrEqual => given <= argument.value,
            SeccompOp::Greater => given > argument.value,
            SeccompOp::GreaterOrEqual => given >= argument.value,
            SeccompOp::MaskedEqual => given & argument.value == argument.value_two & argument.value,
        }
    };
    let alternatives = mine.iter().filter(|rule| !rule.args.is_empty() && returned(rule.action) != last);
    let matching = alternatives.filter(|rule| match rule.args.as_slice() {
        [one, two] if one.index == two.index => holds(one) || holds(two),
        all => all.iter().all(holds),
    });
    matching.map(|rule| returned(rule.action)).next().unwrap_or(last)
}

fn returned(action: SeccompAction) -> u32 {
    match action {
        SeccompAction::Allow => 0x7fff_0000,
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::KillThread | SeccompAction::Errno | SeccompAction::Trace | SeccompAction::Notify => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["read","clone"],
        "action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::seccomp_document(&bytes);
        }

        #[test]
        fn nearly_a_profile(at in 0..PROFILE.len(), bytes in prop::collection::vec(any::<u8>(), 0..4), cut in 0..4_usize) {
            let mut text = PROFILE.as_bytes().to_vec();
            text.splice(at..(at + cut).min(PROFILE.len()), bytes);
            super::seccomp_document(&text);
        }

        #[test]
        fn profiles_mean_what_they_say(bytes in prop::collection::vec(any::<u8>(), 0..240)) {
            super::seccomp_meaning(&bytes);
        }
    }
}

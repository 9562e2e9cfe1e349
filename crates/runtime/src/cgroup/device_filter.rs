//! Device rules of cgroup v2: a program that the kernel asks at each access.
//!
//! Rules count from the last to the first, as on v1: the first that is about the whole access decides.
//! **Source:** Linux, `cgroup-v2.rst`, Device controller; `linux/bpf.h`, `struct bpf_cgroup_dev_ctx`.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use oci::runtime::DeviceRule;
use rustix::fs::{Mode, OFlags};

use super::devices::{covers_all, number};

/// Registers: what was asked, and what the answer is in.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Bits of an access. **Source:** `linux/bpf.h`, `BPF_DEVCG_ACC_*`.
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// Operations. **Source:** `linux/bpf_common.h`, `linux/bpf.h`.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_VALUE: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNEQUAL_VALUE: u8 = 0x55;
const JUMP_EQUAL_VALUE: u8 = 0x15;
const JUMP_UNEQUAL: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Puts the program of some rules in charge and takes those off that were before; no rules allow everything.
///
/// The new one comes first: all that are attached must agree, so that nothing is allowed in between that neither allows.
pub(super) fn enforce(folder: &Path, rules: Option<&[DeviceRule]>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::open(folder, flags, Mode::empty())?;
    let before = sys::bpf::device_filters(cgroup.as_fd())?;
    if let Some(rules) = rules {
        let program = sys::bpf::load_device_filter(&compile(rules)?)?;
        sys::bpf::attach_device_filter(cgroup.as_fd(), program.as_fd())?;
    }
    before.iter().try_for_each(|old| sys::bpf::detach_device_filter(cgroup.as_fd(), old.as_fd()))
}

fn compile(rules: &[DeviceRule]) -> io::Result<Vec<[u8; 8]>> {
    let mut program = vec![
        // The access lies above the kind in one word.
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let (tests, always) = tests(rule)?;
        let length = tests.len();
        for (index, (code, left, right, value)) in tests.into_iter().enumerate() {
            // Jumps lead behind the answer; those of arithmetic are none.
            let jumps = code & 7 == 5;
            let over = i16::try_from(length - index - 1 + 2).map_err(|_| io::ErrorKind::InvalidInput)?;
            program.push(instruction(code, left, right, if jumps { over } else { 0 }, value));
        }
        program.push(instruction(MOVE_VALUE, ANSWER, 0, 0, rule.allow.into()));
        program.push(instruction(EXIT, 0, 0, 0, 0));
        if always {
            // The kernel refuses a program with instructions that nothing reaches.
            return Ok(program);
        }
    }
    program.push(instruction(MOVE_VALUE, ANSWER, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    Ok(program)
}

type Test = (u8, u8, u8, i32);

/// What must hold for a rule to decide, and whether nothing need.
fn tests(rule: &DeviceRule) -> io::Result<(Vec<Test>, bool)> {
    let mut tests: Vec<Test> = Vec::new();
    let letters = rule.access.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
    let access = [('m', MAKE), ('r', READ), ('w', WRITE)]
        .into_iter()
        .filter(|(letter, _)| letters.contains(*letter))
        .fold(0, |all, (_, bit)| all | bit);
    if !covers_all(rule) {
        match rule.kind.as_deref() {
            Some("b") => tests.push((JUMP_UNEQUAL_VALUE, KIND, 0, 1)),
            Some("c" | "u") => tests.push((JUMP_UNEQUAL_VALUE, KIND, 0, 2)),
            _ => {}
        }
        for (register, wanted) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            if let Some(wanted) = number(wanted) {
                let wanted = i32::try_from(wanted).map_err(|_| io::ErrorKind::InvalidInput)?;
                tests.push((JUMP_UNEQUAL_VALUE, register, 0, wanted));
            }
        }
    }
    if access != MAKE | READ | WRITE {
        tests.push((MOVE, SCRATCH, ACCESS, 0));
        tests.push((AND, SCRATCH, 0, access));
        // Allowed is what a rule allows as a whole, denied what it denies in part.
        tests.push(if rule.allow { (JUMP_UNEQUAL, SCRATCH, ACCESS, 0) } else { (JUMP_EQUAL_VALUE, SCRATCH, 0, 0) });
    }
    let always = tests.is_empty();
    Ok((tests, always))
}

fn instruction(code: u8, left: u8, right: u8, over: i16, value: i32) -> [u8; 8] {
    let [over_low, over_high] = over.to_le_bytes();
    let [v0, v1, v2, v3] = value.to_le_bytes();
    [code, right << 4 | left, over_low, over_high, v0, v1, v2, v3]
}

#[cfg(test)]
mod tests_of_programs {
    use super::*;

    fn rule(allow: bool, kind: &str, numbers: (i64, i64), access: &str) -> DeviceRule {
        DeviceRule { allow, kind: Some(kind.into()), major: Some(numbers.0), minor: Some(numbers.1), access: Some(access.into()) }
    }

    /// Runs a program as the kernel would.
    fn ask(program: &[[u8; 8]], kind: u32, access: i32, numbers: (u32, u32)) -> bool {
        let mut registers = [0_i64; 11];
        let mut at = 0;
        loop {
            let [code, both, low, high, v @ ..] = program[at];
            let (left, right) = (usize::from(both & 15), usize::from(both >> 4));
            let (over, value) = (i16::from_le_bytes([low, high]), i64::from(i32::from_le_bytes(v)));
            let mut jump = false;
            match code {
                LOAD_WORD => {
                    registers[left] = match over {
                        0 => i64::from(access << 16) | i64::from(kind),
                        4 => numbers.0.into(),
                        _ => numbers.1.into(),
                    }
                }
                MOVE => registers[left] = registers[right],
                MOVE_VALUE => registers[left] = value,
                AND => registers[left] &= value,
                SHIFT_RIGHT => registers[left] >>= value,
                JUMP_UNEQUAL_VALUE => jump = registers[left] != value,
                JUMP_EQUAL_VALUE => jump = registers[left] == value,
                JUMP_UNEQUAL => jump = registers[left] != registers[right],
                _ => return registers[0] != 0,
            }
            at += 1 + if jump { usize::try_from(over).unwrap() } else { 0 };
        }
    }

    #[test]
    fn the_last_rule_about_an_access_decides() {
        let rules = [
            rule(false, "a", (-1, -1), "rwm"),
            rule(true, "c", (1, 3), "rwm"),
            rule(true, "c", (-1, -1), "m"),
            rule(true, "b", (8, -1), "r"),
            rule(false, "c", (10, 229), "rwm"),
        ];
        let program = compile(&rules).unwrap();
        assert!(ask(&program, 2, READ | WRITE, (1, 3)));
        assert!(ask(&program, 2, MAKE, (99, 1)));
        assert!(!ask(&program, 2, READ, (99, 1)));
        assert!(!ask(&program, 2, MAKE, (10, 229)));
        assert!(ask(&program, 1, READ, (8, 5)));
        assert!(!ask(&program, 1, READ | WRITE, (8, 5)));
        assert!(!ask(&program, 1, MAKE, (8, 5)));
    }

    #[test]
    fn the_kernel_takes_the_program_of_the_default_rules() {
        let deny = DeviceRule { access: Some("rwm".into()), ..DeviceRule::default() };
        let rules = super::super::devices::rules(&[deny]).unwrap();
        sys::bpf::load_device_filter(&compile(&rules).unwrap()).unwrap();
        let open = [rule(true, "c", (1, 3), "r"), rule(false, "b", (8, 0), "w")];
        sys::bpf::load_device_filter(&compile(&open).unwrap()).unwrap();
    }
}

//! From treatments to instructions of classic BPF.

use std::collections::BTreeMap;

use oci::runtime::{SeccompArg, SeccompOp};
use sys::seccomp::Instruction;

use super::Treatment;
use super::syscalls::Table;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 0x0005_0000 | 38;

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// One filter for all tables; a call of an architecture in none of them kills the process.
pub(super) fn program(tables: &[(&Table, BTreeMap<u32, Treatment>)], default: u32) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    let mut architectures: Vec<u32> = Vec::new();
    for (table, _) in tables {
        if !architectures.contains(&table.audit) {
            architectures.push(table.audit);
        }
    }
    for audit in architectures {
        let own: Vec<_> = tables.iter().filter(|(table, _)| table.audit == audit).collect();
        let mut body = vec![plain(LOAD, NUMBER)];
        // x32 shares the architecture of x86-64 and is told by bit 30: one search serves both.
        let mut ranges = Vec::new();
        for (table, treatments) in &own {
            ranges.extend(split(table, treatments, default));
        }
        ranges.sort_by_key(|(first, _)| *first);
        body.extend(search(&ranges));
        program.push(branch(EQUAL, audit, 1, 0));
        program.push(plain(JUMP, u32::try_from(body.len()).unwrap_or(u32::MAX)));
        program.extend(body);
    }
    program.push(plain(RETURN, KILL_PROCESS));
    program
}

/// Ranges of equal treatment: first number and what happens from there on.
///
/// Calls newer than every call the table knows answer ENOSYS where the default is an error, so that programs fall back to
/// the older call instead of failing. **Source:** runc, `libcontainer/seccomp/patchbpf`.
fn split(table: &Table, treatments: &BTreeMap<u32, Treatment>, default: u32) -> Vec<(u32, Treatment)> {
    let simple = |last| Treatment { alternatives: Vec::new(), last };
    let beyond = if default >> 16 == 0x0005 { ENOSYS } else { default };
    let mut ranges: Vec<(u32, Treatment)> = vec![(table.base, simple(default))];
    let mut next = table.base;
    for (number, treatment) in treatments {
        if *number > next {
            push(&mut ranges, next, simple(default));
        }
        push(&mut ranges, *number, treatment.clone());
        next = number + 1;
    }
    if next <= table.last() {
        push(&mut ranges, next, simple(default));
    }
    push(&mut ranges, table.last() + 1, simple(beyond));
    ranges
}

fn push(ranges: &mut Vec<(u32, Treatment)>, first: u32, treatment: Treatment) {
    match ranges.last_mut() {
        Some((start, last)) if *start == first => *last = treatment,
        Some((_, last)) if *last == treatment => {}
        _ => ranges.push((first, treatment)),
    }
}

/// A balanced tree of comparisons; the accumulator holds the number throughout.
fn search(ranges: &[(u32, Treatment)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![plain(RETURN, KILL_PROCESS)],
        [(_, only)] => treat(only),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (low, upper) = (search(low), search(high));
            let mut code = Vec::with_capacity(low.len() + upper.len() + 2);
            match u8::try_from(low.len()) {
                Ok(over) => code.push(branch(AT_LEAST, high[0].0, over, 0)),
                // Conditional jumps reach 255 instructions, unconditional ones any distance.
                Err(_) => {
                    code.push(branch(AT_LEAST, high[0].0, 0, 1));
                    code.push(plain(JUMP, u32::try_from(low.len()).unwrap_or(u32::MAX)));
                }
            }
            code.extend(low);
            code.extend(upper);
            code
        }
    }
}

fn treat(treatment: &Treatment) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in &treatment.alternatives {
        let mut tests = Vec::new();
        // From the last condition to the first: each must know how far the end of this alternative is.
        let mut after = vec![plain(RETURN, *action)];
        for condition in conditions.iter().rev() {
            let test = test(condition, after.len());
            after.splice(0..0, test);
        }
        tests.append(&mut after);
        code.extend(tests);
    }
    code.push(plain(RETURN, treatment.last));
    code
}

/// Tests one 64-bit argument in two halves; falls through if it holds, else jumps over `rest` instructions.
fn test(condition: &SeccompArg, rest: usize) -> Vec<Instruction> {
    let halves = |value: u64| (u32::try_from(value >> 32).unwrap_or_default(), u32::try_from(value & 0xffff_ffff).unwrap_or_default());
    let low = ARGUMENTS + condition.index * 8;
    let high = low + 4;
    let over = |more: usize| u8::try_from(rest + more).unwrap_or(u8::MAX);
    let (value_high, value_low) = halves(condition.value);
    match condition.op {
        SeccompOp::Equal => {
            vec![plain(LOAD, high), branch(EQUAL, value_high, 0, over(2)), plain(LOAD, low), branch(EQUAL, value_low, 0, over(0))]
        }
        SeccompOp::NotEqual => {
            vec![plain(LOAD, high), branch(EQUAL, value_high, 0, 2), plain(LOAD, low), branch(EQUAL, value_low, over(0), 0)]
        }
        SeccompOp::MaskedEqual => {
            let (wanted_high, wanted_low) = halves(condition.value_two);
            vec![
                plain(LOAD, high),
                plain(AND, value_high),
                branch(EQUAL, wanted_high & value_high, 0, over(3)),
                plain(LOAD, low),
                plain(AND, value_low),
                branch(EQUAL, wanted_low & value_low, 0, over(0)),
            ]
        }
        SeccompOp::Greater | SeccompOp::GreaterOrEqual => {
            let code = if condition.op == SeccompOp::Greater { GREATER } else { AT_LEAST };
            vec![
                plain(LOAD, high),
                branch(GREATER, value_high, 3, 0),
                branch(EQUAL, value_high, 0, over(2)),
                plain(LOAD, low),
                branch(code, value_low, 0, over(0)),
            ]
        }
        SeccompOp::Less | SeccompOp::LessOrEqual => {
            let code = if condition.op == SeccompOp::Less { AT_LEAST } else { GREATER };
            vec![
                plain(LOAD, high),
                branch(GREATER, value_high, over(3), 0),
                branch(EQUAL, value_high, 0, 2),
                plain(LOAD, low),
                branch(code, value_low, over(0), 0),
            ]
        }
    }
}
